//! Writes of the log, which are nearly all that a server writes: a batch is put together once for each number of rows, and nothing is copied
//! on its way to the driver.

use super::{key, number, statements::Statements};
use crate::store::scylla::{
    connection::Cql,
    statement::BatchShape,
    tables::{LogRow, LogState, Written},
};
use godwit_proto::ConversationId;
use scylla::serialize::{
    SerializationError,
    row::{RowSerializationContext, SerializeRow},
    writers::RowWriter,
};
use std::{iter, sync::OnceLock};

/// Rows of a batch that is kept for the next one. As many as a mutation has, unless somebody raised its limit.
const ROWS_MAX: usize = 64;

/// Batches without values, by the number of rows; made when the first one is needed.
pub(super) struct LogWrites {
    with_state: Vec<OnceLock<BatchShape>>,
    rows_alone: Vec<OnceLock<BatchShape>>,
}

impl LogWrites {
    pub(super) fn new() -> Self {
        let shapes = || (0..=ROWS_MAX).map(|_| OnceLock::new()).collect();
        Self { with_state: shapes(), rows_alone: shapes() }
    }

    /// Writes rows of one bucket, and its static columns if there is a state.
    pub(super) async fn write(
        &self,
        cql: &Cql,
        statements: &Statements,
        (conversation, bucket): (ConversationId, u64),
        (state, rows): (Option<LogState>, Vec<LogRow>),
        timestamp_us: i64,
    ) -> Written {
        let key = key(conversation);
        let partition = (&key[..], number(bucket), timestamp_us);
        let make = || shape(cql, statements, state.is_some(), rows.len());
        let shapes = if state.is_some() { &self.with_state } else { &self.rows_alone };
        let values = values(partition, state.as_ref(), &rows);
        match shapes.get(rows.len()) {
            Some(shape) => cql.batch_of(shape.get_or_init(make), values).await,
            None => cql.batch_of(&make(), values).await,
        }
    }
}

/// The statements of a write, in the order of [`values`]. The static columns go with one of the rows, if there is one, which
/// spares the database a statement.
fn shape(cql: &Cql, statements: &Statements, has_state: bool, rows: usize) -> BatchShape {
    let state = has_state.then_some(if rows == 0 { &statements.log_state } else { &statements.log_state_entry });
    let others = if has_state { rows.saturating_sub(1) } else { rows };
    cql.shape("log_write", state.into_iter().chain(iter::repeat_n(&statements.log_entry, others)))
}

fn values<'a>(
    (key, bucket, timestamp_us): (&'a [u8], i64, i64),
    state: Option<&'a LogState>,
    rows: &'a [LogRow],
) -> Vec<Values<'a>> {
    let mut values = Vec::with_capacity(rows.len() + 1);
    let mut rows = rows.iter();
    if let Some(state) = state {
        let (head, epoch) = (number(state.head.0), number(state.epoch));
        values.push(match rows.next_back() {
            Some(LogRow { seq, entry }) => {
                Values::StateEntry((key, bucket, head, epoch, &state.pending, number(seq.0), entry, timestamp_us))
            }
            None => Values::State((key, bucket, head, epoch, &state.pending, timestamp_us)),
        });
    }
    values.extend(rows.map(|row| Values::Entry((key, bucket, number(row.seq.0), &row.entry, timestamp_us))));
    values
}

type StateEntry<'a> = (&'a [u8], i64, i64, i64, &'a [u8], i64, &'a [u8], i64);

/// Of one statement, in the order of its bind markers.
enum Values<'a> {
    State((&'a [u8], i64, i64, i64, &'a [u8], i64)),
    StateEntry(StateEntry<'a>),
    Entry((&'a [u8], i64, i64, &'a [u8], i64)),
}

impl SerializeRow for Values<'_> {
    fn serialize(
        &self,
        context: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        match self {
            Self::State(values) => values.serialize(context, writer),
            Self::StateEntry(values) => values.serialize(context, writer),
            Self::Entry(values) => values.serialize(context, writer),
        }
    }

    fn is_empty(&self) -> bool {
        false
    }
}
