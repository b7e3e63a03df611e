//! The relay: groups, and nothing else of a chat server.

use super::{connection, outbox::Outbox};
use crate::baseline_frame::{Frame, FrameSizes};
use anyhow::{bail, ensure};
use bytes::BytesMut;
use rustls::ServerConfig;
use std::{cell::RefCell, collections::HashMap, convert::Infallible, rc::Rc, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{LocalSet, spawn_local},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

/// Answers each send with an ack and pushes it to the other members of the sender's group, for whoever connects. For a
/// runtime of one thread, until it is dropped.
pub async fn run(listener: TcpListener, tls: Arc<ServerConfig>, sizes: FrameSizes) -> Infallible {
    let relay = Rc::new(Relay { sizes, groups: RefCell::default(), push: RefCell::default() });
    let acceptor = TlsAcceptor::from(tls);
    let accepting = async move {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let (relay, acceptor) = (relay.clone(), acceptor.clone());
                    spawn_local(async move {
                        if let Err(error) = relay.serve(stream, &acceptor).await {
                            tracing::debug!(%peer, %error, "a connection ended");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    // Out of file descriptors, most likely: asking again at once would only burn the CPU that is measured.
                    sleep(Duration::from_millis(10)).await;
                }
            }
        }
    };
    LocalSet::new().run_until(accepting).await
}

struct Relay {
    sizes: FrameSizes,
    /// As large as the clients of a run make it: the relay is given no others.
    groups: RefCell<HashMap<u32, Vec<Rc<Member>>>>,
    /// A push while it is written to the outboxes of all that get it.
    push: RefCell<BytesMut>,
}

/// A client that has said hello.
struct Member {
    group: u32,
    number: u32,
    outbox: Rc<Outbox>,
}

impl Relay {
    async fn serve(self: Rc<Self>, stream: TcpStream, acceptor: &TlsAcceptor) -> anyhow::Result<()> {
        stream.set_nodelay(true)?;
        let stream = timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await??;
        let outbox = Rc::new(Outbox::default());
        let mut member = None;
        let outcome = connection::run(stream, &outbox, |frame| self.on_frame(frame, &outbox, &mut member)).await;
        if let Some(member) = member {
            self.leave(&member);
        }
        outcome
    }

    fn on_frame(&self, frame: Frame, outbox: &Rc<Outbox>, member: &mut Option<Rc<Member>>) -> anyhow::Result<()> {
        match (frame, member) {
            (Frame::Hello { group, member: number }, member @ None) => {
                let joined = Rc::new(Member { group, number, outbox: outbox.clone() });
                self.groups.borrow_mut().entry(group).or_default().push(joined.clone());
                *member = Some(joined);
                ensure!(outbox.put(|out| frame.encode(&self.sizes, out)), "no room for the answer to a hello");
            }
            (Frame::Send { number, due }, Some(sender)) => {
                // The sender's own outbox is the only one that may end this connection. Others that are full end theirs.
                ensure!(outbox.put(|out| Frame::Ack { number }.encode(&self.sizes, out)), "no room for an ack");
                self.push_to_others(sender, Frame::Push { member: sender.number, number, due });
            }
            _ => bail!("a client sends a hello and then sends, not {frame:?}"),
        }
        Ok(())
    }

    /// Encodes once, as Godwit does.
    fn push_to_others(&self, sender: &Rc<Member>, push: Frame) {
        let mut encoded = self.push.borrow_mut();
        encoded.clear();
        push.encode(&self.sizes, &mut encoded);
        let groups = self.groups.borrow();
        for other in groups.get(&sender.group).into_iter().flatten().filter(|other| !Rc::ptr_eq(other, sender)) {
            other.outbox.put(|out| out.extend_from_slice(&encoded));
        }
    }

    fn leave(&self, member: &Rc<Member>) {
        let mut groups = self.groups.borrow_mut();
        if let Some(members) = groups.get_mut(&member.group) {
            members.retain(|other| !Rc::ptr_eq(other, member));
            if members.is_empty() {
                groups.remove(&member.group);
            }
        }
    }
}

const HANDSHAKE_MAX: Duration = Duration::from_secs(30);
