//! The one session that all cores share, and how a statement of each kind is executed.

use super::{
    cluster::{Backend, Cluster},
    error::OpenError,
    open_failure,
    options::ScyllaOptions,
    outcome::{Failed, classify, classify_conditional, reason},
    schema,
    statement::{BatchShape, Statement, StatementKind, Text, WriteBatch},
    tables::Written,
};
use crate::{store::StoreError, telemetry::metric};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use metrics::{Histogram, counter, histogram};
use scylla::{
    client::{PoolSize, execution_profile::ExecutionProfileHandle, session::Session},
    deserialize::row::DeserializeRow,
    errors::ExecutionError,
    policies::{
        load_balancing::{DefaultPolicy, LoadBalancingPolicy},
        retry::{DefaultRetryPolicy, FallthroughRetryPolicy},
        speculative_execution::SimpleSpeculativeExecutionPolicy,
    },
    response::{
        PagingState, PagingStateResponse,
        query_result::{QueryResult, QueryRowsResult},
    },
    serialize::row::SerializeRow,
    statement::{Consistency, SerialConsistency, batch::BatchStatement},
    value::{CqlValue, Row},
};
use std::{
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};

/// A session in the keyspace. Every call needs a tokio runtime around it.
pub struct Cql {
    session: Session,
    backend: Backend,
    read: ExecutionProfileHandle,
    write: ExecutionProfileHandle,
    conditional: ExecutionProfileHandle,
    batch_statements: Histogram,
}

/// What a lightweight transaction found. ScyllaDB always tells the row as it was before, Cassandra only when it did nothing.
#[derive(Debug, Clone)]
pub struct Conditional {
    /// Whether the condition held, and the write is done.
    pub applied: bool,
    /// The row as it was. Of no use unless it was not applied.
    row: Vec<(String, CqlValue)>,
}

/// How long the first node has before a second one is asked the same. Well above what a node that is well takes.
const SPECULATE_AFTER: Duration = Duration::from_millis(100);

/// Rows of one page where there may be more than one.
const PAGE_ROWS: i32 = 1_000;

impl Cql {
    /// Connects, looks at versions and schema (or brings the schema up to date, as the options say), and enters the keyspace.
    pub async fn connect(options: &ScyllaOptions) -> Result<Self, OpenError> {
        let cluster = Cluster::reach(options).await?;
        schema::ready(&cluster).await?;
        Self::enter(&cluster).await
    }

    /// A session in the keyspace of a cluster whose schema is right.
    pub async fn enter(cluster: &Cluster) -> Result<Self, OpenError> {
        let options = cluster.options();
        let pool = match cluster.backend() {
            Backend::Scylla => PoolSize::PerShard(NonZeroUsize::MIN),
            Backend::Cassandra => PoolSize::PerHost(options.connections_per_host),
        };
        let builder = super::cluster::session_builder(options)?
            .pool_size(pool)
            .keyspaces_to_fetch([&options.keyspace])
            .fetch_full_schema_metadata(false)
            .use_keyspace(&options.keyspace, false);
        let session = super::cluster::open(options, &builder).await?;
        let nodes = DefaultPolicy::builder().prefer_datacenter(cluster.datacenter().to_owned()).build();
        Ok(Self {
            session,
            backend: cluster.backend(),
            read: read_profile(options.request_timeout, &nodes),
            write: write_profile(options.request_timeout, &nodes),
            conditional: conditional_profile(options.request_timeout, &nodes),
            batch_statements: histogram!(metric::STORE_BATCH_STATEMENTS),
        })
    }

    /// Which database this is.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Has the cluster prepare a statement. Do it once, when the store is opened.
    pub async fn prepare(&self, text: Text) -> Result<Statement, OpenError> {
        let mut prepared =
            self.session.prepare(text.cql).await.map_err(|error| open_failure::of_prepare(text.name, &error))?;
        let profile = match text.kind {
            StatementKind::Read => &self.read,
            StatementKind::SerialRead | StatementKind::Conditional => &self.conditional,
            StatementKind::Write => &self.write,
        };
        prepared.set_execution_profile_handle(Some(profile.clone()));
        prepared.set_is_idempotent(text.kind == StatementKind::Read);
        prepared.set_page_size(PAGE_ROWS);
        if text.kind == StatementKind::SerialRead {
            prepared.set_consistency(Consistency::LocalSerial);
        }
        Ok(Statement::new(text, prepared))
    }

    /// Rows in one piece, for statements that name one row or have a LIMIT. What it borrows from is not copied.
    pub async fn read(&self, statement: &Statement, values: impl SerializeRow) -> Result<QueryRowsResult, StoreError> {
        let result = self.execute(statement, values).await.map_err(|error| unavailable(statement.name(), &error))?;
        result.into_rows_result().map_err(|error| unavailable(statement.name(), &error))
    }

