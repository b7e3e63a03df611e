//! What a failed request may have done.

use super::tables::Written;
use crate::store::StoreError;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};

/// A write that was not answered as done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failed {
    /// It is nowhere, and never will be.
    NotWritten(StoreError),
    /// It may be anywhere, or come later.
    Unknown,
}

impl From<Failed> for Written {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::NotWritten(error) => Self::NotWritten(error),
            Failed::Unknown => Self::Unknown,
        }
    }
}

/// What a failed plain write may have done. *Not written* only where nobody can have tried: everything else is unknown.
pub fn classify(error: &ExecutionError) -> Failed {
    match was_tried(error) {
        Tried::Never => Failed::NotWritten(StoreError::Unavailable(error.to_string())),
        Tried::RefusedAtOnce => Failed::NotWritten(StoreError::Unavailable(error.to_string())),
        Tried::Perhaps => Failed::Unknown,
    }
}

/// As [`classify`], for a lightweight transaction: it has several rounds, and a server may notice in a late one that nodes are
/// away.
pub(super) fn classify_conditional(error: &ExecutionError) -> Failed {
    match was_tried(error) {
        Tried::Never => Failed::NotWritten(StoreError::Unavailable(error.to_string())),
        Tried::RefusedAtOnce | Tried::Perhaps => Failed::Unknown,
    }
}

/// A word for the label of [`crate::telemetry::metric::STORE_STATEMENT_FAILURES`].
pub(super) fn reason(error: &ExecutionError) -> &'static str {
    match error {
        ExecutionError::RequestTimeout(_) => "timed_out",
        ExecutionError::EmptyPlan | ExecutionError::ConnectionPoolError(_) => "unreachable",
        ExecutionError::LastAttemptError(RequestAttemptError::BrokenConnectionError(_)) => "disconnected",
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, _)) => match error {
            DbError::WriteTimeout { .. } | DbError::ReadTimeout { .. } => "timed_out",
            DbError::Unavailable { .. } => "unavailable",
            DbError::Overloaded | DbError::RateLimitReached { .. } => "overloaded",
            DbError::WriteFailure { .. } | DbError::ReadFailure { .. } | DbError::ServerError => "failed",
            _ => "refused",
        },
        _ => "refused",
    }
}

enum Tried {
    /// It did not leave, or was refused for what it says.
    Never,
    /// The coordinator knew too few live replicas and asked none.
    RefusedAtOnce,
    Perhaps,
}

fn was_tried(error: &ExecutionError) -> Tried {
    match error {
        ExecutionError::BadQuery(_)
        | ExecutionError::EmptyPlan
        | ExecutionError::PrepareError(_)
        // The driver's word for: no node had a connection that could take it. After an attempt it would be that one's error.
        | ExecutionError::ConnectionPoolError(_) => Tried::Never,
        ExecutionError::LastAttemptError(attempt) => match attempt {
            RequestAttemptError::SerializationError(_)
            | RequestAttemptError::CqlRequestSerialization(_)
            | RequestAttemptError::UnableToAllocStreamId => Tried::Never,
            RequestAttemptError::DbError(error, _) => match error {
                DbError::SyntaxError
                | DbError::Invalid
                | DbError::Unauthorized
                | DbError::AuthenticationError
                | DbError::ConfigError
                | DbError::IsBootstrapping
                | DbError::Unprepared { .. } => Tried::Never,
                DbError::Unavailable { .. } => Tried::RefusedAtOnce,
                // A server may call itself overloaded after it has asked some replicas.
                _ => Tried::Perhaps,
            },
            _ => Tried::Perhaps,
        },
        _ => Tried::Perhaps,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scylla::{errors::WriteType, statement::Consistency};
    use std::time::Duration;

    fn answered(error: DbError) -> ExecutionError {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, String::new()))
    }

    #[test]
    fn what_was_never_tried_is_not_written() {
        for error in [ExecutionError::EmptyPlan, answered(DbError::Invalid), answered(DbError::Unauthorized)] {
            assert!(matches!(classify(&error), Failed::NotWritten(_)), "{error}");
            assert!(matches!(classify_conditional(&error), Failed::NotWritten(_)), "{error}");
        }
    }

    #[test]
    fn a_write_that_may_have_been_tried_is_unknown() {
        let timed_out = DbError::WriteTimeout {
            consistency: Consistency::LocalQuorum,
            received: 0,
            required: 2,
            write_type: WriteType::UnloggedBatch,
        };
        for error in [
            ExecutionError::RequestTimeout(Duration::from_secs(1)),
            answered(timed_out),
            answered(DbError::Overloaded),
            answered(DbError::ServerError),
        ] {
            assert_eq!(classify(&error), Failed::Unknown, "{error}");
        }
    }

    #[test]
    fn too_few_live_nodes_say_nothing_about_a_lightweight_transaction() {
        let unavailable =
            answered(DbError::Unavailable { consistency: Consistency::LocalQuorum, required: 2, alive: 1 });
        assert!(matches!(classify(&unavailable), Failed::NotWritten(_)));
        assert_eq!(classify_conditional(&unavailable), Failed::Unknown);
    }
}
