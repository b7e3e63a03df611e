//! What kind of run a seed is: how large, how slow, how unlucky.

use crate::{cluster::ClusterSettings, rng::Rng};
use godwit::{
    chat::ConversationLimits,
    router::{Backoff, DeliveryLimits, Limits, OfflineLimits, ScheduleLimits},
};

/// Drawn from the seed. Most runs leave some kinds of trouble out altogether, because what is rare beside everything else
/// is common where it is alone (Groce and others, "Swarm testing", 2012).
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub cores: u16,
    pub users: usize,
    pub devices_max: usize,
    pub limits: Limits,
    pub outbox_bytes_max: usize,
    pub mailbox_items_max: usize,
    pub turn_events_max: usize,
    /// How long trouble lasts, in simulated milliseconds.
    pub trouble_ms: u64,
    /// Between two doings of one client.
    pub tick_ms_max: u64,
    pub network_delay_ms_max: u64,
    pub store_delay_ms_max: u64,
    /// In a thousand, for each change.
    pub commit_failures: u64,
    /// Of those, how many nobody knows the outcome of.
    pub unknown_outcomes: u64,
    /// In a thousand, for each question to the store.
    pub read_failures: u64,
    /// Between two strokes of fate; 0 for none.
    pub chaos_ms_max: u64,
    pub crashes: bool,
    pub disconnects: bool,
    pub stalls: bool,
    pub clock_jumps: bool,
    /// In a thousand, for each entry that a client is pushed: it is lost on the way.
    pub lost_pushes: u64,
    /// In a thousand, for each look of a client at what it has not acknowledged.
    pub acks: u64,
    pub hostile: bool,
    /// At the end every user gets one more device.
    pub new_devices: bool,
    /// What the log is on; `None`: the disk.
    pub cluster: Option<ClusterSettings>,
    pub bug: Option<Bug>,
}

/// A fault of the simulated surroundings that the checker must find: a checker that finds nothing proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// The store answers before a change is durable.
    EarlyAck,
    /// The store says that a change is durable and forgets its entries.
    LostEntry,
    /// The store finds no send, so a repeated one is taken for new.
    NoDedupe,
    /// The store answers a page with an entry left out.
    HoleInPage,
    /// The store does not note how far a member has read.
    LostRead,
    /// The store says of everybody that they are members.
    OpenDoor,
    /// The network gives a client a push twice and the client takes it twice.
    DoubledEntry,
    /// The network loses a push and the next one is no gap to the client.
    IgnoredGap,
    /// The network loses pushes at the end of a conversation, so that there is no gap to see.
    LostPush,
    /// The store says that a timer is durable and does not keep it.
    LostTimer,
    /// The same of the timer of a message that is to disappear.
    LostExpiry,
    /// The store says that a timer is gone and keeps it.
    KeptTimer,
    /// The store says of a timer that it is due before it is.
    HastyTimer,
    /// Whoever owned the cluster goes on writing and believing answers after its lease has lapsed.
    NoFence,
    /// Whoever wants the cluster does not wait for the end of the lease.
    HastyTakeover,
    /// The next owner's timestamps may be below the former's.
    NoFloor,
    /// The next owner does not write again what it finds.
    NoSeal,
    /// A write of unknown outcome is given up, and its place given to something else.
    GivenUpWrite,
    /// Reads of the cluster ask one replica.
    ReadOne,
    /// A write that one replica has counts as done.
    WriteOne,
}

impl Bug {
    /// Bugs of one kind of store show on no other.
    fn is_of_cluster(self) -> Option<bool> {
        match self {
            Self::NoFence
            | Self::HastyTakeover
            | Self::NoFloor
            | Self::NoSeal
            | Self::GivenUpWrite
            | Self::ReadOne
            | Self::WriteOne => Some(true),
            Self::EarlyAck
            | Self::LostEntry
            | Self::NoDedupe
            | Self::HoleInPage
            | Self::LostRead
            | Self::OpenDoor
            | Self::LostTimer
            | Self::LostExpiry
            | Self::KeptTimer
            | Self::HastyTimer => Some(false),
            Self::DoubledEntry | Self::IgnoredGap | Self::LostPush => None,
        }
    }
}

/// `cluster` or `disk`: what every seed is on, for whoever looks for faults of one of them.
pub const STORE_VARIABLE: &str = "GODWIT_SIM_STORE";

