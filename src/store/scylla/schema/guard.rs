//! Who migrates: one server at a time, the others wait. Whoever dies is followed by another one, at the same step.

use super::{
    keyspace::{self, query},
    statements,
};
use crate::store::scylla::{
    cluster::Cluster,
    error::OpenError,
    open_failure::{self, Doing},
};
use scylla::{
    serialize::row::SerializeRow,
    statement::{Consistency, unprepared::Statement},
};
use std::{
    future::Future,
    pin::pin,
    time::{Duration, Instant},
};

/// The row of the table `schema_version`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VersionRow {
    /// The newest migration that is done.
    pub version: i32,
    /// How many steps of the next one are done.
    pub step: i32,
    /// Whose turn it is; [`NOBODY`].
    claim: i64,
    /// Grows with every change.
    beat: i64,
    /// What others call whose turn it is.
    pub holder: String,
}

/// The right to migrate, until somebody has to assume that this server is dead.
pub(super) struct Guard<'a> {
    cluster: &'a Cluster,
    claim: i64,
    row: VersionRow,
}

/// How often a holder says that it is still there while others bear its silence.
const BEATS: u32 = 6;
/// How often those who wait look.
const LOOK: Duration = Duration::from_millis(250);
/// How long a server waits for another one that does not come to an end.
const WAIT_MAX: Duration = Duration::from_secs(300);

const COMPONENT: &str = "godwit";
const NOBODY: i64 = 0;
const DOING: Doing<'_> = Doing("say and note which schema there is");

/// Where the keyspace stands, if its table of versions is there.
pub(super) async fn version(cluster: &Cluster) -> Result<Option<VersionRow>, OpenError> {
    let tables = query(cluster, &DOING, statements::TABLES, (&cluster.options().keyspace,)).await?;
    let tables = tables.rows::<(String,)>().map_err(|error| open_failure::failed(&DOING, &error))?;
    if !tables.filter_map(Result::ok).any(|(name,)| name == "schema_version") {
        return Ok(None);
    }
    keyspace::enter(cluster).await?;
    read(cluster).await
}

impl<'a> Guard<'a> {
    /// Waits for its turn. `None`: another server has brought the keyspace to at least this version meanwhile.
    pub async fn take(cluster: &'a Cluster, until_version: i32) -> Result<Option<Self>, OpenError> {
        // 0 is nobody's.
        let claim = rand::random::<i64>() | 1;
        let begun = Instant::now();
        let mut seen: Option<(VersionRow, Instant)> = None;
        loop {
            let Some(row) = read(cluster).await? else {
                execute(cluster, statements::FIRST_VERSION, (COMPONENT,)).await?;
                continue;
            };
            if row.version >= until_version {
                return Ok(None);
            }
            let since = match &seen {
                Some((before, since)) if *before == row => *since,
                _ => Instant::now(),
            };
            if row.claim == NOBODY || since.elapsed() >= cluster.options().migration_silence_max {
                if row.claim != NOBODY {
                    tracing::warn!(holder = row.holder, "goes on with the migration of a server that is silent");
                }
                let mut guard = Self { cluster, claim, row };
                if guard.note(|_| ()).await? {
                    return Ok(Some(guard));
                }
            } else if begun.elapsed() >= WAIT_MAX {
                let keyspace = cluster.options().keyspace.clone();
                return Err(OpenError::MigrationBusy {
                    keyspace,
                    holder: row.holder,
                    waited_s: begun.elapsed().as_secs(),
                });
            } else {
                if seen.as_ref().is_none_or(|(before, _)| before.claim != row.claim) {
                    let silence_s = cluster.options().migration_silence_max.as_secs();
                    tracing::info!(
                        "waits for {}, which migrates the keyspace; goes on in its place after {silence_s} s of silence",
                        row.holder
                    );
                }
                seen = Some((row, since));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Where the keyspace stands.
    pub fn row(&self) -> &VersionRow {
        &self.row
    }

    /// Works, and goes on saying that it is there.
    pub async fn during<T>(&mut self, work: impl Future<Output = Result<T, OpenError>>) -> Result<T, OpenError> {
        let mut work = pin!(work);
        let beat = self.cluster.options().migration_silence_max / BEATS;
        loop {
            tokio::select! {
                result = &mut work => return result,
                () = tokio::time::sleep(beat) => self.must_note(|_| ()).await?,
            }
        }
    }

    /// Notes what is done.
    pub async fn done(&mut self, version: i32, step: i32) -> Result<(), OpenError> {
        self.must_note(|row| (row.version, row.step) = (version, step)).await
    }

    /// Lets others have their turn. If it cannot, they notice the silence.
    pub async fn give_up(mut self) {
        let claim = std::mem::replace(&mut self.claim, NOBODY);
        if let Err(error) = self.note(|_| ()).await {
            tracing::warn!(claim, %error, "the right to migrate could not be given back; others wait a moment");
        }
    }

    async fn must_note(&mut self, change: impl Fn(&mut VersionRow)) -> Result<(), OpenError> {
        match self.note(change).await? {
            true => Ok(()),
            false => Err(open_failure::failed(&DOING, &"another server took over the migration; this one was silent")),
        }
    }

    /// Changes the row, if nobody else has since it was read. What became of it is looked up when the cluster does not say.
    async fn note(&mut self, change: impl Fn(&mut VersionRow)) -> Result<bool, OpenError> {
        let before = self.row.clone();
        let mut next = VersionRow { claim: self.claim, beat: before.beat + 1, ..before.clone() };
        next.holder = if self.claim == NOBODY { String::new() } else { self.cluster.options().address.clone() };
        change(&mut next);
        for attempt in 1.. {
            let of = (COMPONENT, before.claim, before.beat);
            let values = (next.version, next.step, next.claim, next.beat, &next.holder, of.0, of.1, of.2);
            let result = execute(self.cluster, statements::NEXT_VERSION, values).await;
            let Some(now) = read(self.cluster).await? else { break };
            if now == next {
                self.row = next;
                return Ok(true);
            }
            match result {
                // It was not done, and nobody else did anything: try again.
                Err(error) if now == before && attempt == ATTEMPTS => return Err(error),
                _ if now == before && attempt < ATTEMPTS => (),
                _ => break,
            }
        }
        Ok(false)
    }
}

/// How often one change of the row is tried.
const ATTEMPTS: u32 = 5;

async fn read(cluster: &Cluster) -> Result<Option<VersionRow>, OpenError> {
    let mut statement = Statement::new(statements::VERSION);
    statement.set_consistency(Consistency::LocalSerial);
    let result = keyspace::once_there(|| cluster.session.query_unpaged(statement.clone(), (COMPONENT,))).await;
    let rows = result
        .map_err(|error| open_failure::of_execution(cluster.options(), &DOING, &error))?
        .into_rows_result()
        .map_err(|error| open_failure::failed(&DOING, &error))?;
    let row = rows.maybe_first_row::<(i32, i32, i64, i64, String)>();
    let row = row.map_err(|error| open_failure::failed(&DOING, &error))?;
    Ok(row.map(|(version, step, claim, beat, holder)| VersionRow { version, step, claim, beat, holder }))
}

async fn execute(cluster: &Cluster, cql: &str, values: impl SerializeRow) -> Result<(), OpenError> {
    let mut statement = Statement::new(cql);
    statement.set_serial_consistency(Some(scylla::statement::SerialConsistency::LocalSerial));
    let result = keyspace::once_there(|| cluster.session.query_unpaged(statement.clone(), &values)).await;
    result.map(drop).map_err(|error| open_failure::of_execution(cluster.options(), &DOING, &error))
}
