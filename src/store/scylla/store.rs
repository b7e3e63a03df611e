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

/// The store on ScyllaDB or Apache Cassandra, in a keyspace that is this server's. Clones share it; the last one to go closes it.
#[derive(Clone)]
pub struct Scylla(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) log: Log<DriverTables>,
    pub(super) accounts: Accounts,
    pub(super) timers: Timers,
    pub(super) lists: Lists,
    fence: Fence,
    ts_floor_us: i64,
    handle: Handle,
    /// Taken by whoever closes.
    running: Mutex<Option<Running>>,
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
        match wait(&handle, open_on(handle.clone(), options, on_lease)) {
            Ok((mut inner, stop, keeping)) => {
                inner.running = Mutex::new(Some(Running { runtime, stop, keeping }));
                Ok(Self(Arc::new(inner)))
            }
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    /// All that was to be copied into the keyspace is there: from now on it opens like any other. Blocks.
    pub fn copy_complete(&self) -> Result<(), OpenError> {
        let lists = self.0.lists.clone();
        wait(&self.0.handle, async move { copying::complete(lists.cql()).await })
    }

    /// A number that is higher than that of every owner before.
    pub fn term(&self) -> u64 {
        self.0.ts_floor_us.unsigned_abs()
    }

    /// Says whether the keyspace is this server's at the moment: while its lease has lapsed, nothing is acknowledged.
    pub fn is_held(&self) -> impl Fn() -> bool + Send + Sync + use<> {
        let fence = self.0.fence.clone();
        move || fence.holds()
    }

    /// Where the store works; for what works beside it.
    pub fn runtime(&self) -> Handle {
        self.0.handle.clone()
    }

    /// Waits for what is on its way, gives the lease back, and ends the threads. Blocks. Nothing may be asked any more.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Inner {
    fn close(&self) {
        let Some(running) = self.running.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let Running { runtime, stop, keeping } = running;
        let (log, timers, accounts) = (self.log.clone(), self.timers.clone(), self.accounts.clone());
        wait(&self.handle, async move {
            log.quiet().await;
            timers.close().await;
            if let Err(error) = accounts.settle().await {
                tracing::warn!(%error, "some acknowledged positions were not written; clients get those entries again");
            }
            // It has ended by itself if the lease is lost.
            let _ = stop.send(());
            let _ = keeping.await;
        });
        runtime.shutdown_background();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

async fn open_on(
    runtime: Handle,
    options: ScyllaOptions,
    on_lease: OnLease,
) -> Result<(Inner, oneshot::Sender<()>, JoinHandle<()>), OpenError> {
    let cql = Arc::new(Cql::connect(&options).await?);
    let lease = own(&cql, &options, on_lease.waiting).await?;
    let (fence, ts_floor_us) = (lease.fence(), lease.ts_floor_us());
    let (stop, stopped) = oneshot::channel();
    // At once: what follows may take a while.
    let keeping = runtime.spawn(async move {
        let stopped = async { drop(stopped.await) };
        if let Err(lost) = lease.keep(stopped).await {
            (on_lease.lost)(&lost);
        }
    });
    let assembled = async {
        let inner = assemble(cql.clone(), fence, runtime, &options, ts_floor_us).await?;
        copying::check(&cql, &inner.lists, &options.keyspace, options.receives_copy).await?;
        Ok(inner)
    };
    match assembled.await {
        Ok(inner) => Ok((inner, stop, keeping)),
        Err(error) => {
            drop(stop);
            // The lease is given back, unless it is lost.
            drop(keeping.await);
            Err(error)
        }
    }
}

async fn assemble(
    cql: Arc<Cql>,
    fence: Fence,
    handle: Handle,
    options: &ScyllaOptions,
    ts_floor_us: i64,
) -> Result<Inner, OpenError> {
    let accounts = Accounts::open(cql.clone(), fence.clone(), handle.clone(), AccountLimits::default()).await?;
    let timers = Timers::open(cql.clone(), fence.clone(), handle.clone(), TimerLimits::default()).await?;
    let lists = Lists::open(cql.clone(), handle.clone()).await?;
    let tables = DriverTables::prepare(cql, handle.clone(), options.reads_in_flight_max).await?;
    let log = Log::new(Arc::new(tables), Arc::new(timers.clone()), fence.clone(), log_limits(options));
    Ok(Inner { log, accounts, timers, lists, fence, ts_floor_us, handle, running: Mutex::default() })
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
