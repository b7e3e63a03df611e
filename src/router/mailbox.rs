//! How cores reach each other: one mailbox a core, filled in batches and emptied whole.

use super::{CoreId, Mail};
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};
use tokio::sync::Notify;

/// The mail that waits for one core.
///
/// A sender locks it once for all that its turn sends; the owner takes everything at once, by swapping. Mail that answers
/// admitted work is always taken, so the limit is kept by admitting no new work anywhere while a box
/// [`is_congested`](Self::is_congested): what it holds beyond the limit is bounded by what was under way.
pub struct Mailbox {
    items: Mutex<Vec<Mail>>,
    depth: AtomicUsize,
    items_max: usize,
    filled: Notify,
}

impl Mailbox {
    /// A box that counts as congested from `items_max` items on.
    pub fn new(items_max: usize) -> Self {
        Self { items: Mutex::new(Vec::new()), depth: AtomicUsize::new(0), items_max, filled: Notify::new() }
    }

    /// Adds a batch in order and wakes the owner.
    pub fn put(&self, batch: &mut Vec<Mail>) {
        // Nothing that panics runs under the lock, so what a poisoned one holds is whole.
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        items.append(batch);
        self.depth.store(items.len(), Ordering::Relaxed);
        drop(items);
        self.filled.notify_one();
    }

    /// The owner: takes everything, in order. `into` is empty; its memory serves the next batches.
    pub fn take(&self, into: &mut Vec<Mail>) {
        debug_assert!(into.is_empty(), "the last batch was not finished");
        if self.depth.load(Ordering::Relaxed) > 0 {
            std::mem::swap(&mut *self.items.lock().unwrap_or_else(PoisonError::into_inner), into);
            self.depth.store(0, Ordering::Relaxed);
        }
    }

    /// The owner: waits until there is mail.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Items that wait now.
    pub fn depth(&self) -> usize {
        self.depth.load(Ordering::Relaxed)
    }

    /// Whether new work should be refused for a while.
    pub fn is_congested(&self) -> bool {
        self.depth() >= self.items_max
    }
}

/// The mailboxes of all cores.
pub struct Mailboxes(Vec<Mailbox>);

impl Mailboxes {
    /// One for each core.
    pub fn new(cores: u16, items_max: usize) -> Self {
        Self((0..cores).map(|_| Mailbox::new(items_max)).collect())
    }

    /// A core's.
    pub fn of(&self, core: CoreId) -> &Mailbox {
        &self.0[usize::from(core.0)]
    }

    /// Whether any core is behind.
    pub fn any_congested(&self) -> bool {
        self.0.iter().any(Mailbox::is_congested)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::SessionId;
    use godwit_proto::v1::ErrorCode;
    use std::sync::Arc;

    fn mail(session: u64) -> Mail {
        Mail::End(SessionId(session), ErrorCode::Internal, "")
    }

    #[test]
    fn mail_of_one_sender_stays_in_order_and_none_is_lost() {
        const BATCHES: u64 = 2_000;
        let mailbox = Arc::new(Mailbox::new(usize::MAX));
        let senders: Vec<_> = (0..2)
            .map(|sender| {
                let mailbox = mailbox.clone();
                std::thread::spawn(move || {
                    for batch in 0..BATCHES {
                        mailbox
                            .put(&mut vec![mail((sender << 32) | (2 * batch)), mail((sender << 32) | (2 * batch + 1))]);
                    }
                })
            })
            .collect();
        let (mut next, mut batch) = ([0, 0], Vec::new());
        while next != [2 * BATCHES, 2 * BATCHES] {
            mailbox.take(&mut batch);
            for item in batch.drain(..) {
                let Mail::End(SessionId(id), ..) = item else { panic!("nobody sent that") };
                assert_eq!(id & 0xffff_ffff, next[(id >> 32) as usize]);
                next[(id >> 32) as usize] += 1;
            }
        }
        for sender in senders {
            sender.join().unwrap();
        }
    }

    #[test]
    fn a_box_at_its_limit_asks_for_no_new_work_and_still_takes_answers() {
        let mailbox = Mailbox::new(2);
        mailbox.put(&mut vec![mail(1)]);
        assert!(!mailbox.is_congested());
        mailbox.put(&mut vec![mail(2), mail(3)]);
        assert!(mailbox.is_congested());
        let mut batch = Vec::new();
        mailbox.take(&mut batch);
        assert_eq!(batch.len(), 3);
        assert!(!mailbox.is_congested());
    }
}
