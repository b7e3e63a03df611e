//! The composition root: builds the parts, starts the cores, runs until told to stop, drains.

mod cluster;
mod data_dir;
mod moving;
mod offline;
mod opened;
mod settings;

pub use cluster::scylla_options;
pub use moving::MovingStore;

use crate::{
    account::{InvitationSecret, PasswordPool, SecretError as InvitationSecretError},
    admin::{AdminError, AdminListener, Health, Stage},
    config::{Config, RegistrationMode},
    router::{
        Core, CoreId, CorePort, DeadLetters, Driver, Mailboxes, OfflineHandle, OfflineHook, Placement, Registration,
        Services,
    },
    store::{SessionSink, embedded, redis::OpenError as RedisError, scylla::OpenError as ClusterError},
    telemetry::{MetricsText, RecorderError},
    transport::{
        BindError, Bound, Certificate, CertificateError, QuicSecrets, SecretError, Steering, Transport, TransportError,
    },
};
use data_dir::DataDir;
use opened::OpenedStore;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::{
    fs::File,
    io,
    net::{SocketAddr, UdpSocket},
    path::PathBuf,
    rc::Rc,
    sync::Arc,
    thread::{self, JoinHandle},
};
use thiserror::Error;
use tokio::{
    sync::{Notify, watch},
    task::LocalSet,
};

/// A running server. Dropping it without [`stop`](Self::stop) leaves the threads running until the process ends.
pub struct Server {
    address: SocketAddr,
    admin: Option<AdminListener>,
    fingerprint: String,
    steering: Steering,
    cores: u16,
    data_dir: PathBuf,
    health: Health,
    offline: OfflineHandle,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
    store: OpenedStore,
    /// Held: the data directory is this process's.
    lock: File,
}

/// What a start is given beside the configuration.
#[derive(Default)]
pub struct Startup {
    /// Told of users who have no session when an entry goes to them.
    pub offline_hook: Option<Arc<dyn OfflineHook>>,
    /// Told that the start waits until another server lets go of the store, and what people call that one.
    pub waiting: Option<Waiting>,
}

/// Told what the server is called that is waited for.
pub type Waiting = Box<dyn Fn(&str) + Send>;

/// What one core's thread starts from.
struct CoreParts {
    id: CoreId,
    cores: u16,
    pin: bool,
    socket: Option<UdpSocket>,
    transport: Arc<Transport>,
    mailboxes: Arc<Mailboxes>,
    services: Services,
    limits: crate::router::Limits,
    bounds: settings::PortBounds,
    hook: Option<Arc<dyn OfflineHook>>,
    dead_letters: DeadLetters,
    sessions: Option<Arc<dyn SessionSink>>,
    stop: watch::Receiver<bool>,
}