    /// As [`Cql::read`], the rows as they came.
    pub async fn rows<R>(&self, statement: &Statement, values: impl SerializeRow) -> Result<Vec<R>, StoreError>
    where
        R: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
    {
        let result = self.read(statement, values).await?;
        let rows = result.rows::<R>().map_err(|error| unavailable(statement.name(), &error))?;
        rows.collect::<Result<_, _>>().map_err(|error| unavailable(statement.name(), &error))
    }

    /// The first row.
    pub async fn row<R>(&self, statement: &Statement, values: impl SerializeRow) -> Result<Option<R>, StoreError>
    where
        R: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
    {
        let result = self.read(statement, values).await?;
        result.maybe_first_row::<R>().map_err(|error| unavailable(statement.name(), &error))
    }

    /// All rows of a partition of any size, page by page.
    pub async fn rows_paged<R>(&self, statement: &Statement, values: impl SerializeRow) -> Result<Vec<R>, StoreError>
    where
        R: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
    {
        let name = statement.name();
        let begun = Instant::now();
        // The pager takes the statement by value; that is a few counters.
        let pager = self.session.execute_iter(statement.prepared.clone(), values).await;
        let rows = async {
            let stream = pager
                .map_err(|error| unavailable(name, &error))?
                .rows_stream::<R>()
                .map_err(|error| unavailable(name, &error))?;
            stream.try_collect().await.map_err(|error| unavailable(name, &error))
        };
        let rows = rows.await;
        statement.seconds.record(begun.elapsed());
        if rows.is_err() {
            failed(name, "failed");
        }
        rows
    }

    /// A page of a whole table, after the place where the page before ended, and where this one does; `None` after the last.
    pub async fn page<R>(
        &self,
        statement: &Statement,
        values: impl SerializeRow,
        after: Option<Bytes>,
    ) -> Result<(Vec<R>, Option<Bytes>), StoreError>
    where
        R: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
    {
        let name = statement.name();
        let after = after.map_or_else(PagingState::start, |after| PagingState::new_from_raw_bytes(after.as_ref()));
        let request = self.session.execute_single_page(&statement.prepared, values, after);
        let (result, more) =
            timed(name, &statement.seconds, request).await.map_err(|error| unavailable(name, &error))?;
        let result = result.into_rows_result().map_err(|error| unavailable(name, &error))?;
        let rows = result.rows::<R>().map_err(|error| unavailable(name, &error))?;
        let rows = rows.collect::<Result<_, _>>().map_err(|error| unavailable(name, &error))?;
        let next = match more {
            PagingStateResponse::HasMorePages { state } => {
                state.as_bytes_slice().map(|place| Bytes::copy_from_slice(place))
            }
            PagingStateResponse::NoMorePages => None,
        };
        Ok((rows, next))
    }

    /// A plain write of one row.
    pub async fn write(&self, statement: &Statement, values: impl SerializeRow) -> Written {
        match self.execute(statement, values).await {
            Ok(_) => Written::Done,
            Err(error) => not_done(statement.name(), classify(&error)).into(),
        }
    }

    /// Writes of one partition, whole or not at all.
    pub async fn batch(&self, batch: &WriteBatch) -> Written {
        self.batch_statements.record(u32::try_from(batch.len()).unwrap_or(u32::MAX));
        match self.send(batch, &self.write).await {
            Ok(_) => Written::Done,
            Err(error) => not_done(batch.name, classify(&error)).into(),
        }
    }

    /// What batches of these plain writes have in common.
    pub fn shape<'a>(&self, name: &'static str, statements: impl Iterator<Item = &'a Statement>) -> BatchShape {
        BatchShape::new(name, self.write.clone(), statements)
    }

    /// As [`Cql::batch`], with the values of all statements in order.
    pub async fn batch_of(&self, shape: &BatchShape, values: Vec<impl SerializeRow>) -> Written {
        self.batch_statements.record(u32::try_from(values.len()).unwrap_or(u32::MAX));
        let result = match (shape.batch.statements.as_slice(), values.as_slice()) {
            ([BatchStatement::PreparedStatement(statement)], [values]) => {
                timed(shape.name, &shape.seconds, self.session.execute_unpaged(statement, values)).await
            }
            _ => timed(shape.name, &shape.seconds, self.session.batch(&shape.batch, values)).await,
        };
        match result {
            Ok(_) => Written::Done,
            Err(error) => not_done(shape.name, classify(&error)).into(),
        }
    }

    /// A lightweight transaction. When its outcome is unknown, read what is there by a [`StatementKind::SerialRead`].
    pub async fn conditional(&self, statement: &Statement, values: impl SerializeRow) -> Result<Conditional, Failed> {
        match self.execute(statement, values).await {
            Ok(result) => conditional(result).ok_or_else(|| not_done(statement.name(), Failed::Unknown)),
            Err(error) => Err(not_done(statement.name(), classify_conditional(&error))),
        }
    }

    /// Several lightweight transactions of one partition of one table, all of them or none.
    pub async fn conditional_batch(&self, batch: &WriteBatch) -> Result<Conditional, Failed> {
        match self.send(batch, &self.conditional).await {
            Ok(result) => conditional(result).ok_or_else(|| not_done(batch.name, Failed::Unknown)),
            Err(error) => Err(not_done(batch.name, classify_conditional(&error))),
        }
    }

    /// Any statement, as the driver answers it.
    pub async fn execute(
        &self,
        statement: &Statement,
        values: impl SerializeRow,
    ) -> Result<QueryResult, ExecutionError> {
        timed(statement.name(), &statement.seconds, self.session.execute_unpaged(&statement.prepared, values)).await
    }

    async fn send(&self, batch: &WriteBatch, profile: &ExecutionProfileHandle) -> Result<QueryResult, ExecutionError> {
        if let ([statement], [values]) = (batch.statements.as_slice(), batch.values.as_slice()) {
            return timed(batch.name, &batch.seconds, self.session.execute_unpaged(statement, values)).await;
        }
        let mut unlogged = batch.unlogged();
        unlogged.set_execution_profile_handle(Some(profile.clone()));
        timed(batch.name, &batch.seconds, self.session.batch(&unlogged, &batch.values)).await
    }
}

