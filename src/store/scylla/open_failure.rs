//! From the driver's errors to what somebody can do about them.

use super::{error::OpenError, options::ScyllaOptions};
use scylla::errors::{
    ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError, ExecutionError, MetadataError,
    NewSessionError, PrepareError, RequestAttemptError,
};
use std::{fmt::Display, time::Duration};

/// What is being done, in words that follow "the cluster cannot".
pub(super) struct Doing<'a>(pub &'a str);

/// No session came about.
pub(super) fn of_session(options: &ScyllaOptions, error: &NewSessionError) -> OpenError {
    match error {
        NewSessionError::FailedToResolveAnyHostname(_) => OpenError::UnknownHosts { nodes: nodes(options) },
        NewSessionError::MetadataError(MetadataError::ConnectionPoolError(ConnectionPoolError::Broken {
            last_connection_error,
        })) => of_connection(options, last_connection_error),
        _ => OpenError::Unreachable { nodes: nodes(options), reason: error.to_string() },
    }
}

/// Somebody listens, and does not speak.
pub(super) fn silence(options: &ScyllaOptions, patience: Duration) -> OpenError {
    let reason = format!("connections are taken, and nothing is said on them for {} s", patience.as_secs());
    OpenError::Unreachable { nodes: nodes(options), reason }
}

/// A statement could not be prepared.
pub(super) fn of_prepare(statement: &'static str, error: &PrepareError) -> OpenError {
    match error {
        PrepareError::AllAttemptsFailed {
            first_attempt: RequestAttemptError::DbError(DbError::Invalid | DbError::SyntaxError, reason),
        } => OpenError::Statement { statement, reason: reason.clone() },
        _ => failed(&Doing("prepare statements"), error),
    }
}

/// A statement was not executed.
pub(super) fn of_execution(options: &ScyllaOptions, doing: &Doing<'_>, error: &ExecutionError) -> OpenError {
    match error {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Unauthorized, reason)) => {
            OpenError::NotAllowed {
                user: options.user.clone().unwrap_or_else(|| "anonymous".to_owned()),
                what: doing.0.to_owned(),
                keyspace: options.keyspace.clone(),
                reason: reason.clone(),
            }
        }
        _ => failed(doing, error),
    }
}

/// Anything else went wrong.
pub(super) fn failed(doing: &Doing<'_>, error: &dyn Display) -> OpenError {
    OpenError::Failed { what: doing.0.to_owned(), reason: error.to_string() }
}

fn of_connection(options: &ScyllaOptions, error: &ConnectionError) -> OpenError {
    match error {
        ConnectionError::ConnectionSetupRequestError(setup) => match &setup.error {
            ConnectionSetupRequestErrorKind::MissingAuthentication => OpenError::LoginMissing,
            ConnectionSetupRequestErrorKind::DbError(DbError::AuthenticationError, reason) => {
                OpenError::LoginRefused { user: options.user.clone().unwrap_or_default(), reason: reason.clone() }
            }
            // A node that does not like this end's certificate says so when everything seems settled.
            ConnectionSetupRequestErrorKind::BrokenConnection(broken) if options.tls.is_some() => {
                OpenError::Tls { nodes: nodes(options), reason: broken.to_string() }
            }
            _ => OpenError::Unreachable { nodes: nodes(options), reason: error.to_string() },
        },
        // Whatever rustls complains about arrives as an error of the socket.
        ConnectionError::IoError(io) if io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
            OpenError::Tls { nodes: nodes(options), reason: io.to_string() }
        }
        _ => OpenError::Unreachable { nodes: nodes(options), reason: error.to_string() },
    }
}

fn nodes(options: &ScyllaOptions) -> String {
    options.nodes.join(", ")
}
