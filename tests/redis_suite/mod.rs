//! What tests of the summaries in Redis share: the server that `GODWIT_TEST_REDIS` names, a runtime, and keys of their own.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, missing_docs)]

pub mod chat;
#[path = "../support/composed_store.rs"]
pub mod composed_store;
pub mod doubt;
pub mod proxy;
pub mod server;
#[path = "../support/services.rs"]
mod services;

use crate::store_suite::disk;
use godwit::store::{
    Store,
    embedded::{Embedded, EmbeddedOptions},
    redis::{Epoch, RedisOptions, Summarised},
};
use redis::{Commands, Connection};
use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// What the server would do Redis's work on.
pub static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());

/// The server to use. `None`: tests that need one are left out.
pub fn server() -> Option<String> {
    services::named_by("GODWIT_TEST_REDIS")
}

/// Keys of one test, which are gone when it ends.
pub struct Space {
    pub url: String,
    pub prefix: String,
}

/// All keys of a space as they were once.
pub type Backup = Vec<(Vec<u8>, Vec<u8>)>;

impl Space {
    pub fn new() -> Option<Self> {
        Some(Self { url: server()?, prefix: format!("test-{:016x}", rand::random::<u64>()) })
    }

    pub fn options(&self) -> RedisOptions {
        self.options_at(&self.url)
    }

    /// As if the server were elsewhere.
    pub fn options_at(&self, url: &str) -> RedisOptions {
        RedisOptions {
            prefix: self.prefix.clone(),
            // Tests say when.
            audits_per_second: 0,
            // Machines that run tests are slow at times, and a timeout costs no test its outcome.
            response_timeout: Duration::from_secs(2),
            keep: Duration::from_secs(600),
            ..RedisOptions::from_url(url).unwrap()
        }
    }

    pub fn connection(&self) -> Connection {
        redis::Client::open(&*self.url).unwrap().get_connection().unwrap()
    }

    pub fn keys(&self) -> Vec<Vec<u8>> {
        let mut connection = self.connection();
        let keys = connection.scan_match(format!("{}:*", self.prefix)).unwrap();
        keys.map(Result::unwrap).collect()
    }

    /// Takes everything away, as FLUSHDB would.
    pub fn flush(&self) {
        let mut connection = self.connection();
        for key in self.keys() {
            let _: () = connection.del(key).unwrap();
        }
    }

    pub fn backup(&self) -> Backup {
        let mut connection = self.connection();
        let dump = |key: Vec<u8>| {
            let value: Option<Vec<u8>> = redis::cmd("DUMP").arg(&key).query(&mut connection).unwrap();
            Some((key, value?))
        };
        self.keys().into_iter().filter_map(dump).collect()
    }

    /// Puts everything back as it was then.
    pub fn restore(&self, backup: &Backup) {
        self.flush();
        let mut connection = self.connection();
        for (key, value) in backup {
            let _: () = redis::cmd("RESTORE").arg(key).arg(600_000).arg(value).query(&mut connection).unwrap();
        }
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.flush();
    }
}

/// An embedded store that writes nothing behind, in a directory of its own.
pub fn embedded() -> (Arc<Embedded>, TempDir) {
    let dir = disk::scratch();
    let mut options = EmbeddedOptions::new(dir.path().join("store"));
    options.disk_reserve_bytes = 0;
    options.behind_delay = Duration::from_secs(3600);
    (Arc::new(Embedded::open(options).unwrap()), dir)
}

pub fn open(store: Arc<dyn Store>, options: RedisOptions, epoch: u64) -> Summarised {
    RUNTIME.block_on(Summarised::open(store, options, Epoch::Lease(epoch), RUNTIME.handle().clone())).unwrap()
}

pub fn settle(store: &Summarised) {
    RUNTIME.block_on(store.settle());
}

/// Waits until something is so, which it will be soon.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it is still not so that {what}");
}
