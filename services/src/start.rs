//! Starts services that do not run yet, in containers or as processes.

use super::{
    Shape, Wanted, cassandra,
    container::{self, Container},
    jars, packages, ready, redis,
    state::{Directory, Kind, Runs, Service, State},
    usual_directory,
};
use anyhow::{Context, Result};
use std::{
    fs::{self, File},
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

/// Where a CQL server listens unless that is taken.
const CQL_PORT: u16 = 9042;

/// Starts what is wanted and waits until it answers. What was started in vain is stopped, and nothing of it is left but its log.
pub fn anew(directory: &Directory, wanted: &Wanted) -> Result<State> {
    let shape = wanted.shape.unwrap_or(Shape::SINGLE);
    // Two that start at the same time, in directories of their own, would take the same ports, and fetch the same jars.
    let shared = usual_directory();
    fs::create_dir_all(&shared)?;
    let starting = File::create(shared.join("starting"))?;
    starting.lock().context("waiting for other services to start")?;
    let engine = wanted.containers.then(container::engine).flatten().filter(|engine| has_images(engine, wanted));
    let mut state = State { shape, services: Vec::new() };
    let started = match engine {
        Some(engine) => in_containers(engine, directory, wanted, &mut state),
        None => as_processes(directory, wanted, &mut state),
    };
    if let Err(error) = started.and_then(|()| ready::wait_for(&state.services, directory)) {
        return Err(match directory.clear(&state) {
            Ok(()) => error,
            Err(left) => error.context(format!("and afterwards {left:#}")),
        });
    }
    Ok(state)
}

/// An engine that cannot reach a registry is no reason to give up.
fn has_images(engine: &str, wanted: &Wanted) -> bool {
    let images = [(wanted.redis, container::REDIS), (wanted.cql, container::SCYLLA)];
    images.into_iter().filter(|(wanted, _)| *wanted).all(|(_, image)| match container::pull(engine, image) {
        Ok(()) => true,
        Err(error) => {
            eprintln!("{error:#}; going on without containers");
            false
        }
    })
}

fn in_containers(engine: &str, directory: &Directory, wanted: &Wanted, state: &mut State) -> Result<()> {
    let Shape { nodes, durable } = state.shape;
    let add = |state: &mut State, name: String, kind, address, container| {
        state.services.push(Service { name, kind, address, runs: Runs::Container(container) });
        directory.keep(state)
    };
    if wanted.redis {
        let address = SocketAddr::new(loopback(0), ready::free_port(redis::PORT, &[loopback(0)])?);
        add(state, "redis".to_owned(), Kind::Redis, address, Container::redis(engine, address)?)?;
    }
    if wanted.cql {
        let (port, cluster) = (ready::free_port(CQL_PORT, &addresses(nodes))?, nodes > 1);
        if cluster {
            container::make_network(engine)?;
        }
        let mut seed = None;
        for (index, ip) in addresses(nodes).into_iter().enumerate() {
            let address = SocketAddr::new(ip, port);
            let container = Container::scylla(engine, address, seed, cluster, durable)?;
            if cluster && seed.is_none() {
                seed = Some(container.inner_address()?);
            }
            add(state, node_name(index), Kind::Cql, address, container)?;
        }
    }
    Ok(())
}

fn as_processes(directory: &Directory, wanted: &Wanted, state: &mut State) -> Result<()> {
    let add = |state: &mut State, name: String, kind, address, launch| {
        let runs = Runs::Process { launch, process: None };
        state.services.push(Service { name, kind, address, runs });
    };
    if wanted.redis {
        packages::redis_server().context("no Redis to test with, and GODWIT_TEST_REDIS names none")?;
        let address = SocketAddr::new(loopback(0), ready::free_port(redis::PORT, &[loopback(0)])?);
        add(state, "redis".to_owned(), Kind::Redis, address, redis::launch(&directory.data("redis"), address));
    }
    if wanted.cql {
        let advice = "no CQL server to test with, and GODWIT_TEST_CQL names none";
        let java = packages::java().context(advice)?;
        let jars = jars::fetch(&usual_directory().canonicalize()?).context(advice)?;
        let addresses = addresses(state.shape.nodes);
        let cql_port = ready::free_port(CQL_PORT, &addresses)?;
        let storage_port = ready::free_port(cassandra::STORAGE_PORT, &addresses)?;
        for (index, &ip) in addresses.iter().enumerate() {
            let data = directory.data(&node_name(index));
            if data.exists() {
                fs::remove_dir_all(&data)?;
            }
            let (advertised, shape) = (ip, state.shape);
            let node = cassandra::Node {
                index,
                addresses: &addresses,
                advertised,
                cql_port,
                storage_port,
                shape,
                guard: None,
            };
            let launch = node.prepare(&java, &jars, &data)?;
            add(state, node_name(index), Kind::Cql, SocketAddr::new(ip, cql_port), launch);
        }
    }
    for index in 0..state.services.len() {
        let service = &mut state.services[index];
        let log = directory.log(&service.name);
        // Of the last time.
        fs::write(&log, "")?;
        service.start(&log)?;
        directory.keep(state)?;
    }
    Ok(())
}

fn addresses(nodes: usize) -> Vec<IpAddr> {
    (0..nodes).map(loopback).collect()
}

fn loopback(index: usize) -> IpAddr {
    // 1 or 3 nodes.
    Ipv4Addr::new(127, 0, 0, index as u8 + 1).into()
}

fn node_name(index: usize) -> String {
    format!("cql-{}", index + 1)
}
