//! Waits until services answer, and says why they do not.

use super::{
    cql, redis,
    state::{Directory, Kind, Service},
};
use anyhow::{Context, Result, bail, ensure};
use std::{
    net::{SocketAddr, TcpListener},
    thread,
    time::{Duration, Instant},
};

/// For all of them together. On a busy machine Cassandra takes a minute, and a cluster of ScyllaDB two.
const START_TIMEOUT: Duration = Duration::from_secs(300);

/// For one answer of a server that may not be ready.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

const POLL: Duration = Duration::from_millis(100);

/// How many ports are tried, from the usual one on.
const PORTS: u16 = 100;

/// Waits until each of them answers, and the nodes of a cluster know each other. Fails at once when one has ended.
pub fn wait_for(services: &[Service], directory: &Directory) -> Result<()> {
    let deadline = Instant::now() + START_TIMEOUT;
    let nodes = services.iter().filter(|service| service.kind == Kind::Cql).count();
    for service in services {
        loop {
            let why = match answers(service, nodes) {
                Ok(()) => break,
                Err(error) => error,
            };
            let ended = !service.runs();
            if ended || Instant::now() >= deadline {
                let words = service.last_words(&directory.log(&service.name));
                let what = if ended { "has ended" } else { "does not answer" };
                let name = &service.name;
                bail!("{name} on {} {what}: {why:#}\n── what {name} said last:\n{words}\n──", service.address);
            }
            thread::sleep(POLL);
        }
    }
    Ok(())
}

fn answers(service: &Service, nodes: usize) -> Result<()> {
    match service.kind {
        Kind::Redis => redis::ask(service.address, ANSWER_TIMEOUT).map(drop),
        Kind::Cql => {
            let mut connection = cql::Connection::open(service.address, ANSWER_TIMEOUT)?;
            connection.start_up()?;
            let schemas = connection.query("SELECT schema_version FROM system.peers")?;
            ensure!(schemas.len() + 1 == nodes, "it knows {} of {} other nodes", schemas.len(), nodes - 1);
            let own = connection.query("SELECT schema_version FROM system.local")?;
            let own = own.first().context("a node without a schema")?;
            ensure!(schemas.iter().all(|other| other == own), "the nodes do not have the same schema yet");
            Ok(())
        }
    }
}

/// The first port from `first` on that is free on all of `addresses`.
pub fn free_port(first: u16, addresses: &[std::net::IpAddr]) -> Result<u16> {
    let free = |port: &u16| addresses.iter().all(|&ip| TcpListener::bind(SocketAddr::new(ip, *port)).is_ok());
    let last = first + PORTS - 1;
    (first..=last).find(free).with_context(|| format!("no port from {first} to {last} is free on {addresses:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_port_that_is_taken_on_one_address_is_passed_over() {
        let [one, other] = [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2)];
        let taken = TcpListener::bind((other, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert!(free_port(port, &[one.into(), other.into()]).unwrap() > port);
    }
}
