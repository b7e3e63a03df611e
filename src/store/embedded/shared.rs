//! What the threads of the store share.

use super::{
    acked::Acked,
    disk_space::DiskSpace,
    guard::Guard,
    keyspaces::{Keyspaces, Rows},
    metric_names::BEHIND_BYTES,
    options::EmbeddedOptions,
    overlay::Overlay,
    record::Record,
    recovery::Recovered,
    round::Round,
    sync::{Fatal, lock, wait_for},
    watchdog::{Watchdog, Writer},
};
use crate::store::StoreError;
use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How often a waiting thread looks whether it waits in vain.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The engine, and the durable records that lie over its rows.
pub(super) struct Shared {
    pub(super) keyspaces: Keyspaces,
    pub(super) acked: Arc<Acked>,
    pub(super) guard: Guard,
    pub(super) disk: DiskSpace,
    pub(super) fatal: Arc<Fatal>,
    pub(super) watchdog: Watchdog,
    behind: Mutex<Behind>,
    /// There is something for the write-behind to do.
    filled: Condvar,
    /// The write-behind did something.
    drained: Condvar,
    /// Held for writing while a batch of rows is committed. The engine may show half of it to a snapshot taken meanwhile, and
    /// the rows of one conversation have to agree.
    batch: RwLock<()>,
    /// The newest record whose rows are written, perhaps not durably.
    rows_upto: AtomicU64,
    /// The newest record whose rows are certainly durable.
    rows_durable_upto: AtomicU64,
    /// Records up to here were found when the store was opened: a crash may have left some of their rows.
    replay_upto: u64,
    bytes_max: usize,
    rows_max: usize,
    batch_rows_max: usize,
    delay: Duration,
}

#[derive(Default)]
struct Behind {
    overlay: Overlay,
    closing: bool,
    /// How often somebody asked for everything to be written, which record was the newest at the last of them, and for
    /// which of them it is done.
    settle_asked: u64,
    settle_upto: u64,
    settle_done: u64,
}

/// What the write-behind should do now.
pub(super) struct Work {
    /// To be written as rows; perhaps none.
    pub(super) records: Vec<Arc<Record>>,
    /// Set when everything that somebody waits for is written: to be given to [`Shared::settled`].
    pub(super) settle: Option<u64>,
    pub(super) closing: bool,
}

impl Shared {
    pub(super) fn new(
        keyspaces: Keyspaces,
        guard: Guard,
        recovered: Recovered,
        acked: Arc<Acked>,
        fatal: Arc<Fatal>,
        options: &EmbeddedOptions,
    ) -> Self {
        let (rows_upto, replay_upto) = (recovered.rows_upto, recovered.newest());
        let mut behind = Behind::default();
        for record in recovered.records {
            behind.overlay.publish(Arc::new(record), Instant::now());
        }
        Self {
            keyspaces,
            acked,
            guard,
            disk: DiskSpace::new(options),
            fatal,
            watchdog: Watchdog::new(options.stall_max),
            behind: Mutex::new(behind),
            filled: Condvar::new(),
            drained: Condvar::new(),
            batch: RwLock::new(()),
            rows_upto: AtomicU64::new(rows_upto),
            rows_durable_upto: AtomicU64::new(rows_upto),
            replay_upto,
            bytes_max: options.behind_bytes_max,
            rows_max: options.behind_rows_max,
            batch_rows_max: options.behind_batch_rows_max,
            delay: options.behind_delay,
        }
    }

    /// Looks at the overlay and the rows at one moment: together they are exactly what has been published.
    pub(super) fn view<T>(&self, look: impl FnOnce(&Overlay) -> T) -> (T, Rows<'_>) {
        let _no_batch = self.batch.read().unwrap_or_else(PoisonError::into_inner);
        let behind = lock(&self.behind);
        let seen = look(&behind.overlay);
        (seen, Rows { keyspaces: &self.keyspaces, snapshot: self.keyspaces.db.snapshot() })
    }

    /// Looks at the overlay alone. What is not in it is in the rows.
    pub(super) fn overlay<T>(&self, look: impl FnOnce(&Overlay) -> T) -> T {
        look(&lock(&self.behind).overlay)
    }

    /// Shows readers a record that is durable.
    pub(super) fn publish(&self, record: Arc<Record>) {
        let mut behind = lock(&self.behind);
        let was_empty = behind.overlay.oldest_since().is_none();
        behind.overlay.publish(record, Instant::now());
        let wake = was_empty || self.is_round_full(&behind.overlay);
        metrics::gauge!(BEHIND_BYTES).set(behind.overlay.bytes() as f64);
        drop(behind);
        if wake {
            self.filled.notify_one();
        }
    }

