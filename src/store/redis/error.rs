//! Why the server does not start with the Redis that it was given.

use super::options::UrlError;
use redis::{ErrorKind, RedisError, ServerErrorKind};
use std::{error::Error as _, io};
use thiserror::Error;

/// What is wrong with the Redis that was named, and will be until somebody changes something. That it is away is no such
/// thing: the server starts without it.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The address is none.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The host is unknown.
    #[error("there is no host {0:?}; check the address of Redis")]
    Name(String),
    /// It does not let us in.
    #[error(
        "Redis refuses us: {0}; check user and password, and that the user may use all commands on the server's keys"
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
        "what answers there is no Redis, or speaks TLS where the address says it does not, or the other way round: {0}"
    )]
    NotRedis(String),
    /// TLS fails.
    #[error(
        "there is no TLS with Redis: {0}; check ca_file, cert_file and key_file, and the name in the server's certificate"
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
            ErrorKind::InvalidClientConfig => Some(Self::Options(text)),
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Some(Self::NotRedis(text)),
            // How the TLS library says that it does not trust, or understand, what it gets.
            ErrorKind::Io if io_kind(error) == Some(io::ErrorKind::InvalidData) || text.contains("certificate") => {
                Some(Self::Certificates(text))
            }
            _ => None,
        }
    }
}

fn io_kind(error: &RedisError) -> Option<io::ErrorKind> {
    Some(error.source()?.downcast_ref::<io::Error>()?.kind())
}
