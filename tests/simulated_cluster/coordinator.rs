//! What is on its way between the processes and three replicas.

use super::{
    commit_point::{CommitPoint, Watch},
    faults::{Faults, Happened},
    replica::{Cells, Partition, Query, Replica, cells, merge},
};
use crate::rng::Rng;
use godwit::store::{
    StoreError,
    scylla::tables::{Mutation, Written},
};
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::oneshot::{Receiver, Sender, channel};

const REPLICAS: usize = 3;

pub struct Coordinator {
    pub now_ms: u64,
    /// Takes nothing and answers nothing.
    pub down: Option<usize>,
    pub happened: Happened,
    faults: Faults,
    trouble: Faults,
    rng: Rng,
    replicas: [Replica; REPLICAS],
    /// By when, and of those of one moment in a random order.
    events: BTreeMap<(u64, u64), Event>,
    writes: BTreeMap<u64, Write>,
    reads: BTreeMap<u64, Read>,
    next: u64,
    /// What was written under each timestamp, which is given once.
    written: BTreeMap<(i64, Partition), Arc<Cells>>,
    watch: Option<Watch>,
    /// The newest commit point of each partition that was told of.
    told: BTreeMap<Partition, i64>,
}

enum Event {
    /// A mutation comes to a replica.
    Arrive {
        write: u64,
        replica: usize,
    },
    /// A replica's word that it has it comes back.
    Acked {
        write: u64,
        replica: usize,
    },
    /// Nobody waits for the answer any more.
    Expire {
        write: u64,
    },
    Refuse {
        write: u64,
    },
    /// A read comes to a replica.
    Ask {
        read: u64,
        replica: usize,
    },
    Answer {
        read: u64,
    },
    FailRead {
        read: u64,
    },
    Wake(Sender<()>),
}

struct Write {
    partition: Partition,
    cells: Arc<Cells>,
    acked: [bool; REPLICAS],
    answer: Option<Sender<Written>>,
    unknown: bool,
}

struct Read {
    query: Query,
    asked: Vec<usize>,
    answers: Vec<Cells>,
    answer: Option<Sender<Result<Cells, StoreError>>>,
}

impl Coordinator {
    pub fn new(faults: Faults, rng: Rng) -> Self {
        Self {
            now_ms: 0,
            down: None,
            happened: Happened::default(),
            faults: faults.calm(),
            trouble: faults,
            rng,
            replicas: Default::default(),
            events: BTreeMap::new(),
            writes: BTreeMap::new(),
            reads: BTreeMap::new(),
            next: 0,
            written: BTreeMap::new(),
            watch: None,
            told: BTreeMap::new(),
        }
    }

    pub fn set_watch(&mut self, watch: Watch) {
        self.watch = Some(watch);
    }

    /// How long a process takes until a write leaves it.
    pub fn held_ms(&mut self) -> u64 {
        if self.rng.chance(self.faults.held) { 1 + self.delay_ms() } else { 0 }
    }

    pub fn set_faulty(&mut self, faulty: bool) {
        self.faults = if faulty { self.trouble } else { self.trouble.calm() };
    }

    pub fn preload(&mut self, mutation: &Mutation) {
        let (partition, cells) = cells(mutation, u64::MAX);
        for replica in &mut self.replicas {
            replica.take(partition, &cells);
        }
    }

    pub fn write(&mut self, mutation: &Mutation) -> Receiver<Written> {
        let left_ends_ms = self.faults.left_ms.map_or(u64::MAX, |left_ms| self.now_ms + left_ms);
        let (partition, cells) = cells(mutation, left_ends_ms);
        let cells = Arc::new(cells);
        let place = (mutation.timestamp_us, partition);
        let first = self.written.entry(place).or_insert_with(|| cells.clone());
        let same = |(one, other): ((_, &super::replica::Cell), (_, &super::replica::Cell))| {
            one.0 == other.0 && one.1.value == other.1.value
        };
        let unchanged = first.len() == cells.len() && first.iter().zip(cells.iter()).all(same);
        assert!(unchanged, "two mutations of {partition:?} have the timestamp {}", mutation.timestamp_us);

        self.happened.writes += 1;
        let (answer, answered) = channel();
        let write = self.next();
        self.writes
            .insert(write, Write { partition, cells, acked: [false; REPLICAS], answer: Some(answer), unknown: false });
        if self.rng.chance(self.faults.not_written) {
            self.later(Event::Refuse { write });
            return answered;
        }
        for replica in 0..REPLICAS {
            if self.rng.chance(self.faults.lost) {
                continue;
            }
            let late_ms = if self.rng.chance(self.faults.late) { self.faults.late_ms_max } else { 0 };
            let delay_ms = self.delay_ms() + self.rng.below(late_ms + 1);
            self.after(delay_ms, Event::Arrive { write, replica });
            if self.rng.chance(self.faults.doubled) {
                self.happened.doubled += 1;
                let delay_ms = self.rng.below(self.faults.late_ms_max + 1);
                self.after(delay_ms, Event::Arrive { write, replica });
            }
        }
        self.after(self.faults.timeout_ms, Event::Expire { write });
        answered
    }

