//! A store whose lists are in Redis passes the suite of all stores, whatever happens to Redis in between.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod redis_suite;
mod store_suite;

use godwit::store::{
    embedded::Embedded,
    redis::{RedisOptions, Summarised},
};
use redis_suite::{Space, embedded, open, settle};
use std::{cell::Cell, sync::Arc, time::Duration};
use store_suite::Harness;
use tempfile::TempDir;

#[derive(Clone, Copy)]
enum Between {
    /// Everything is written.
    Settled,
    /// Everything is written and taken away.
    Flushed,
    /// The server starts again.
    NextEpoch,
}

struct RedisHarness {
    store: Arc<Embedded>,
    _dir: TempDir,
    /// `None`: there is no Redis, and all of it must work as well.
    space: Option<Space>,
    between: Between,
    epoch: Cell<u64>,
}

impl RedisHarness {
    fn new(between: Between) -> Self {
        let (store, dir) = embedded();
        Self { store, _dir: dir, space: Space::new(), between, epoch: Cell::new(1) }
    }
}

impl Harness for RedisHarness {
    type Store = Summarised;

    fn open(&self) -> Summarised {
        let nowhere = || RedisOptions {
            connect_timeout: Duration::from_millis(100),
            ..RedisOptions::from_url("redis://127.0.0.1:1").unwrap()
        };
        open(self.store.clone(), self.space.as_ref().map_or_else(nowhere, Space::options), self.epoch.get())
    }

    fn between(&self, store: Summarised) -> Summarised {
        settle(&store);
        match self.between {
            Between::Settled => store,
            Between::Flushed => {
                self.space.iter().for_each(Space::flush);
                store
            }
            Between::NextEpoch => {
                self.epoch.set(self.epoch.get() + 1);
                drop(store);
                self.open()
            }
        }
    }
}

mod settled {
    use super::*;
    conformance!(RedisHarness::new(Between::Settled));
}

mod flushed {
    use super::*;
    conformance!(RedisHarness::new(Between::Flushed));
}

mod next_epoch {
    use super::*;
    conformance!(RedisHarness::new(Between::NextEpoch));
}
