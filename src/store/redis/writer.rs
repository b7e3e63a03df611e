//! Writes to Redis, one pipeline at a time: what has come meanwhile goes with the next, one script call for each slice.

use super::{
    Shared,
    cells::CellId,
    changes::Change,
    link::{OPEN, Questions, WRITE, read},
    meters::{Doubt, Kind},
    slices::{Turn, epoch_of},
};
use redis::{Cmd, Value};
use std::{collections::BTreeMap, sync::Arc, time::Instant};
use tokio::sync::{mpsc, oneshot};

/// Calls of the store, and rebuilds, that wait. Past it slices are closed instead, which costs rebuilds later.
pub(super) const QUEUE_MAX: usize = 4_096;
/// Jobs and about bytes of one pipeline at most, so that it is answered in time.
const PIPELINE_JOBS_MAX: usize = 512;
const PIPELINE_BYTES_MAX: usize = 1024 * 1024;

pub(super) enum Job {
    /// What one call of the store changed.
    Changed(Vec<Change>, Announced),
    /// What was read from the store.
    Rebuilt(Vec<Rebuilt>),
    /// Answered when everything before it is done.
    Settle(oneshot::Sender<()>),
}

/// What was made from the store, if nothing has changed since.
pub(super) struct Rebuilt {
    pub(super) change: Change,
    pub(super) cell: CellId,
    /// As it was before the store was read.
    pub(super) version: u64,
}

/// Changes that Redis may not have yet. While they are behind, nobody reads there what they are about; when this is dropped,
/// whatever became of them has become of them.
pub(super) struct Announced {
    pub(super) shared: Arc<Shared>,
    pub(super) cells: Vec<CellId>,
}

impl Drop for Announced {
    fn drop(&mut self) {
        for cell in &self.cells {
            self.shared.cells.caught_up(*cell);
        }
    }
}

/// Runs until the queue is closed.
pub(super) async fn run(shared: Arc<Shared>, mut queue: mpsc::Receiver<Job>) {
    let mut jobs = Vec::new();
    while queue.recv_many(&mut jobs, PIPELINE_JOBS_MAX).await > 0 {
        shared.meters.queue_depth(queue.len());
        let mut waiting = std::mem::take(&mut jobs).into_iter().peekable();
        while waiting.peek().is_some() {
            write(&shared, Batch::take(&mut waiting)).await;
        }
    }
}

/// What goes with one pipeline.
#[derive(Default)]
struct Batch {
    /// In the order of the jobs.
    changes: Vec<Item>,
    announced: Vec<Announced>,
    settled: Vec<oneshot::Sender<()>>,
}

struct Item {
    change: Change,
    /// It is to be written only if this is still the version of the cell.
    unless_changed: Option<(CellId, u64)>,
}

impl Batch {
    fn take(jobs: &mut impl Iterator<Item = Job>) -> Self {
        let mut batch = Self::default();
        let mut bytes = 0;
        while bytes < PIPELINE_BYTES_MAX
            && let Some(job) = jobs.next()
        {
            let from = batch.changes.len();
            match job {
                Job::Changed(changes, announced) => {
                    batch.changes.extend(changes.into_iter().map(|change| Item { change, unless_changed: None }));
                    batch.announced.push(announced);
                }
                Job::Rebuilt(rebuilt) => batch.changes.extend(rebuilt.into_iter().map(|rebuilt| Item {
                    change: rebuilt.change,
                    unless_changed: Some((rebuilt.cell, rebuilt.version)),
                })),
                Job::Settle(settled) => batch.settled.push(settled),
            }
            bytes += batch.changes[from..].iter().map(|item| item.change.bytes()).sum::<usize>();
        }
        batch
    }
}

async fn write(shared: &Shared, batch: Batch) {
    let Batch { changes, announced, settled } = batch;
    let mut slices: BTreeMap<usize, Vec<Item>> = BTreeMap::new();
    for item in changes {
        slices.entry(item.change.subject().slice()).or_default().push(item);
    }
    if shared.link.is_up() {
        write_slices(shared, slices).await;
    } else {
        for slice in slices.into_keys() {
            shared.close(slice, Doubt::Unanswered);
        }
    }
    drop(announced);
    for settled in settled {
        // Who waited may have gone.
        let _ = settled.send(());
    }
}

