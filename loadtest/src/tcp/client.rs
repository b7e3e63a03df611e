//! Clients that put an offered rate on the relay, and measure from when each message was due.

use super::{connection, outbox::Outbox, socket, tls};
use crate::baseline_frame::{Frame, FrameSizes};
use anyhow::{Context, bail, ensure};
use futures_util::{StreamExt, stream};
use hdrhistogram::Histogram;
use rustls::ClientConfig;
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpStream,
    task::{LocalSet, spawn_local},
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// What the clients of a run do.
#[derive(Debug, Clone)]
pub struct Load {
    /// How many there are.
    pub connections: u32,
    /// How many groups they are spread over, as evenly as can be. Each group has at least one.
    pub groups: u32,
    /// How many messages all of them together send, at even distances and each the next one in turn, whether or not earlier
    /// ones have arrived.
    pub rate_per_second: f64,
    /// What is due in this time is sent and counted, but not measured.
    pub warm_up: Duration,
    /// What is due in this time afterwards is measured.
    pub steady: Duration,
    /// How long to wait in the end for what is still under way.
    pub drain_max: Duration,
    /// How long frames are; as the relay has it.
    pub sizes: FrameSizes,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Messages that were due.
    pub offered: u64,
    /// Of these, the ones that their connection had room for.
    pub accepted: u64,
    /// Of these, the ones that the relay has acknowledged.
    pub acked: u64,
    /// How many times accepted messages should have arrived, at all members of their groups.
    pub due_deliveries: u64,
    /// How many times they did.
    pub delivered: u64,
    /// How many times a member got a message twice, or after a later one of the same sender.
    pub disordered: u64,
    /// Connections that ended before the run did.
    pub broken: u64,
    /// Microseconds from when a message was due to when a member got it, of the steady time.
    pub latency_us: Histogram<u64>,
    /// Microseconds from when a message was due to when its sender got the ack, of the steady time.
    pub ack_latency_us: Histogram<u64>,
    /// How late a message was handed to its connection at worst. The latencies include it; beyond a few milliseconds the
    /// clients had too little CPU.
    pub behind_us_max: u64,
    /// How connections avoided congestion, as the kernel calls it.
    pub congestion_control: String,
}

impl Outcome {
    /// Whether every message that was due arrived everywhere, once and in order.
    pub fn is_complete(&self) -> bool {
        self.accepted == self.offered
            && self.acked == self.accepted
            && self.delivered == self.due_deliveries
            && self.disordered == 0
            && self.broken == 0
    }
}

/// Connects everyone, sends for as long as the load says, and waits for the rest. For a runtime of one thread.
pub async fn run(address: SocketAddr, tls: Arc<ClientConfig>, load: &Load) -> anyhow::Result<Outcome> {
    ensure!(load.groups > 0 && load.connections >= load.groups, "each group has at least one connection");
    ensure!(load.rate_per_second > 0.0, "the rate is above 0");
    LocalSet::new().run_until(run_local(address, tls, load)).await
}

async fn run_local(address: SocketAddr, tls: Arc<ClientConfig>, load: &Load) -> anyhow::Result<Outcome> {
    let run = Rc::new(Run::new(load)?);
    let connector = TlsConnector::from(tls);
    let streams: Vec<_> = stream::iter(0..load.connections)
        .map(|_| connect(address, &connector))
        .buffered(CONNECTING_MAX)
        .collect::<Vec<_>>()
        .await
        .into_iter()
        .collect::<anyhow::Result<_>>()?;
    let control = streams.first().map(|stream| socket::congestion_control(stream.get_ref().0)).unwrap_or_default();

    let members: Vec<_> =
        streams.into_iter().zip(0..).map(|(stream, number)| run.clone().join(stream, number)).collect();
    let everyone = u64::from(load.connections);
    timeout(HELLO_MAX, run.until(|tally| tally.welcomed == everyone || tally.broken > 0))
        .await
        .context("the relay did not welcome everyone in time")?;
    ensure!(run.tally.borrow().broken == 0, "the relay ended a connection before the run began");

    run.send(&members).await;
    // What has not arrived by then is missing in the outcome.
    let _ = timeout(load.drain_max, run.until(Tally::is_complete)).await;
    Ok(run.tally.borrow().outcome(control))
}

async fn connect(address: SocketAddr, connector: &TlsConnector) -> anyhow::Result<TlsStream<TcpStream>> {
    let connecting = async {
        let stream = socket::connect(address).await?;
        Ok(connector.connect(tls::server_name()?, stream).await?)
    };
    match timeout(CONNECT_MAX, connecting).await {
        Ok(connected) => connected,
        Err(_) => bail!("{address} cannot be reached"),
    }
}

/// What all connections share.
struct Run {
    load: Load,
    /// What due times count from.
    start: Cell<Instant>,
    tally: RefCell<Tally>,
    changed: tokio::sync::Notify,
}

struct Tally {
    welcomed: u64,
    offered: u64,
    accepted: u64,
    acked: u64,
    due_deliveries: u64,
    delivered: u64,
    disordered: u64,
    broken: u64,
    behind: Duration,
    latency_us: Histogram<u64>,
    ack_latency_us: Histogram<u64>,
}

