//! What senders and watchers share while messages are on their way.

use super::{accounts::Directory, latency::Latency, log_check::Expected, plan::Moment};
use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// The state of a replay that runs.
#[derive(Debug)]
pub struct Live {
    pub expected: Expected,
    pub directory: Directory,
    /// Messages that the server said are durable.
    pub acked: AtomicU64,
    /// Everything has been sent and answered.
    pub sent_all: AtomicBool,
    /// Messages that arrived at a member, the sender included, each counted once.
    pub arrived: AtomicU64,
    /// Those that arrived at another member than the sender.
    pub delivered: AtomicU64,
    /// Answers to requests to mark something as read.
    pub marked: AtomicU64,
    /// Connections that were made again.
    pub reconnects: AtomicU64,
    /// From handing a message to the SDK to the ack.
    pub ack_latency: Latency,
    /// From handing a message to the SDK to its arrival at another member.
    pub delivery_latency: Latency,
    started: Instant,
    /// By message: when it was handed to the SDK, in nanoseconds after `started`.
    handed_over: Vec<AtomicU64>,
    /// By message: the seq in its ack, 0 without one.
    acked_seqs: Vec<AtomicU64>,
}

impl Live {
    /// Before the first message.
    pub fn new(expected: Expected, directory: Directory) -> anyhow::Result<Self> {
        let per_message = || expected.corpus.messages.iter().map(|_| AtomicU64::new(0)).collect();
        let (handed_over, acked_seqs) = (per_message(), per_message());
        Ok(Self {
            expected,
            directory,
            acked: AtomicU64::new(0),
            sent_all: AtomicBool::new(false),
            arrived: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            marked: AtomicU64::new(0),
            reconnects: AtomicU64::new(0),
            ack_latency: Latency::new()?,
            delivery_latency: Latency::new()?,
            started: Instant::now(),
            handed_over,
            acked_seqs,
        })
    }

    /// A message is about to be handed to the SDK.
    pub fn on_hand_over(&self, message: usize) {
        self.handed_over[message].store(self.started.elapsed().as_nanos() as u64, Ordering::Relaxed);
    }

    /// A message was acknowledged.
    pub fn on_ack(&self, message: usize, seq: u64) {
        self.ack_latency.record(message, self.since_hand_over(message));
        self.acked_seqs[message].store(seq, Ordering::Relaxed);
        self.acked.fetch_add(1, Ordering::Relaxed);
    }

    /// A message arrived at a member.
    pub fn on_arrival(&self, message: usize, account: usize) {
        if account != self.expected.plan.places[message].sender {
            self.delivery_latency.record(account, self.since_hand_over(message));
            self.delivered.fetch_add(1, Ordering::Relaxed);
        }
        self.arrived.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits for a moment. Those that have not come when everything has been sent come then.
    pub async fn reach(&self, moment: Moment) {
        while self.acked.load(Ordering::Relaxed) < moment.after_acks as u64 && !self.sent_all.load(Ordering::Relaxed) {
            tokio::time::sleep(MOMENT_POLL).await;
        }
        tokio::time::sleep(moment.delay).await;
    }

    /// Waits until everything has been sent.
    pub async fn reach_end(&self) {
        while !self.sent_all.load(Ordering::Relaxed) {
            tokio::time::sleep(MOMENT_POLL).await;
        }
    }

    /// The seq that a message's ack promised; `None` when it was not acknowledged.
    pub fn acked_seq(&self, message: usize) -> Option<u64> {
        Some(self.acked_seqs[message].load(Ordering::Relaxed)).filter(|&seq| seq > 0)
    }

    fn since_hand_over(&self, message: usize) -> Duration {
        let handed_over = Duration::from_nanos(self.handed_over[message].load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(handed_over)
    }
}

const MOMENT_POLL: Duration = Duration::from_millis(2);
