//! Whatever happens to writes, and whoever owns the conversation: what was acknowledged is there, and nothing has two contents.

use super::*;
use crate::store::scylla::tables::Written;
use CommitOutcome::{AlreadyDurable, Conflict, Durable, NotWritten, Unknown};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::collections::BTreeMap;

/// What a conversation is like after commits.
#[derive(Debug, Clone, Default, PartialEq)]
struct Known {
    log: Vec<LogEntry>,
    members: BTreeMap<UserId, Member>,
    title: String,
}

impl Known {
    fn with(&self, commit: &Commit) -> Self {
        let mut known = self.clone();
        for entry in &commit.rewritten {
            known.log[entry.seq.0 as usize - 1] = entry.clone();
        }
        known.log.extend(commit.entries.iter().cloned());
        for change in &commit.members {
            match change {
                MemberChange::Put(member) | MemberChange::Update(member) => {
                    drop(known.members.insert(member.user, member.clone()));
                }
                MemberChange::Remove(user) => drop(known.members.remove(user)),
            }
        }
        if let Some(details) = &commit.details {
            known.title.clone_from(&details.title);
        }
        known
    }
}

fn seen(owner: &Owner) -> Known {
    let loaded = loop {
        match owner.load(usize::MAX) {
            Ok(loaded) => break loaded,
            Err(_) => owner.world.pass(1_000),
        }
    };
    let Some(loaded) = loaded else { return Known::default() };
    Known {
        log: loaded.tail,
        members: loaded.members.into_iter().map(|member| (member.user, member)).collect(),
        title: loaded.details.title,
    }
}

fn check(owner: &Owner, known: &Known) {
    assert_eq!(seen(owner), *known);
    assert_eq!(owner.entries(), known.log);
    for of in 1..=6 {
        let is_member = known.members.contains_key(&user(of));
        assert_eq!(owner.count(of), is_member.then_some(known.members.len() as u32));
        assert_eq!(owner.conversations_of(of) == [group(1)], is_member, "user {of}");
    }
    if let Some(last) = known.log.last() {
        let found = owner.world.run(owner.log.find_send(group(1), user(1), last.client_msg_id)).unwrap();
        assert_eq!(found.as_ref(), Some(last));
    }
}

fn random_commit(rng: &mut StdRng, known: &Known, step: u64) -> Commit {
    let after = known.log.len() as u64;
    let mut commit = nothing(after);
    let count = [0, 1, 1, 2, 5, 70][rng.random_range(0..6)];
    commit.entries = entries(after + 1..=after + count, &format!("step {step}"));
    if count == 0 || rng.random_bool(0.3) {
        for _ in 0..rng.random_range(1..=2) {
            let who = rng.random_range(1..=6);
            let is_member = commit.members.iter().fold(known.members.contains_key(&user(who)), |is, change| {
                if change.user() == user(who) {
                    matches!(change, MemberChange::Put(_)) || is && !matches!(change, MemberChange::Remove(_))
                } else {
                    is
                }
            });
            let row = Member { muted_until_ms: step, ..member(who) };
            commit.members.push(match rng.random_range(0..3) {
                0 => take(who),
                1 if is_member => MemberChange::Update(row),
                _ => MemberChange::Put(row),
            });
        }
    }
    if rng.random_bool(0.1) {
        commit.details = titled(&format!("title {step}"));
    }
    if after > 0 && rng.random_bool(0.2) {
        let seq = rng.random_range(after.saturating_sub(80).max(1)..=after);
        commit.rewritten = vec![marker(seq)];
    }
    commit
}

fn random_fate(rng: &mut StdRng, is_calm: bool) -> Fate {
    let mut replicas = vec![0, 1, 2];
    let odd = replicas.remove(rng.random_range(0..3));
    if is_calm || rng.random_bool(0.7) {
        // The third one gets it late, or never.
        let late = if rng.random_bool(0.5) { vec![odd] } else { vec![] };
        return Fate { now: replicas, late, answer: Written::Done, after_ms: rng.random_range(0..3) };
    }
    if rng.random_bool(0.2) {
        return Fate::refused();
    }
    let (mut now, mut late) = (vec![], vec![]);
    for replica in 0..3 {
        match rng.random_range(0..3) {
            0 => now.push(replica),
            1 => late.push(replica),
            _ => {}
        }
    }
    Fate { now, late, answer: Written::Unknown, after_ms: rng.random_range(0..20) }
}

fn run(seed: u64) {
    let mut house = House::new();
    house.limits.pending_members_max = 3;
    house.limits.settle_ms = 50;
    house.limits.patience_ms = 60;
    house.limits.batch_entries_max = 16;
    let mut rng = StdRng::seed_from_u64(seed);
    let mut fates = StdRng::seed_from_u64(!seed);
    let is_calm = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let calm = is_calm.clone();
    house.replicas.plan(move |_| random_fate(&mut fates, calm.load(std::sync::atomic::Ordering::Relaxed)));
    let mut pairs = StdRng::seed_from_u64(seed ^ 0x5555);
    house.replicas.read_from_any(move || [[0, 1], [1, 2], [0, 2]][pairs.random_range(0..3)]);
    let mut epoch = 1;
    let mut owner = house.owner(epoch);
    let mut known = Known::default();
    // A commit of which nobody knows, until somebody has seen it.
    let mut doubtful: Option<Commit> = None;
    for step in 0..60_u64 {
        if rng.random_bool(0.3) {
            house.replicas.deliver();
        }
        match rng.random_range(0..10) {
            0 => {
                // The process dies with a commit under way, or between two.
                if doubtful.is_none() && rng.random_bool(0.7) {
                    let commit = random_commit(&mut rng, &known, step);
                    drop(owner.log.commit(vec![commit.clone()]));
                    house.world.pass(rng.random_range(0..8));
                    doubtful = Some(commit);
                }
                if rng.random_bool(0.5) {
                    house.world.kill();
                } else {
                    owner.fence.end();
                }
                epoch += 1;
                owner = house.owner(epoch);
            }
            1 => house.world.pass(rng.random_range(1..200)),
            _ if doubtful.is_none() => {
                let commit = random_commit(&mut rng, &known, step);
                match owner.commit(commit.clone()) {
                    Durable => known = known.with(&commit),
                    NotWritten(_) => {}
                    Unknown => doubtful = Some(commit),
                    outcome @ (Conflict | AlreadyDurable) => panic!("{outcome:?} at step {step}"),
                }
            }
            _ => {}
        }
        if let Some(commit) = doubtful.take_if(|_| rng.random_bool(0.7)) {
            let seen = seen(&owner);
            let with = known.with(&commit);
            assert!(seen == known || seen == with, "step {step}: neither as it was nor as it would be");
            known = seen;
        }
        if doubtful.is_none() && rng.random_bool(0.2) {
            check(&owner, &known);
        }
    }
    if let Some(commit) = doubtful {
        let seen = seen(&owner);
        assert!(seen == known || seen == known.with(&commit));
        known = seen;
    }
    is_calm.store(true, std::sync::atomic::Ordering::Relaxed);
    check(&owner, &known);
    house.world.pass(3_000);
    house.replicas.deliver();
    check(&owner, &known);
    check(&house.owner(epoch + 1), &known);
}

#[test]
fn whatever_happens_to_writes_what_was_acknowledged_is_there_and_nothing_has_two_contents() {
    let seeds = std::env::var("GODWIT_LOG_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(60);
    for seed in 0..seeds {
        let result = std::panic::catch_unwind(|| run(seed));
        assert!(result.is_ok(), "seed {seed}");
    }
}
