//! A server that does what a test tells it, frame by frame.

use bytes::{Bytes, BytesMut};
use godwit_client::{
    Backoff, Client, ClientConfig, ClientMsgId, ConversationId, Credentials, Events, Trust, UserId, v1,
    v1::{ClientFrame, Entry, ServerFrame, client_frame, server_frame::Body},
};
use godwit_proto::{
    ALPN,
    codec::{FrameDecoder, encode_frame},
};
use prost::Message;
use quinn::{Connection, Endpoint, RecvStream, SendStream, ServerConfig, VarInt, crypto::rustls::QuicServerConfig};
use std::{net::SocketAddr, sync::Arc, time::Duration};

pub const ME: u64 = 7;

/// Everything a test waits for happens within this, or the test fails.
pub const SOON: Duration = Duration::from_secs(10);

pub struct Server {
    pub endpoint: Endpoint,
    pub fingerprint: [u8; 32],
}

impl Server {
    pub fn start() -> Self {
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = key.cert.der().clone();
        let fingerprint =
            aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &certificate).as_ref().try_into().unwrap();
        let private = rustls::pki_types::PrivatePkcs8KeyDer::from(key.signing_key.serialize_der());
        let mut tls =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_protocol_versions(&[&rustls::version::TLS13])
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![certificate], private.into())
                .unwrap();
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
        let endpoint = Endpoint::server(config, SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        Self { endpoint, fingerprint }
    }

    /// For a client that is impatient, so that tests are fast.
    pub fn config(&self) -> ClientConfig {
        let credentials = Credentials::Login { username: "me".into(), password: "secret".into() };
        self.config_with(credentials)
    }

    pub fn config_with(&self, credentials: Credentials) -> ClientConfig {
        let address = self.endpoint.local_addr().unwrap().to_string();
        ClientConfig {
            backoff: Backoff { base: Duration::from_millis(10), max: Duration::from_millis(50) },
            ..ClientConfig::new(address, Trust::Fingerprint(self.fingerprint), credentials)
        }
    }

    /// The next connection, with its session stream open.
    pub async fn accept(&self) -> Peer {
        let incoming = soon(self.endpoint.accept()).await.unwrap();
        let connection = soon(incoming).await.unwrap();
        let (send, receive) = soon(connection.accept_bi()).await.unwrap();
        Peer { connection, session: Stream::new(send, receive) }
    }

    /// The next connection, greeted and logged in, with a sync that finds nothing.
    pub async fn accept_logged_in(&self) -> Peer {
        let mut peer = self.accept().await;
        peer.log_in().await;
        peer.answer_sync(v1::SyncResponse::default()).await;
        peer
    }

    /// Connects a client to the script.
    pub async fn connect(&self, config: ClientConfig) -> (Client, Events, Peer) {
        let (client, peer) = tokio::join!(soon(Client::connect(config)), self.accept_logged_in());
        let (client, events) = client.unwrap();
        (client, events, peer)
    }
}

/// One connection.
pub struct Peer {
    pub connection: Connection,
    pub session: Stream,
}

impl Peer {
    pub async fn log_in(&mut self) {
        self.greet().await;
        let login = self.session.next().await;
        self.session.reply(login.request_id, authenticated()).await;
    }

    pub async fn greet(&mut self) {
        self.greet_with(limits()).await;
    }

    pub async fn greet_with(&mut self, limits: v1::Limits) {
        let hello = self.session.next().await;
        assert!(matches!(hello.body, Some(client_frame::Body::Hello(_))), "{hello:?}");
        let response = v1::HelloResponse {
            protocol_version: 1,
            server_name: "script".into(),
            server_time_ms: 0,
            limits: Some(limits),
            registration: v1::RegistrationMode::Open.into(),
        };
        self.session.reply(hello.request_id, Body::Hello(response)).await;
    }

    /// The next bulk stream, and the request on it.
    pub async fn bulk(&self) -> (Stream, ClientFrame) {
        let (send, receive) = soon(self.connection.accept_bi()).await.unwrap();
        let mut stream = Stream::new(send, receive);
        let request = stream.next().await;
        (stream, request)
    }

    pub async fn answer_sync(&self, response: v1::SyncResponse) -> v1::SyncRequest {
        let (mut stream, request) = self.bulk().await;
        let Some(client_frame::Body::Sync(sync)) = request.body else { panic!("{request:?}") };
        stream.reply(request.request_id, Body::Sync(response)).await;
        sync
    }

