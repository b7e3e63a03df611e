//! The durable timers of the users and conversations that a core owns: read ahead, and handed out when they are due.

use super::{Completion, CoreId, Effects, Limits, Placement, Task, meters::TimerMeters, services::Services};
use crate::{
    store::{DueTimer, StoreError, TimerKey, TimerRow},
    timer::{DurableTimers, Load, PAGE_TIMERS},
};
use foldhash::{HashMap, HashMapExt};
use futures_util::FutureExt;
use godwit_proto::{Vshard, VshardSet};
use std::collections::hash_map::Entry;

/// How long it waits before it looks again at one whose store did not answer.
const LOOK_AGAIN_MS: u64 = 200;
/// Timers that fire in one turn.
const DUE_PER_TURN_MAX: usize = 512;

/// Finds out what is due. What it is for, its kind says; whoever handles that kind says when it is [`done`](Self::done).
///
/// A timer that something is being done to is *busy*: it does not fire meanwhile. Whoever works on it arms it again if it is still
/// to fire; what somebody else armed meanwhile, and has become due, is looked at again afterwards.
pub struct Timers {
    services: Services,
    vshards: VshardSet,
    durable: DurableTimers,
    /// With whether it has become due once more.
    busy: HashMap<TimerKey, bool>,
    busy_max: usize,
    due: Vec<TimerKey>,
    meters: TimerMeters,
}

/// What the store said about timers.
#[derive(Debug)]
pub enum TimersCompletion {
    /// Timers of a stretch were read.
    Loaded(Load, Result<Vec<DueTimer>, StoreError>),
    /// What is due was read.
    Due(Vec<TimerKey>, Result<Vec<Option<TimerRow>>, StoreError>),
}

impl Timers {
    pub fn new(core: CoreId, placement: Placement, limits: &Limits, services: Services) -> Self {
        Self {
            services,
            vshards: Vshard::all().filter(|vshard| placement.of(*vshard) == core).collect(),
            durable: DurableTimers::default(),
            busy: HashMap::new(),
            busy_max: limits.timers_busy_max,
            due: Vec::new(),
            meters: TimerMeters::new(core.0),
        }
    }

    /// Begins to work on a timer; `false` if somebody does, or if too many are being worked on.
    pub fn begin(&mut self, key: TimerKey) -> bool {
        let is_free = self.has_room() && !self.busy.contains_key(&key);
        if is_free {
            self.busy.insert(key, false);
        }
        is_free
    }

    /// Nothing is done to it any more.
    pub fn done(&mut self, key: &TimerKey) {
        if self.busy.remove(key) == Some(true) {
            // Its row may have been read before it was put.
            self.durable.arm_again(*key, 0);
        }
    }

    /// Nothing is done to it any more, and it is looked at again after a while, whenever it is due.
    pub fn look_again(&mut self, key: TimerKey) {
        self.look_again_after(key, LOOK_AGAIN_MS);
    }

    /// The same, after a longer while.
    pub fn look_again_after(&mut self, key: TimerKey, after_ms: u64) {
        self.busy.remove(&key);
        self.durable.arm_again(key, after_ms.max(LOOK_AGAIN_MS));
    }

    /// A timer is in the store, due then. Call it after the store has answered.
    pub fn arm(&mut self, timer: DueTimer) {
        self.durable.arm(timer);
    }

    /// Reads ahead, and reads what is due.
    pub fn on_time(&mut self, now_ms: u64, effects: &mut Effects) {
        if let Some(load) = self.durable.on_time(now_ms) {
            effects.tasks.push(self.load(load));
        }
        let mut due = std::mem::take(&mut self.due);
        let room = self.busy_max.saturating_sub(self.busy.len());
        self.durable.take_due(now_ms, room.min(DUE_PER_TURN_MAX), &mut due);
        due.retain(|key| match self.busy.entry(*key) {
            Entry::Vacant(free) => {
                free.insert(false);
                true
            }
            Entry::Occupied(mut is_due_again) => {
                is_due_again.insert(true);
                false
            }
        });
        if !due.is_empty() {
            let keys = due.clone();
            let rows = self.services.store.timers(due.clone());
            effects.tasks.push(completion(rows.map(|rows| TimersCompletion::Due(keys, rows))));
            due.clear();
        }
        self.due = due;
        self.meters.armed.set(self.durable.len() as f64);
    }

    /// The store has answered. What comes back is due and busy, in the order in which it was due.
    pub fn on_completion(&mut self, now_ms: u64, completion: TimersCompletion) -> Vec<TimerRow> {
        match completion {
            TimersCompletion::Loaded(load, timers) => {
                self.durable.on_loaded(&load, timers);
                Vec::new()
            }
            TimersCompletion::Due(keys, Ok(rows)) => {
                let rows = keys.into_iter().zip(rows);
                rows.filter_map(|(key, row)| self.still_due(now_ms, &key, row)).collect()
            }
            TimersCompletion::Due(keys, Err(_)) => {
                keys.into_iter().for_each(|key| self.look_again(key));
                Vec::new()
            }
        }
    }

    /// When there will be something to do, at the latest.
    pub fn next_at_ms(&self) -> Option<u64> {
        // What is busy ends with a completion or a mail, and that is a turn.
        self.durable.next_at_ms().filter(|_| self.has_room())
    }

    fn still_due(&mut self, now_ms: u64, key: &TimerKey, row: Option<TimerRow>) -> Option<TimerRow> {
        match row {
            // It was taken back, or has fired before.
            None => self.done(key),
            // It was put off, or the clock was set back.
            Some(row) if row.due_ms > now_ms => {
                self.done(key);
                self.arm(row.due());
            }
            Some(row) => return Some(row),
        }
        None
    }

    fn has_room(&self) -> bool {
        self.busy.len() < self.busy_max
    }

    fn load(&self, load: Load) -> Task {
        let (due_ms, after) = (load.due_ms.clone(), load.after);
        let timers = self.services.store.due_timers(self.vshards.clone(), due_ms, after, PAGE_TIMERS);
        completion(timers.map(move |timers| TimersCompletion::Loaded(load, timers)))
    }
}

fn completion(work: impl Future<Output = TimersCompletion> + Send + 'static) -> Task {
    work.map(Completion::Timers).boxed()
}
