//! A link for whatever goes over IP, TCP included: a device whose packets this process carries to the other end.

use super::{
    direction::Fate,
    flows::Flows,
    namespace, overrun,
    spec::LinkSpec,
    stats::{Counters, LinkStats, Way},
    transit::Transit,
};
use anyhow::{Context, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};
use tun_rs::{DeviceBuilder, SyncDevice};

/// The tunnel, on a thread of its own, so that its CPU is neither the server's nor the clients'. Dropping it stops it.
///
/// Servers listen on [`SERVER`](Self::SERVER), clients send to [`address_for`](Self::address_for) that. The kernel hands
/// those packets to the device; here each meets its fate and gets its two addresses exchanged, which no checksum notices, and
/// so comes back as sent by the far address to the near one. Retransmissions, congestion control and segmentation are the
/// kernel's own, as they would be on a wire with an MTU of 1,500 bytes. Each pair of ports is a client with a link
/// of its own; the side that speaks first is the client.
pub struct Tunnel {
    counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Tunnel {
    /// Where a server listens whose clients come through the tunnel. Its port is its own choice.
    pub const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 1));
    const FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 2));

    /// Sets the device up and starts to carry packets. Only inside a namespace of its own; the seed of the run counts where
    /// the spec has none.
    pub fn start(spec: LinkSpec, seed: u64) -> anyhow::Result<Self> {
        ensure!(namespace::inside(), "a tunnel is set up only in a network namespace of its own");
        let device = DeviceBuilder::new().name(DEVICE).inherit_enable_state().build_sync();
        let device = device.context("there is no tunnel device (/dev/net/tun) to be had")?;
        device.set_nonblocking(true)?;
        namespace::ip(&["address", "add", &format!("{}/30", Self::SERVER), "dev", DEVICE])?;
        namespace::ip(&["link", "set", DEVICE, "mtu", MTU, "txqueuelen", QUEUE_PACKETS, "up"])?;

        let (counters, stop) = (Arc::new(Counters::default()), Arc::new(AtomicBool::new(false)));
        let work = Work {
            device,
            flows: Flows::new(spec, seed),
            transit: Transit::new(),
            scratch: vec![0; PACKET_BYTES_MAX],
            counters: counters.clone(),
            stop: stop.clone(),
        };
        let thread = thread::Builder::new().name("tunnel".into()).spawn(move || {
            if let Err(error) = work.run() {
                tracing::error!(%error, "the tunnel broke");
            }
        })?;
        Ok(Self { counters, stop, thread: Some(thread) })
    }

    /// Where clients reach, through the tunnel, a server that listens on `server`.
    pub fn address_for(server: SocketAddr) -> SocketAddr {
        SocketAddr::new(Self::FAR, server.port())
    }

    /// What it did until now.
    pub fn stats(&self) -> LinkStats {
        self.counters.stats(overrun::of_device(DEVICE))
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // It cannot be asked anything any more; a panic of it was printed when it happened.
            let _ = thread.join();
        }
    }
}

struct Work {
    device: SyncDevice,
    /// Each with the port of its client.
    flows: Flows<Ports, u16>,
    transit: Transit<Way>,
    scratch: Vec<u8>,
    counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
}

impl Work {
    fn run(mut self) -> io::Result<()> {
        let mut forget_at = Instant::now() + FORGET_INTERVAL;
        while !self.stop.load(Relaxed) {
            self.wait()?;
            self.read()?;
            self.pass_on();
            if Instant::now() >= forget_at {
                self.flows.forget_idle(Instant::now());
                forget_at = Instant::now() + FORGET_INTERVAL;
            }
        }
        Ok(())
    }

    /// Until there is a packet to read or one to pass on, or it is time to look whether to stop.
    fn wait(&self) -> io::Result<()> {
        let until_next = |at: Instant| at.saturating_duration_since(Instant::now()).min(STOP_INTERVAL);
        let longest = self.transit.next_at().map_or(STOP_INTERVAL, until_next);
        // Cannot fail: it is a tenth of a second at most.
        let longest = Timespec::try_from(longest).unwrap_or_default();
        match poll(&mut [PollFd::new(&self.device, PollFlags::IN)], Some(&longest)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn read(&mut self) -> io::Result<()> {
        for _ in 0..TURN_PACKETS_MAX {
            match self.device.recv(&mut self.scratch) {
                Ok(length) => self.on_packet(length)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn on_packet(&mut self, length: usize) -> io::Result<()> {
        let packet = &mut self.scratch[..length];
        // IPv6 has nothing to say here but that it looks for routers.
        let Some((ports, from)) = Ports::of(packet) else { return Ok(()) };
        exchange_addresses(packet);

        let now = Instant::now();
        if !self.flows.knows(ports) {
            self.flows.start(ports, now, || Ok(from))?;
            self.counters.on_flow();
        }
        let flow = self.flows.get(ports).ok_or(ErrorKind::NotFound)?;
        let way = if from == flow.end { Way::Up } else { Way::Down };
        let fate = flow.offer(way, now, length);
        self.counters.on_fate(way, fate);
        if let Fate::Arrives(at) = fate
            && !self.transit.put(at, way, packet)
        {
            self.counters.on_fate(way, Fate::Overflowed);
        }
        Ok(())
    }

    /// Passes on what arrives, all that is due at once.
    fn pass_on(&mut self) {
        let now = Instant::now();
        for _ in 0..TURN_PACKETS_MAX {
            let Some(packet) = self.transit.take_arrived(now) else { return };
            match self.device.send(&packet.bytes) {
                Ok(bytes) => self.counters.on_passed(packet.to, bytes, now - packet.at),
                Err(_) => self.counters.on_undeliverable(packet.to),
            }
            self.transit.reuse(packet);
        }
    }
}

/// What tells the clients of a tunnel apart: their protocol and both ports, the same for both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Ports {
    protocol: u8,
    lower: u16,
    higher: u16,
}

impl Ports {
    /// Those of an IPv4 packet, and the one that it comes from. What has no ports, such as ICMP, has zeros.
    fn of(packet: &[u8]) -> Option<(Self, u16)> {
        let header = packet.first_chunk::<20>()?;
        if header[0] >> 4 != 4 {
            return None;
        }
        let protocol = header[9];
        let is_fragment = u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0;
        let payload = packet.get(usize::from(header[0] & 0xf) * 4..)?;
        let (from, to) = match payload.first_chunk::<4>() {
            Some(&[a, b, c, d]) if matches!(protocol, TCP | UDP) && !is_fragment => {
                (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
            }
            _ => (0, 0),
        };
        Some((Self { protocol, lower: from.min(to), higher: from.max(to) }, from))
    }
}

/// Of an IPv4 packet. The checksums are sums over both addresses, so they stay right.
fn exchange_addresses(packet: &mut [u8]) {
    let (source, destination) = packet[12..20].split_at_mut(4);
    source.swap_with_slice(destination);
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const DEVICE: &str = "link0";
const MTU: &str = "1500";
/// How many packets wait for this process before the kernel drops some; a turn of thousands of connections fits.
const QUEUE_PACKETS: &str = "16384";
const PACKET_BYTES_MAX: usize = 65_536;
const TURN_PACKETS_MAX: usize = 256;
const STOP_INTERVAL: Duration = Duration::from_millis(100);
const FORGET_INTERVAL: Duration = Duration::from_secs(30);

#[cfg(test)]
#[path = "tunnel_tests.rs"]
mod tests;
