//! A transport on loopback with a stand-in for the router on every core, and a bare QUIC client.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, missing_docs)]

use bytes::Bytes;
use godwit::{
    router::{Channel, CoreId, CorePort, Event, Outbound, Outbox, SessionId},
    transport::{Certificate, QuicSecrets, Steering, Transport, TransportOptions, bind},
};
use godwit_proto::{
    codec::{self, FrameDecoder},
    v1::{
        ClientFrame, EntriesPush, Entry, Error, ErrorCode, HeartbeatRequest, HeartbeatResponse, HelloRequest,
        HelloResponse, Message, SendRequest, SendResponse, ServerFrame, client_frame, entry, server_frame,
    },
};
use prost::Message as _;
use quinn::{ConnectionId, Endpoint, RecvStream, SendStream, VarInt};
use std::{
    collections::HashMap,
    net::SocketAddr,
    path::PathBuf,
    rc::Rc,
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};
use tokio::sync::{Notify, watch};

/// What a stand-in core saw.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    pub opened: usize,
    pub closed: usize,
    pub frames: usize,
    pub drained: usize,
    pub pushes_refused: usize,
    pub inbox_max: usize,
}

/// The sizes of a stand-in core's queues.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub events_max: usize,
    pub sessions_max: usize,
    pub outbox_bytes_max: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { events_max: 256, sessions_max: 1_000, outbox_bytes_max: 256 * 1024 }
    }
}

pub struct Server {
    pub address: SocketAddr,
    pub steering: Steering,
    pub directory: PathBuf,
    pub seen: Vec<Arc<Mutex<Seen>>>,
    shutdown: watch::Sender<bool>,
    /// Makes the cores vanish without a word to their clients.
    abort: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
    _temporary: Option<tempfile::TempDir>,
}

impl Server {
    pub fn start(cores: u16, options: TransportOptions) -> Self {
        Self::start_sized(cores, options, Sizes::default())
    }

    pub fn start_sized(cores: u16, options: TransportOptions, sizes: Sizes) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let directory = temporary.path().to_owned();
        let mut server = Self::start_in(directory, "127.0.0.1:0".parse().unwrap(), cores, options, sizes);
        server._temporary = Some(temporary);
        server
    }

    pub fn start_in(
        directory: PathBuf,
        address: SocketAddr,
        cores: u16,
        options: TransportOptions,
        sizes: Sizes,
    ) -> Self {
        let certificate = Certificate::self_signed_in(&directory, &[]).unwrap();
        let secrets = QuicSecrets::in_directory(&directory).unwrap();
        let bound = bind(address, cores, &options).unwrap();
        let endpoints = bound.sockets.len() as u16;
        let transport = Arc::new(Transport::new(options, endpoints, &certificate, secrets).unwrap());
        let (shutdown, stopping) = watch::channel(false);
        let (abort, aborted) = watch::channel(false);
        let mut seen = Vec::new();
        let mut threads = Vec::new();
        for (index, socket) in bound.sockets.into_iter().enumerate() {
            let noted = Arc::new(Mutex::new(Seen::default()));
            seen.push(noted.clone());
            let (transport, stopping, mut aborted) = (transport.clone(), stopping.clone(), aborted.clone());
            threads.push(std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let local = tokio::task::LocalSet::new();
                runtime.block_on(local.run_until(async move {
                    let filled = Rc::new(Notify::new());
                    let port = CorePort::new(
                        CoreId(index as u16),
                        sizes.events_max,
                        sizes.sessions_max,
                        sizes.outbox_bytes_max,
                        filled.clone(),
                    );
                    let core = tokio::task::spawn_local(run_core(port.clone(), filled, stopping.clone(), noted));
                    tokio::select! {
                        served = transport.serve(socket, index as u16, port.clone(), stopping) => {
                            served.unwrap();
                            assert_eq!(port.sessions(), 0, "sessions are left after the transport stopped");
                        }
                        _ = aborted.wait_for(|abort| *abort) => {}
                    }
                    core.abort();
                }));
                // Not closing anything: this is what a killed process looks like from outside.
                runtime.shutdown_background();
            }));
        }
        Self {
            address: bound.address,
            steering: bound.steering,
            directory,
            seen,
            shutdown,
            abort,
            threads,
            _temporary: None,
        }
    }

    pub fn seen(&self, core: usize) -> Seen {
        self.seen[core].lock().unwrap().clone()
    }

    /// Asks all cores to stop and waits until they have.
    pub fn stop(mut self) {
        self.shutdown.send_replace(true);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }

    /// Ends all cores without telling any client; gives back the directory if it is to live on.
    pub fn kill(mut self) -> Option<tempfile::TempDir> {
        self.abort.send_replace(true);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        self._temporary.take()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.abort.send_replace(true);
        for thread in self.threads.drain(..) {
            let joined = thread.join();
            if !std::thread::panicking() {
                joined.unwrap();
            }
        }
    }
}

