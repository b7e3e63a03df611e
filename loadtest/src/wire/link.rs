//! One connection before it carries load: login, and requests one at a time.

use super::{BareFrame, Connection, Dialer, FrameReader, FrameSizes, Sending, streams::Streams};
use anyhow::{Context, bail};
use bytes::{Bytes, BytesMut};
use godwit_proto::{
    PROTOCOL_VERSION, UserId,
    codec::encode_frame,
    v1::{
        ClientFrame, ErrorCode, HelloRequest, LoginRequest, RegisterRequest, ResumeRequest, ServerFrame,
        client_frame::Body, server_frame::Body as Reply,
    },
};
use prost::Message;
use thiserror::Error;
use tokio::io::AsyncWriteExt;

/// Which server is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Godwit.
    Godwit,
    /// A bare relay, which wants frames of these sizes.
    Bare(FrameSizes),
}

/// How to get in.
#[derive(Debug, Clone)]
pub enum Login {
    /// Makes an account.
    Register { username: String, password: String },
    /// By password, on the same device.
    Password { username: String, password: String },
    /// By the token of an earlier login.
    Token { user: UserId, token: Bytes },
}

/// The server's answer to something that it does not do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the server refused with {}: {message}", .code.as_str_name())]
pub struct Refused {
    pub code: ErrorCode,
    pub message: String,
    /// Above 0: it may do it later.
    pub retry_after_ms: u32,
}

/// A connection with its session stream.
pub struct Link {
    pub connection: Connection,
    pub send: Sending,
    pub reader: FrameReader,
    /// Whose it is; `None` with a bare relay.
    pub user: Option<UserId>,
    /// What resumes the session later.
    pub token: Bytes,
    pub next_request: u64,
}

impl Link {
    /// Connects to a bare relay and joins groups there.
    pub async fn join(dialer: &Dialer, groups: &[u32], sizes: FrameSizes) -> anyhow::Result<Self> {
        let mut link = Self::open(dialer, None).await?;
        let mut out = BytesMut::new();
        for &group in groups {
            BareFrame::Join { group }.encode(sizes, &mut out);
        }
        link.write(&out).await?;
        // The relay acks a join, so that nobody sends to a group before it is complete.
        for _ in groups {
            link.reader.next().await?;
        }
        Ok(link)
    }

    /// Connects to a Godwit server and logs in.
    pub async fn log_in(dialer: &Dialer, login: &Login, device: u32) -> anyhow::Result<Self> {
        let known = if let Login::Token { user, .. } = login { Some(*user) } else { None };
        let mut link = Self::open(dialer, known).await?;
        let mut device_id = [0x6c; 16];
        device_id[..4].copy_from_slice(&device.to_le_bytes());
        let hello = Body::Hello(HelloRequest {
            protocol_version: PROTOCOL_VERSION,
            device_id: Bytes::copy_from_slice(&device_id),
            device_name: "load test".into(),
            client_name: concat!("godwit-loadtest/", env!("CARGO_PKG_VERSION")).into(),
        });
        let authenticate = match login.clone() {
            Login::Register { username, password } => {
                Body::Register(RegisterRequest { username, password, ..RegisterRequest::default() })
            }
            Login::Password { username, password } => Body::Login(LoginRequest { username, password }),
            Login::Token { token, .. } => Body::Resume(ResumeRequest { token }),
        };
        // One flight: the server takes them in order.
        link.write_requests(vec![hello, authenticate]).await?;
        link.reply().await.context("saying hello")?;
        let Reply::Authenticate(who) = link.reply().await.context("logging in")? else {
            bail!("the server answered a login with something else")
        };
        link.user = Some(UserId::new(who.user_id).context("the server gave an invalid user id")?);
        link.token = match login {
            Login::Token { token, .. } => token.clone(),
            _ => who.token,
        };
        Ok(link)
    }

    /// Asks something on the session stream. Nothing else may be under way.
    pub async fn request(&mut self, body: Body) -> anyhow::Result<Reply> {
        self.write_requests(vec![body]).await?;
        self.reply().await
    }

    /// Asks something on a bulk stream of its own.
    pub async fn bulk(&self, body: Body) -> anyhow::Result<Reply> {
        bulk(&self.connection, body).await
    }

    /// Closes it.
    pub fn close(self) {
        self.connection.close();
    }

    async fn open(dialer: &Dialer, user: Option<UserId>) -> anyhow::Result<Self> {
        let Streams { connection, send, reader } = dialer.dial(user).await?;
        Ok(Self { connection, send, reader, user: None, token: Bytes::new(), next_request: 1 })
    }

    async fn write_requests(&mut self, bodies: Vec<Body>) -> anyhow::Result<()> {
        let mut out = BytesMut::new();
        for body in bodies {
            encode_frame(&ClientFrame { request_id: self.next_request, body: Some(body) }, &mut out);
            self.next_request += 1;
        }
        self.write(&out).await
    }

    async fn write(&mut self, frames: &[u8]) -> anyhow::Result<()> {
        self.send.write_all(frames).await?;
        Ok(self.send.flush().await?)
    }

    /// The answer to the next request, in the order in which they were made.
    async fn reply(&mut self) -> anyhow::Result<Reply> {
        loop {
            let frame = ServerFrame::decode(self.reader.next().await?)?;
            if frame.request_id > 0 {
                return refused_or(frame);
            }
            // Unasked: the server may say why it is about to close.
            if let Some(Reply::Error(_)) = frame.body {
                return refused_or(frame);
            }
        }
    }
}

/// Asks something on a bulk stream of its own.
pub async fn bulk(connection: &Connection, body: Body) -> anyhow::Result<Reply> {
    let (mut send, mut reader) = connection.open_bulk().await?;
    let mut out = BytesMut::new();
    encode_frame(&ClientFrame { request_id: 1, body: Some(body) }, &mut out);
    send.write_all(&out).await?;
    send.finish()?;
    refused_or(ServerFrame::decode(reader.next().await?)?)
}

fn refused_or(frame: ServerFrame) -> anyhow::Result<Reply> {
    match frame.body {
        Some(Reply::Error(error)) => {
            let (code, retry_after_ms) = (error.code(), error.retry_after_ms);
            Err(Refused { code, message: error.message, retry_after_ms }.into())
        }
        Some(body) => Ok(body),
        None => bail!("the server answered with something that this version does not know"),
    }
}