    pub fn read(&mut self, query: Query) -> Receiver<Result<Cells, StoreError>> {
        self.happened.reads += 1;
        let (answer, answered) = channel();
        let read = self.next();
        let mut asked: Vec<usize> = (0..REPLICAS).filter(|replica| Some(*replica) != self.down).collect();
        self.rng.shuffle(&mut asked);
        asked.truncate(self.faults.read_from);
        if self.rng.chance(self.faults.read_failures) {
            self.later(Event::FailRead { read });
        } else {
            asked.iter().for_each(|replica| self.later(Event::Ask { read, replica: *replica }));
        }
        self.reads.insert(read, Read { query, asked, answers: Vec::new(), answer: Some(answer) });
        answered
    }

    pub fn sleep(&mut self, ms: u64) -> Receiver<()> {
        let (wake, woken) = channel();
        self.after(ms, Event::Wake(wake));
        woken
    }

    /// Lets the next thing happen, unless it is later than that.
    pub fn step(&mut self, until_ms: u64) -> bool {
        match self.events.first_entry() {
            Some(first) if first.key().0 <= until_ms => {
                let ((at_ms, _), event) = first.remove_entry();
                self.now_ms = at_ms;
                self.happen(event);
                true
            }
            _ => false,
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive { write, replica } if Some(replica) == self.down => {
                // It is kept for it, and told when it is back.
                self.after(50, Event::Arrive { write, replica });
            }
            Event::Arrive { write, replica } => {
                let one = &self.writes[&write];
                self.happened.late += u64::from(one.unknown);
                let partition = one.partition;
                self.replicas[replica].take(partition, &one.cells);
                self.tell(partition);
                if !self.rng.chance(self.faults.unanswered) {
                    self.later(Event::Acked { write, replica });
                }
            }
            Event::Acked { write, replica } => {
                let one = self.writes.get_mut(&write).unwrap();
                one.acked[replica] = true;
                if one.acked.iter().filter(|acked| **acked).count() >= self.faults.written_to
                    && let Some(answer) = one.answer.take()
                {
                    let _ = answer.send(Written::Done);
                }
            }
            Event::Expire { write } => {
                let one = self.writes.get_mut(&write).unwrap();
                if let Some(answer) = one.answer.take() {
                    one.unknown = true;
                    self.happened.unknown += 1;
                    let _ = answer.send(Written::Unknown);
                }
            }
            Event::Refuse { write } => {
                self.happened.not_written += 1;
                let error = self.error();
                let answer = self.writes.get_mut(&write).unwrap().answer.take();
                let _ = answer.unwrap().send(Written::NotWritten(error));
            }
            Event::Ask { read, replica } => self.ask(read, replica),
            Event::Answer { read } => self.answer(read),
            Event::FailRead { read } => {
                let error = self.error();
                if let Some(answer) = self.reads.remove(&read).and_then(|mut one| one.answer.take()) {
                    let _ = answer.send(Err(error));
                }
            }
            Event::Wake(wake) => {
                let _ = wake.send(());
            }
        }
    }

    fn ask(&mut self, read: u64, replica: usize) {
        let now_ms = self.now_ms;
        let Some(one) = self.reads.get_mut(&read) else { return };
        if Some(replica) == self.down {
            // It went away meanwhile.
            return self.after(self.faults.timeout_ms, Event::FailRead { read });
        }
        one.answers.push(self.replicas[replica].read(&one.query, now_ms));
        if one.answers.len() == one.asked.len() {
            self.later(Event::Answer { read });
        }
    }

    fn answer(&mut self, read: u64) {
        let Some(mut one) = self.reads.remove(&read) else { return };
        let mut merged = merge(&one.answers, &one.query, self.now_ms);
        if self.faults.read_repair {
            // Only what was read, which may be a part of a mutation.
            for replica in &one.asked {
                self.happened.repaired += self.replicas[*replica].take(one.query.partition, &merged) as u64;
            }
            self.tell(one.query.partition);
        }
        merged.retain(|_, cell| cell.ends_ms > self.now_ms);
        let _ = one.answer.take().unwrap().send(Ok(merged));
    }

    /// Tells whoever watches when a quorum has static columns of a log that are the newest anywhere.
    fn tell(&mut self, partition: Partition) {
        let Some(watch) = &mut self.watch else { return };
        let Some(point) = CommitPoint::of(self.now_ms, partition, &self.replicas) else { return };
        if self.told.get(&partition).is_none_or(|told| *told < point.timestamp_us) {
            self.told.insert(partition, point.timestamp_us);
            watch(&point);
        }
    }

    fn error(&mut self) -> StoreError {
        let away = StoreError::Unavailable("a simulated fault".into());
        if self.rng.chance(500) { StoreError::Overloaded } else { away }
    }

    fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn delay_ms(&mut self) -> u64 {
        self.rng.below(self.faults.delay_ms_max + 1)
    }

    fn later(&mut self, event: Event) {
        let delay_ms = self.delay_ms();
        self.after(delay_ms, event);
    }

    fn after(&mut self, ms: u64, event: Event) {
        let order = self.rng.next();
        self.events.insert((self.now_ms + ms, order), event);
    }
}
