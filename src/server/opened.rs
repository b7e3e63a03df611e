//! The store and the summaries that the configuration names.

use super::{StartError, cluster::scylla_options, data_dir::DataDir, settings};
use crate::{
    config::{Config, StoreAddress, SummariesAddress},
    store::{
        SessionSink, Store,
        embedded::Embedded,
        redis::{Epoch, Summarised},
        scylla::{OnLease, Scylla, ScyllaOptions},
        wait,
    },
};
use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::runtime::{Builder, Runtime};

/// An open store, with its summaries. Nothing beyond this file knows which ones they are.
pub struct OpenedStore {
    history: History,
    summaries: Option<Summaries>,
}

enum History {
    Embedded(Embedded),
    Scylla(Scylla),
}

struct Summaries {
    store: Arc<Summarised>,
    sessions: Arc<dyn SessionSink>,
    /// Where there is no other to work on.
    runtime: Option<Runtime>,
}

impl OpenedStore {
    /// Opens both. Blocks, as long as another server has the store; `waiting` is then told what that one is called. The `name` is
    /// for people, that of the `node` stays the same when it starts again.
    pub fn open(
        config: &Config,
        data_dir: &DataDir,
        name: String,
        node: &str,
        waiting: impl Fn(&str) + Send + 'static,
    ) -> Result<Self, StartError> {
        let history = History::open(config, data_dir, name, waiting)?;
        let summaries = match &config.summaries {
            SummariesAddress::Memory => None,
            SummariesAddress::Redis { .. } => Some(Summaries::open(config, node, &history)?),
        };
        Ok(Self { history, summaries })
    }

    /// What the cores ask.
    pub fn shared(&self) -> Arc<dyn Store> {
        match &self.summaries {
            Some(summaries) => summaries.store.clone(),
            None => self.history.shared(),
        }
    }

    /// Says whether the store is this server's at the moment.
    pub fn is_held(&self) -> impl Fn() -> bool + Send + Sync + use<> {
        let is_held = match &self.history {
            History::Embedded(_) => None,
            History::Scylla(store) => Some(store.is_held()),
        };
        move || is_held.as_ref().is_none_or(|is_held| is_held())
    }

    /// Where others see who is online, if anywhere.
    pub fn sessions(&self) -> Option<Arc<dyn SessionSink>> {
        self.summaries.as_ref().map(|summaries| summaries.sessions.clone())
    }

    /// Waits for what is on its way, and lets others have it. Blocks.
    pub fn close(self) {
        if let Some(Summaries { store, runtime, .. }) = self.summaries {
            let handle = runtime.as_ref().map(|runtime| runtime.handle().clone());
            if let Some(handle) = handle.or_else(|| self.history.runtime()) {
                wait(&handle, async move {
                    store.leave().await;
                    store.settle().await;
                });
            }
            runtime.into_iter().for_each(Runtime::shutdown_background);
        }
        match self.history {
            History::Embedded(store) => store.close(),
            History::Scylla(store) => store.close(),
        }
    }
}

impl History {
    fn open(
        config: &Config,
        data_dir: &DataDir,
        name: String,
        waiting: impl Fn(&str) + Send + 'static,
    ) -> Result<Self, StartError> {
        let dir = match &config.store {
            StoreAddress::Embedded => data_dir.store(),
            StoreAddress::EmbeddedIn(dir) => dir.clone(),
            StoreAddress::Scylla { .. } => {
                let options = ScyllaOptions { address: name, ..scylla_options(config)? };
                let on_lease = OnLease {
                    waiting: Box::new(move |holder| {
                        tracing::info!(holder, "another server has the keyspace; waiting until it is gone");
                        waiting(holder);
                    }),
                    lost: Box::new(|_| end()),
                };
                return Ok(Self::Scylla(Scylla::open(options, on_lease)?));
            }
        };
        Ok(Self::Embedded(Embedded::open(settings::embedded(config, dir))?))
    }

    fn shared(&self) -> Arc<dyn Store> {
        match self {
            Self::Embedded(store) => Arc::new(store.clone()),
            Self::Scylla(store) => Arc::new(store.clone()),
        }
    }

    fn runtime(&self) -> Option<tokio::runtime::Handle> {
        match self {
            Self::Embedded(_) => None,
            Self::Scylla(store) => Some(store.runtime()),
        }
    }
}

impl Summaries {
    fn open(config: &Config, node: &str, history: &History) -> Result<Self, StartError> {
        let options = settings::redis(config)?;
        let epoch = match history {
            History::Scylla(store) => Epoch::Lease(store.term()),
            History::Embedded(_) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Epoch::Sole(u64::try_from(now.as_micros()).unwrap_or(u64::MAX))
            }
        };
        let of_its_own = || Builder::new_multi_thread().worker_threads(1).thread_name("summaries").enable_all().build();
        let (handle, runtime) = match history.runtime() {
            Some(handle) => (handle, None),
            None => {
                let runtime = of_its_own().map_err(StartError::Threads)?;
                (runtime.handle().clone(), Some(runtime))
            }
        };
        let (store, on) = (history.shared(), handle.clone());
        let store = wait(&handle, async move { Summarised::open(store, options, epoch, on).await })?;
        let sessions = store.sessions(node);
        Ok(Self { store: Arc::new(store), sessions, runtime })
    }
}

/// Clients are not told to connect again, nor is anything waited for: whatever is still in this process is not durable, or
/// somebody else's by now. They find out as if it had been killed.
fn end() {
    tracing::error!(
        "the server ends, because the store is not its own any more; start it again, and it waits for its turn"
    );
    std::process::exit(1)
}
