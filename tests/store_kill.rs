//! A process that is killed at any moment loses nothing that it was told is durable.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod store_suite;

use godwit::{
    chat::{LogEntry, Member, MemberChange, Position},
    store::{
        Commit, CommitOutcome, CreateUserOutcome, Direction, LogStore, PageLimit, Store, TimerChange, TimerOutcome,
        TimerRow, TimerStore, UserStore,
        embedded::{Embedded, EmbeddedOptions},
    },
};
use godwit_proto::{Seq, Vshard};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use store_suite::{build::*, wait};

const ROUNDS: u64 = 30;
/// Set for the process that is going to be killed.
const CHILD: &str = "GODWIT_STORE_KILL_CHILD";
const SEED: &str = "GODWIT_STORE_KILL_SEED";
const GROUPS: u8 = 5;
const READER: u64 = 900;
/// Whose timers they are.
const AUTHOR: u64 = 901;
const TICKS_KEPT: u64 = 5;
const FAR_MS: u64 = 1 << 40;

fn open(dir: &Path, seed: u64) -> Embedded {
    let mut options = EmbeddedOptions::new(dir);
    options.disk_reserve_bytes = 0;
    options.behind_batch_rows_max = 8;
    // Now eager, now lazy, now bound to wait for its own write-behind.
    match seed % 3 {
        0 => options.behind_delay = Duration::from_millis(1),
        1 => options.behind_rows_max = 40,
        _ => options.behind_bytes_max = 16 * 1024,
    }
    if seed.is_multiple_of(4) {
        // All the time, what withdrawn messages left is being taken out of the files.
        options.withdrawn_stay_max = Duration::ZERO;
    }
    Embedded::open(options).unwrap()
}

/// Whoever reads has come as far as the newest entry. The title names that and the newest one before, which is withdrawn;
/// the first entry and a timer tell of the newest too. So a commit that is there in part shows.
fn commit_up_to(n: u8, after: u64, last: u64) -> Commit {
    let at = Position { seq: Seq(last), ordinal: last };
    Commit {
        members: vec![MemberChange::Put(Member { read: at, ..member(READER) }), put(READER + 1 + last % 7)],
        details: Some(titled(&format!("{last} {after}"))),
        rewritten: match after {
            0 => vec![],
            1 => vec![first(last)],
            _ => vec![first(last), marker(after)],
        },
        timers: vec![TimerChange::Put(timer(of_group(n), 0, last))],
        ..append(group(n), after + 1..=last)
    }
}

/// The first entry as it is when `last` is the newest, unless one commit brought both.
fn first(last: u64) -> LogEntry {
    sized_entry(1, (100 + last % 100) as usize)
}

/// Who has the timer of a group.
fn of_group(n: u8) -> u64 {
    AUTHOR + 1 + u64::from(n)
}

/// Commits until it is killed, and tells each thing that was acknowledged.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let seed = std::env::var(SEED).unwrap().parse().unwrap();
    let mut random = StdRng::seed_from_u64(seed);
    let store = open(Path::new(&dir), seed);
    let mut out = std::io::stdout();
    let mut heads: Vec<_> = (0..GROUPS).map(|n| heads_of(&store, n)).collect();
    let mut ticks = ticks_of(&store);
    writeln!(out, "ready").unwrap();
    for account_id in seed * 1_000_000 + 1.. {
        let mut calls = Vec::new();
        for _ in 0..random.random_range(1..4) {
            let n = random.random_range(0..GROUPS);
            let last = heads[usize::from(n)] + random.random_range(1..9);
            calls.push((n, last, store.commit(vec![commit_up_to(n, heads[usize::from(n)], last)])));
            heads[usize::from(n)] = last;
        }
        let account = (random.random_range(0..10) == 0)
            .then(|| store.create_user(account(account_id, &format!("user{account_id}")), None));
        ticks += 1;
        let timers = store.put_timers(tick(ticks));
        for (n, last, call) in calls {
            assert_eq!(wait(call), [CommitOutcome::Durable]);
            writeln!(out, "head {n} {last}").unwrap();
        }
        assert_eq!(wait(timers), vec![TimerOutcome::Durable; tick(ticks).len()]);
        writeln!(out, "tick {ticks}").unwrap();
        if let Some(account) = account {
            assert_eq!(wait(account), Ok(CreateUserOutcome::Created));
            writeln!(out, "user {account_id}").unwrap();
        }
    }
}

