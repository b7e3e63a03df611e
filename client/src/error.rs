//! Why something did not happen, and what the caller can do about it.

use godwit_proto::v1;
use godwit_proto::v1::ErrorCode;
use std::{fmt, io, time::Duration};
use thiserror::Error;

/// The server's answer to a request that it refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The stable code. A code that this version does not know reads as [`ErrorCode::Internal`].
    pub code: ErrorCode,
    /// For the developer who reads a log.
    pub message: String,
    /// The same request may succeed after this long. The client waits and repeats by itself before it reports a refusal,
    /// so that what an application sees has none.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal that this client decided on by itself, with the code that the server would have used.
    pub(crate) fn local(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None }
    }
}

impl From<v1::Error> for Refusal {
    fn from(error: v1::Error) -> Self {
        let code = match error.code() {
            ErrorCode::Unspecified => ErrorCode::Internal,
            code => code,
        };
        let retry_after = (error.retry_after_ms > 0).then(|| Duration::from_millis(u64::from(error.retry_after_ms)));
        Self { code, message: error.message, retry_after }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.code.as_str_name(), self.code as i32)?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

/// Why there is no client.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The server cannot be reached, and [`wait_for_server`](crate::ClientConfig::wait_for_server) is off. Try later.
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    /// The server's certificate is not the pinned one. Somebody is in between, or the server has a new certificate: ask
    /// the operator, never the network.
    #[error("the server's certificate has the fingerprint {}, not the pinned one", hex(.seen))]
    FingerprintMismatch {
        /// SHA-256 of the certificate that was presented.
        seen: [u8; 32],
    },
    /// TLS could not be agreed on: the certificate, its name or the protocol (ALPN).
    #[error("the server is not the expected one: {0}")]
    Tls(String),
    /// The server refused the login; trying the same again will not help.
    #[error("the server refused: {0}")]
    Refused(Refusal),
    /// The server answered with something that this protocol does not have.
    #[error("the server broke the protocol: {0}")]
    Protocol(&'static str),
    /// A field of the configuration cannot be used.
    #[error("{0}")]
    InvalidConfig(String),
    /// No UDP socket.
    #[error("no UDP socket: {0}")]
    Socket(#[from] io::Error),
}

impl ConnectError {
    /// The server's code, where it is the server that refused.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(refusal) => Some(refusal.code),
            _ => None,
        }
    }
}

/// Why a message was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SendError {
    /// The server refused it for good; other messages go on.
    #[error("the message was refused: {0}")]
    Refused(Refusal),
    /// The client was closed first. Whether the message was accepted is unknown: send it again with the same
    /// `client_msg_id` and `repeated` set.
    #[error("the client is closed")]
    Closed,
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RequestError {
    /// The server refused.
    #[error("the request was refused: {0}")]
    Refused(Refusal),
    /// The client is closed.
    #[error("the client is closed")]
    Closed,
    /// The server answered with something else. It is broken or not a Godwit server.
    #[error("the server answered with something else")]
    Protocol,
}

impl RequestError {
    /// The server's code, where it is the server that refused.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(refusal) => Some(refusal.code),
            Self::Closed | Self::Protocol => None,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
