//! One connection's life, from its first packet to its end.

use super::{
    admission::Ticket,
    metrics::Metrics,
    open_session::OpenSession,
    options::TransportOptions,
    session::{End, Session},
};
use crate::router::CorePort;
use godwit_proto::v1::ErrorCode;
use quinn::{Connecting, Connection, ConnectionError, RecvStream, SendStream, VarInt};
use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    task::{Context, Poll},
};
use tokio::{
    sync::watch,
    time::{Instant, timeout, timeout_at},
};

/// What the connections of one core share.
pub(super) struct Shared {
    pub(super) options: TransportOptions,
    pub(super) port: CorePort,
    pub(super) metrics: Rc<Metrics>,
    /// True once the server is stopping.
    pub(super) shutdown: watch::Receiver<bool>,
}

/// Serves one connection. Returns when it is closed, or was never established.
pub(super) async fn run(connecting: Connecting, ticket: Ticket, shared: Rc<Shared>) {
    let Some(connection) = shake_hands(connecting, &shared).await else { return };
    let _counted = shared.metrics.connection();
    let authenticate_until = Instant::now() + shared.options.authentication_timeout();
    let streams = match session_stream(&connection, authenticate_until, &shared).await {
        Ok(streams) => streams,
        Err(Some((code, reason))) => return close(&connection, code, reason),
        Err(None) => return,
    };
    let remote = canonical(connection.remote_address());
    // The core knows what a client has shown of itself, so from here on it watches the deadline.
    let login_within = authenticate_until.saturating_duration_since(Instant::now());
    let Some(open) = OpenSession::open(&shared.port, remote, login_within, shared.metrics.clone()) else {
        return close(&connection, ErrorCode::Overloaded, "the server has as many sessions as it can serve");
    };
    // By reference from here on: an async function keeps what is moved into it twice.
    let mut session = Session::new(&connection, &shared.options, open, streams, ticket);
    let end = serve(&connection, &mut session).await;
    session.close(end).await;
}

async fn shake_hands(connecting: Connecting, shared: &Shared) -> Option<Connection> {
    let handshakes = &shared.metrics.handshakes;
    match timeout(shared.options.handshake_timeout(), connecting).await {
        Ok(Ok(connection)) => {
            handshakes.accepted.increment(1);
            Some(connection)
        }
        Err(_) | Ok(Err(ConnectionError::TimedOut)) => {
            handshakes.timed_out.increment(1);
            None
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, "a handshake failed");
            handshakes.failed.increment(1);
            None
        }
    }
}

/// Waits for the client's first stream. When there will be none: how to close, or `None` if the connection is gone.
async fn session_stream(
    connection: &Connection,
    authenticate_until: Instant,
    shared: &Shared,
) -> Result<(SendStream, RecvStream), Option<(ErrorCode, &'static str)>> {
    let mut shutdown = shared.shutdown.clone();
    tokio::select! {
        stream = timeout_at(authenticate_until, connection.accept_bi()) => match stream {
            Ok(stream) => stream.map_err(|_| None),
            Err(_) => Err(Some((ErrorCode::AuthenticationTimeout, "no session stream was opened in time"))),
        },
        _ = shutdown.wait_for(|stopping| *stopping) => Err(Some((ErrorCode::ShuttingDown, "the server is stopping"))),
    }
}

/// Turns until the session ends.
async fn serve(connection: &Connection, session: &mut Session<'_>) -> End {
    let outbox = session.outbox();
    let mut changed = pin!(outbox.changed());
    let mut accept = pin!(connection.accept_bi());
    let mut datagram = pin!(connection.read_datagram());
    poll_fn(|cx: &mut Context<'_>| {
        // All are polled until they wait, so that neither a change nor a stream goes unnoticed.
        while changed.as_mut().poll(cx).is_ready() {
            changed.set(outbox.changed());
        }
        while let Poll::Ready(stream) = accept.as_mut().poll(cx) {
            match stream {
                Ok((send, recv)) => session.on_stream(send, recv),
                // Also what ends a session that neither reads nor writes when its connection is lost.
                Err(error) => return Poll::Ready(End::Lost(error)),
            }
            accept.set(connection.accept_bi());
        }
        // A lost connection ends the other one, too.
        while let Poll::Ready(Ok(frame)) = datagram.as_mut().poll(cx) {
            session.on_datagram(frame);
            datagram.set(connection.read_datagram());
        }
        session.poll_turn(cx)
    })
    .await
}

/// A client that reaches a dual-stack socket over IPv4 looks like `::ffff:127.0.0.1`, which is no loopback address to
/// whoever asks.
fn canonical(remote: SocketAddr) -> SocketAddr {
    SocketAddr::new(remote.ip().to_canonical(), remote.port())
}

fn close(connection: &Connection, code: ErrorCode, reason: &str) {
    connection.close(VarInt::from_u32(code as u32), reason.as_bytes());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn result_bytes<A, B, C, R>(_: impl Fn(A, B, C) -> R) -> usize {
        size_of::<R>()
    }

    #[test]
    fn an_ipv4_client_of_a_dual_stack_socket_is_known_by_its_ipv4_address() {
        let remote = canonical(SocketAddr::new("::ffff:127.0.0.1".parse().unwrap(), 7));
        assert_eq!(remote, "127.0.0.1:7".parse().unwrap());
        assert!(remote.ip().is_loopback());
    }

    #[test]
    fn a_connection_costs_little_of_our_own_memory() {
        let bytes = result_bytes(run);
        assert!(bytes <= 1_536, "the task of one connection takes {bytes} bytes");
    }
}