/// Checks that a group is whole, and gives its newest seq.
fn heads_of(store: &impl Store, n: u8) -> u64 {
    let all = PageLimit { entries: usize::MAX, bytes: usize::MAX };
    let log = wait(store.read(group(n), Seq::FIRST, Direction::Forward, all)).unwrap();
    let head = log.len() as u64;
    let timers = wait(store.timers_of(REMINDER, owner(of_group(n)), None, 9)).unwrap();
    assert_eq!(timers, Vec::from_iter((head > 0).then(|| timer(of_group(n), 0, head))));
    let summary = wait(store.summaries(vec![(group(n), user(READER))])).unwrap().remove(0);
    let Some(summary) = summary else {
        assert_eq!(head, 0);
        return 0;
    };
    let (last, after) = summary.details.title.split_once(' ').unwrap();
    let after = after.parse::<u64>().unwrap();
    assert_eq!(last, head.to_string(), "group {n}");
    for (seq, there) in (1..).zip(&log) {
        let is_withdrawn = *there == marker(seq);
        match seq {
            1 if after == 0 => assert_eq!(*there, entry(1)),
            1 => assert_eq!(*there, first(head), "group {n}"),
            _ if seq == after => assert!(is_withdrawn, "group {n}: {seq} of {head}"),
            _ => assert!(is_withdrawn && seq < after || *there == entry(seq), "group {n}: {seq} of {head}"),
        }
    }
    assert_eq!(summary.member.read.seq, Seq(head));
    assert_eq!(summary.last, log.last().cloned());
    let loaded = wait(store.load(group(n), 1)).unwrap().unwrap();
    assert_eq!(summary.member_count as usize, loaded.members.len());
    for seq in [1, head / 2 + 1, head] {
        let found = wait(store.find_send(group(n), user(1), msg(seq))).unwrap();
        assert_eq!(found.as_ref(), Some(&log[seq as usize - 1]));
    }
    head
}

/// Timer 0 moves on, another is put, and one that was put a few ticks ago goes. A tick that is there in part shows.
fn tick(n: u64) -> Vec<TimerChange> {
    let mut changes = vec![TimerChange::Put(timer(AUTHOR, 0, n)), TimerChange::Put(timer(AUTHOR, n, FAR_MS + n))];
    changes.extend((n > TICKS_KEPT).then(|| TimerChange::Remove(timer(AUTHOR, n - TICKS_KEPT, 0).key)));
    changes
}

/// Checks that all timers are those of one tick, and gives it.
fn ticks_of(store: &impl Store) -> u64 {
    let found = wait(store.timers_of(REMINDER, owner(AUTHOR), None, 999)).unwrap();
    let ticks = found.first().map_or(0, |first| first.due_ms);
    let mut expected = Vec::from_iter((ticks > 0).then(|| timer(AUTHOR, 0, ticks)));
    let kept = ticks.saturating_sub(TICKS_KEPT) + 1..=ticks;
    expected.extend(kept.map(|n| timer(AUTHOR, n, FAR_MS + n)));
    assert_eq!(found, expected);
    let mut due = wait(store.due_timers(Vshard::all().collect(), 0..u64::MAX, None, 999)).unwrap();
    due.retain(|due| due.key.owner == owner(AUTHOR));
    assert_eq!(due, expected.iter().map(TimerRow::due).collect::<Vec<_>>());
    assert_eq!(wait(store.count_timers(REMINDER, owner(AUTHOR))).unwrap(), expected.len() as u64);
    assert_eq!(wait(store.timers(vec![timer(AUTHOR, 0, 0).key])).unwrap()[0].as_ref(), expected.first());
    ticks
}

#[test]
fn what_was_acknowledged_before_a_kill_is_there_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(42);
    let mut heads = BTreeMap::new();
    let mut users = Vec::new();
    let mut ticks = 0;
    for round in 1..=ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(CHILD, dir.path())
            .env(SEED, round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let ready = lines.by_ref().find(|line| line.ends_with("ready"));
        assert!(ready.is_some(), "round {round}: the store did not open");
        let killed_after = Duration::from_micros(random.random_range(0..60_000));
        let started = Instant::now();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(killed_after.saturating_sub(started.elapsed()));
            child.kill().unwrap();
            child.wait().unwrap();
        });
        // What it said before it died still comes; the last line may be cut off.
        for line in lines {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["head", n, last] => drop(heads.insert(n.parse::<u8>().unwrap(), last.parse::<u64>().unwrap())),
                ["tick", n] => ticks = n.parse::<u64>().unwrap(),
                ["user", id] => users.push(id.parse::<u64>().unwrap()),
                _ => panic!("round {round}: the child said {line:?}"),
            }
        }
        killer.join().unwrap();
        let store = open(dir.path(), round + 1);
        for (&n, &acked) in &heads {
            assert!(heads_of(&store, n) >= acked, "round {round}: group {n} has lost what was acknowledged");
        }
        assert!(ticks_of(&store) >= ticks, "round {round}: timers have lost what was acknowledged");
        let ids: Vec<_> = users.iter().map(|id| user(*id)).collect();
        let found = wait(store.users(ids)).unwrap();
        assert_eq!(found.iter().map(|user| user.id.as_u64()).collect::<Vec<_>>(), users, "round {round}");
    }
    let entries: u64 = heads.values().sum();
    println!("{entries} entries and {} users after {ROUNDS} kills", users.len());
    assert!(entries > ROUNDS, "the children did next to nothing");
}
