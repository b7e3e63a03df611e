//! What a failed attempt or a lost connection means: try again, or give up.

use crate::{ConnectError, Refusal, frames::FrameFault};
use godwit_proto::v1::ErrorCode;
use quinn::{ConnectionError, ReadError, TransportErrorCode};
use std::{fmt, time::Duration};

/// Why there is no connection (any more), and whether another one would be any better.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Trying again cannot help.
    Fatal(ConnectError),
    /// Trying again may help.
    Retry {
        /// For people.
        reason: String,
        /// The server is there and asked to come back.
        asked: bool,
        /// How long it asked to stay away at least.
        after: Option<Duration>,
    },
}

impl Verdict {
    /// The server, or the way to it, is not there.
    pub(crate) fn unreachable(reason: impl fmt::Display) -> Self {
        Self::Retry { reason: reason.to_string(), asked: false, after: None }
    }

    pub(crate) fn invalid_config(reason: impl fmt::Display) -> Self {
        Self::Fatal(ConnectError::InvalidConfig(reason.to_string()))
    }

    pub(crate) fn protocol(what: &'static str) -> Self {
        Self::Fatal(ConnectError::Protocol(what))
    }
}

impl From<Refusal> for Verdict {
    fn from(refusal: Refusal) -> Self {
        let asked = refusal.retry_after.is_some() || refusal.code == ErrorCode::Overloaded;
        if asked || may_pass(refusal.code) {
            return Self::Retry { reason: refusal.to_string(), asked, after: refusal.retry_after };
        }
        Self::Fatal(ConnectError::Refused(refusal))
    }
}

impl From<&ConnectionError> for Verdict {
    fn from(error: &ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => {
                let code =
                    i32::try_from(close.error_code.into_inner()).ok().and_then(|raw| ErrorCode::try_from(raw).ok());
                match code {
                    Some(code) if code != ErrorCode::Unspecified => {
                        Refusal::local(code, String::from_utf8_lossy(&close.reason)).into()
                    }
                    _ => Self::unreachable(error),
                }
            }
            ConnectionError::TransportError(fault) if is_tls(fault.code) => tls(&fault),
            ConnectionError::ConnectionClosed(close) if is_tls(close.error_code) => tls(close),
            ConnectionError::ConnectionClosed(close) if close.error_code == TransportErrorCode::CONNECTION_REFUSED => {
                Self::Retry { reason: error.to_string(), asked: true, after: None }
            }
            ConnectionError::VersionMismatch => tls(error),
            _ => Self::unreachable(error),
        }
    }
}

impl From<&FrameFault> for Verdict {
    fn from(fault: &FrameFault) -> Self {
        match fault {
            FrameFault::Read(ReadError::ConnectionLost(error)) => error.into(),
            FrameFault::Protocol(what) => Self::protocol(what),
            FrameFault::Read(_) | FrameFault::Ended => Self::unreachable(fault),
        }
    }
}

/// A fault of this moment, as opposed to one of this client, this user or this frame.
fn may_pass(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::AuthenticationTimeout
            | ErrorCode::DeliveryTimeout
            | ErrorCode::SessionIdle
            | ErrorCode::Overloaded
            | ErrorCode::StoreFull
            | ErrorCode::StoreUnavailable
            | ErrorCode::ShuttingDown
            | ErrorCode::Internal
    )
}

/// QUIC carries TLS alerts as these codes (RFC 9001, section 4.8).
fn is_tls(code: TransportErrorCode) -> bool {
    (0x100..0x200).contains(&u64::from(code))
}

fn tls(error: &impl fmt::Display) -> Verdict {
    Verdict::Fatal(ConnectError::Tls(error.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    fn refused(code: ErrorCode, retry_after: Option<Duration>) -> Verdict {
        Refusal { code, message: String::new(), retry_after }.into()
    }

    #[test]
    fn who_one_is_does_not_get_better_by_trying_again() {
        for code in [ErrorCode::InvalidCredentials, ErrorCode::SessionEnded, ErrorCode::UnsupportedVersion] {
            let verdict = refused(code, None);
            assert!(matches!(&verdict, Verdict::Fatal(error) if error.code() == Some(code)), "{verdict:?}");
        }
    }

    #[test]
    fn a_server_that_stops_or_is_overloaded_is_tried_again() {
        assert!(matches!(refused(ErrorCode::DeliveryTimeout, None), Verdict::Retry { asked: false, .. }));
        assert!(matches!(refused(ErrorCode::ShuttingDown, None), Verdict::Retry { asked: false, .. }));
        assert!(matches!(refused(ErrorCode::Overloaded, None), Verdict::Retry { asked: true, .. }));
        let hint = Some(Duration::from_secs(2));
        assert!(matches!(refused(ErrorCode::TooManySessions, hint), Verdict::Retry { after, .. } if after == hint));
    }

    #[test]
    fn a_silent_server_is_tried_again() {
        assert!(matches!(Verdict::from(&ConnectionError::TimedOut), Verdict::Retry { asked: false, .. }));
        assert!(matches!(Verdict::from(&ConnectionError::Reset), Verdict::Retry { .. }));
    }
}
