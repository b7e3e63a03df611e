//! One run: owners that come and go, a cluster in which things go wrong, and somebody who asks them everything.

use crate::{
    calls::{Answer, Call, CallId, Made},
    oracle::Oracle,
    owner::{Known, Lease, Owner},
    plans::{self, ALL, USERS},
    rng::Rng,
    settings::{Bug, Settings},
    simulated_cluster::{Cluster, Happened},
    store_suite::build::*,
    timers::SimTimers,
};
use bytes::Bytes;
use godwit::store::{
    Commit, Direction, PageLimit,
    scylla::tables::{LogRow, LogState, Mutation, Rows},
};
use godwit_proto::{ConversationId, Seq};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

/// After trouble has ended, everything must come right within this time.
const CALM_MS_MAX: u64 = 20_000;
/// Replicas that are away are so for this long at most.
const OUTAGE_MS_MAX: u64 = 200;

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    pub durable: u64,
    pub unknown: u64,
    pub answered: u64,
    pub epochs: u64,
    pub zombies: u64,
    /// Leases that were renewed after they had lapsed.
    pub lapses: u64,
    pub happened: Happened,
}

pub struct World {
    pub settings: Settings,
    pub rng: Rng,
    pub cluster: Cluster,
    pub timers: SimTimers,
    pub oracle: Oracle,
    pub conversations: Vec<ConversationId>,
    pub owner: Option<Owner>,
    /// Processes whose lease has lapsed, or is going to.
    former: Vec<Owner>,
    lease: Arc<Mutex<Lease>>,
    pub calls: BTreeMap<CallId, Call>,
    pub answers: Arc<Mutex<Vec<(CallId, bool, Answer)>>>,
    next: u64,
    outage_ends_ms: u64,
    /// The last answer that was none.
    pub refused: Option<String>,
    print: bool,
    pub durable: u64,
    pub unknown: u64,
    pub answered: u64,
    zombies: u64,
    lapses: u64,
}

/// Runs a seed to its end. Panics when something is not as it must be.
pub fn run(seed: u64, bug: Option<Bug>, print: bool) -> Summary {
    let mut rng = Rng::new(seed);
    let settings = Settings::draw(&mut rng, bug);
    if print {
        eprintln!("{settings:#?}");
    }
    let mut world = World::new(settings, rng, print);
    world.cluster.set_faulty(true);
    world.timers.set_failures(world.rng.pick(&[0, 0, 100]));
    while world.cluster.now_ms() < world.settings.trouble_ms {
        world.go_on();
        world.chaos();
        world.work();
    }
    world.calm_down();
    Summary {
        durable: world.durable,
        unknown: world.unknown,
        answered: world.answered,
        epochs: world.lease.lock().unwrap().epoch,
        zombies: world.zombies,
        lapses: world.lapses,
        happened: world.cluster.happened(),
    }
}

impl World {
    fn new(settings: Settings, mut rng: Rng, print: bool) -> Self {
        let conversations: Vec<_> = (0..settings.conversations).map(|n| group(n as u8)).collect();
        let mut world = Self {
            cluster: Cluster::new(settings.faults, rng.fork()),
            timers: SimTimers::new(rng.fork()),
            oracle: Oracle::new(&conversations),
            conversations,
            owner: None,
            former: Vec::new(),
            lease: Arc::default(),
            calls: BTreeMap::new(),
            answers: Arc::default(),
            next: 0,
            outage_ends_ms: 0,
            refused: None,
            print,
            durable: 0,
            unknown: 0,
            answered: 0,
            zombies: 0,
            lapses: 0,
            settings,
            rng,
        };
        if world.settings.long {
            world.preload();
        }
        world
    }

    /// One conversation stands just before its second bucket.
    fn preload(&mut self) {
        let (conversation, head) = (self.conversations[0], 4_095 - self.rng.below(50));
        let append = append(conversation, 1..=head);
        let entries = append.entries.iter().map(|entry| LogRow { seq: entry.seq, entry: entry.encoded.clone() });
        let state = Some(LogState { head: Seq(head), epoch: 0, pending: Bytes::new() });
        let rows = Rows::Log { conversation, bucket: 0, state, entries: entries.collect() };
        self.cluster.preload(&Mutation { timestamp_us: 1, rows });
        let id = self.next_id();
        self.oracle.begin(id, &append);
        self.oracle.end(id, &append, &godwit::store::CommitOutcome::Durable);
    }

    pub fn next_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub fn note(&self, text: impl FnOnce() -> String) {
        if self.print {
            eprintln!("{:>6} ms  {}", self.cluster.now_ms(), text());
        }
    }