    /// Answers the next page from a log that starts at seq 1.
    pub async fn answer_history(&self, log: &[Entry]) -> v1::HistoryRequest {
        let (mut stream, request) = self.bulk().await;
        let Some(client_frame::Body::History(history)) = request.body else { panic!("{request:?}") };
        let from = history.from_seq;
        let entries: Vec<_> =
            log.iter().filter(|entry| entry.seq >= from).take(history.limit as usize).cloned().collect();
        let last_seq = log.len() as u64;
        let more = entries.last().is_some_and(|entry| entry.seq < last_seq);
        let conversation_id = history.conversation_id.clone();
        let page = v1::HistoryResponse { conversation_id, entries, more, first_seq: 1, last_seq };
        stream.reply(request.request_id, Body::History(page)).await;
        history
    }

    /// The next send, past acknowledgements.
    pub async fn next_send(&mut self) -> (u64, v1::SendRequest) {
        loop {
            let frame = self.session.next().await;
            match frame.body {
                Some(client_frame::Body::Send(send)) => return (frame.request_id, send),
                Some(client_frame::Body::Ack(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub async fn accept_send(&mut self, request_id: u64, seq: u64) {
        self.session.reply(request_id, Body::Send(v1::SendResponse { seq, ordinal: seq, sent_ms: 1000 + seq })).await;
    }

    pub async fn refuse(&mut self, request_id: u64, code: v1::ErrorCode, retry_after_ms: u32) {
        let error = v1::Error { code: code.into(), message: String::new(), retry_after_ms };
        self.session.reply(request_id, Body::Error(error)).await;
    }

    pub async fn lane(&self) -> Lane {
        let mut lane = Lane { send: soon(self.connection.open_uni()).await.unwrap() };
        lane.write(Body::LaneOpened(v1::LaneOpenedPush { lane: 0 })).await;
        lane
    }

    pub fn close(&self, code: v1::ErrorCode) {
        self.connection.close(VarInt::from_u32(code as u32), b"");
    }
}

/// A bidirectional stream.
pub struct Stream {
    send: SendStream,
    receive: RecvStream,
    decoder: FrameDecoder,
}

impl Stream {
    fn new(send: SendStream, receive: RecvStream) -> Self {
        Self { send, receive, decoder: FrameDecoder::new() }
    }

    pub async fn next(&mut self) -> ClientFrame {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return ClientFrame::decode(frame).unwrap();
            }
            let chunk = soon(self.receive.read_chunk(4096, true)).await.unwrap().expect("the client ended the stream");
            self.decoder.push(&chunk.bytes);
        }
    }

    pub async fn reply(&mut self, request_id: u64, body: Body) {
        write(&mut self.send, ServerFrame { request_id, body: Some(body) }).await;
    }
}

pub struct Lane {
    send: SendStream,
}

impl Lane {
    pub async fn push(&mut self, conversation: ConversationId, entries: Vec<Entry>) {
        self.write(Body::Entries(v1::EntriesPush { conversation_id: conversation.to_bytes(), entries })).await;
    }

    pub async fn write(&mut self, body: Body) {
        write(&mut self.send, ServerFrame { request_id: 0, body: Some(body) }).await;
    }
}

async fn write(send: &mut SendStream, frame: ServerFrame) {
    let mut out = BytesMut::new();
    encode_frame(&frame, &mut out);
    soon(send.write_all(&out)).await.unwrap();
}

pub fn authenticated() -> Body {
    Body::Authenticate(v1::AuthenticateResponse {
        user_id: ME,
        username: "me".into(),
        display_name: "Me".into(),
        token: Bytes::from_static(&[5; 32]),
        token_expires_ms: u64::MAX,
    })
}

pub fn limits() -> v1::Limits {
    v1::Limits {
        frame_bytes_max: 65_536,
        message_bytes_max: 32_768,
        history_entries_max: 200,
        group_members_max: 100,
        users_per_request_max: 2,
        conversations_per_page_max: 100,
        idle_timeout_ms: 30_000,
        bulk_streams_max: 4,
        scheduled_per_user_max: 1000,
        schedule_ahead_ms_max: 31_622_400_000,
        scheduled_per_page_max: 50,
        expiry_after_ms_max: 31_622_400_000,
    }
}

pub fn conversation() -> ConversationId {
    ConversationId::direct(UserId::new(ME).unwrap(), UserId::new(9).unwrap())
}

pub fn entry(seq: u64) -> Entry {
    let message = v1::Message { body: Bytes::from(format!("message {seq}")), ..v1::Message::default() };
    Entry {
        seq,
        ordinal: seq,
        sender_id: 9,
        sent_ms: 1000 + seq,
        client_msg_id: ClientMsgId([seq as u8; 16]).to_bytes(),
        content: Some(v1::entry::Content::Message(message)),
    }
}

pub fn entries(seqs: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
    seqs.map(entry).collect()
}

/// Fails the test instead of waiting for ever.
pub async fn soon<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(SOON, future.into_future()).await.expect("took too long")
}
