//! Who hears whom.

use crate::wire::{BareFrame, FrameSizes};
use bytes::{Bytes, BytesMut};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    mem,
    rc::Rc,
};
use tokio::sync::Notify;

/// The groups of a relay: as many as the clients of a run make, and a relay is given no others.
pub struct Groups {
    sizes: FrameSizes,
    members: RefCell<HashMap<u32, Vec<Rc<Outgoing>>>>,
}

impl Groups {
    /// Answers in frames of these sizes.
    pub fn new(sizes: FrameSizes) -> Self {
        Self { sizes, members: RefCell::default() }
    }

    /// A frame of the connection that `own` goes to. Returns whether it joined a group by it.
    pub fn on_frame(&self, frame: &[u8], own: &Rc<Outgoing>) -> bool {
        match BareFrame::decode(frame) {
            Some(BareFrame::Join { group }) => {
                self.members.borrow_mut().entry(group).or_default().push(own.clone());
                own.put(self.encode(BareFrame::Ack { number: 0 }));
                return true;
            }
            Some(BareFrame::Send { group, number, body }) => {
                own.put(self.encode(BareFrame::Ack { number }));
                // Encoded once, as Godwit does.
                let push = self.encode(BareFrame::Push { group, body });
                let members = self.members.borrow();
                for member in members.get(&group).into_iter().flatten().filter(|member| !Rc::ptr_eq(member, own)) {
                    member.put(push.clone());
                }
            }
            _ => {}
        }
        false
    }

    /// The connection ended.
    pub fn leave(&self, own: &Rc<Outgoing>) {
        for members in self.members.borrow_mut().values_mut() {
            members.retain(|member| !Rc::ptr_eq(member, own));
        }
    }

    fn encode(&self, frame: BareFrame<'_>) -> Bytes {
        let mut out = BytesMut::new();
        frame.encode(self.sizes, &mut out);
        out.freeze()
    }
}

/// What waits to be written to one connection.
///
/// Holds at most [`OUTGOING_BYTES_MAX`] and a frame. What a peer that does not read leaves no room for is lost, and the run
/// fails for it.
#[derive(Default)]
pub struct Outgoing {
    frames: RefCell<Vec<Bytes>>,
    bytes: Cell<usize>,
    filled: Notify,
}

impl Outgoing {
    fn put(&self, frame: Bytes) {
        if self.bytes.get() >= OUTGOING_BYTES_MAX {
            return;
        }
        self.bytes.set(self.bytes.get() + frame.len());
        self.frames.borrow_mut().push(frame);
        self.filled.notify_one();
    }

    /// Everything that has gathered; at least one frame.
    pub async fn take(&self) -> Vec<Bytes> {
        loop {
            self.filled.notified().await;
            let frames = mem::take(&mut *self.frames.borrow_mut());
            if !frames.is_empty() {
                self.bytes.set(0);
                return frames;
            }
        }
    }
}

const OUTGOING_BYTES_MAX: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    fn encoded(frame: BareFrame<'_>) -> Vec<u8> {
        let mut out = BytesMut::new();
        frame.encode(FrameSizes::at_least(10), &mut out);
        // Without its length, which is a byte here.
        out[1..].to_vec()
    }

    async fn taken(outgoing: &Outgoing) -> Vec<Vec<u8>> {
        outgoing.take().await.iter().map(|frame| frame[1..].to_vec()).collect()
    }

    #[tokio::test]
    async fn a_message_goes_to_the_others_of_its_group_and_its_sender_gets_an_ack() {
        let groups = Groups::new(FrameSizes::at_least(10));
        let [sender, member, stranger] = [(); 3].map(|()| Rc::<Outgoing>::default());
        for (own, group) in [(&sender, 1), (&member, 1), (&stranger, 2)] {
            assert!(groups.on_frame(&encoded(BareFrame::Join { group }), own));
            taken(own).await;
        }
        let body = b"0123456789";
        assert!(!groups.on_frame(&encoded(BareFrame::Send { group: 1, number: 7, body }), &sender));
        assert_eq!(taken(&sender).await, [encoded(BareFrame::Ack { number: 7 })]);
        assert_eq!(taken(&member).await, [encoded(BareFrame::Push { group: 1, body })]);
        assert!(stranger.frames.borrow().is_empty());

        groups.leave(&member);
        groups.on_frame(&encoded(BareFrame::Send { group: 1, number: 8, body }), &sender);
        assert!(member.frames.borrow().is_empty());
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_given_no_more_than_fits() {
        let (outgoing, frame) = (Outgoing::default(), Bytes::from(vec![0; OUTGOING_BYTES_MAX]));
        (0..2).for_each(|_| outgoing.put(frame.clone()));
        assert_eq!(outgoing.take().await.len(), 1);
        outgoing.put(frame);
        assert_eq!(outgoing.take().await.len(), 1, "there is room again");
    }
}
