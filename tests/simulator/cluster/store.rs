//! The store of one server: the log on the cluster, the rest on the simulated disk.

use super::tables::SimTables;
use crate::{
    composed_store::{Answer, Composed, Parts},
    simulated_cluster::Cluster,
    store::SimStore,
};
use futures_util::{FutureExt, future::BoxFuture};
use godwit::store::{
    Commit, CommitOutcome, LogStore, StoreError, TimerChange, TimerOutcome, TimerStore, UserStore,
    scylla::{
        fence::{Fence, Lapsed},
        log::{Log, LogLimits},
    },
};
use std::{future::poll_fn, sync::Arc, task::Poll};

pub struct ClusterStore {
    pub log: Log<SimTables>,
    rest: Composed<Fenced>,
}

/// The disk, as long as a lease holds.
#[derive(Clone)]
struct Fenced {
    disk: SimStore,
    fence: Fence,
    cluster: Cluster,
}

impl ClusterStore {
    pub fn new(tables: Arc<SimTables>, fence: Fence, disk: &SimStore, limits: LogLimits) -> Self {
        let rest = Composed(Fenced { disk: disk.clone(), fence: fence.clone(), cluster: tables.cluster() });
        Self { log: Log::new(tables, Arc::new(rest.clone()), fence, limits), rest }
    }
}

impl Parts for ClusterStore {
    fn log(&self) -> &dyn LogStore {
        &self.log
    }

    fn accounts(&self) -> &dyn UserStore {
        &self.rest
    }

    fn timers(&self) -> &dyn TimerStore {
        &self.rest
    }

    fn commit(&self, commits: Vec<Commit>) -> BoxFuture<'static, Vec<CommitOutcome>> {
        let mut inner = self.rest.0.disk.lock();
        commits.iter().for_each(|commit| inner.disk.asked.note(commit));
        drop(inner);
        self.log.commit(commits)
    }

    fn put_timers(&self, changes: Vec<TimerChange>) -> BoxFuture<'static, Vec<TimerOutcome>> {
        self.log.put_timers(changes)
    }
}

impl Parts for Fenced {
    fn log(&self) -> &dyn LogStore {
        unreachable!("the log is on the cluster")
    }

    fn accounts(&self) -> &dyn UserStore {
        &self.disk
    }

    fn timers(&self) -> &dyn TimerStore {
        &self.disk
    }

    fn put_timers(&self, changes: Vec<TimerChange>) -> BoxFuture<'static, Vec<TimerOutcome>> {
        let count = changes.len();
        if !self.fence.holds() {
            return std::future::ready(vec![TimerOutcome::NotWritten(lapsed()); count]).boxed();
        }
        let (mut outcomes, fence, cluster) = (self.disk.put_timers(changes), self.fence.clone(), self.cluster.clone());
        async move {
            // The disk wakes nobody.
            loop {
                let answered = (&mut outcomes).now_or_never();
                if !fence.holds() {
                    return vec![TimerOutcome::Unknown; count];
                }
                match answered {
                    Some(outcomes) => return outcomes,
                    None => cluster.sleep(1).await,
                }
            }
        }
        .boxed()
    }

    /// What is answered past the fence is not believed, and what was not begun by then is not done.
    fn through<T: Send + 'static>(&self, mut answer: Answer<T>) -> Answer<T> {
        let fence = self.fence.clone();
        poll_fn(move |context| match fence.holds() {
            true => answer.as_mut().poll(context),
            false => Poll::Ready(Err(lapsed())),
        })
        .boxed()
    }
}

fn lapsed() -> StoreError {
    StoreError::Unavailable(Lapsed.to_string())
}
