//! The connection to Redis, and whether there is one.
//!
//! A question that fails or is not answered in time ends the connection: from then on nobody waits for Redis until the
//! keeper, which runs beside, has made another one and had an answer on it.

use super::{
    error::{ConnectError, OpenError},
    keys::Keys,
    meters::{Kind, Meters},
    options::RedisOptions,
};
use futures_util::future::try_join_all;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, FromRedisValue, Pipeline, RedisResult, Value,
    aio::MultiplexedConnection, cluster::ClusterClientBuilder, cluster_async::ClusterConnection, io::tcp::TcpSettings,
};
use std::{
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{sync::Notify, time};

/// How long Redis is left alone after it did not answer in time, and the longest pause between two attempts to reach it.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// The pause before the first attempt after a connection was cut.
const PAUSE_MIN: Duration = Duration::from_millis(20);

/// The oldest server with everything that is used here.
const VERSION_MIN: (u32, u32) = (7, 0);

pub(super) struct Link {
    options: RedisOptions,
    meters: Arc<Meters>,
    held: Mutex<Held>,
    /// The connection was lost.
    lost: Notify,
}

#[derive(Default)]
struct Held {
    connection: Option<Connection>,
    /// Counts connections, so that what fails late does not end a newer one.
    number: u64,
    timed_out: bool,
}

#[derive(Clone)]
enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// A pipeline, cut into parts each of which is about one slice.
#[derive(Default)]
pub(super) struct Questions {
    pipeline: Pipeline,
    /// Where each part ends.
    ends: Vec<usize>,
}

impl Questions {
    pub(super) fn with_capacity(questions: usize) -> Self {
        Self { pipeline: Pipeline::with_capacity(questions), ends: Vec::new() }
    }

    pub(super) fn ask(&mut self, question: Cmd) {
        self.pipeline.add_command(question);
    }

    /// What comes from now on is about another slice.
    pub(super) fn end_slice(&mut self) {
        self.ends.push(self.pipeline.len());
    }

    /// About one slice alone.
    pub(super) fn of_slice(questions: impl IntoIterator<Item = Cmd>) -> Self {
        let mut all = Self::default();
        questions.into_iter().for_each(|question| all.ask(question));
        all.end_slice();
        all
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pipeline.is_empty()
    }

    fn parts(&self) -> Vec<Pipeline> {
        let mut questions = self.pipeline.cmd_iter().cloned();
        let mut from = 0;
        let parts = self.ends.iter().map(|end| {
            let mut part = Pipeline::with_capacity(end - from);
            for question in questions.by_ref().take(end - from) {
                part.add_command(question);
            }
            from = *end;
            part
        });
        parts.collect()
    }
}

/// There is no answer. Whether the question arrived, nobody knows.
#[derive(Debug)]
pub(super) struct NoAnswer;

impl Link {
    pub(super) fn new(options: RedisOptions, meters: Arc<Meters>) -> Self {
        if options.tls {
            // The client takes whichever the process has; that there is one already is fine.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        Self { options, meters, held: Mutex::default(), lost: Notify::new() }
    }

    /// Whether there is any use in asking.
    pub(super) fn is_up(&self) -> bool {
        self.lock().connection.is_some()
    }

    /// Asks everything at once and waits for the answers, as long as the options say.
    pub(super) async fn ask(&self, kind: Kind, questions: &Questions) -> Result<Vec<Value>, NoAnswer> {
        let (number, connection) = {
            let held = self.lock();
            (held.number, held.connection.clone())
        };
        let Some(mut connection) = connection else { return Err(NoAnswer) };
        let started = Instant::now();
        // The client has the same timeout for one answer; in a cluster there may be several in turn.
        let answer = time::timeout(self.options.response_timeout, connection.run(questions)).await;
        self.meters.round_trip(kind, started.elapsed());
        let failed = match answer {
            Ok(Ok(values)) if values.len() == questions.pipeline.len() => return Ok(values),
            Ok(Ok(_)) => "answers are missing".to_owned(),
            Ok(Err(error)) if error.is_timeout() => "no answer in time".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        let timed_out = failed == "no answer in time";
        self.meters.failed(kind);
        let mut held = self.lock();
        if held.number == number && held.connection.take().is_some() {
            held.timed_out = timed_out;
            drop(held);
            self.meters.up(false);
            tracing::warn!(error = failed, "Redis does not answer; lists are read from the store until it does");
            self.lost.notify_one();
        }
        Err(NoAnswer)
    }

    /// Makes the first connection. What is only away may come; what refuses us will not change its mind.
    pub(super) async fn open(&self) -> Result<(), OpenError> {
        match self.connect().await {
            Ok(connection) => {
                self.put(connection);
                Ok(())
            }
            Err(ConnectError::Away(error)) => {
                tracing::warn!(error, "Redis is not there; lists are read from the store until it is");
                self.lost.notify_one();
                Ok(())
            }
            Err(ConnectError::Wrong(error)) => Err(error),
        }
    }

    /// Makes a connection whenever there is none. Does not return.
    pub(super) async fn keep(&self) {
        loop {
            self.lost.notified().await;
            let mut pause = if self.lock().timed_out { PAUSE_MAX } else { PAUSE_MIN };
            let mut refused = None;
            loop {
                time::sleep(pause).await;
                match self.connect().await {
                    Ok(connection) => {
                        self.put(connection);
                        tracing::info!("Redis is there again");
                        break;
                    }
                    Err(error) => {
                        let text = error.to_string();
                        // Somebody has to do something about it, and is told so once.
                        if matches!(error, ConnectError::Wrong(_)) && refused.as_ref() != Some(&text) {
                            tracing::warn!(error = text, "Redis cannot be used; lists are read from the store");
                            refused = Some(text);
                        } else {
                            tracing::debug!(error = text, "Redis is still away");
                        }
                        pause = (pause * 2).min(PAUSE_MAX);
                    }
                }
            }
        }
    }

    fn put(&self, connection: Connection) {
        let mut held = self.lock();
        held.number += 1;
        held.connection = Some(connection);
        drop(held);
        self.meters.up(true);
    }

    /// A connection that has answered, to a server that will do.
    async fn connect(&self) -> Result<Connection, ConnectError> {
        let addresses = self.options.addresses().map_err(OpenError::from)?;
        let infos = self.options.connections(&addresses).map_err(|error| OpenError::Options(error.to_string()))?;
        let mut failed = ConnectError::Away("there is no node".to_owned());
        for (info, (host, port)) in infos.iter().zip(&addresses) {
            if tokio::net::lookup_host((host.as_str(), *port)).await.is_err() {
                failed = OpenError::Name(host.clone()).into();
                continue;
            }
            match time::timeout(self.time_to_connect(), self.connect_to(info.clone(), &infos)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(ConnectError::Wrong(error))) => return Err(error.into()),
                Ok(Err(ConnectError::Away(away))) => failed = ConnectError::Away(format!("{host}:{port}: {away}")),
                Err(_) => failed = ConnectError::Away(format!("{host}:{port} does not answer")),
            }
        }
        Err(failed)
    }

    async fn connect_to(&self, info: ConnectionInfo, all: &[ConnectionInfo]) -> Result<Connection, ConnectError> {
        let options = &self.options;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(options.connect_timeout))
            .set_response_timeout(Some(options.response_timeout));
        let client = if options.tls {
            let certificates = options.certificates()?;
            Client::build_with_tls(info, certificates).map_err(|error| OpenError::Certificates(error.to_string()))?
        } else {
            Client::open(info).map_err(|error| ConnectError::of(&error))?
        };
        let mut single = client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .map_err(|error| ConnectError::of(&error))?;
        let about: String = redis::cmd("INFO")
            .arg("server")
            .query_async(&mut single)
            .await
            .map_err(|error| ConnectError::of(&error))?;
        check_version(&about)?;
        let is_cluster = about.lines().any(|line| line.trim() == "redis_mode:cluster");
        let mut connection = match is_cluster {
            true => Connection::Cluster(self.connect_cluster(all).await?),
            false if all.len() > 1 => return Err(OpenError::NoCluster.into()),
            false => Connection::Single(single),
        };
        let mut scripts = redis::pipe();
        for script in [&WRITE, &OPEN, &SESSIONS] {
            scripts.cmd("SCRIPT").arg("LOAD").arg(script.body);
        }
        for command in scripts.cmd_iter() {
            connection.run_one(command).await.map_err(|error| ConnectError::of(&error))?;
        }
        // A user may be let in who may not use these keys.
        let mut key = redis::cmd("EXISTS");
        key.arg(Keys::new(&options.prefix).sentinel(0));
        connection.run_one(&key).await.map_err(|error| ConnectError::of(&error))?;
        Ok(connection)
    }

    async fn connect_cluster(&self, nodes: &[ConnectionInfo]) -> Result<ClusterConnection, ConnectError> {
        let options = &self.options;
        let mut builder = ClusterClientBuilder::new(nodes.to_vec())
            .connection_timeout(options.connect_timeout)
            .response_timeout(options.response_timeout)
            .tcp_settings(TcpSettings::default().set_nodelay(true));
        if options.tls {
            builder = builder.certs(options.certificates()?);
        }
        let client = builder.build().map_err(|error| OpenError::Options(error.to_string()))?;
        client.get_async_connection().await.map_err(|error| ConnectError::of(&error))
    }

    /// For all that is asked of a node before it is used.
    fn time_to_connect(&self) -> Duration {
        2 * self.options.connect_timeout + 3 * self.options.response_timeout
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Nothing here panics half-way through a change.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    async fn run(&mut self, questions: &Questions) -> RedisResult<Vec<Value>> {
        match self {
            Self::Single(connection) => questions.pipeline.query_async(connection).await,
            Self::Cluster(connection) => {
                // A pipeline is about one slot there; all are on their way at the same time.
                let answers = questions.parts().into_iter().map(|part| {
                    let mut connection = connection.clone();
                    async move { part.query_async::<Vec<Value>>(&mut connection).await }
                });
                Ok(try_join_all(answers).await?.into_iter().flatten().collect())
            }
        }
    }

    async fn run_one(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::Single(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }
}

fn check_version(about: &str) -> Result<(), OpenError> {
    let version = about.lines().find_map(|line| line.trim().strip_prefix("redis_version:")).unwrap_or("unknown");
    let mut parts = version.split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= VERSION_MIN => Ok(()),
        _ => Err(OpenError::Version(version.to_owned())),
    }
}

/// A script that every node has been given.
pub(super) struct Script {
    body: &'static str,
    hash: String,
}

pub(super) static WRITE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("write.lua")));
pub(super) static OPEN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("open.lua")));
pub(super) static SESSIONS: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("sessions.lua")));

impl Script {
    fn new(body: &'static str) -> Self {
        Self { body, hash: redis::Script::new(body).get_hash().to_owned() }
    }

    /// A call of it, up to its keys.
    pub(super) fn call(&self) -> Cmd {
        let mut call = redis::cmd("EVALSHA");
        call.arg(&self.hash);
        call
    }
}

/// Reads one answer of a pipeline; one of another kind is as good as none.
pub(super) fn read<T: FromRedisValue>(value: Value) -> Option<T> {
    T::from_redis_value(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_too_old_is_refused() {
        assert!(check_version("# Server\r\nredis_version:7.0.15\r\n").is_ok());
        assert!(check_version("redis_version:10.1.0").is_ok());
        assert!(
            matches!(check_version("redis_version:6.2.14"), Err(OpenError::Version(version)) if version == "6.2.14")
        );
        assert!(check_version("").is_err());
    }
}