    /// What a sync that begins now will make durable beside its own record: pass it to [`synced`](Self::synced).
    pub(super) fn rows_before_sync(&self) -> u64 {
        self.rows_upto.load(Ordering::Acquire)
    }

    /// A sync that began after [`rows_before_sync`](Self::rows_before_sync) has ended.
    pub(super) fn synced(&self, rows: u64) {
        self.rows_durable_upto.fetch_max(rows, Ordering::AcqRel);
    }

    /// The newest record that may be removed, because its rows are durable.
    pub(super) fn removable_upto(&self) -> u64 {
        self.rows_durable_upto.load(Ordering::Acquire)
    }

    /// Waits until the write-behind lags less than it may. Fails when it cannot catch up.
    pub(super) fn wait_for_room(&self) -> Result<(), StoreError> {
        let mut behind = lock(&self.behind);
        while behind.overlay.bytes() >= self.bytes_max {
            self.check_progress()?;
            self.filled.notify_one();
            behind = wait_for(&self.drained, behind, LOOK_AGAIN);
        }
        Ok(())
    }

    /// Waits until everything that is durable now is written as rows, durably too.
    pub(super) fn settle(&self) -> Result<(), StoreError> {
        let mut behind = lock(&self.behind);
        behind.settle_asked += 1;
        behind.settle_upto = behind.overlay.newest().unwrap_or(0);
        let asked = behind.settle_asked;
        while behind.settle_done < asked {
            self.check_progress()?;
            self.filled.notify_one();
            behind = wait_for(&self.drained, behind, LOOK_AGAIN);
        }
        Ok(())
    }

    fn check_progress(&self) -> Result<(), StoreError> {
        if self.fatal.has_failed() {
            return Err(StoreError::Unavailable("the store has failed".to_owned()));
        }
        if self.disk.is_full() { Err(StoreError::Full) } else { Ok(()) }
    }

    /// Tells the write-behind to write what is left and to end.
    pub(super) fn close(&self) {
        lock(&self.behind).closing = true;
        self.filled.notify_one();
    }

    /// Write-behind: waits for a full round, for a record that is old enough, or, for other chores, one delay.
    pub(super) fn wait_for_work(&self) -> Work {
        let until = Instant::now() + self.delay;
        let mut behind = lock(&self.behind);
        loop {
            let asked = (behind.settle_done < behind.settle_asked).then_some(behind.settle_asked);
            let settle = asked.filter(|_| behind.overlay.oldest().is_none_or(|oldest| oldest > behind.settle_upto));
            let age = behind.overlay.oldest_since().map(|since| since.elapsed());
            let hurry = asked.is_some() || behind.closing || self.is_round_full(&behind.overlay);
            let due = settle.is_none() && age.is_some_and(|age| hurry || age >= self.delay);
            let rest = until.saturating_duration_since(Instant::now());
            if due || hurry || rest.is_zero() {
                let records = if due { behind.overlay.round(self.rows_max) } else { Vec::new() };
                return Work { settle, closing: behind.closing, records };
            }
            let sleep = age.map_or(rest, |age| rest.min(self.delay.saturating_sub(age)));
            behind = wait_for(&self.filled, behind, sleep.max(Duration::from_millis(1)));
        }
    }

    /// Write-behind: writes records as rows and takes them out of the overlay. `removable` are older records.
    pub(super) fn write_round(
        &self,
        records: &[Arc<Record>],
        removable: std::ops::RangeInclusive<u64>,
    ) -> Result<(), super::error::RowError> {
        let round = Round::new(records);
        let replay = records.first().is_some_and(|oldest| oldest.number <= self.replay_upto);
        round.write(&self.keyspaces, removable, replay, self.batch_rows_max, |batch| {
            let _no_view = self.batch.write().unwrap_or_else(PoisonError::into_inner);
            self.watchdog.watch(Writer::Behind, || batch.commit())
        })?;
        let mut behind = lock(&self.behind);
        behind.overlay.forget(records);
        metrics::gauge!(BEHIND_BYTES).set(behind.overlay.bytes() as f64);
        drop(behind);
        self.rows_upto.store(round.upto(), Ordering::Release);
        self.drained.notify_all();
        Ok(())
    }

    /// Write-behind: everything that was durable when [`Work::settle`] was given is in durable rows.
    pub(super) fn settled(&self, asked: u64) {
        lock(&self.behind).settle_done = asked;
        self.drained.notify_all();
    }

    fn is_round_full(&self, overlay: &Overlay) -> bool {
        overlay.rows() >= self.rows_max || overlay.bytes() >= self.bytes_max / 2
    }
}