impl Server {
    /// Opens the store, binds the address and starts a thread for each core. When this returns, clients are served. Blocks,
    /// as long as another server has the store.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        Self::start_with(config, Startup::default())
    }

    /// The same, with a hook that is told of users who have no session when an entry goes to them.
    pub fn start_with_hook(config: &Config, hook: Option<&Arc<dyn OfflineHook>>) -> Result<Self, StartError> {
        Self::start_with(config, Startup { offline_hook: hook.cloned(), ..Startup::default() })
    }

    /// The same, with all that can be given to it.
    pub fn start_with(config: &Config, startup: Startup) -> Result<Self, StartError> {
        let Startup { offline_hook: hook, waiting } = startup;
        let available = thread::available_parallelism().map_or(1, usize::from);
        let cores = u16::try_from(if config.cores == 0 { available } else { config.cores }).unwrap_or(u16::MAX);
        let health = Health::default();
        let data_dir = DataDir::prepare(&config.data_dir)?;
        let lock = data_dir.lock()?;
        let metrics = config.metrics.enabled.then(MetricsText::install).transpose()?;

        // The address first: a second server is told so before it touches anything.
        let transport_options = settings::transport(config);
        let Bound { sockets, address, steering } = crate::transport::bind(config.listen, cores, &transport_options)?;
        let mailboxes = Arc::new(Mailboxes::new(cores, config.limits.mailbox_items_max));
        let dead_letters = DeadLetters::new(settings::router(config, cores).offline.dead_letters_max);
        let offline = OfflineHandle::new(dead_letters.clone(), Placement::new(cores), mailboxes.clone());
        let start_admin =
            |metrics| AdminListener::start(config.metrics.listen, metrics, health.clone(), Arc::new(offline.clone()));
        let admin = metrics.map(start_admin).transpose()?;
        let store = {
            let health = health.clone();
            OpenedStore::open(config, &data_dir, server_name(address), &node_name(address), move |holder| {
                health.set(Stage::Waiting);
                waiting.as_ref().inspect(|waiting| waiting(holder));
            })?
        };
        let certificate = match (&config.tls.cert_file, &config.tls.key_file) {
            (Some(certificate), Some(key)) => Certificate::from_files(certificate, key)?,
            _ => Certificate::self_signed_in(&data_dir.tls(), &config.tls.names)?,
        };
        let fingerprint = certificate.fingerprint();
        data_dir.write_fingerprint(&fingerprint)?;
        let endpoints = u16::try_from(sockets.len()).unwrap_or(u16::MAX);
        let secrets = QuicSecrets::in_directory(&data_dir.tls())?;
        let transport = Arc::new(Transport::new(transport_options, endpoints, &certificate, secrets)?);
        let passwords = PasswordPool::start(&settings::passwords(config)).map_err(StartError::Threads)?;
        let services = Services {
            store: store.shared(),
            passwords: Arc::new(passwords),
            registration: registration(config, &data_dir)?,
            random: Arc::new(|bytes| {
                let filled = aws_lc_rs::rand::fill(bytes);
                assert!(filled.is_ok(), "the system has no randomness");
            }),
        };

        let (stop, stopped) = watch::channel(false);
        let mut sockets = sockets.into_iter();
        let mut threads = Vec::with_capacity(usize::from(cores));
        for id in 0..cores {
            let parts = CoreParts {
                id: CoreId(id),
                cores,
                // Pinning helps only where every core thread has a CPU to itself.
                pin: usize::from(cores) <= available,
                socket: sockets.next(),
                transport: transport.clone(),
                mailboxes: mailboxes.clone(),
                services: services.clone(),
                limits: settings::router(config, cores),
                bounds: settings::port(config, endpoints),
                hook: hook.clone(),
                dead_letters: dead_letters.clone(),
                sessions: store.sessions(),
                stop: stopped.clone(),
            };
            let builder = thread::Builder::new().name(format!("core-{id}"));
            threads.push(builder.spawn(move || run_core(parts)).map_err(StartError::Threads)?);
        }
        health.serve(store.is_held());
        let data_dir = config.data_dir.clone();
        Ok(Self { address, admin, fingerprint, steering, cores, data_dir, health, offline, stop, threads, store, lock })
    }

    /// Where clients connect to, with the port that was picked if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where metrics are, if they are anywhere.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(AdminListener::address)
    }

    /// SHA-256 of the certificate, for clients to pin.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// How packets find their core.
    pub fn steering(&self) -> &Steering {
        &self.steering
    }

    /// How many cores serve.
    pub fn cores(&self) -> u16 {
        self.cores
    }

    /// Where the data is.
    pub fn data_dir(&self) -> &std::path::Path {
        &self.data_dir
    }

    /// What the offline hook did not take.
    pub fn offline(&self) -> &OfflineHandle {
        &self.offline
    }

    /// Takes no new clients, tells those it has to connect again, waits for what is on its way to the disk, and closes the
    /// store. Takes at most `limits.drain_timeout_ms` and a sync.
    pub fn stop(self) {
        self.health.set(Stage::Draining);
        // Every receiver may be gone already, when every core has ended by itself.
        let _ = self.stop.send(true);
        for thread in self.threads {
            // A core that panicked has ended the process.
            let _ = thread.join();
        }
        self.store.close();
        drop((self.admin, self.lock));
    }
}

fn run_core(parts: CoreParts) {
    let guard = AbortOnPanic(parts.id);
    if parts.pin
        && let Err(error) = pin_to_nth_cpu(parts.id.0.into())
    {
        tracing::warn!(core = parts.id.0, %error, "the core's thread is not pinned");
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => fail(parts.id, &error),
    };
    let id = parts.id;
    if let Err(error) = LocalSet::new().block_on(&runtime, serve(parts)) {
        fail(id, &error);
    }
    drop(guard);
}