/// Answers every frame at once: `hello` authenticates, `heartbeat` is echoed with the core's number, `send` pushes its
/// body back on the lane that is the first byte of its conversation id (as often as its second byte says), `logout` ends
/// the session.
async fn run_core(port: CorePort, filled: Rc<Notify>, mut stopping: watch::Receiver<bool>, seen: Arc<Mutex<Seen>>) {
    let mut sessions: HashMap<SessionId, Rc<Outbox>> = HashMap::new();
    let mut events = Vec::new();
    loop {
        tokio::select! {
            () = filled.notified() => {}
            _ = stopping.wait_for(|stop| *stop), if !sessions.is_empty() => {
                for outbox in sessions.values() {
                    outbox.close(ErrorCode::ShuttingDown, "the server is stopping");
                }
                filled.notified().await;
            }
        }
        port.drain(&mut events, usize::MAX);
        let mut seen = seen.lock().unwrap();
        seen.inbox_max = seen.inbox_max.max(events.len());
        for (session, event) in events.drain(..) {
            match event {
                Event::Opened { outbox, login_within_ms, .. } => {
                    seen.opened += 1;
                    tokio::task::spawn_local(end_strangers(outbox.clone(), login_within_ms));
                    assert!(sessions.insert(session, outbox).is_none(), "a session was opened twice");
                }
                Event::Closed => {
                    seen.closed += 1;
                    assert!(sessions.remove(&session).is_some(), "a session was closed twice, or before it was opened");
                }
                Event::Drained => seen.drained += 1,
                Event::Datagram(_) => {}
                Event::Frame { channel, frame } => {
                    seen.frames += 1;
                    on_frame(port.core(), &sessions[&session], channel, frame, &mut seen);
                }
            }
        }
        for outbox in sessions.values() {
            outbox.flush();
        }
    }
}

/// As a core does whose deadline has come.
async fn end_strangers(outbox: Rc<Outbox>, login_within_ms: u64) {
    tokio::time::sleep(Duration::from_millis(login_within_ms)).await;
    if !outbox.is_authenticated() {
        let code = ErrorCode::AuthenticationTimeout;
        let error = Error { code: code.into(), ..Error::default() };
        let frame = codec::frame(&ServerFrame { request_id: 0, body: Some(server_frame::Body::Error(error)) });
        assert!(outbox.put(Outbound::Reply(Channel::Session, frame)));
        outbox.close(code, "log in sooner after connecting");
    }
}

fn on_frame(core: CoreId, outbox: &Outbox, channel: Channel, frame: Bytes, seen: &mut Seen) {
    let frame = ClientFrame::decode(frame).unwrap();
    let body = match frame.body.unwrap() {
        client_frame::Body::Hello(_) => {
            outbox.set_authenticated();
            server_frame::Body::Hello(HelloResponse::default())
        }
        client_frame::Body::Heartbeat(heartbeat) => server_frame::Body::Heartbeat(HeartbeatResponse {
            client_time_ms: heartbeat.client_time_ms,
            server_time_ms: core.0.into(),
        }),
        client_frame::Body::Send(send) => {
            let (lane, count) = (send.conversation_id[0], send.conversation_id[1]);
            for seq in 1..=count {
                let pushed = outbox.put(Outbound::Push(lane.into(), entry_push(seq.into(), send.body.clone())));
                seen.pushes_refused += usize::from(!pushed);
            }
            server_frame::Body::Send(SendResponse::default())
        }
        client_frame::Body::Logout(_) => return outbox.close(ErrorCode::SessionEnded, "logged out"),
        other => panic!("the stand-in core does not know {other:?}"),
    };
    if frame.request_id != 0 {
        let reply = codec::frame(&ServerFrame { request_id: frame.request_id, body: Some(body) });
        assert!(outbox.put(Outbound::Reply(channel, reply)));
    }
}

fn entry_push(seq: u64, body: Bytes) -> Bytes {
    let message = Message { body, ..Message::default() };
    let entry = Entry { seq, content: Some(entry::Content::Message(message)), ..Default::default() };
    let push = EntriesPush { conversation_id: Vec::new().into(), entries: vec![entry] };
    codec::frame(&ServerFrame { request_id: 0, body: Some(server_frame::Body::Entries(push)) })
}

/// A connection with its session stream.
pub struct Client {
    pub endpoint: Endpoint,
    pub connection: quinn::Connection,
    pub session: Stream,
    next_request: u64,
}

impl Client {
    /// Connects and opens the session stream, saying nothing yet.
    pub async fn connect(server: &Server) -> Self {
        Self::connect_with(server, client_config(server, ClientSettings::default())).await.unwrap()
    }

    /// Connects and authenticates.
    pub async fn authenticated(server: &Server) -> Self {
        let mut client = Self::connect(server).await;
        client.authenticate().await;
        client
    }

