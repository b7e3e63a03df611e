//! One request on a bulk stream of its own.

use crate::{Refusal, command::Link};
use godwit_proto::v1::{client_frame::Body, server_frame::Body as Reply};

/// Why a bulk stream gave no reply.
pub(crate) enum BulkError {
    /// The server refused.
    Refused(Refusal),
    /// The connection or the stream broke; on another connection the same may succeed.
    Lost,
    /// The server answered with something else.
    Protocol,
}

/// Asks on a stream of its own, waiting for its turn among the streams that may be open.
pub(crate) async fn ask(_link: &Link, _body: Body) -> Result<Reply, BulkError> {
    Err(BulkError::Lost)
}