    /// Lets time pass, and looks at what came of it.
    fn go_on(&mut self) {
        let step_ms_max = self.settings.step_ms_max.min(self.settings.lease_ms / 10);
        let to_ms = self.cluster.now_ms() + self.rng.below(step_ms_max + 1);
        self.cluster.advance(to_ms);
        self.look_at_answers();
        if let Some(mut owner) = self.owner.take() {
            owner.renew(&self.settings, &self.lease, &mut self.rng);
            let has_lapsed = !owner.stopped && !owner.fence.holds();
            if std::mem::replace(&mut owner.has_lapsed, has_lapsed) != has_lapsed {
                self.lapses += u64::from(!has_lapsed);
                self.note(|| format!("epoch {}: its lease has lapsed: {has_lapsed}", owner.epoch));
            }
            self.owner = Some(owner);
        }
        let is_over = self.lease.lock().unwrap().is_over(to_ms, &self.settings);
        let is_free = self.owner.as_ref().is_none_or(|owner| owner.stopped || owner.has_lapsed);
        let is_hasty = self.settings.bug == Some(Bug::HastyTakeover) && self.rng.chance(20);
        if (is_over && is_free) || is_hasty {
            if let Some(owner) = self.owner.take() {
                self.retire(owner);
            }
            self.oracle.abandon();
            let owner = Owner::take_over(&self.cluster, &self.timers, &self.settings, &mut self.rng, &self.lease);
            self.note(|| format!("epoch {} begins", owner.epoch));
            self.owner = Some(owner);
        }
        if self.outage_ends_ms <= to_ms {
            self.cluster.set_down(None);
        }
    }

    /// Strokes of fate.
    fn chaos(&mut self) {
        if !self.rng.chance(self.settings.chaos) {
            return;
        }
        match self.rng.below(6) {
            0 if self.settings.crashes => {
                if let Some(owner) = self.owner.take() {
                    self.kill(&owner);
                }
            }
            1 | 2 if self.settings.stops => {
                if let Some(owner) = &mut self.owner {
                    owner.stopped = !owner.stopped;
                    match owner.stopped {
                        true => self.cluster.stop(owner.process),
                        false => self.cluster.resume(owner.process),
                    }
                    let (epoch, stopped) = (owner.epoch, owner.stopped);
                    self.note(|| format!("epoch {epoch} is stopped: {stopped}"));
                }
            }
            3 if self.settings.lapses => {
                if let Some(owner) = &mut self.owner {
                    owner.cut_off = !owner.cut_off;
                }
            }
            4 if self.settings.outages => {
                let replica = self.rng.index(3);
                self.note(|| format!("replica {replica} is away"));
                self.outage_ends_ms = self.cluster.now_ms() + self.rng.below(OUTAGE_MS_MAX);
                self.cluster.set_down(Some(replica));
            }
            _ => {
                let faulty = self.rng.chance(600);
                self.note(|| format!("faults: {faulty}"));
                self.cluster.set_faulty(faulty);
            }
        }
        // A process that was stopped for longer than its lease is continued, goes on for a while, and ends.
        if !self.former.is_empty() {
            let mut owner = self.former.swap_remove(self.rng.index(self.former.len()));
            if owner.stopped {
                self.note(|| format!("epoch {} goes on", owner.epoch));
                self.zombies += 1;
                owner.stopped = false;
                self.cluster.resume(owner.process);
                self.former.push(owner);
            } else {
                self.kill(&owner);
            }
        }
    }

    /// Whatever it is asked from now on never happens.
    fn retire(&mut self, mut owner: Owner) {
        owner.is_former = true;
        self.former.push(owner);
    }

    fn kill(&mut self, owner: &Owner) {
        self.note(|| format!("epoch {} dies", owner.epoch));
        self.cluster.kill(owner.process);
        self.calls.retain(|_, call| call.epoch != owner.epoch);
    }

    /// Somebody asks somebody something.
    fn work(&mut self) {
        if !self.former.is_empty() && self.rng.chance(300) {
            let mut owner = self.former.swap_remove(self.rng.index(self.former.len()));
            if !owner.stopped {
                self.ask(&mut owner);
            }
            self.former.push(owner);
        } else if let Some(mut owner) = self.owner.take() {
            if !owner.stopped {
                self.ask(&mut owner);
            }
            self.owner = Some(owner);
        }
    }

    fn ask(&mut self, owner: &mut Owner) {
        let index = self.rng.index(self.conversations.len());
        let conversation = self.conversations[index];
        let near = |rng: &mut Rng, head: u64| Seq((head + 2).saturating_sub(rng.below(20)));
        let head = self.oracle.any(conversation).model.head(conversation);
        let who = user(1 + self.rng.below(USERS));
        match self.rng.below(12) {
            0 => {
                let tail = self.rng.pick(&[0, 1, 3, 100]);
                self.load(owner, index, tail);
            }
            1 | 2 => {
                let (from, direction) =
                    (near(&mut self.rng, head), self.rng.pick(&[Direction::Forward, Direction::Backward]));
                let limit = PageLimit { entries: self.rng.pick(&[1, 3, 100]), bytes: self.rng.pick(&[1, 100_000]) };
                self.page(owner, index, from, direction, limit);
            }
            3 => {
                let seq = near(&mut self.rng, head);
                let one = PageLimit { entries: 1, ..ALL };
                let found = self.oracle.any(conversation).model.read(conversation, seq, Direction::Forward, one);
                let sent = found.first().map_or((who, msg(0)), |entry| (entry.sender, entry.client_msg_id));
                self.find(owner, index, sent.0, sent.1);
            }
            4 => self.summaries(owner, who),
            5 => self.list(owner, who),
            _ => {
                let calls = 1 + self.rng.index(2);
                let made: Vec<Made> = (0..calls).filter_map(|_| self.plan(owner, index)).collect();
                match made.is_empty() {
                    true => self.load(owner, index, 3),
                    false => self.commit(owner, made),
                }
            }
        }
    }