impl Run {
    fn new(load: &Load) -> anyhow::Result<Self> {
        let histogram = || Histogram::new_with_max(LONGEST_US, SIGNIFICANT_DIGITS);
        let tally = Tally {
            welcomed: 0,
            offered: 0,
            accepted: 0,
            acked: 0,
            due_deliveries: 0,
            delivered: 0,
            disordered: 0,
            broken: 0,
            behind: Duration::ZERO,
            latency_us: histogram()?,
            ack_latency_us: histogram()?,
        };
        let start = Cell::new(Instant::now());
        Ok(Self { load: load.clone(), start, tally: RefCell::new(tally), changed: tokio::sync::Notify::new() })
    }

    /// Starts a connection's task and says hello.
    fn join(self: Rc<Self>, stream: TlsStream<TcpStream>, number: u32) -> Rc<Outbox> {
        let outbox = Rc::new(Outbox::default());
        let hello = Frame::Hello { group: number % self.load.groups, member: number };
        outbox.put(|out| hello.encode(&self.load.sizes, out));
        let own = outbox.clone();
        spawn_local(async move {
            let mut newest = HashMap::new();
            let outcome = connection::run(stream, &own, |frame| self.on_frame(frame, hello, &mut newest)).await;
            tracing::warn!(?outcome, number, "a connection ended");
            self.tally.borrow_mut().broken += 1;
            self.changed.notify_one();
        });
        outbox
    }

    /// `newest` has the number of the newest message of each other member.
    fn on_frame(&self, frame: Frame, hello: Frame, newest: &mut HashMap<u32, u64>) -> anyhow::Result<()> {
        let tally = &mut *self.tally.borrow_mut();
        match frame {
            _ if frame == hello => tally.welcomed += 1,
            Frame::Ack { number } => {
                tally.acked += 1;
                self.measure(&mut tally.ack_latency_us, self.due(number));
            }
            Frame::Push { member, number, due } => {
                tally.delivered += 1;
                if newest.insert(member, number).is_some_and(|earlier| earlier >= number) {
                    tally.disordered += 1;
                }
                self.measure(&mut tally.latency_us, due);
            }
            Frame::Hello { .. } | Frame::Send { .. } => bail!("a relay does not send {frame:?}"),
        }
        self.changed.notify_one();
        Ok(())
    }

    fn measure(&self, histogram: &mut Histogram<u64>, due: Duration) {
        if due >= self.load.warm_up {
            let taken = self.start.get().elapsed().saturating_sub(due);
            histogram.saturating_record(taken.as_micros() as u64);
        }
    }

    /// Hands each message to its connection when it is due, whatever became of those before it.
    async fn send(&self, outboxes: &[Rc<Outbox>]) {
        self.start.set(Instant::now());
        let offered = ((self.load.warm_up + self.load.steady).as_secs_f64() * self.load.rate_per_second) as u64;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut number = 0;
        while number < offered {
            ticks.tick().await;
            let now = self.start.get().elapsed();
            let tally = &mut *self.tally.borrow_mut();
            while number < offered && self.due(number) <= now {
                let sender = number as usize % outboxes.len();
                let due = self.due(number);
                let send = Frame::Send { number, due };
                tally.offered += 1;
                tally.behind = tally.behind.max(now - due);
                if outboxes[sender].put(|out| send.encode(&self.load.sizes, out)) {
                    tally.accepted += 1;
                    tally.due_deliveries += u64::from(self.others_in_group_of(sender as u32));
                }
                number += 1;
            }
        }
    }

    /// When a message is due, since the start.
    fn due(&self, number: u64) -> Duration {
        Duration::from_secs_f64(number as f64 / self.load.rate_per_second)
    }

    fn others_in_group_of(&self, member: u32) -> u32 {
        let Load { connections, groups, .. } = self.load;
        connections / groups + u32::from(member % groups < connections % groups) - 1
    }

    /// Until the counts are so.
    async fn until(&self, reached: impl Fn(&Tally) -> bool) {
        while !reached(&self.tally.borrow()) {
            self.changed.notified().await;
        }
    }
}

impl Tally {
    fn is_complete(&self) -> bool {
        self.acked >= self.accepted && self.delivered >= self.due_deliveries
    }

    fn outcome(&self, congestion_control: String) -> Outcome {
        Outcome {
            offered: self.offered,
            accepted: self.accepted,
            acked: self.acked,
            due_deliveries: self.due_deliveries,
            delivered: self.delivered,
            disordered: self.disordered,
            broken: self.broken,
            latency_us: self.latency_us.clone(),
            ack_latency_us: self.ack_latency_us.clone(),
            behind_us_max: self.behind.as_micros() as u64,
            congestion_control,
        }
    }
}

const TICK: Duration = Duration::from_millis(1);
const CONNECTING_MAX: usize = 64;
const CONNECT_MAX: Duration = Duration::from_secs(30);
const HELLO_MAX: Duration = Duration::from_secs(30);
const LONGEST_US: u64 = 3_600_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
