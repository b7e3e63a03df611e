//! One attempt to connect and log in.

use crate::{
    ClientConfig, ConnectError, Credentials, Refusal, SharedEndpoint,
    clock::ServerClock,
    close::Verdict,
    command::Link,
    endpoint::first_connection_id,
    frames::{FrameReader, encode_request},
    patience::Patience,
    tls::Tls,
};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream::FuturesUnordered};
use godwit_proto::{
    LANES, PROTOCOL_VERSION, UserId,
    codec::FRAME_BYTES_MAX,
    v1::{
        AuthenticateResponse, ClientFrame, ErrorCode, HelloRequest, Limits, LoginRequest, RegisterRequest,
        ResumeRequest, client_frame::Body, server_frame::Body as Reply,
    },
};
use prost::Message;
use quinn::{Connection, Endpoint, IdleTimeout, SendStream, TransportConfig, VarInt};
use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};
use tokio::sync::Semaphore;

/// Connects one client, again and again.
pub(crate) struct Connector {
    config: ClientConfig,
    tls: Tls,
    endpoint: Option<Endpoint>,
    login: Login,
    /// What the newest connection taught: where the user lives and how long silence may last.
    user_id: Option<UserId>,
    keep_alive_wanted: Option<Duration>,
    patience: Patience,
    clock: ServerClock,
}

/// A connection that is logged in.
pub(crate) struct Established {
    pub(crate) link: Link,
    pub(crate) writer: SendStream,
    pub(crate) reader: FrameReader,
    pub(crate) identity: Identity,
    /// The client's own packets keep the connection up; `Some` when the server wants them more often than that.
    pub(crate) heartbeat: Option<Duration>,
}

/// Who the server says is logged in, and what it accepts.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) user_id: UserId,
    pub(crate) username: String,
    pub(crate) display_name: String,
    pub(crate) token: Bytes,
    pub(crate) limits: Limits,
}

impl fmt::Debug for Identity {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({:?} {:?})", self.user_id, self.username)
    }
}

/// What the next attempt logs in with.
enum Login {
    Register {
        /// An attempt ended without an answer: the account may have been made.
        in_doubt: bool,
    },
    Password {
        /// What registering was refused with: the answer, should the password turn out not to be ours.
        registration: Option<Refusal>,
    },
    Token(Bytes),
}

impl Connector {
    pub(crate) fn new(config: ClientConfig) -> Result<Self, ConnectError> {
        let tls = Tls::new(&config.trust)?;
        let login = match &config.credentials {
            Credentials::Register { .. } => Login::Register { in_doubt: false },
            Credentials::Login { .. } => Login::Password { registration: None },
            Credentials::Token { token } => Login::Token(token.clone()),
        };
        let endpoint = config.endpoint.as_ref().map(|shared| shared.quinn().clone());
        let patience = Patience::new(config.connect_timeout);
        let connector = Self {
            user_id: config.user_id,
            config,
            tls,
            endpoint,
            login,
            keep_alive_wanted: None,
            patience,
            clock: ServerClock::new(),
        };
        let first_frames = [connector.hello(), connector.authenticate()];
        let too_long = |body| ClientFrame { request_id: u64::MAX, body: Some(body) }.encoded_len() > FRAME_BYTES_MAX;
        if first_frames.into_iter().any(too_long) {
            return Err(ConnectError::InvalidConfig("a name or the password is too long for a frame".into()));
        }
        Ok(connector)
    }

    /// The server's clock, read at every login.
    pub(crate) fn clock(&self) -> ServerClock {
        self.clock.clone()
    }

    /// The socket that the newest attempt used.
    pub(crate) fn endpoint(&self) -> Option<&Endpoint> {
        self.endpoint.as_ref()
    }

    /// The socket is this client's own.
    pub(crate) fn owns_endpoint(&self) -> bool {
        self.config.endpoint.is_none()
    }