async fn write_slices(shared: &Shared, slices: BTreeMap<usize, Vec<Item>>) {
    let now = Instant::now();
    let keep = shared.keep.as_secs().max(1);
    let mut questions = Questions::default();
    let mut turns: Vec<(usize, Turn)> = Vec::new();
    for (slice, items) in slices {
        // A slice is opened for what was rebuilt alone: a change has nothing to change in a closed one.
        let may_open = items.iter().any(|item| item.unless_changed.is_some());
        let Some(turn) = shared.slices.begin(slice, may_open, now) else { continue };
        // Looked at after the slice was begun: whatever changes from now on finds it open, and comes after this.
        let items = items.into_iter().filter(|item| {
            item.unless_changed.is_none_or(|(cell, version)| {
                shared.cells.version(cell) == version && !shared.unsure.has(item.change.subject())
            })
        });
        let sentinel = shared.keys.sentinel(slice);
        if turn.opens {
            let mut open = OPEN.call();
            open.arg(1).arg(&sentinel).arg(&*turn.tag).arg(turn.epoch).arg(keep);
            questions.ask(open);
        }
        questions.ask(call(shared, &sentinel, &turn, keep, items));
        questions.end_slice();
        turns.push((slice, turn));
    }
    if turns.is_empty() {
        return;
    }
    match shared.link.ask(Kind::Write, &questions).await {
        Ok(answers) => settle(shared, turns, answers, now),
        // What was sent may still arrive, and then finds another generation.
        Err(_) => turns.iter().for_each(|(slice, _)| shared.close(*slice, Doubt::Unanswered)),
    }
}

fn call(shared: &Shared, sentinel: &str, turn: &Turn, keep: u64, items: impl Iterator<Item = Item>) -> Cmd {
    let changes: Vec<Change> = items.map(|item| item.change).collect();
    shared.meters.rebuilt(changes.iter().filter(|change| change.is_rebuilt()).count());
    let mut call = WRITE.call();
    call.arg(1 + changes.len()).arg(sentinel);
    for change in &changes {
        call.arg(shared.keys.of(change.subject()));
    }
    call.arg(&*turn.tag).arg(turn.previous).arg(turn.number).arg(keep);
    for change in &changes {
        change.args(&mut call);
    }
    call
}

fn settle(shared: &Shared, turns: Vec<(usize, Turn)>, answers: Vec<Value>, now: Instant) {
    let mut answers = answers.into_iter();
    for (slice, turn) in turns {
        let opened = if turn.opens { answers.next().and_then(read::<Vec<u8>>) } else { Some(Vec::new()) };
        let written = answers.next().and_then(read::<u64>) == Some(1);
        match opened {
            Some(held) if !held.is_empty() => {
                tracing::warn!(slice, "Redis has summaries of a newer owner; is another server using them?");
                shared.slices.refused(slice, epoch_of(&held), now);
                shared.meters.doubted(Doubt::Newer);
            }
            Some(_) if written => drop(shared.slices.answered(slice, &turn)),
            _ => shared.close(slice, Doubt::Lost),
        }
    }
}

impl Shared {
    /// Hands a job to the writer. What has no room is dropped, and the slices of changes are closed.
    pub(super) fn write(&self, job: Job) {
        if let Err(mpsc::error::TrySendError::Full(job) | mpsc::error::TrySendError::Closed(job)) =
            self.queue.try_send(job)
            && let Job::Changed(changes, _) = job
        {
            changes.iter().for_each(|change| self.close(change.subject().slice(), Doubt::Overflow));
        }
    }

    /// Believes nothing of a slice any more.
    pub(super) fn close(&self, slice: usize, doubt: Doubt) {
        if self.slices.close(slice) {
            self.meters.doubted(doubt);
        }
    }
}

impl Change {
    fn is_rebuilt(&self) -> bool {
        matches!(self, Self::Rebuilt(..) | Self::RebuiltList(..))
    }
}
