//! The QUIC endpoint of each core.

use super::{
    admission::{Admission, Verdict},
    certificate::Certificate,
    connection::{self, Shared},
    connection_id::CoreConnectionIds,
    metrics::Metrics,
    options::{InvalidOption, TransportOptions},
    secret::QuicSecrets,
    tls::{self, TlsError},
};
use crate::router::CorePort;
use godwit_proto::v1::ErrorCode;
use quinn::{
    Endpoint, EndpointConfig, Incoming, MtuDiscoveryConfig, ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use std::{io, net::UdpSocket, pin::pin, rc::Rc, sync::Arc};
use thiserror::Error;
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet, yield_now},
    time::{sleep, timeout},
};

/// What all endpoints of a server share. Make one, and call [`serve`](Self::serve) on every core.
pub struct Transport {
    options: TransportOptions,
    endpoints: u16,
    server_config: ServerConfig,
    secrets: QuicSecrets,
}

impl Transport {
    /// For as many endpoints as [`bind`](super::bind) gave sockets. Uses TLS once, so this takes some 100 ms.
    pub fn new(
        options: TransportOptions,
        endpoints: u16,
        certificate: &Certificate,
        secrets: QuicSecrets,
    ) -> Result<Self, TransportError> {
        options.validate()?;
        assert!(endpoints > 0, "a server has at least one endpoint");
        let mut server_config = ServerConfig::new(tls::server_config(certificate)?, secrets.token_key.clone());
        server_config
            .transport_config(Arc::new(transport_config(&options)))
            .migration(true)
            .max_incoming(share(options.incoming_max, endpoints))
            .incoming_buffer_size(INCOMING_BYTES_EACH)
            .incoming_buffer_size_total(options.incoming_bytes_max / u64::from(endpoints));
        Ok(Self { options, endpoints, server_config, secrets })
    }

    /// Serves the connections that land on one socket until `shutdown` becomes true, and then until they are gone or
    /// [`drain_timeout_ms`](TransportOptions::drain_timeout_ms) is over. The core, which must go on running meanwhile,
    /// closes the sessions.
    ///
    /// `index` is the socket's place in [`Bound::sockets`](super::Bound::sockets). Runs on the thread of the core that
    /// `port` leads to, in a current-thread runtime and a [`LocalSet`](tokio::task::LocalSet). Fails when the socket
    /// does; the server cannot go on without it.
    pub async fn serve(
        &self,
        socket: UdpSocket,
        index: u16,
        port: CorePort,
        mut shutdown: watch::Receiver<bool>,
    ) -> io::Result<()> {
        let endpoint = self.endpoint(socket, index)?;
        let admission = Admission::new(
            share(self.options.retry_handshakes_min, self.endpoints),
            share(self.options.handshakes_max, self.endpoints),
        );
        let shared = Rc::new(Shared {
            options: self.options.clone(),
            port,
            metrics: Rc::new(Metrics::new()),
            shutdown: shutdown.clone(),
        });
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                // A dropped sender means that the server is going down without saying so.
                _ = shutdown.wait_for(|stopping| *stopping) => break,
                Some(ended) = connections.join_next() => report(ended),
                incoming = endpoint.accept() => {
                    let Some(incoming) = incoming else {
                        return Err(io::Error::other("the endpoint lost its socket"));
                    };
                    admit(incoming, &admission, &shared, &mut connections);
                    // Each handshake is some 0.3 ms of this thread; connections that exist come in between.
                    yield_now().await;
                }
            }
        }
        self.drain(&endpoint, connections).await;
        Ok(())
    }

    async fn drain(&self, endpoint: &Endpoint, mut connections: JoinSet<()>) {
        let mut over = pin!(sleep(self.options.drain_timeout()));
        loop {
            tokio::select! {
                () = &mut over => break,
                ended = connections.join_next() => match ended {
                    Some(ended) => report(ended),
                    None => break,
                },
                Some(incoming) = endpoint.accept() => incoming.refuse(),
            }
        }
        endpoint.close(VarInt::from_u32(ErrorCode::ShuttingDown as u32), b"the server is stopping");
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
        // Lets the last packets leave; clients that miss them learn from a stateless reset.
        let _ = timeout(self.options.linger(), endpoint.wait_idle()).await;
    }

    /// The endpoint that [`serve`](Self::serve) runs, with nothing behind it: what Godwit is measured against.
    pub fn endpoint(&self, socket: UdpSocket, index: u16) -> io::Result<Endpoint> {
        let mut config = EndpointConfig::new(self.secrets.reset_key.clone());
        let (endpoints, secrets) = (self.endpoints, self.secrets.clone());
        config
            .cid_generator(move || Box::new(CoreConnectionIds::new(index, endpoints, &secrets)))
            .min_reset_interval(self.options.reset_interval_min());
        Endpoint::new(config, Some(self.server_config.clone()), socket, Arc::new(TokioRuntime))
    }
}

fn admit(incoming: Incoming, admission: &Rc<Admission>, shared: &Rc<Shared>, connections: &mut JoinSet<()>) {
    let handshakes = &shared.metrics.handshakes;
    match admission.judge(incoming.remote_address_validated()) {
        Verdict::Accept => match incoming.accept() {
            Ok(connecting) => {
                connections.spawn_local(connection::run(connecting, admission.admit(), shared.clone()));
            }
            Err(error) => {
                tracing::debug!(%error, "a handshake failed at its first packet");
                handshakes.failed.increment(1);
            }
        },
        // An address that is not validated may always be asked to retry.
        Verdict::Retry => match incoming.retry() {
            Ok(()) => handshakes.retried.increment(1),
            Err(error) => {
                error.into_incoming().refuse();
                handshakes.refused.increment(1);
            }
        },
        Verdict::Refuse => {
            incoming.refuse();
            handshakes.refused.increment(1);
        }
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed");
    }
}

fn transport_config(options: &TransportOptions) -> TransportConfig {
    let mut config = TransportConfig::default();
    godwit_quic::configure(&mut config);
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .max_idle_timeout(Some(VarInt::from_u32(options.idle_timeout_ms).into()))
        .receive_window(VarInt::from_u32(options.unauthenticated_receive_window_bytes))
        .stream_receive_window(VarInt::from_u32(options.stream_receive_window_bytes))
        .send_window(options.send_window_bytes.into())
        .initial_mtu(options.mtu_bytes)
        .mtu_discovery_config(options.mtu_discovery.then(MtuDiscoveryConfig::default))
        // The client keeps the connection open; two sides doing so is twice the packets.
        .keep_alive_interval(None);
    config
}

/// One endpoint's part of a limit for the whole server.
fn share(limit: usize, endpoints: u16) -> usize {
    limit.div_ceil(endpoints.into())
}

/// A client hello with a post-quantum key share is two packets, and there is no 0-RTT; this is several times that.
const INCOMING_BYTES_EACH: u64 = 16 << 10;

/// Why the transport cannot be set up.
#[derive(Debug, Error)]
pub enum TransportError {
    /// Change the configuration.
    #[error(transparent)]
    Option(#[from] InvalidOption),
    /// See [`TlsError`].
    #[error(transparent)]
    Tls(#[from] TlsError),
}