    /// Connects and logs in once.
    pub(crate) async fn attempt(&mut self) -> Result<Established, Verdict> {
        let limit = self.patience.limit();
        let Ok(outcome) = tokio::time::timeout(limit, self.attempt_unlimited()).await else {
            self.patience.on_elapsed();
            return Err(Verdict::unreachable(format_args!("no answer within {} s", limit.as_secs_f32())));
        };
        if outcome.is_ok() {
            self.patience.on_connected();
        }
        outcome
    }

    async fn attempt_unlimited(&mut self) -> Result<Established, Verdict> {
        // Closes the connection if the attempt fails or is given up: one that is half logged in is of no use.
        let guard = CloseOnDrop(Some(self.connect().await?));
        let connection = guard.0.clone().ok_or_else(|| Verdict::unreachable("closed"))?;
        let established = self.log_in(connection).await?;
        guard.keep();
        Ok(established)
    }

    /// Tries the server's addresses, each a moment after the one before, and takes the first that answers: a name may have
    /// an address that nobody listens on (RFC 8305, in short).
    async fn connect(&mut self) -> Result<Connection, Verdict> {
        let server = self.config.server.clone();
        let mut addresses: Vec<SocketAddr> = tokio::net::lookup_host(&server)
            .await
            .map_err(|error| Verdict::unreachable(format_args!("{server}: {error}")))?
            .collect();
        addresses.truncate(ADDRESSES_MAX);
        let endpoint = self.endpoint_towards(&addresses)?;
        let mut config = quinn::ClientConfig::new(self.tls.crypto.clone());
        let user_id = self.user_id;
        config.initial_dst_cid_provider(Arc::new(move || first_connection_id(user_id)));
        config.transport_config(Arc::new(self.transport()?));

        let mut attempts: FuturesUnordered<_> = (0..)
            .zip(addresses)
            .map(|(index, address)| {
                let (endpoint, config, name) = (endpoint.clone(), config.clone(), self.config.expected_name());
                async move {
                    tokio::time::sleep(ADDRESS_STAGGER * index).await;
                    let connecting = endpoint.connect_with(config, address, name).map_err(|error| match error {
                        quinn::ConnectError::InvalidRemoteAddress(_) => Verdict::unreachable(error),
                        error => Verdict::invalid_config(error),
                    })?;
                    connecting.await.map_err(|error| Verdict::from(&error))
                }
            })
            .collect();
        let mut failure = Verdict::unreachable(format_args!("{server} has no address"));
        while let Some(outcome) = attempts.next().await {
            match outcome {
                Ok(connection) => return Ok(connection),
                Err(verdict) => failure = verdict,
            }
            if let Some(seen) = self.tls.take_rejected() {
                return Err(Verdict::Fatal(ConnectError::FingerprintMismatch { seen }));
            }
        }
        Err(failure)
    }

    /// Hello and login leave together; the answers come back in order.
    async fn log_in(&mut self, connection: Connection) -> Result<Established, Verdict> {
        let (mut writer, reader) = connection.open_bi().await.map_err(|error| Verdict::from(&error))?;
        let mut reader = FrameReader::new(reader);
        let mut out = BytesMut::new();
        encode_request(HELLO_ID, self.hello(), &mut out);
        encode_request(AUTHENTICATE_ID, self.authenticate(), &mut out);
        let was_in_doubt = match &mut self.login {
            Login::Register { in_doubt } => std::mem::replace(in_doubt, true),
            Login::Password { .. } | Login::Token(_) => false,
        };
        // A connection that closed meanwhile says why when it is read from.
        let _ = writer.write_all(&out).await;

        let hello = match answer(&mut reader, HELLO_ID).await? {
            Ok(Reply::Hello(hello)) => hello,
            Ok(_) => return Err(Verdict::protocol("hello was answered with something else")),
            Err(refusal) => return Err(refusal.into()),
        };
        self.clock.on_reading(hello.server_time_ms);
        let authenticated = match answer(&mut reader, AUTHENTICATE_ID).await? {
            Ok(Reply::Authenticate(authenticated)) => authenticated,
            Ok(_) => return Err(Verdict::protocol("the login was answered with something else")),
            Err(refusal) => return Err(self.on_login_refused(refusal, was_in_doubt)),
        };
        self.established(connection, writer, reader, hello.limits, authenticated)
    }

