//! What the processes of a cluster are at: tasks that are polled when they are woken, those that can go on in a random order.

use crate::rng::Rng;
use futures_util::future::BoxFuture;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProcessId(u64);

pub struct Tasks {
    state: Mutex<State>,
    woken: Woken,
}

type Woken = Arc<Mutex<Vec<TaskId>>>;
type TaskId = u64;

struct State {
    rng: Rng,
    next: u64,
    processes: BTreeMap<ProcessId, Process>,
    owners: BTreeMap<TaskId, ProcessId>,
}

#[derive(Default)]
struct Process {
    /// `None` while one is being polled.
    tasks: BTreeMap<TaskId, Option<BoxFuture<'static, ()>>>,
    stopped: bool,
    /// Woken while it was stopped.
    parked: Vec<TaskId>,
}

impl Tasks {
    pub fn new(rng: Rng) -> Self {
        let state = State { rng, next: 0, processes: BTreeMap::new(), owners: BTreeMap::new() };
        Self { state: Mutex::new(state), woken: Woken::default() }
    }

    pub fn start(&self) -> ProcessId {
        let mut state = self.lock();
        let id = ProcessId(state.next());
        state.processes.insert(id, Process::default());
        id
    }

    pub fn stop(&self, id: ProcessId) {
        if let Some(process) = self.lock().processes.get_mut(&id) {
            process.stopped = true;
        }
    }

    pub fn resume(&self, id: ProcessId) {
        if let Some(process) = self.lock().processes.get_mut(&id) {
            process.stopped = false;
            self.woken().append(&mut process.parked);
        }
    }

    pub fn kill(&self, id: ProcessId) {
        let process = self.lock().processes.remove(&id);
        // Only now: what is dropped may wake others.
        drop(process);
    }

    /// Nothing, when the process is gone.
    pub fn spawn(&self, id: ProcessId, future: BoxFuture<'static, ()>) {
        let mut state = self.lock();
        let task = state.next();
        if let Some(process) = state.processes.get_mut(&id) {
            process.tasks.insert(task, Some(future));
            state.owners.insert(task, id);
            self.woken().push(task);
        }
    }

    /// Polls whoever can go on, until nobody can.
    pub fn run(&self) {
        while let Some((id, task, mut future)) = self.take() {
            let waker = Waker::from(Arc::new(TaskWaker { task, woken: self.woken.clone() }));
            let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
            let mut state = self.lock();
            let process = state.processes.get_mut(&id);
            let over = match (polled, process) {
                (Poll::Pending, Some(process)) => {
                    process.tasks.insert(task, Some(future));
                    continue;
                }
                (_, Some(process)) => process.tasks.remove(&task),
                (_, None) => None,
            };
            state.owners.remove(&task);
            drop(state);
            drop((over, future));
        }
    }

    fn take(&self) -> Option<(ProcessId, TaskId, BoxFuture<'static, ()>)> {
        let mut state = self.lock();
        loop {
            let task = {
                let mut woken = self.woken();
                let length = woken.len();
                (length > 0).then(|| woken.swap_remove(state.rng.index(length)))?
            };
            let Some(id) = state.owners.get(&task).copied() else { continue };
            let Some(process) = state.processes.get_mut(&id) else { continue };
            if process.stopped {
                process.parked.push(task);
            } else if let Some(future) = process.tasks.get_mut(&task).and_then(Option::take) {
                return Some((id, task, future));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn woken(&self) -> MutexGuard<'_, Vec<TaskId>> {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

struct TaskWaker {
    task: TaskId,
    woken: Woken,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        if !woken.contains(&self.task) {
            woken.push(self.task);
        }
    }
}
