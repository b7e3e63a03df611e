//! Why the server does not start with the Redis that it was given.

use super::options::UrlError;
use redis::{ErrorKind, RedisError, ServerErrorKind};
use std::{
    error::Error,
    io::{
        self,
        ErrorKind::{BrokenPipe, ConnectionReset, TimedOut, UnexpectedEof},
    },
    sync::Arc,
};
use thiserror::Error;

/// What is wrong with the Redis that was named, and will be until somebody changes something. That it is away is no such
/// thing: the server starts without it.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The address is none.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The host is unknown.
    #[error("there is no host {0:?}; correct `summaries`, which names Redis")]
    Name(String),
    /// It does not let us in.
    #[error(
        "Redis refuses us: {0}; check redis.user and the password in redis.password_file (unset where Redis has none), and that the user \
         may use the commands and the keys that docs/OPERATIONS.md lists"
    )]
    Refused(String),
    /// It is too old.
    #[error("Redis has version {0}; use 7.0 or newer, or any Valkey")]
    Version(String),
    /// Several nodes that are no cluster.
    #[error(
        "several hosts are named, and the first that answers is no Redis Cluster; name one host, or nodes of a cluster"
    )]
    NoCluster,
    /// It speaks another language.
    #[error(
        "what answers where `summaries` points is no Redis, or speaks TLS where the address says it does not, or the other way round: {0}"
    )]
    NotRedis(String),
    /// TLS fails.
    #[error(
        "there is no TLS with Redis: {0}; redis.ca_file has to have who signed its certificate, which has to name the host as `summaries` \
         does; if it wants to see a certificate, set redis.cert_file and redis.key_file to one that it trusts"
    )]
    Certificates(String),
    /// The options contradict each other.
    #[error("the address of Redis cannot be used: {0}")]
    Options(String),
    /// The runtime that it is to run on has ended.
    #[error("the runtime of the store has ended")]
    Closed,
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub(super) enum ConnectError {
    #[error("{0}")]
    Away(String),
    #[error(transparent)]
    Wrong(#[from] OpenError),
}

impl OpenError {
    /// `None`: it may well work in a while.
    pub(super) fn of(error: &RedisError) -> Option<Self> {
        let text = error.to_string();
        let code = error.code().unwrap_or_default();
        match error.kind() {
            ErrorKind::AuthenticationFailed | ErrorKind::Server(ServerErrorKind::NoPerm) => Some(Self::Refused(text)),
            _ if ["NOAUTH", "WRONGPASS", "NOPERM"].contains(&code) => Some(Self::Refused(text)),
            // The database of that number is not there, or may not be chosen.
            _ if text.contains("switch database") => Some(Self::Options(text)),
            // The cluster's client tells of what it met by the text alone.
            _ if of_tls(error) || ["certificate", "TLS", "PEM"].iter().any(|word| text.contains(word)) => {
                Some(Self::Certificates(text))
            }
            ErrorKind::InvalidClientConfig => Some(Self::Options(text)),
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Some(Self::NotRedis(text.replace('\n', " "))),
            _ => None,
        }
    }
}

impl ConnectError {
    pub(super) fn of(error: &RedisError) -> Self {
        match OpenError::of(error) {
            Some(wrong) => Self::Wrong(wrong),
            // Which is also what whoever listens does when it speaks TLS and we do not, or the other way round.
            None if matches!(io_kind(error), Some(ConnectionReset | UnexpectedEof | BrokenPipe | TimedOut)) => {
                Self::Away(format!("{error}; if it is up, mind that rediss:// is with TLS and redis:// without"))
            }
            None => Self::Away(error.to_string()),
        }
    }
}

/// The client hands out the pointer to its source, not what it points to.
fn held(error: &RedisError) -> Option<&(dyn Error + Send + Sync + 'static)> {
    error.source()?.downcast_ref::<Arc<dyn Error + Send + Sync>>().map(|held| &**held)
}

fn io_kind(error: &RedisError) -> Option<io::ErrorKind> {
    held(error)?.downcast_ref::<io::Error>().map(io::Error::kind)
}

/// Whether TLS could not be begun, or the library for it does not trust, or understand, what it gets.
fn of_tls(error: &RedisError) -> bool {
    held(error).is_some_and(|held| match held.downcast_ref::<io::Error>() {
        Some(io) => io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()),
        // The roots of this system cannot be read, or the host has no name that a certificate could have.
        None => error.kind() == ErrorKind::Io,
    })
}
