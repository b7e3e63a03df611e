//! The servers that tests use: those that the environment names, else those that run, else new ones.

use super::{
    Endpoints, Wanted, cql, down, redis,
    state::{Directory, Service},
    up, usual_directory,
};
use anyhow::{Context, Result};
use std::{
    env,
    net::{SocketAddr, ToSocketAddrs},
    process, thread,
    time::Duration,
};
use tokio::signal::unix::{SignalKind, signal};

/// `HOST:PORT`, of several nodes with commas between them.
pub const CQL: &str = "GODWIT_TEST_CQL";
/// A URL.
pub const REDIS: &str = "GODWIT_TEST_REDIS";
/// Set to 1, it has the tests that need one of them say so and pass.
pub const WITHOUT: &str = "GODWIT_TEST_WITHOUT_SERVICES";
/// The file in which those tests write down that they were left out.
pub const LEFT_OUT: &str = "GODWIT_TEST_LEFT_OUT";

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Servers that answer. What was started for this is taken down when it is dropped, or the command is interrupted.
#[derive(Debug)]
pub struct ForTests {
    endpoints: Endpoints,
    started: bool,
}

impl ForTests {
    /// Finds or starts them.
    pub fn begin() -> Result<Self> {
        let (cql, redis) = (given(CQL), given(REDIS));
        if let Some(cql) = &cql {
            check_cql(cql)
                .with_context(|| format!("{CQL}={cql} names no server that answers; start it, or unset it"))?;
        }
        if let Some(redis) = &redis {
            check_redis(redis)
                .with_context(|| format!("{REDIS}={redis} names no server that answers; start it, or unset it"))?;
        }
        if cql.is_some() && redis.is_some() {
            return Ok(Self { endpoints: Endpoints { cql: Vec::new(), redis: None }, started: false });
        }
        let path = usual_directory();
        let runs_already =
            Directory::open(&path)?.state()?.is_some_and(|state| state.services.iter().any(Service::runs));
        if !runs_already {
            take_down_when_interrupted()?;
        }
        let wanted = Wanted { shape: None, cql: cql.is_none(), redis: redis.is_none(), containers: true };
        let (mut endpoints, _) = up(&path, &wanted)?;
        if cql.is_some() {
            endpoints.cql.clear();
        }
        if redis.is_some() {
            endpoints.redis = None;
        }
        Ok(Self { endpoints, started: !runs_already })
    }

    /// What the environment of tests must have besides what it has.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        self.endpoints.variables()
    }
}

impl Drop for ForTests {
    fn drop(&mut self) {
        if self.started
            && let Err(error) = down(&usual_directory())
        {
            eprintln!("taking the services down: {error:#}");
        }
    }
}

fn given(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn check_cql(given: &str) -> Result<()> {
    for node in given.split(',') {
        cql::Connection::open(resolve(node)?, ANSWER_TIMEOUT).with_context(|| node.to_owned())?;
    }
    Ok(())
}

/// Only one without TLS can be asked.
fn check_redis(given: &str) -> Result<()> {
    let Some(rest) = given.strip_prefix("redis://") else { return Ok(()) };
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    redis::ask(resolve(host)?, ANSWER_TIMEOUT).map(drop)
}

fn resolve(host: &str) -> Result<SocketAddr> {
    host.to_socket_addrs()?.next().with_context(|| format!("{host} has no address"))
}

/// The tests get the same signal, from the terminal or whoever else stops the whole group; they need nobody to stop them.
fn take_down_when_interrupted() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        eprintln!("interrupted; taking the services down");
        let _ = down(&usual_directory());
        process::exit(130);
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Write, net::TcpListener};

    #[test]
    fn a_server_that_speaks_something_else_is_not_taken_for_one() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = stream.and_then(|mut stream| stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
            }
        });
        assert!(check_cql(&address.to_string()).is_err());
        assert!(check_redis(&format!("redis://user:secret@{address}/3")).is_err());
    }
}