impl Conditional {
    /// A column of the row as it was; `None` when it was not told or is not there.
    pub fn column(&self, name: &str) -> Option<&CqlValue> {
        self.row.iter().find(|(column, _)| column == name).map(|(_, value)| value)
    }

    /// A column of 64 bits.
    pub fn bigint(&self, name: &str) -> Option<i64> {
        self.column(name).and_then(CqlValue::as_bigint)
    }

    /// A column of 32 bits.
    pub fn int(&self, name: &str) -> Option<i32> {
        self.column(name).and_then(CqlValue::as_int)
    }

    /// A column of text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.column(name).and_then(|value| value.as_text().map(String::as_str))
    }

    /// A column of bytes.
    pub fn blob(&self, name: &str) -> Option<&[u8]> {
        self.column(name).and_then(|value| value.as_blob().map(Vec::as_slice))
    }
}

/// The first row that has `[applied]` in it, by name: the two databases put different columns around it.
fn conditional(result: QueryResult) -> Option<Conditional> {
    let rows = result.into_rows_result().ok()?;
    let names: Vec<String> = rows.column_specs().iter().map(|column| column.name().to_owned()).collect();
    let mut applied = None;
    let mut row = Vec::new();
    for found in rows.rows::<Row>().ok()? {
        let columns: Vec<_> = names.iter().cloned().zip(found.ok()?.columns).collect();
        let says = columns.iter().find(|(name, _)| name == "[applied]")?.1.as_ref()?.as_boolean()?;
        // A batch has a row for each statement; with one that was refused all were.
        applied = Some(applied.unwrap_or(true) && says);
        if row.is_empty() {
            row = columns.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        }
    }
    Some(Conditional { applied: applied?, row })
}

async fn timed<T>(
    name: &'static str,
    seconds: &Histogram,
    request: impl Future<Output = Result<T, ExecutionError>>,
) -> Result<T, ExecutionError> {
    let begun = Instant::now();
    let result = request.await;
    seconds.record(begun.elapsed());
    if let Err(error) = &result {
        failed(name, reason(error));
        tracing::debug!(statement = name, %error, "a request to the cluster failed");
    }
    result
}

fn failed(name: &'static str, reason: &'static str) {
    counter!(metric::STORE_STATEMENT_FAILURES, metric::STATEMENT => name, metric::REASON => reason).increment(1);
}

fn not_done(name: &'static str, failed: Failed) -> Failed {
    if failed == Failed::Unknown {
        counter!(metric::STORE_UNKNOWN_OUTCOMES, metric::STATEMENT => name).increment(1);
    }
    failed
}

fn unavailable(name: &str, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("{name}: {error}"))
}

fn read_profile(timeout: Duration, nodes: &Arc<dyn LoadBalancingPolicy>) -> ExecutionProfileHandle {
    let speculative = SimpleSpeculativeExecutionPolicy { max_retry_count: 1, retry_interval: SPECULATE_AFTER };
    scylla::client::execution_profile::ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .request_timeout(Some(timeout))
        .load_balancing_policy(nodes.clone())
        .retry_policy(Arc::new(DefaultRetryPolicy::new()))
        .speculative_execution_policy(Some(Arc::new(speculative)))
        .build()
        .into_handle_with_label("read".to_owned())
}

/// The driver must not write anything again by itself: what is written again, and until when, is decided where the outcome is
/// known to be unknown.
fn write_profile(timeout: Duration, nodes: &Arc<dyn LoadBalancingPolicy>) -> ExecutionProfileHandle {
    scylla::client::execution_profile::ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .request_timeout(Some(timeout))
        .load_balancing_policy(nodes.clone())
        .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
        .build()
        .into_handle_with_label("write".to_owned())
}

fn conditional_profile(timeout: Duration, nodes: &Arc<dyn LoadBalancingPolicy>) -> ExecutionProfileHandle {
    write_profile(timeout, nodes)
        .pointee_to_builder()
        .serial_consistency(Some(SerialConsistency::LocalSerial))
        .build()
        .into_handle_with_label("conditional".to_owned())
}
