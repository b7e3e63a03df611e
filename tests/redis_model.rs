//! Random commits of several writers, with random faults of Redis in between: after each step lists say what the store says.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod redis_suite;
mod store_suite;

use godwit::{
    chat::{Member, MemberChange, Position},
    store::{Commit, CommitOutcome, LogStore, redis::RedisOptions, redis::Summarised},
};
use godwit_proto::Seq;
use proptest::prelude::*;
use redis_suite::{Backup, Space, embedded, open, proxy::Proxy, settle, until};
use std::{sync::Arc, time::Duration};
use store_suite::{build::*, model::Model, wait};

const GROUPS: u8 = 4;
const USERS: u64 = 3;

#[derive(Debug, Clone)]
enum Step {
    /// One call for each list; they are made one after the other, and waited for in the other order if `late`.
    Commit {
        calls: Vec<Vec<Plan>>,
        late: bool,
    },
    /// Everything is in Redis.
    Settle,
    Flush,
    /// Some keys are gone.
    Evict(u8),
    Backup,
    Restore,
    /// All connections end.
    Cut,
    /// What is sent on the connections that there are arrives later, or never.
    Hold,
    Release,
    /// What was given up is there again.
    Recover,
    /// The server starts again.
    NextEpoch,
}

#[derive(Debug, Clone)]
struct Plan {
    n: u8,
    entries: u64,
    /// Of the new entries, how many at the end are markers.
    hidden: u64,
    /// Who, and whether they are put, updated or removed.
    members: Vec<(u64, u8)>,
    title: Option<u8>,
    /// How far before the end, and whether it is withdrawn.
    rewritten: Vec<(u64, bool)>,
}

fn plan() -> impl Strategy<Value = Plan> {
    let members = proptest::collection::vec((1..=USERS, 0_u8..3), 0..3);
    let rewritten = prop_oneof![3 => Just(vec![]), 1 => proptest::collection::vec((0_u64..4, any::<bool>()), 1..3)];
    let title = proptest::option::weighted(0.2, any::<u8>());
    (0..GROUPS, 0_u64..3, 0_u64..3, members, title, rewritten).prop_map(
        |(n, entries, hidden, members, title, rewritten)| Plan { n, entries, hidden, members, title, rewritten },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let calls = proptest::collection::vec(proptest::collection::vec(plan(), 1..4), 1..3);
    prop_oneof![
        12 => (calls, any::<bool>()).prop_map(|(calls, late)| Step::Commit { calls, late }),
        6 => Just(Step::Settle),
        1 => Just(Step::Flush),
        2 => any::<u8>().prop_map(Step::Evict),
        2 => Just(Step::Backup),
        2 => Just(Step::Restore),
        1 => Just(Step::Cut),
        1 => Just(Step::Hold),
        1 => Just(Step::Release),
        3 => Just(Step::Recover),
        1 => Just(Step::NextEpoch),
    ]
}

struct Run<'a> {
    space: &'a Space,
    proxy: &'a Proxy,
    store: Arc<godwit::store::embedded::Embedded>,
    _dir: tempfile::TempDir,
    lists: Summarised,
    epoch: u64,
    model: Model,
    backup: Backup,
}

