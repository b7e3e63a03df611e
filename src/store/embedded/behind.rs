//! The write-behind: one thread that turns durable records into rows, in large batches that nobody waits for.

use super::{error::RowError, keys, shared::Shared, tidy::Tidy};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How often the guard file is synced while commits come in.
const GUARD_SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// How long it rests while the disk is full.
const FULL_DISK_REST: Duration = Duration::from_millis(50);

pub(super) struct WriteBehind {
    shared: Arc<Shared>,
    /// The newest record that was removed.
    removed_upto: u64,
    guard_synced: Instant,
    tidy: Tidy,
}

impl WriteBehind {
    /// Records after `removed_upto` may still be there.
    pub(super) fn new(shared: Arc<Shared>, removed_upto: u64, tidy: Tidy) -> Self {
        Self { shared, removed_upto, guard_synced: Instant::now(), tidy }
    }

    /// Runs until the store closes.
    pub(super) fn run(mut self) {
        let worked = self.work();
        self.tidy.close();
        if let Err(error) = worked {
            self.shared.fatal.fail(&format!("the write-behind failed: {error}"));
        }
    }

    fn work(&mut self) -> Result<(), RowError> {
        self.tidy.load(&self.shared.keyspaces)?;
        loop {
            let work = self.shared.wait_for_work();
            // On a full disk the records stay where they are: commits are refused, so they do not grow, and a reopened
            // store replays them.
            if self.shared.disk.is_full() {
                if work.closing {
                    return self.sync_guard();
                }
                std::thread::sleep(FULL_DISK_REST);
                continue;
            }
            self.tidy.look(&self.shared.keyspaces)?;
            if self.tidy.is_due() && !work.closing {
                self.remove_records()?;
                self.tidy.start(&self.shared).map_err(fjall::Error::Io)?;
            }
            if !work.records.is_empty() {
                self.tidy.on_round(&self.shared.keyspaces, &work.records)?;
                let removable_upto = self.shared.removable_upto();
                self.shared.write_round(&work.records, self.removed_upto + 1..=removable_upto)?;
                self.removed_upto = removable_upto;
                continue;
            }
            self.shared.acked.write(&self.shared.keyspaces)?;
            if let Some(asked) = work.settle {
                self.sync_rows()?;
                self.sync_guard()?;
                self.shared.settled(asked);
            } else if work.closing {
                self.shared.keyspaces.persist()?;
                return self.sync_guard();
            } else if self.guard_synced.elapsed() >= GUARD_SYNC_INTERVAL {
                self.sync_guard()?;
            }
        }
    }

    fn sync_rows(&self) -> Result<(), RowError> {
        let rows = self.shared.rows_before_sync();
        self.shared.keyspaces.persist()?;
        self.shared.synced(rows);
        Ok(())
    }

    /// Removes the records of all rows that are written.
    fn remove_records(&mut self) -> Result<(), RowError> {
        self.sync_rows()?;
        let removable_upto = self.shared.removable_upto();
        let mut batch = self.shared.keyspaces.db.batch();
        for number in self.removed_upto + 1..=removable_upto {
            batch.remove(&self.shared.keyspaces.records, keys::record(number));
        }
        batch.commit()?;
        self.removed_upto = removable_upto;
        Ok(())
    }

    fn sync_guard(&mut self) -> Result<(), RowError> {
        self.guard_synced = Instant::now();
        self.shared.guard.sync().map_err(fjall::Error::Io)?;
        Ok(())
    }
}