    fn established(
        &mut self,
        connection: Connection,
        writer: SendStream,
        reader: FrameReader,
        limits: Option<Limits>,
        authenticated: AuthenticateResponse,
    ) -> Result<Established, Verdict> {
        let limits = limits.ok_or_else(|| Verdict::protocol("hello without limits"))?;
        let user_id = UserId::new(authenticated.user_id).map_err(|_| Verdict::protocol("a login without a user"))?;
        let token = match &self.login {
            Login::Token(token) if authenticated.token.is_empty() => token.clone(),
            _ => authenticated.token,
        };
        let wanted = Duration::from_millis(u64::from(limits.idle_timeout_ms)) / 3;
        let heartbeat = (!wanted.is_zero() && wanted < self.keep_alive()).then_some(wanted);
        self.login = Login::Token(token.clone());
        self.user_id = Some(user_id);
        self.keep_alive_wanted = (!wanted.is_zero()).then_some(wanted);
        let bulk_streams = (limits.bulk_streams_max as usize).clamp(1, BULK_STREAMS_MAX);
        let link = Link {
            connection,
            bulk_streams: Arc::new(Semaphore::new(bulk_streams)),
            request_ids: Arc::new(AtomicU64::new(AUTHENTICATE_ID)),
        };
        let AuthenticateResponse { username, display_name, .. } = authenticated;
        let identity = Identity { user_id, username, display_name, token, limits };
        Ok(Established { link, writer, reader, identity, heartbeat })
    }

    /// What a refused login means for the next attempt.
    fn on_login_refused(&mut self, refusal: Refusal, was_in_doubt: bool) -> Verdict {
        if let Login::Register { in_doubt } = &mut self.login {
            *in_doubt = was_in_doubt;
        }
        let has_password = !matches!(self.config.credentials, Credentials::Token { .. });
        match (&mut self.login, refusal.code) {
            // Taken, or the invitation used, by an attempt of ours whose answer got lost, perhaps: then the password is right.
            (Login::Register { in_doubt: true }, ErrorCode::UsernameTaken | ErrorCode::InvalidInvitation) => {
                let again = Verdict::Retry { reason: refusal.to_string(), asked: true, after: None };
                self.login = Login::Password { registration: Some(refusal) };
                again
            }
            (Login::Password { registration }, ErrorCode::InvalidCredentials) => {
                Verdict::Fatal(ConnectError::Refused(registration.take().unwrap_or(refusal)))
            }
            (Login::Token(_), ErrorCode::InvalidToken) if has_password => {
                self.login = Login::Password { registration: None };
                Verdict::Retry { reason: refusal.to_string(), asked: true, after: None }
            }
            _ => refusal.into(),
        }
    }

    fn hello(&self) -> Body {
        Body::Hello(HelloRequest {
            protocol_version: PROTOCOL_VERSION,
            device_id: self.config.device_id.to_bytes(),
            device_name: self.config.device_name.clone(),
            client_name: self.config.client_name.clone(),
        })
    }

    fn authenticate(&self) -> Body {
        match (&self.login, &self.config.credentials) {
            (Login::Token(token), _) | (_, Credentials::Token { token }) => {
                Body::Resume(ResumeRequest { token: token.clone() })
            }
            (Login::Register { .. }, Credentials::Register { username, password, display_name, invitation }) => {
                Body::Register(RegisterRequest {
                    username: username.clone(),
                    password: password.clone(),
                    display_name: display_name.clone(),
                    invitation: invitation.clone(),
                })
            }
            (_, Credentials::Register { username, password, .. } | Credentials::Login { username, password }) => {
                Body::Login(LoginRequest { username: username.clone(), password: password.clone() })
            }
        }
    }