/// Pins this thread to the `nth` of the CPUs that the process may use, which need not be the machine's first ones.
fn pin_to_nth_cpu(nth: usize) -> io::Result<()> {
    let allowed = sched_getaffinity(None)?;
    let Some(cpu) = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).nth(nth) else {
        return Err(io::Error::other("there are fewer CPUs than cores"));
    };
    let mut only = CpuSet::new();
    only.set(cpu);
    Ok(sched_setaffinity(None, &only)?)
}

async fn serve(parts: CoreParts) -> io::Result<()> {
    let CoreParts {
        id,
        cores,
        socket,
        transport,
        mailboxes,
        services,
        limits,
        bounds,
        hook,
        dead_letters,
        sessions,
        stop,
        ..
    } = parts;
    let filled = Rc::new(Notify::new());
    let port = CorePort::new(id, bounds.events_max, bounds.sessions_max, bounds.outbox_bytes_max, filled.clone());
    let mut core = Core::new(id, Placement::new(cores), limits, services);
    if let Some(hook) = hook {
        core.set_offline_hook(hook, dead_letters);
    }
    if let Some(sessions) = sessions {
        core.set_session_sink(sessions);
    }
    let driver = Driver::new(core, port.clone(), filled, mailboxes, cores, bounds.turn_events_max);
    let driver = tokio::task::spawn_local(driver.run(stop.clone()));
    let served = async {
        match socket {
            Some(socket) => transport.serve(socket, id.0, port, stop).await,
            None => Ok(()),
        }
    };
    // A task's panic stays in the task. Without its driver a core answers nobody, so that must be noticed at once.
    tokio::try_join!(served, async { driver.await.map_err(io::Error::other) }).map(|_| ())
}

/// The sockets of a server are known by the order in which they were bound, and the conversations of a core live nowhere
/// else: a server without one of its cores is worse than one that starts again.
fn fail(core: CoreId, error: &io::Error) -> ! {
    tracing::error!(core = core.0, %error, "a core cannot go on; the server ends");
    std::process::exit(1)
}

struct AbortOnPanic(CoreId);

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!(core = self.0.0, "a core panicked; the server ends");
            std::process::abort();
        }
    }
}

/// What other servers call this one while they wait for it.
fn server_name(address: SocketAddr) -> String {
    format!("{} {address} (process {})", host_name(), std::process::id()).trim_start().to_owned()
}

/// What this server is called where it says who is online, whenever it is started.
fn node_name(address: SocketAddr) -> String {
    format!("{}/{address}", host_name())
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

fn registration(config: &Config, data_dir: &DataDir) -> Result<Registration, StartError> {
    Ok(match config.registration_mode() {
        RegistrationMode::Open => Registration::Open,
        RegistrationMode::Closed => Registration::Closed,
        RegistrationMode::Invitation => {
            let secret = InvitationSecret::load_or_create(data_dir.path())?;
            Registration::Invitation(Arc::new(move |code, now_ms| {
                crate::account::Invitation::from_code(code, &secret, now_ms).ok().map(|invitation| invitation.id)
            }))
        }
    })
}

/// Why the server does not start. Every message says what to do.
#[derive(Debug, Error)]
pub enum StartError {
    /// See [`BindError`].
    #[error(transparent)]
    Bind(#[from] BindError),
    /// See [`embedded::OpenError`].
    #[error(transparent)]
    Store(#[from] embedded::OpenError),
    /// A store that is to be copied is not there.
    #[error("there is no store in {}. Correct the address; \"embedded\" is the one in data_dir", .0.display())]
    NoStore(PathBuf),
    /// See [`ClusterError`].
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// See [`RedisError`].
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// A file that the configuration names cannot be read.
    #[error("cannot read {path}, which {key} names: {source}")]
    File {
        /// By which key.
        key: &'static str,
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// See [`CertificateError`].
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// See [`TransportError`].
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// See [`SecretError`].
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// See [`InvitationSecretError`].
    #[error(transparent)]
    Invitations(#[from] InvitationSecretError),
    /// See [`AdminError`].
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// See [`RecorderError`].
    #[error(transparent)]
    Metrics(#[from] RecorderError),
    /// Another server runs on the data directory.
    #[error("another godwit server uses the data directory {}: stop that one, or give this one another by --data-dir", .0.display())]
    DataDirInUse(PathBuf),
    /// The data directory cannot be made or written.
    #[error("cannot use {path} as the data directory: {source}")]
    DataDir {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The system gives no more threads.
    #[error("cannot start a thread: {0}")]
    Threads(io::Error),
}
