//! What the disk loses or damages: everything that was acknowledged comes back, or the store refuses to open.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod store_suite;

use godwit::store::{
    Commit, CommitOutcome, Direction, LogStore, PageLimit, TimerChange, TimerOutcome, TimerRow, TimerStore,
    embedded::{Embedded, EmbeddedOptions, OpenError},
};
use godwit_proto::{Seq, Vshard};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use store_suite::{build::*, disk, wait};
use tempfile::TempDir;

/// Conversations in these tests.
const GROUPS: u8 = 2;
/// Owners of timers in these tests.
const OWNERS: u64 = 2;

fn options(dir: &Path) -> EmbeddedOptions {
    let mut options = EmbeddedOptions::new(dir);
    options.disk_reserve_bytes = 0;
    options.cache_bytes = 1024 * 1024;
    options.behind_delay = Duration::from_secs(3600);
    options
}

fn open(dir: &Path) -> Result<Embedded, OpenError> {
    Embedded::open(options(dir))
}

/// What is written in turns here.
#[derive(Clone, Copy, Debug)]
enum Work {
    Messages,
    Timers,
}

impl Work {
    fn write_turn(self, store: &Embedded, turn: u64) {
        match self {
            Self::Messages => commit_turn(store, turn),
            Self::Timers => timers_turn(store, turn),
        }
    }

    /// The number of turns that are there. Panics when one is there in part.
    fn turns(self, store: &Embedded) -> u64 {
        match self {
            Self::Messages => turns(store),
            Self::Timers => turns_of_timers(store),
        }
    }
}

/// Entry `seq` of every group, in one turn, with title, reader and a timer following it, and the one before withdrawn.
fn commit_turn(store: &Embedded, seq: u64) {
    let mut reader = member(1);
    reader.read.seq = Seq(seq);
    let turn = (0..GROUPS)
        .map(|n| Commit {
            members: vec![godwit::chat::MemberChange::Put(reader.clone()), put(1 + seq)],
            details: Some(titled(&seq.to_string())),
            rewritten: (seq > 1).then(|| marker(seq - 1)).into_iter().collect(),
            timers: vec![TimerChange::Put(timer(of_group(n), 0, seq))],
            ..append(group(n), seq..=seq)
        })
        .collect();
    assert_eq!(wait(store.commit(turn)), vec![CommitOutcome::Durable; usize::from(GROUPS)]);
}

/// Who has the timer of a group.
fn of_group(n: u8) -> u64 {
    OWNERS + 1 + u64::from(n)
}

fn turns(store: &Embedded) -> u64 {
    let mut turns = None;
    for n in 0..GROUPS {
        let all = PageLimit { entries: usize::MAX, bytes: usize::MAX };
        let log = wait(store.read(group(n), Seq::FIRST, Direction::Forward, all)).unwrap();
        let head = log.len() as u64;
        let expected: Vec<_> = (1..=head).map(|seq| if seq < head { marker(seq) } else { entry(seq) }).collect();
        assert_eq!(log, expected);
        let timers = wait(store.timers_of(REMINDER, owner(of_group(n)), None, 9)).unwrap();
        let expected_timers = (head > 0).then(|| timer(of_group(n), 0, head));
        assert_eq!(timers, expected_timers.into_iter().collect::<Vec<_>>());
        assert_eq!(*turns.get_or_insert(head), head, "a turn is there in part");
        let summary = wait(store.summaries(vec![(group(n), user(1))])).unwrap().remove(0);
        let Some(summary) = summary else {
            assert_eq!(head, 0);
            continue;
        };
        assert_eq!(summary.details, titled(&head.to_string()));
        assert_eq!(summary.last, log.last().cloned());
        assert_eq!(summary.member.read.seq, Seq(head));
        assert_eq!(u64::from(summary.member_count), 1 + head);
        let members = wait(store.load(group(n), 1)).unwrap().unwrap().members;
        assert_eq!(members.len() as u64, 1 + head);
        for seq in 1..=head {
            assert_eq!(
                wait(store.find_send(group(n), user(1), msg(seq))).unwrap(),
                expected.get(seq as usize - 1).cloned()
            );
            assert_eq!(wait(store.conversations_of(user(1 + seq), None, 99)).unwrap().len(), usize::from(GROUPS));
        }
    }
    turns.unwrap()
}