impl<'a> Run<'a> {
    fn new(space: &'a Space, proxy: &'a Proxy) -> Self {
        let (store, dir) = embedded();
        let lists = open(store.clone(), options(space, proxy), 1);
        Self { space, proxy, store, _dir: dir, lists, epoch: 1, model: Model::default(), backup: Backup::new() }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Commit { calls, late } => self.commit(calls, *late),
            Step::Settle => settle(&self.lists),
            Step::Flush => self.space.flush(),
            Step::Evict(which) => {
                let mut connection = self.space.connection();
                for (_, key) in self.space.keys().into_iter().enumerate().filter(|(n, _)| which >> (n % 8) & 1 == 1) {
                    let _: () = redis::cmd("DEL").arg(key).query(&mut connection).unwrap();
                }
            }
            Step::Backup => {
                settle(&self.lists);
                self.check();
                settle(&self.lists);
                self.backup = self.space.backup();
            }
            Step::Restore => self.space.restore(&self.backup),
            Step::Cut => self.proxy.cut(),
            Step::Hold => self.proxy.hold_these(),
            Step::Release => self.proxy.release(),
            Step::Recover => until("Redis is reached", || self.lists.is_up()),
            Step::NextEpoch => {
                self.epoch += 1;
                self.lists = open(self.store.clone(), options(self.space, self.proxy), self.epoch);
            }
        }
    }

    fn commit(&mut self, calls: &[Vec<Plan>], late: bool) {
        let mut answers = Vec::new();
        for plans in calls {
            let commits: Vec<Commit> = plans.iter().map(|plan| self.apply(plan)).collect();
            answers.push(self.lists.commit(commits));
        }
        if late {
            answers.reverse();
        }
        for answer in answers {
            let outcomes = wait(answer);
            assert!(outcomes.iter().all(|outcome| *outcome == CommitOutcome::Durable), "{outcomes:?}");
        }
    }

    /// The commit that a plan stands for, which the model has made.
    fn apply(&mut self, plan: &Plan) -> Commit {
        let id = group(plan.n);
        let head = self.model.head(id);
        let last = head + plan.entries;
        let new = (head + 1..=last).map(|seq| if seq + plan.hidden > last { marker(seq) } else { entry(seq) });
        let mut rewritten: Vec<_> = plan.rewritten.iter().filter(|(before, _)| *before < head).collect();
        rewritten.dedup_by_key(|(before, _)| *before);
        let rewritten = rewritten.into_iter().map(|(before, withdrawn)| match withdrawn {
            true => marker(head - before),
            false => sized_entry(head - before, 30),
        });
        let mut commit = Commit {
            entries: new.collect(),
            rewritten: rewritten.collect(),
            details: plan.title.map(|title| titled(&title.to_string())),
            ..nothing(id, head)
        };
        for (who, what) in &plan.members {
            let row = Member { read: Position { seq: Seq(last), ordinal: last }, ..member(*who) };
            let is_member = self.model.summary(id, user(*who)).is_some()
                && !commit.members.iter().any(|change| change.user() == user(*who));
            commit.members.push(match what {
                0 => take(*who),
                1 if is_member => MemberChange::Update(row),
                _ => MemberChange::Put(row),
            });
        }
        assert_eq!(self.model.commit(&commit), CommitOutcome::Durable);
        commit
    }

    fn check(&self) {
        let wanted: Vec<_> = (0..GROUPS).flat_map(|n| (1..=USERS).map(move |of| (group(n), user(of)))).collect();
        let expected: Vec<_> = wanted.iter().map(|(id, user)| self.model.summary(*id, *user)).collect();
        assert_eq!(wait(self.lists.summaries(wanted)).unwrap(), expected);
        for of in (1..=USERS).map(user) {
            for (after, limit) in [(None, 9), (Some(group(0)), 2)] {
                let found = wait(self.lists.conversations_of(of, after, limit)).unwrap();
                assert_eq!(found, self.model.conversations_of(of, after, limit));
            }
        }
    }
}

/// So short that what is held is given up soon.
fn options(space: &Space, proxy: &Proxy) -> RedisOptions {
    RedisOptions { response_timeout: Duration::from_millis(50), ..space.options_at(&proxy.url()) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 64, ..ProptestConfig::default() })]

    #[test]
    fn lists_say_what_the_model_says_whatever_becomes_of_redis(
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let Some(space) = Space::new() else { return Ok(()) };
        let proxy = Proxy::before(&space.url);
        let mut run = Run::new(&space, &proxy);
        for step in &steps {
            run.step(step);
            run.check();
        }
        settle(&run.lists);
        run.check();
        redis_suite::RUNTIME.block_on(run.lists.audit());
        prop_assert_eq!(run.lists.counts().mismatches, 0);
    }
}
