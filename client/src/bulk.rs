//! One request on a bulk stream of its own, so that its reply never stands in front of a live message.

use crate::{
    Refusal,
    command::Link,
    frames::{FrameFault, FrameReader, encode_request},
};
use bytes::BytesMut;
use godwit_proto::v1::{client_frame::Body, server_frame::Body as Reply};

/// Why a bulk stream gave no reply.
#[derive(Debug)]
pub(crate) enum BulkError {
    /// The server refused.
    Refused(Refusal),
    /// The connection or the stream broke; on another connection the same may succeed.
    Lost,
    /// The server answered with something else.
    Protocol,
}

/// Asks on a stream of its own, waiting for its turn among the streams that may be open.
pub(crate) async fn ask(link: &Link, body: Body) -> Result<Reply, BulkError> {
    // Never closed, so this cannot fail.
    let _permit = link.bulk_streams.acquire().await.map_err(|_| BulkError::Lost)?;
    let (mut send, receive) = link.connection.open_bi().await.map_err(|_| BulkError::Lost)?;
    let mut out = BytesMut::new();
    let request_id = link.next_request_id();
    encode_request(request_id, body, &mut out);
    send.write_all(&out).await.map_err(|_| BulkError::Lost)?;
    // The last request on this stream. An error says that the stream is gone, which reading will tell.
    let _ = send.finish();
    let frame = FrameReader::new(receive).next().await.map_err(|fault| match fault {
        FrameFault::Protocol(_) => BulkError::Protocol,
        FrameFault::Ended | FrameFault::Read(_) => BulkError::Lost,
    })?;
    match frame.body {
        Some(Reply::Error(error)) => Err(BulkError::Refused(error.into())),
        Some(reply) if frame.request_id == request_id => Ok(reply),
        _ => Err(BulkError::Protocol),
    }
}