/// Every owner gets timer `turn`, loses the one before the last, and timer 0 moves on.
fn timers_turn(store: &Embedded, turn: u64) {
    let mut changes = Vec::new();
    for of in 1..=OWNERS {
        changes.extend([timer(of, turn, 1_000 + turn), timer(of, 0, turn)].map(TimerChange::Put));
        changes.extend((turn > 2).then(|| TimerChange::Remove(timer(of, turn - 2, 0).key)));
    }
    let durable = vec![TimerOutcome::Durable; changes.len()];
    assert_eq!(wait(store.put_timers(changes)), durable);
}

fn turns_of_timers(store: &Embedded) -> u64 {
    let mut due = wait(store.due_timers(Vshard::all().collect(), 0..u64::MAX, None, 999)).unwrap();
    due.retain(|due| (1..=OWNERS).map(owner).any(|owner| due.key.owner == owner));
    let turns = due.first().map_or(0, |first| first.due_ms);
    let mut expected = Vec::new();
    for of in 1..=OWNERS {
        let mut timers = Vec::from_iter((turns > 0).then(|| timer(of, 0, turns)));
        timers.extend((turns.saturating_sub(1).max(1)..=turns).map(|turn| timer(of, turn, 1_000 + turn)));
        assert_eq!(wait(store.timers_of(REMINDER, owner(of), None, 999)).unwrap(), timers);
        assert_eq!(wait(store.count_timers(REMINDER, owner(of))).unwrap(), timers.len() as u64);
        let found = wait(store.timers((0..=turns + 1).map(|id| timer(of, id, 0).key).collect())).unwrap();
        let mut found: Vec<_> = found.into_iter().flatten().collect();
        found.sort_unstable_by_key(TimerRow::due);
        assert_eq!(found, timers);
        expected.extend(timers.iter().map(TimerRow::due));
    }
    expected.sort_unstable();
    assert_eq!(due, expected);
    turns
}

/// A directory to damage, made from what a store left.
struct Wreck {
    dir: TempDir,
}

impl Wreck {
    fn of(left: &Path) -> Self {
        let dir = disk::scratch();
        disk::copy(left, &dir.path().join("store"));
        Self { dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn open(&self) -> Result<Embedded, OpenError> {
        open(&self.path())
    }
}

/// Runs `work` for every item, on as many threads as there are cores.
fn for_each<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(item);
                }
            });
        }
    });
}

#[test]
fn a_store_that_was_not_closed_has_everything() {
    let dir = disk::scratch();
    let store = open(dir.path()).unwrap();
    for turn in 1..=10 {
        commit_turn(&store, turn);
        timers_turn(&store, turn);
        if turn == 4 {
            store.settle().unwrap();
        }
    }
    let wreck = Wreck::of(dir.path());
    let store = wreck.open().unwrap();
    assert_eq!((turns(&store), turns_of_timers(&store)), (10, 10));
}

#[test]
fn rows_that_were_never_synced_are_written_again() {
    for work in [Work::Messages, Work::Timers] {
        write_again_what_was_never_synced(work);
    }
}

fn write_again_what_was_never_synced(work: Work) {
    let dir = disk::scratch();
    let mut options = options(dir.path());
    // Long enough that the rows of the last turns are not there before the journal is looked at.
    options.behind_delay = Duration::from_millis(100);
    let store = Embedded::open(options).unwrap();
    for turn in 1..=10 {
        work.write_turn(&store, turn);
        if turn == 4 {
            store.settle().unwrap();
        }
    }
    let synced = disk::read_journal(&disk::journal(dir.path())).len();
    // The rows of the last turns follow, unsynced; wait until they are there.
    let mut left = synced;
    for _ in 0..500 {
        std::thread::sleep(Duration::from_millis(2));
        left = disk::read_journal(&disk::journal(dir.path())).len();
        if left > synced {
            break;
        }
    }
    let wreck = Wreck::of(dir.path());
    drop(store);
    assert!(left > synced, "nothing was written behind");
    let journal = disk::journal(&wreck.path());
    let written = disk::read_journal(&journal);
    // Everything after the synced part may be lost, wholly or in pages, in any order.
    let mut random = StdRng::seed_from_u64(1);
    for keep in [synced, synced + 1, (synced + written.len()) / 2, written.len() - 1] {
        let mut kept = written.clone();
        kept[keep..].fill(0);
        for _ in 0..4 {
            let wreck = Wreck::of(&wreck.path());
            disk::write_journal(&disk::journal(&wreck.path()), &kept);
            assert_eq!(work.turns(&wreck.open().unwrap()), 10);
            let page = random.random_range(synced..written.len());
            kept[page..(page + 64).min(written.len())].fill(0);
        }
    }
}