    /// The shared socket, or this client's own, bound when the addresses are known: an IPv6 one reaches both families.
    fn endpoint_towards(&mut self, addresses: &[SocketAddr]) -> Result<Endpoint, Verdict> {
        if let Some(endpoint) = &self.endpoint {
            return Ok(endpoint.clone());
        }
        let ipv6 = addresses.iter().any(SocketAddr::is_ipv6);
        let bound = match ipv6.then(|| SharedEndpoint::bind(SocketAddr::from(([0; 16], 0)))) {
            Some(Ok(bound)) => bound,
            // No IPv6 on this machine, or none needed.
            Some(Err(_)) | None => SharedEndpoint::bind(SocketAddr::from(([0, 0, 0, 0], 0)))
                .map_err(|error| Verdict::Fatal(error.into()))?,
        };
        Ok(self.endpoint.insert(bound.quinn().clone()).clone())
    }

    fn transport(&self) -> Result<TransportConfig, Verdict> {
        let mut transport = TransportConfig::default();
        godwit_quic::configure(&mut transport);
        let window = self.config.limits.stream_window_bytes;
        // Room for every stream: lanes that are not read must not hold up replies.
        let streams = LANES + BULK_STREAMS_MAX as u32 + 1;
        transport
            .max_concurrent_bidi_streams(VarInt::from_u32(0))
            .max_concurrent_uni_streams(VarInt::from_u32(LANES))
            .stream_receive_window(VarInt::from_u32(window))
            .receive_window(VarInt::from_u32(window.saturating_mul(streams)))
            .send_window(SEND_WINDOW_BYTES)
            .max_idle_timeout(Some(IdleTimeout::try_from(self.config.idle_timeout).map_err(Verdict::invalid_config)?))
            .keep_alive_interval(Some(self.keep_alive()))
            // Frames are small; searching for a larger datagram costs memory and timers on every connection.
            .mtu_discovery_config(None);
        Ok(transport)
    }

    fn keep_alive(&self) -> Duration {
        let learnt = self.keep_alive_wanted.map(|wanted| wanted.min(KEEP_ALIVE_MAX));
        self.config.keep_alive.or(learnt).unwrap_or(KEEP_ALIVE_FIRST)
    }
}

/// Reads up to the answer to a request of the login. The inner error is a refusal.
async fn answer(reader: &mut FrameReader, request_id: u64) -> Result<Result<Reply, Refusal>, Verdict> {
    loop {
        let frame = reader.next().await.map_err(|fault| Verdict::from(&fault))?;
        match frame.body {
            Some(Reply::Error(error)) => return Ok(Err(error.into())),
            Some(reply) if frame.request_id == request_id => return Ok(Ok(reply)),
            // From a newer server.
            _ => {}
        }
    }
}

/// Closes a connection, unless it is kept.
struct CloseOnDrop(Option<Connection>);

impl CloseOnDrop {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.close(VarInt::from_u32(0), b"");
        }
    }
}

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;

/// How long an address has to answer before the next one is tried beside it.
const ADDRESS_STAGGER: Duration = Duration::from_millis(250);

const HELLO_ID: u64 = 1;
const AUTHENTICATE_ID: u64 = 2;

/// Bulk streams that this client opens at once, whatever the server allows.
const BULK_STREAMS_MAX: usize = 4;

/// Bytes that were written and not acknowledged by the server's QUIC.
const SEND_WINDOW_BYTES: u64 = 256 * 1024;

/// Before the server said how long silence may last.
const KEEP_ALIVE_FIRST: Duration = Duration::from_secs(10);

/// Address translators forget a silent UDP flow after 30 to 60 seconds.
const KEEP_ALIVE_MAX: Duration = Duration::from_secs(20);