/// Every how manieth seed is on a cluster: they take longer.
const ON_CLUSTER_EVERY: u64 = 15;

impl Settings {
    pub fn draw(seed: u64, rng: &mut Rng, bug: Option<Bug>) -> Self {
        let on_cluster = match std::env::var(STORE_VARIABLE).as_deref() {
            Ok("cluster") => true,
            Ok("disk") => false,
            _ => seed.is_multiple_of(ON_CLUSTER_EVERY),
        };
        let on_cluster = bug.and_then(Bug::is_of_cluster).unwrap_or(on_cluster);
        // From a source of its own, so that the rest is the same on either store.
        let cluster = on_cluster.then(|| ClusterSettings::draw(&mut Rng::new(rng.clone().next()), bug));
        let limits = Limits {
            conversation: ConversationLimits {
                dedupe_entries: rng.pick(&[1, 2, 4, 16, 128]),
                group_members_max: rng.pick(&[3, 100]),
            },
            message_bytes_max: 4096,
            history_entries_max: rng.pick(&[1, 3, 50]),
            conversations_per_page_max: rng.pick(&[1, 2, 50]),
            requests_per_session_max: rng.pick(&[2, 64]),
            conversations_active_max: rng.pick(&[1, 2, 1000]),
            parked_per_conversation_max: rng.pick(&[1, 4, 1000]),
            commits_in_flight_max: rng.pick(&[2, 8, 1000]),
            schedule: ScheduleLimits {
                per_user_max: rng.pick(&[2, 1000]),
                late_ms_max: rng.pick(&[500, 20_000, ScheduleLimits::default().late_ms_max]),
                per_page_max: rng.pick(&[1, 2, 50]),
                ..ScheduleLimits::default()
            },
            timers_busy_max: rng.pick(&[1, 3, 1000]),
            ..Limits::default()
        };
        let faulty_store = rng.chance(600);
        // Together less than what everybody rests at the end, so that what was lost last is pushed again before that is over.
        let backoff = Backoff { base_ms: rng.pick(&[60, 200, 5_000]), factor: 2, max_ms: rng.pick(&[0, 100]) };
        let attempts_max = rng.pick(&[1, 5]);
        let delivery = DeliveryLimits { backoff, attempts_max, pages_in_flight_max: rng.pick(&[1, 64]) };
        let offline = OfflineLimits {
            gather_ms: rng.pick(&[0, 50]),
            notices_max: rng.pick(&[1, 1000]),
            batch_max: rng.pick(&[1, 64]),
            calls_max: rng.pick(&[1, 4]),
            backoff: Backoff { base_ms: 10, factor: 2, max_ms: 50 },
            attempts_max: rng.pick(&[1, 3]),
            ..OfflineLimits::default()
        };
        let limits = Limits { delivery, offline, ..limits };
        Self {
            cores: rng.pick(&[1, 2, 3, 4]),
            users: rng.pick(&[2, 3, 4]),
            devices_max: rng.pick(&[1, 2]),
            limits,
            outbox_bytes_max: rng.pick(&[300, 1500, 1 << 16]),
            mailbox_items_max: rng.pick(&[4, 1000]),
            turn_events_max: rng.pick(&[1, 4, 64]),
            // Long enough for somebody to notice that a server stands still.
            trouble_ms: 300 + rng.below(700) + cluster.map_or(0, |cluster| 3 * cluster.lease_ms),
            tick_ms_max: rng.pick(&[10, 30, 60]),
            network_delay_ms_max: rng.pick(&[1, 5, 30]),
            store_delay_ms_max: rng.pick(&[1, 5, 25]),
            commit_failures: if faulty_store { rng.pick(&[0, 50, 200]) } else { 0 },
            unknown_outcomes: rng.pick(&[0, 300, 700]),
            read_failures: if faulty_store { rng.pick(&[0, 50, 200]) } else { 0 },
            chaos_ms_max: rng.pick(&[0, 60, 200]),
            crashes: rng.chance(500),
            disconnects: rng.chance(600),
            stalls: rng.chance(400),
            clock_jumps: rng.chance(400),
            lost_pushes: if backoff.base_ms < 1_000 { rng.pick(&[0, 100, 500]) } else { 0 },
            acks: rng.pick(&[0, 100, 700]),
            hostile: rng.chance(300),
            new_devices: rng.chance(300) || cluster.is_some(),
            cluster,
            bug,
        }
    }
}
