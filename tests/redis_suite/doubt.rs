//! A store that answers commits with "nobody knows", and makes them durable later or never.

use super::composed_store::Parts;
use futures_util::future::BoxFuture;
use godwit::store::{Commit, CommitOutcome, LogStore, TimerStore, UserStore, embedded::Embedded};
use std::{
    future::ready,
    sync::{Arc, Mutex},
};

pub struct Doubtful {
    pub store: Arc<Embedded>,
    /// `Some`: commits are held, and answered as unknown.
    held: Mutex<Option<Vec<Commit>>>,
}

impl Doubtful {
    pub fn new(store: Arc<Embedded>) -> Self {
        Self { store, held: Mutex::new(None) }
    }

    pub fn hold(&self) {
        *self.held.lock().unwrap() = Some(Vec::new());
    }

    /// What was held takes effect now, and nothing is held any more.
    pub fn release(&self) {
        let held = self.held.lock().unwrap().take().unwrap();
        let outcomes = crate::store_suite::wait(self.store.commit(held));
        assert!(outcomes.iter().all(|outcome| *outcome == CommitOutcome::Durable));
    }
}

impl Parts for Doubtful {
    fn log(&self) -> &dyn LogStore {
        &*self.store
    }

    fn accounts(&self) -> &dyn UserStore {
        &*self.store
    }

    fn timers(&self) -> &dyn TimerStore {
        &*self.store
    }

    fn commit(&self, commits: Vec<Commit>) -> BoxFuture<'static, Vec<CommitOutcome>> {
        match &mut *self.held.lock().unwrap() {
            Some(held) => {
                let unknown = vec![CommitOutcome::Unknown; commits.len()];
                held.extend(commits);
                Box::pin(ready(unknown))
            }
            None => self.store.commit(commits),
        }
    }
}
