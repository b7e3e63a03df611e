//! A relay for UDP: clients send to it instead of to the server, and each gets a link of its own.

use super::{
    direction::Fate,
    flows::Flows,
    overrun,
    spec::LinkSpec,
    stats::{Counters, LinkStats, Way},
    transit::Transit,
};
use anyhow::Context;
use socket2::SockRef;
use std::{
    cell::RefCell,
    collections::BTreeSet,
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::{
    net::UdpSocket,
    runtime::{Builder, Runtime},
    sync::{Notify, oneshot},
    task::{AbortHandle, LocalSet, spawn_local, yield_now},
    time::{sleep, sleep_until},
};

/// The relay, on a thread of its own, so that its CPU is neither the server's nor the clients'. Dropping it stops it.
///
/// The server sees an address of its own for each client address. Clients that share a socket share a link.
pub struct Relay {
    address: SocketAddr,
    counters: Arc<Counters>,
    ports: Arc<Mutex<BTreeSet<u16>>>,
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests stall a link"))]
    stalled: Arc<AtomicBool>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Relay {
    /// Starts a relay on loopback in front of a server. The seed of the run counts where the spec has none.
    pub fn start(server: SocketAddr, spec: LinkSpec, seed: u64) -> anyhow::Result<Self> {
        let front = bind(server).context("the link got no socket")?;
        let address = front.local_addr()?;
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let counters = Arc::new(Counters::default());
        let ports = Arc::new(Mutex::new(BTreeSet::from([address.port()])));
        let stalled = Arc::new(AtomicBool::new(false));
        let (stop, stopped) = oneshot::channel();
        let work = {
            let shared = (counters.clone(), ports.clone(), stalled.clone());
            move || run(&runtime, front, server, Flows::new(spec, seed), shared, stopped)
        };
        let thread = thread::Builder::new().name("link".into()).spawn(work)?;
        Ok(Self { address, counters, ports, stalled, stop: Some(stop), thread: Some(thread) })
    }

    /// Where clients send to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has it lose everything, both ways, until it is told otherwise.
    #[cfg(test)]
    pub fn stall(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::Relaxed);
    }

    /// What it did until now.
    pub fn stats(&self) -> LinkStats {
        self.counters.stats(overrun::of_udp_ports(&self.ports.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It cannot be asked anything any more; a panic of it was printed when it happened.
            let _ = thread.join();
        }
    }
}

/// Everything of a relay, on its thread.
struct Work {
    server: SocketAddr,
    front: UdpSocket,
    header_bytes: usize,
    flows: RefCell<Flows<SocketAddr, Upstream>>,
    transit: RefCell<Transit<To>>,
    /// A datagram was put in that arrives before all others.
    sooner: Notify,
    scratch: RefCell<Vec<u8>>,
    counters: Arc<Counters>,
    ports: Arc<Mutex<BTreeSet<u16>>>,
    stalled: Arc<AtomicBool>,
}

/// What the server takes for one client.
struct Upstream {
    socket: Rc<UdpSocket>,
    reader: AbortHandle,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

enum To {
    Server(Rc<UdpSocket>),
    Client(SocketAddr),
}

fn run(
    runtime: &Runtime,
    front: std::net::UdpSocket,
    server: SocketAddr,
    flows: Flows<SocketAddr, Upstream>,
    (counters, ports, stalled): (Arc<Counters>, Arc<Mutex<BTreeSet<u16>>>, Arc<AtomicBool>),
    stopped: oneshot::Receiver<()>,
) {
    let tasks = LocalSet::new();
    let relaying = tasks.run_until(async move {
        let front = match UdpSocket::from_std(front) {
            Ok(front) => front,
            Err(error) => return tracing::error!(%error, "the link cannot read its socket"),
        };
        let work = Rc::new(Work {
            server,
            front,
            header_bytes: if server.is_ipv4() { 28 } else { 48 },
            flows: RefCell::new(flows),
            transit: RefCell::new(Transit::new()),
            sooner: Notify::new(),
            scratch: RefCell::new(vec![0; DATAGRAM_BYTES_MAX]),
            counters,
            ports,
            stalled,
        });
        spawn_local(work.clone().read_clients());
        spawn_local(work.clone().forget_idle());
        tokio::select! {
            () = work.pass_on() => {}
            _ = stopped => {}
        }
    });
    runtime.block_on(relaying);
}

impl Work {
    async fn read_clients(self: Rc<Self>) {
        while self.front.readable().await.is_ok() {
            self.drain(|scratch| {
                let (length, client) = self.front.try_recv_from(scratch)?;
                if let Err(error) = self.on_datagram_of_client(client, &scratch[..length]) {
                    tracing::warn!(%error, %client, "a client got no link");
                }
                Ok(())
            });
            yield_now().await;
        }
    }

    fn on_datagram_of_client(self: &Rc<Self>, client: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        let now = Instant::now();
        if !self.flows.borrow().knows(client) {
            self.start_flow(client, now)?;
        }
        let mut flows = self.flows.borrow_mut();
        let flow = flows.get(client).ok_or(ErrorKind::NotFound)?;
        let fate = flow.offer(Way::Up, now, datagram.len() + self.header_bytes);
        self.settle(Way::Up, fate, || To::Server(flow.end.socket.clone()), datagram);
        Ok(())
    }

    fn start_flow(self: &Rc<Self>, client: SocketAddr, now: Instant) -> io::Result<()> {
        let upstream = || {
            let socket = bind(self.server)?;
            socket.connect(self.server)?;
            let socket = Rc::new(UdpSocket::from_std(socket)?);
            let port = socket.local_addr()?.port();
            self.ports.lock().unwrap_or_else(PoisonError::into_inner).insert(port);
            let reader = spawn_local(self.clone().read_server(client, socket.clone())).abort_handle();
            Ok(Upstream { socket, reader })
        };
        self.flows.borrow_mut().start(client, now, upstream)?;
        self.counters.on_flow();
        Ok(())
    }

    async fn read_server(self: Rc<Self>, client: SocketAddr, socket: Rc<UdpSocket>) {
        while socket.readable().await.is_ok() {
            self.drain(|scratch| {
                let length = socket.try_recv(scratch)?;
                if let Some(flow) = self.flows.borrow_mut().get(client) {
                    let fate = flow.offer(Way::Down, Instant::now(), length + self.header_bytes);
                    self.settle(Way::Down, fate, || To::Client(client), &scratch[..length]);
                }
                Ok(())
            });
            yield_now().await;
        }
    }

    fn settle(&self, way: Way, fate: Fate, to: impl FnOnce() -> To, datagram: &[u8]) {
        let fate = if self.stalled.load(Ordering::Relaxed) { Fate::Lost } else { fate };
        self.counters.on_fate(way, fate);
        let Fate::Arrives(at) = fate else { return };
        let mut transit = self.transit.borrow_mut();
        let sooner = transit.next_at().is_none_or(|next| at < next);
        if !transit.put(at, to(), datagram) {
            self.counters.on_fate(way, Fate::Overflowed);
        } else if sooner {
            self.sooner.notify_one();
        }
    }

    /// Passes on what arrives, all that is due at once.
    async fn pass_on(&self) {
        loop {
            let next = self.transit.borrow().next_at();
            match next {
                Some(at) => tokio::select! {
                    () = sleep_until(at.into()) => {}
                    () = self.sooner.notified() => continue,
                },
                None => self.sooner.notified().await,
            }
            let now = Instant::now();
            for _ in 0..TURN_DATAGRAMS_MAX {
                let Some(datagram) = self.transit.borrow_mut().take_arrived(now) else { break };
                // Straight to the kernel: on loopback a socket is always ready, and a full one would drop on a real host too.
                let (way, sent) = match &datagram.to {
                    To::Server(upstream) => (Way::Up, SockRef::from(upstream).send(&datagram.bytes)),
                    To::Client(client) => {
                        (Way::Down, SockRef::from(&self.front).send_to(&datagram.bytes, &(*client).into()))
                    }
                };
                match sent {
                    Ok(bytes) => self.counters.on_passed(way, bytes + self.header_bytes, now - datagram.at),
                    Err(_) => self.counters.on_undeliverable(way),
                }
                self.transit.borrow_mut().reuse(datagram);
            }
            yield_now().await;
        }
    }

    /// Receives until there is nothing more, or it is the turn of others.
    fn drain(&self, mut receive: impl FnMut(&mut [u8]) -> io::Result<()>) {
        let mut scratch = self.scratch.borrow_mut();
        for _ in 0..TURN_DATAGRAMS_MAX {
            match receive(&mut scratch) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // An earlier datagram found nobody: loss to those who sent it, and nothing to stop for.
                Ok(()) | Err(_) => {}
            }
        }
    }

    async fn forget_idle(self: Rc<Self>) {
        loop {
            sleep(FORGET_INTERVAL).await;
            self.flows.borrow_mut().forget_idle(Instant::now());
        }
    }
}

/// A socket on loopback, in the family of the server.
fn bind(server: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let loopback: IpAddr = if server.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    let socket = std::net::UdpSocket::bind((loopback, 0))?;
    socket.set_nonblocking(true)?;
    // What does not fit would be lost without anyone having asked for it.
    SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    // More than the system's limit takes a privilege; without it the limit has to do.
    #[cfg(target_os = "linux")]
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER_BYTES);
    Ok(socket)
}

const DATAGRAM_BYTES_MAX: usize = 65_536;
const TURN_DATAGRAMS_MAX: usize = 256;
const RECEIVE_BUFFER_BYTES: usize = 8 * 1024 * 1024;
const FORGET_INTERVAL: Duration = Duration::from_secs(30);

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