    /// A commit, if the router could make one now.
    fn plan(&mut self, owner: &mut Owner, index: usize) -> Option<Made> {
        let conversation = self.conversations[index];
        if self.oracle.open(conversation) >= self.settings.open_max {
            return None;
        }
        let head = match owner.known.get(&index) {
            Some(known) => known.head,
            None if self.rng.chance(100) => self.oracle.any(conversation).model.head(conversation),
            None => return None,
        };
        let id = self.next_id();
        let commit = plans::commit(&self.oracle, &self.settings, &mut self.rng, conversation, head, id);
        Some(self.made(owner, index, id, commit))
    }

    fn made(&mut self, owner: &mut Owner, index: usize, id: u64, commit: Commit) -> Made {
        let counts = !owner.is_former;
        let may_conflict = counts && self.oracle.begin(id, &commit);
        let head = commit.after.0 + commit.entries.len() as u64;
        // What is built on it before it is answered stands and falls with it.
        owner.known.insert(index, Known { head });
        Made { id, index, commit, counts, may_conflict }
    }

    /// No more trouble: from here on everything must come right, and stay as it is.
    fn calm_down(&mut self) {
        self.note(|| "trouble ends".into());
        self.cluster.set_faulty(false);
        self.cluster.set_down(None);
        self.timers.set_failures(0);
        std::mem::take(&mut self.former).into_iter().for_each(|owner| self.kill(&owner));
        if let Some(owner) = &mut self.owner {
            owner.cut_off = false;
            if std::mem::take(&mut owner.stopped) {
                self.cluster.resume(owner.process);
            }
        }
        let deadline_ms = self.cluster.now_ms() + CALM_MS_MAX;
        self.settle(deadline_ms);
        for index in 0..self.conversations.len() {
            self.commit_one(index, deadline_ms);
        }
        self.check_all();
        // Whatever is still on its way changes nothing, nor does the next owner.
        self.wait(self.settings.faults.late_ms_max + 1_000);
        self.check_all();
        if let Some(owner) = self.owner.take() {
            self.kill(&owner);
        }
        self.check_all();
    }

    fn wait(&mut self, ms: u64) {
        let until_ms = self.cluster.now_ms() + ms;
        while self.cluster.now_ms() < until_ms {
            self.go_on();
        }
    }

    /// Until there is an owner, and nobody waits for an answer.
    fn settle(&mut self, deadline_ms: u64) {
        loop {
            self.go_on();
            if self.owner.is_some() && self.calls.is_empty() {
                return;
            }
            let waiting = self.calls.len();
            assert!(self.cluster.now_ms() < deadline_ms, "it does not settle: {waiting} calls are not answered");
        }
    }

    /// A conversation takes something once more.
    fn commit_one(&mut self, index: usize, deadline_ms: u64) {
        let conversation = self.conversations[index];
        loop {
            let before = self.durable;
            let mut owner = self.owner.take().expect("it is settled");
            match owner.known.get(&index).copied() {
                None => self.load(&owner, index, 1),
                Some(known) => {
                    let id = self.next_id();
                    let entries = vec![entry(known.head + 1)];
                    let commit = Commit { entries, ..Commit::after(conversation, Seq(known.head)) };
                    let made = self.made(&mut owner, index, id, commit);
                    self.commit(&owner, vec![made]);
                }
            }
            self.owner = Some(owner);
            self.settle(deadline_ms);
            if self.durable > before {
                return;
            }
            let refused = &self.refused;
            assert!(self.cluster.now_ms() < deadline_ms, "nothing is wrong any more: {refused:?}");
        }
    }

    /// Asks everything until everything is answered.
    fn check_all(&mut self) {
        let deadline_ms = self.cluster.now_ms() + CALM_MS_MAX;
        loop {
            self.settle(deadline_ms);
            self.refused = None;
            let owner = self.owner.take().expect("it is settled");
            (0..self.conversations.len()).for_each(|index| self.ask_all(&owner, index));
            self.ask_all_of_users(&owner);
            self.owner = Some(owner);
            self.settle(deadline_ms);
            match &self.refused {
                None => return,
                Some(refused) => assert!(self.cluster.now_ms() < deadline_ms, "nothing is wrong any more: {refused}"),
            }
        }
    }
}
