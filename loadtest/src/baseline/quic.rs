//! The bare QUIC relay: Godwit's sockets, TLS, connection IDs and transport settings, and no chat at all.

use super::{
    Options, announce,
    groups::{Groups, Outgoing},
};
use crate::wire::FrameReader;
use anyhow::anyhow;
use godwit::transport::{Certificate, QuicSecrets, Transport, TransportOptions, bind};
use quinn::{Connection, Incoming, SendStream, VarInt};
use std::{future::poll_fn, rc::Rc, task::Poll};
use tokio::task::spawn_local;

/// Serves for ever.
pub async fn serve(options: &Options, groups: Rc<Groups>) -> anyhow::Result<()> {
    let transport_options = TransportOptions { handshakes_max: options.handshakes_max, ..TransportOptions::default() };
    let certificate = Certificate::self_signed_in(&options.data_dir, &[])?;
    let secrets = QuicSecrets::in_directory(&options.data_dir)?;
    let bound = bind(options.listen, 1, &transport_options)?;
    let socket = bound.sockets.into_iter().next().ok_or_else(|| anyhow!("no socket was bound"))?;
    let relay = Rc::new(Relay {
        bulk_streams_max: transport_options.bulk_streams_max,
        receive_window_bytes: transport_options.receive_window_bytes,
        groups,
    });
    let transport = Transport::new(transport_options, 1, &certificate, secrets)?;
    let endpoint = transport.endpoint(socket, 0)?;
    announce(bound.address, &certificate.fingerprint());
    while let Some(incoming) = endpoint.accept().await {
        spawn_local(relay.clone().on_incoming(incoming));
        tokio::task::yield_now().await;
    }
    Ok(())
}

struct Relay {
    bulk_streams_max: u32,
    receive_window_bytes: u32,
    groups: Rc<Groups>,
}

impl Relay {
    async fn on_incoming(self: Rc<Self>, incoming: Incoming) {
        let Ok(connecting) = incoming.accept() else { return };
        let Ok(connection) = connecting.await else { return };
        let Ok((send, recv)) = connection.accept_bi().await else { return };
        let own = Rc::new(Outgoing::default());
        let writing = spawn_local(write(send, own.clone()));
        self.read(&connection, FrameReader::new(recv), &own).await;
        self.groups.leave(&own);
        writing.abort();
    }

    async fn read(&self, connection: &Connection, mut reader: FrameReader, own: &Rc<Outgoing>) {
        poll_fn(|cx| {
            let read = reader.poll_frames(cx, |frame| {
                if self.groups.on_frame(&frame, own) {
                    // What Godwit allows once a client has logged in.
                    connection.set_receive_window(VarInt::from_u32(self.receive_window_bytes));
                    connection.set_max_concurrent_bi_streams(VarInt::from_u32(1 + self.bulk_streams_max));
                }
            });
            if read.is_err() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

async fn write(mut stream: SendStream, own: Rc<Outgoing>) {
    loop {
        let mut frames = own.take().await;
        if stream.write_all_chunks(&mut frames).await.is_err() {
            return;
        }
    }
}
