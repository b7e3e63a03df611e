//! What timers say to the cluster.

use crate::store::scylla::{
    connection::Cql,
    error::OpenError,
    statement::{Statement, Text},
};

/// All of them, prepared.
pub(super) struct Statements {
    pub(super) timer: Statement,
    pub(super) timer_due: Statement,
    pub(super) put_timer: Statement,
    pub(super) due: Statement,
    pub(super) put_due: Statement,
    pub(super) of: Statement,
    pub(super) put_of: Statement,
    pub(super) due_buckets: Statement,
    pub(super) put_due_bucket: Statement,
    pub(super) buckets_of: Statement,
    pub(super) put_bucket_of: Statement,
}

impl Statements {
    pub(super) async fn prepare(cql: &Cql) -> Result<Self, OpenError> {
        Ok(Self {
            timer: cql.prepare(TIMER).await?,
            timer_due: cql.prepare(TIMER_DUE).await?,
            put_timer: cql.prepare(PUT_TIMER).await?,
            due: cql.prepare(DUE).await?,
            put_due: cql.prepare(PUT_DUE).await?,
            of: cql.prepare(OF).await?,
            put_of: cql.prepare(PUT_OF).await?,
            due_buckets: cql.prepare(DUE_BUCKETS).await?,
            put_due_bucket: cql.prepare(PUT_DUE_BUCKET).await?,
            buckets_of: cql.prepare(BUCKETS_OF).await?,
            put_bucket_of: cql.prepare(PUT_BUCKET_OF).await?,
        })
    }
}

const TIMER: Text = Text::read("timer", "SELECT due_ms, payload, live FROM timers WHERE timer = ?");
const TIMER_DUE: Text = Text::read("timer_due", "SELECT due_ms, live FROM timers WHERE timer = ?");
const PUT_TIMER: Text = Text::write(
    "put_timer",
    "INSERT INTO timers (timer, due_ms, payload, live) VALUES (?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?",
);
const DUE: Text = Text::read(
    "timers_due",
    "SELECT due, live FROM timers_due WHERE slice = ? AND bucket = ? AND due > ? AND due < ? LIMIT ?",
);
const PUT_DUE: Text = Text::write(
    "put_timers_due",
    "INSERT INTO timers_due (slice, bucket, due, live) VALUES (?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?",
);
const OF: Text = Text::read(
    "timers_of",
    "SELECT due, live FROM timers_of WHERE owner = ? AND bucket = ? AND due > ? AND due < ? LIMIT ?",
);
const PUT_OF: Text = Text::write(
    "put_timers_of",
    "INSERT INTO timers_of (owner, bucket, due, live) VALUES (?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?",
);
const DUE_BUCKETS: Text = Text::read(
    "due_buckets",
    "SELECT bucket, live FROM due_buckets WHERE slice = ? AND bucket >= ? AND bucket <= ? LIMIT ?",
);
const PUT_DUE_BUCKET: Text = Text::write(
    "put_due_bucket",
    "INSERT INTO due_buckets (slice, bucket, live) VALUES (?, ?, ?) USING TIMESTAMP ? AND TTL ?",
);
const BUCKETS_OF: Text = Text::read(
    "buckets_of",
    "SELECT bucket, live FROM buckets_of WHERE owner = ? AND bucket >= ? AND bucket <= ? LIMIT ?",
);
const PUT_BUCKET_OF: Text = Text::write(
    "put_bucket_of",
    "INSERT INTO buckets_of (owner, bucket, live) VALUES (?, ?, ?) USING TIMESTAMP ? AND TTL ?",
);
