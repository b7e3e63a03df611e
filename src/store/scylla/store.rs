//! The store as a whole: its runtime, its session, its lease, and the parts that work on them.

use super::{
    connection::Cql,
    copying,
    driver_tables::DriverTables,
    error::OpenError,
    fence::{Clock, Fence},
    inventory::Lists,
    lease::{CqlLease, Lease, LeaseSettings, Lost, SystemClock, acquire},
    log::{Log, LogLimits},
    options::ScyllaOptions,
    timers::{TimerLimits, Timers},
    users::{AccountLimits, Accounts},
};
use crate::store::wait;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::oneshot,
    task::JoinHandle,
};

/// The store on ScyllaDB or Apache Cassandra, in a keyspace that is this server's. Clones share it.
///
/// Whoever drops the last one without [`close`](Self::close) leaves the lease to end by itself: the next server waits for that.
#[derive(Clone)]
pub struct Scylla {
    pub(super) log: Log<DriverTables>,
    pub(super) accounts: Accounts,
    pub(super) timers: Timers,
    pub(super) lists: Lists,
    ts_floor_us: i64,
    runtime: Handle,
    running: Arc<Mutex<Option<Running>>>,
}

struct Running {
    runtime: Runtime,
    stop: oneshot::Sender<()>,
    keeping: JoinHandle<()>,
}

/// What the owner of a store should hear.
pub struct OnLease {
    /// Another server has the keyspace, and what people call that one. Opening waits for its end.
    pub waiting: Box<dyn FnMut(&str) + Send>,
    /// The keyspace is not this server's any more. Nothing is acknowledged from then on, and the process should end.
    pub lost: Box<dyn FnOnce(&Lost) + Send>,
}

impl Scylla {
    /// Connects, sees to the tables, and waits until the keyspace is this server's. Blocks, as long as another one has it.
    pub fn open(options: ScyllaOptions, on_lease: OnLease) -> Result<Self, OpenError> {
        let runtime = Builder::new_multi_thread().worker_threads(THREADS).thread_name("store").enable_all().build()?;
        let handle = runtime.handle().clone();
        let opened = wait(&handle, Self::open_on(handle.clone(), options, on_lease));
        match opened {
            Ok((store, stop, keeping)) => {
                *store.running.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(Running { runtime, stop, keeping });
                Ok(store)
            }
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    async fn open_on(
        runtime: Handle,
        options: ScyllaOptions,
        on_lease: OnLease,
    ) -> Result<(Self, oneshot::Sender<()>, JoinHandle<()>), OpenError> {
        let cql = Arc::new(Cql::connect(&options).await?);
        let lease = own(&cql, &options, on_lease.waiting).await?;
        let (fence, ts_floor_us) = (lease.fence(), lease.ts_floor_us());
        let (stop, stopped) = oneshot::channel();
        // At once: what follows may take a while.
        let keeping = runtime.spawn(async move {
            let stopped = async {
                // Whoever forgets the store does not give the lease back.
                if stopped.await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            if let Err(lost) = lease.keep(stopped).await {
                (on_lease.lost)(&lost);
            }
        });
        let opened = async {
            let store = Self::on_lease(cql.clone(), fence, runtime, &options, ts_floor_us).await?;
            copying::check(&cql, &store.lists, &options.keyspace, options.receives_copy).await?;
            Ok(store)
        };
        match opened.await {
            Ok(store) => Ok((store, stop, keeping)),
            Err(error) => {
                // It has ended by itself if the lease is lost.
                let _ = stop.send(());
                let _ = keeping.await;
                Err(error)
            }
        }
    }

    async fn on_lease(
        cql: Arc<Cql>,
        fence: Fence,
        runtime: Handle,
        options: &ScyllaOptions,
        ts_floor_us: i64,
    ) -> Result<Self, OpenError> {
        let (accounts, timers) = (AccountLimits::default(), TimerLimits::default());
        let accounts = Accounts::open(cql.clone(), fence.clone(), runtime.clone(), accounts).await?;
        let timers = Timers::open(cql.clone(), fence.clone(), runtime.clone(), timers).await?;
        let lists = Lists::open(cql.clone(), runtime.clone()).await?;
        let tables = DriverTables::prepare(cql, runtime.clone(), options.reads_in_flight_max).await?;
        let log = Log::new(Arc::new(tables), Arc::new(timers.clone()), fence, log_limits(options));
        Ok(Self { log, accounts, timers, lists, ts_floor_us, runtime, running: Arc::default() })
    }

    /// All that was to be copied into the keyspace is there: from now on it opens like any other. Blocks.
    pub fn copy_complete(&self) -> Result<(), OpenError> {
        let lists = self.lists.clone();
        wait(&self.runtime, async move { copying::complete(lists.cql()).await })
    }

    /// A number that is higher than that of every owner before.
    pub fn term(&self) -> u64 {
        self.ts_floor_us.unsigned_abs()
    }

    /// Where the store works; for what works beside it.
    pub fn runtime(&self) -> Handle {
        self.runtime.clone()
    }

    /// Waits for what is on its way, gives the lease back, and ends the threads. Blocks. Nothing may be asked any more.
    pub fn close(&self) {
        let Some(running) = self.running.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let Running { runtime, stop, keeping } = running;
        let store = self.clone();
        wait(&self.runtime, async move {
            store.log.quiet().await;
            store.timers.close().await;
            if let Err(error) = store.accounts.close().await {
                tracing::warn!(%error, "some acknowledged positions were not written; clients get those entries again");
            }
            // It has ended by itself if the lease is lost.
            let _ = stop.send(());
            let _ = keeping.await;
        });
        runtime.shutdown_background();
    }
}

async fn own(
    cql: &Arc<Cql>,
    options: &ScyllaOptions,
    mut waiting: Box<dyn FnMut(&str) + Send>,
) -> Result<Lease, OpenError> {
    let failed = |what: &str, reason: String| OpenError::Failed { what: what.to_owned(), reason };
    let tables = Arc::new(CqlLease::prepare(cql.clone()).await?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let mut incarnation = [0; 8];
    aws_lc_rs::rand::fill(&mut incarnation)
        .map_err(|_| failed("be given a number for this start", "the system has no randomness".to_owned()))?;
    let settings = LeaseSettings {
        lease: Duration::from_millis(options.lease_ms),
        incarnation: i64::from_ne_bytes(incarnation),
        address: options.address.clone(),
    };
    let lease = acquire(tables, clock, settings, move |holder| waiting(&holder.address)).await;
    lease.map_err(|error| failed("say who owns the keyspace", error.to_string()))
}

fn log_limits(options: &ScyllaOptions) -> LogLimits {
    LogLimits {
        batch_entries_max: options.batch_entries_max,
        batch_bytes_max: options.batch_bytes_max,
        writes_in_flight_max: options.writes_in_flight_max,
        conversations_max: options.conversations_cached_max,
        ..LogLimits::default()
    }
}

/// Threads of the runtime. The driver encodes, sends and reads on them.
const THREADS: usize = 2;
