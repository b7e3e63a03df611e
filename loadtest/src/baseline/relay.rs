//! The bare quinn relay: Godwit's sockets, TLS, connection IDs and transport settings, and no chat at all.
//!
//! Every message is answered with an ack and pushed to the others of its group. Nobody logs in, nothing is checked,
//! remembered or stored. All of a connection's frames of a turn leave in one write: a connection has a task that reads and
//! one that writes, and the tasks that read run first.

use crate::wire::{BareFrame, FrameReader, FrameSizes};
use anyhow::{Context, anyhow};
use bytes::{Bytes, BytesMut};
use clap::Args;
use godwit::transport::{Certificate, QuicSecrets, Transport, TransportOptions, bind};
use quinn::{Connection, Incoming, SendStream, VarInt};
use std::{cell::RefCell, collections::HashMap, future::poll_fn, net::SocketAddr, path::PathBuf, rc::Rc, task::Poll};
use tokio::{
    sync::Notify,
    task::{LocalSet, spawn_local},
};

/// How the relay is started.
#[derive(Debug, Args)]
pub struct Options {
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
    /// Where its certificate is kept.
    #[arg(long)]
    data_dir: PathBuf,
    /// Bytes of an ack.
    #[arg(long)]
    ack_bytes: usize,
    /// Bytes of a push.
    #[arg(long)]
    push_bytes: usize,
    /// Most connections that may be in their handshake.
    #[arg(long, default_value_t = 4096)]
    handshakes_max: usize,
}

/// Serves until the process is killed.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let transport_options = TransportOptions { handshakes_max: options.handshakes_max, ..TransportOptions::default() };
    std::fs::create_dir_all(&options.data_dir).with_context(|| format!("making {}", options.data_dir.display()))?;
    let certificate = Certificate::self_signed_in(&options.data_dir, &[])?;
    let secrets = QuicSecrets::in_directory(&options.data_dir)?;
    let bound = bind(options.listen, 1, &transport_options)?;
    let socket = bound.sockets.into_iter().next().ok_or_else(|| anyhow!("no socket was bound"))?;
    let relay = Rc::new(Relay {
        bulk_streams_max: transport_options.bulk_streams_max,
        receive_window_bytes: transport_options.receive_window_bytes,
        sizes: FrameSizes { send_bytes: 0, ack_bytes: options.ack_bytes, push_bytes: options.push_bytes },
        groups: RefCell::new(HashMap::new()),
    });
    let transport = Transport::new(transport_options, 1, &certificate, secrets)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let endpoint = transport.endpoint(socket, 0)?;
        println!("listening on {}", bound.address);
        println!("fingerprint {}", certificate.fingerprint());
        while let Some(incoming) = endpoint.accept().await {
            spawn_local(serve(incoming, relay.clone()));
            tokio::task::yield_now().await;
        }
        Ok(())
    })
}

struct Relay {
    bulk_streams_max: u32,
    receive_window_bytes: u32,
    sizes: FrameSizes,
    groups: RefCell<HashMap<u32, Vec<Rc<Outgoing>>>>,
}

/// What waits to be written to one connection.
#[derive(Default)]
struct Outgoing {
    frames: RefCell<Vec<Bytes>>,
    filled: Notify,
}

impl Outgoing {
    fn put(&self, frame: Bytes) {
        self.frames.borrow_mut().push(frame);
        self.filled.notify_one();
    }
}

async fn serve(incoming: Incoming, relay: Rc<Relay>) {
    let Ok(connecting) = incoming.accept() else { return };
    let Ok(connection) = connecting.await else { return };
    let Ok((send, recv)) = connection.accept_bi().await else { return };
    let own = Rc::new(Outgoing::default());
    let writing = spawn_local(write(send, own.clone()));
    read(&connection, FrameReader::new(recv), &own, &relay).await;
    for members in relay.groups.borrow_mut().values_mut() {
        members.retain(|member| !Rc::ptr_eq(member, &own));
    }
    writing.abort();
}

async fn read(connection: &Connection, mut reader: FrameReader, own: &Rc<Outgoing>, relay: &Relay) {
    poll_fn(|cx| {
        let read = reader.poll_frames(cx, |frame| relay.on_frame(connection, &frame, own));
        if read.is_err() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

async fn write(mut stream: SendStream, own: Rc<Outgoing>) {
    loop {
        own.filled.notified().await;
        let mut frames = std::mem::take(&mut *own.frames.borrow_mut());
        if !frames.is_empty() && stream.write_all_chunks(&mut frames).await.is_err() {
            return;
        }
    }
}

impl Relay {
    fn on_frame(&self, connection: &Connection, frame: &[u8], own: &Rc<Outgoing>) {
        match BareFrame::decode(frame) {
            Some(BareFrame::Join { group }) => {
                // What Godwit allows once a client has logged in.
                connection.set_receive_window(VarInt::from_u32(self.receive_window_bytes));
                connection.set_max_concurrent_bi_streams(VarInt::from_u32(1 + self.bulk_streams_max));
                self.groups.borrow_mut().entry(group).or_default().push(own.clone());
                own.put(self.encode(BareFrame::Ack { number: 0 }));
            }
            Some(BareFrame::Send { group, number, body }) => {
                own.put(self.encode(BareFrame::Ack { number }));
                let push = self.encode(BareFrame::Push { group, body });
                let groups = self.groups.borrow();
                for member in groups.get(&group).into_iter().flatten().filter(|member| !Rc::ptr_eq(member, own)) {
                    member.put(push.clone());
                }
            }
            _ => {}
        }
    }

    fn encode(&self, frame: BareFrame<'_>) -> Bytes {
        let mut out = BytesMut::new();
        frame.encode(self.sizes, &mut out);
        out.freeze()
    }
}