    pub async fn connect_with(server: &Server, config: quinn::ClientConfig) -> Result<Self, quinn::ConnectionError> {
        let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let connection = endpoint.connect_with(config, server.address, "localhost").unwrap().await?;
        let session = Stream::open(&connection).await?;
        Ok(Self { endpoint, connection, session, next_request: 1 })
    }

    pub async fn authenticate(&mut self) {
        let reply = self.request(client_frame::Body::Hello(HelloRequest::default())).await;
        assert!(matches!(reply, server_frame::Body::Hello(_)), "{reply:?}");
    }

    /// Which core answers.
    pub async fn core(&mut self) -> u64 {
        match self.request(heartbeat(0)).await {
            server_frame::Body::Heartbeat(reply) => reply.server_time_ms,
            other => panic!("{other:?}"),
        }
    }

    pub async fn request(&mut self, body: client_frame::Body) -> server_frame::Body {
        let request_id = self.next_request;
        self.next_request += 1;
        self.session.write(&ClientFrame { request_id, body: Some(body) }).await;
        let reply = self.session.read().await.expect("the session stream ended");
        assert_eq!(reply.request_id, request_id);
        reply.body.unwrap()
    }

    /// The application error code and reason that the server closed the connection with.
    pub async fn closed(&self) -> (u64, String) {
        match within(self.connection.closed()).await {
            quinn::ConnectionError::ApplicationClosed(close) => {
                (close.error_code.into_inner(), String::from_utf8(close.reason.to_vec()).unwrap())
            }
            other => panic!("closed by {other:?}"),
        }
    }
}

/// Fails a test that hangs.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("nothing happened within 20 seconds")
}

/// Polls `condition` until it holds, for what another thread does in its own time.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{what}: not within 10 seconds");
}

/// A bidirectional stream that frames go over.
pub struct Stream {
    pub send: SendStream,
    pub recv: RecvStream,
    pub decoder: FrameDecoder,
}

impl Stream {
    pub async fn open(connection: &quinn::Connection) -> Result<Self, quinn::ConnectionError> {
        let (send, recv) = connection.open_bi().await?;
        Ok(Self { send, recv, decoder: FrameDecoder::new() })
    }

    pub async fn write(&mut self, frame: &ClientFrame) {
        within(self.send.write_all(&codec::frame(frame))).await.unwrap();
    }

    /// The next frame, or `None` at the end of the stream.
    pub async fn read(&mut self) -> Option<ServerFrame> {
        within(read_frame(&mut self.recv, &mut self.decoder)).await
    }
}

pub async fn read_frame(recv: &mut RecvStream, decoder: &mut FrameDecoder) -> Option<ServerFrame> {
    loop {
        if let Some(frame) = decoder.next_frame().unwrap() {
            return Some(ServerFrame::decode(frame).unwrap());
        }
        let chunk = recv.read_chunk(64 * 1024, true).await.unwrap()?;
        decoder.push(&chunk.bytes);
    }
}

/// What a test's client does differently.
#[derive(Debug, Clone, Copy)]
pub struct ClientSettings {
    pub alpn: &'static [u8],
    /// The first two bytes of the first destination connection ID: what the kernel steers by.
    pub steered: Option<u16>,
    pub stream_receive_window_bytes: u32,
    pub uni_streams: u32,
    /// Without a post-quantum key share the client hello fits one packet.
    pub classic_key_exchange: bool,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            alpn: godwit_proto::ALPN,
            steered: None,
            stream_receive_window_bytes: 1 << 20,
            uni_streams: 4,
            classic_key_exchange: false,
        }
    }
}

pub fn client_config(server: &Server, settings: ClientSettings) -> quinn::ClientConfig {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(server.directory.join("tls-certificate.pem")).unwrap()).unwrap();
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    if settings.classic_key_exchange {
        provider.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519];
    }
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![settings.alpn.to_vec()];
    let mut config =
        quinn::ClientConfig::new(Arc::new(quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap()));
    let mut transport = quinn::TransportConfig::default();
    transport
        .max_concurrent_uni_streams(VarInt::from_u32(settings.uni_streams))
        .stream_receive_window(VarInt::from_u32(settings.stream_receive_window_bytes))
        .keep_alive_interval(Some(Duration::from_secs(5)));
    config.transport_config(Arc::new(transport));
    if let Some(steered) = settings.steered {
        config.initial_dst_cid_provider(Arc::new(move || {
            let mut id: [u8; 16] = rand::random();
            id[..2].copy_from_slice(&steered.to_be_bytes());
            ConnectionId::new(&id)
        }));
    }
    config
}

pub fn heartbeat(client_time_ms: u64) -> client_frame::Body {
    client_frame::Body::Heartbeat(HeartbeatRequest { client_time_ms })
}

/// Has the stand-in core push `body` on `lane`, `count` times.
pub fn push_back(lane: u8, count: u8, body: Vec<u8>) -> client_frame::Body {
    client_frame::Body::Send(SendRequest {
        conversation_id: vec![lane, count].into(),
        body: body.into(),
        ..Default::default()
    })
}