/// A store with some turns in rows and some not, and where in its journal the last record is.
fn with_a_last_record(work: Work, turns: u64) -> (TempDir, std::ops::Range<usize>) {
    let dir = disk::scratch();
    let left = disk::scratch();
    let store = open(dir.path()).unwrap();
    for seq in 1..turns {
        work.write_turn(&store, seq);
        if seq == turns / 2 {
            store.settle().unwrap();
        }
    }
    let start = disk::read_journal(&disk::journal(dir.path())).len();
    work.write_turn(&store, turns);
    let end = disk::read_journal(&disk::journal(dir.path())).len();
    disk::copy(dir.path(), left.path());
    (left, start..end)
}

#[test]
fn a_last_record_torn_at_any_byte_is_recovered_or_reported() {
    for work in [Work::Messages, Work::Timers] {
        tear_the_last_record(work);
    }
}

fn tear_the_last_record(work: Work) {
    const TURNS: u64 = 6;
    let (left, last) = with_a_last_record(work, TURNS);
    let written = disk::read_journal(&disk::journal(left.path()));
    let before = {
        // The guard as it was before the last turn: the machine died before its ack.
        let mut before = fs::read(left.path().join("commits.guard")).unwrap();
        let newest = (TURNS % 2) as usize * 4096;
        before[newest..newest + 32].fill(0);
        before
    };
    let cuts: Vec<_> = last.clone().collect();
    for_each(&cuts, |&cut| {
        let wreck = Wreck::of(left.path());
        disk::write_journal(&disk::journal(&wreck.path()), &written[..cut]);
        match wreck.open() {
            Err(OpenError::CommitsMissing { expected, found, .. }) => {
                assert_eq!((expected, found), (TURNS, TURNS - 1), "cut at {cut} of {last:?}");
            }
            Err(error) => panic!("cut at {cut} of {last:?}: {error}"),
            Ok(store) => assert_eq!(work.turns(&store), TURNS, "cut at {cut} of {last:?}"),
        }
        // The same, when it had not been acknowledged yet: the store opens without it.
        let wreck = Wreck::of(left.path());
        disk::write_journal(&disk::journal(&wreck.path()), &written[..cut]);
        fs::write(wreck.path().join("commits.guard"), &before).unwrap();
        let store = wreck.open().unwrap();
        assert_eq!(work.turns(&store), TURNS - 1, "cut at {cut} of {last:?}, before the ack");
        if cut % 16 == 0 {
            work.write_turn(&store, TURNS);
            drop(store);
            assert_eq!(work.turns(&wreck.open().unwrap()), TURNS);
        }
    });
}

#[test]
fn damage_anywhere_in_the_journal_is_recovered_or_reported() {
    for (work, flips) in [(Work::Messages, 1_200), (Work::Timers, 300)] {
        damage_the_journal(work, flips);
    }
}

fn damage_the_journal(work: Work, flips: usize) {
    const TURNS: u64 = 6;
    let (left, last) = with_a_last_record(work, TURNS);
    let written = disk::read_journal(&disk::journal(left.path()));
    let mut random = StdRng::seed_from_u64(7);
    let anywhere = (0..flips).map(|_| random.random_range(0..written.len())).collect::<Vec<_>>();
    let bytes = last.chain(anywhere);
    let flips: Vec<_> = bytes.map(|byte| (byte, 1_u8 << random.random_range(0..8))).collect();
    let silent = Mutex::new(Vec::new());
    let (refused, recovered) = (AtomicUsize::new(0), AtomicUsize::new(0));
    for_each(&flips, |&(byte, bit)| {
        let wreck = Wreck::of(left.path());
        let mut damaged = written.clone();
        damaged[byte] ^= bit;
        disk::write_journal(&disk::journal(&wreck.path()), &damaged);
        let Ok(store) = wreck.open() else {
            refused.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let complete = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            assert_eq!(work.turns(&store), TURNS);
        }));
        match complete {
            Ok(()) => drop(recovered.fetch_add(1, Ordering::Relaxed)),
            Err(_) => silent.lock().unwrap().push((byte, bit)),
        }
    });
    println!("{work:?}: {} refused, {} recovered", refused.into_inner(), recovered.into_inner());
    assert_eq!(silent.into_inner().unwrap(), [], "flips after which less is there than was acknowledged");
}
