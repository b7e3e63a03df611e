//! A connection whose streams are all read into one queue.

use crate::wire::{Connection, FrameReader, Link, Sending, bulk};
use bytes::{Bytes, BytesMut};
use godwit_proto::{
    ClientMsgId, ConversationId,
    codec::encode_frame,
    v1::{ClientFrame, ServerFrame, client_frame::Body, server_frame::Body as Reply},
};
use prost::Message;
use tokio::{io::AsyncWriteExt, sync::mpsc, task::JoinSet};

/// A connection of a person.
pub struct Session {
    pub connection: Connection,
    send: Sending,
    frames: mpsc::Receiver<ServerFrame>,
    /// Ended with the session.
    _readers: JoinSet<()>,
    next_request: u64,
}

impl Session {
    pub fn open(link: Link) -> Self {
        let (sender, frames) = mpsc::channel(FRAMES_MAX);
        let mut readers = JoinSet::new();
        readers.spawn_local(read(link.reader, sender.clone()));
        readers.spawn_local(read_lanes(link.connection.clone(), sender));
        let Link { connection, send, next_request, .. } = link;
        Self { connection, send, frames, _readers: readers, next_request }
    }

    /// The next frame of any stream; `None` when the connection is gone.
    pub async fn next(&mut self) -> Option<ServerFrame> {
        self.frames.recv().await
    }

    /// Writes a request, and returns its number.
    pub async fn request(&mut self, body: Body) -> anyhow::Result<u64> {
        let (request_id, mut out) = (self.take_request_id(), BytesMut::new());
        encode_frame(&ClientFrame { request_id, body: Some(body) }, &mut out);
        self.write(&out).await?;
        Ok(request_id)
    }

    /// Writes a message, and returns the number of the request.
    pub async fn say(
        &mut self,
        conversation: ConversationId,
        id: ClientMsgId,
        after: Option<ClientMsgId>,
        body: Bytes,
    ) -> anyhow::Result<u64> {
        let (request_id, mut out) = (self.take_request_id(), BytesMut::new());
        crate::wire::godwit::encode_send(request_id, conversation, id, after, body, &mut out);
        self.write(&out).await?;
        Ok(request_id)
    }

    /// Writes frames that are encoded already.
    pub async fn write(&mut self, frames: &[u8]) -> anyhow::Result<()> {
        self.send.write_all(frames).await?;
        Ok(self.send.flush().await?)
    }

    /// Asks something on a bulk stream.
    pub async fn bulk(&self, body: Body) -> anyhow::Result<Reply> {
        bulk(&self.connection, body).await
    }

    fn take_request_id(&mut self) -> u64 {
        self.next_request += 1;
        self.next_request - 1
    }
}

async fn read_lanes(connection: Connection, frames: mpsc::Sender<ServerFrame>) {
    let mut lanes = JoinSet::new();
    while let Ok(lane) = connection.accept_lane().await {
        lanes.spawn_local(read(lane, frames.clone()));
    }
}

async fn read(mut reader: FrameReader, frames: mpsc::Sender<ServerFrame>) {
    while let Ok(frame) = reader.next().await {
        let Ok(frame) = ServerFrame::decode(frame) else { return };
        if frames.send(frame).await.is_err() {
            return;
        }
    }
}

/// Beyond it a stream waits until the person has looked at some.
const FRAMES_MAX: usize = 64;
