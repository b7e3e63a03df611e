//! Random work on an embedded store, with restarts and crashes in between, compared with a model after every step.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod store_suite;

use godwit::{
    chat::{Member, MemberChange, Position, Role},
    store::{
        AckedPosition, Commit, Direction, InvitationId, LogStore, NewToken, PageLimit, Revoke, TimerChange,
        TimerOutcome, TimerRow, TimerStore, TokenHash, UserStore,
        embedded::{Embedded, EmbeddedOptions},
    },
};
use godwit_proto::{Seq, UserId, Vshard, VshardSet};
use proptest::prelude::*;
use std::{path::Path, time::Duration};
use store_suite::{build::*, disk, model::Model, wait};
use tempfile::TempDir;

const GROUPS: u8 = 3;
const USERS: u64 = 4;
const DEVICES: u8 = 3;
/// Timers that a user may have here, and times at which they may be due.
const TIMERS: u64 = 4;
const DUE_MS: u64 = 12;

#[derive(Debug, Clone)]
enum Step {
    /// One call.
    Commit(Vec<Plan>),
    Read {
        n: u8,
        from: u64,
        backward: bool,
        entries: usize,
        bytes: usize,
    },
    CreateUser {
        id: u64,
        name: u8,
        invitation: Option<u8>,
    },
    PutToken {
        hash: u8,
        user: u64,
        device: u8,
        expires_ms: u64,
        devices_max: usize,
        now_ms: u64,
    },
    ExtendToken {
        hash: u8,
        expires_ms: u64,
    },
    Revoke {
        user: u64,
        device: Option<u8>,
    },
    PutAcked {
        user: u64,
        device: u8,
        n: u8,
        seq: u64,
    },
    /// One call.
    ChangeTimers(Vec<PlannedTimer>),
    /// Page after page.
    Due {
        from_ms: u64,
        for_ms: u64,
        cores: u16,
        limit: usize,
    },
    /// Everything becomes rows.
    Settle,
    /// The store is closed and opened again.
    Reopen,
    /// The process dies, and its files are all that is left.
    Crash,
}

/// A commit, relative to where its log will stand then.
#[derive(Debug, Clone)]
struct Plan {
    n: u8,
    behind: u64,
    ahead: u64,
    entries: u64,
    body_bytes: usize,
    members: Vec<(u64, bool)>,
    title: Option<u8>,
    /// How far before `after`, and whether it is withdrawn rather than changed.
    rewritten: Vec<(u64, bool)>,
    timers: Vec<PlannedTimer>,
}

/// Of whom, which, and when it is due, if it is put.
type PlannedTimer = (u64, u64, Option<u64>);

fn plan() -> impl Strategy<Value = Plan> {
    let position = prop_oneof![8 => Just((0, 0)), 2 => (0_u64..6).prop_map(|behind| (behind, 0)), 1 => Just((0, 1))];
    // Bodies of a conversation mostly agree, so that a commit from the past can be a repetition.
    let body = prop_oneof![9 => Just(20_usize), 1 => 1_usize..20_000];
    let entries = prop_oneof![6 => 0_u64..4, 1 => 4_u64..300];
    let members = proptest::collection::vec((1..=USERS, any::<bool>()), 0..3);
    let title = proptest::option::weighted(0.1, any::<u8>());
    let before = prop_oneof![3 => 0_u64..5, 1 => 0_u64..400];
    let rewritten = prop_oneof![2 => Just(vec![]), 1 => proptest::collection::vec((before, any::<bool>()), 1..6)];
    let timers = prop_oneof![3 => Just(vec![]), 1 => proptest::collection::vec(planned_timer(), 1..4)];
    (0..GROUPS, position, entries, body, members, title, rewritten, timers).prop_map(
        |(n, (behind, ahead), entries, body_bytes, members, title, rewritten, timers)| Plan {
            n,
            behind,
            ahead,
            entries,
            body_bytes,
            members,
            title,
            rewritten,
            timers,
        },
    )
}

fn planned_timer() -> impl Strategy<Value = PlannedTimer> {
    (1..=USERS, 0..TIMERS, proptest::option::weighted(0.7, 0..DUE_MS))
}

fn step() -> impl Strategy<Value = Step> {
    let millis = 0_u64..20;
    prop_oneof![
        10 => proptest::collection::vec(plan(), 1..5).prop_map(Step::Commit),
        5 => (0..GROUPS, 0_u64..400, any::<bool>(), 0_usize..300, 0_usize..40_000).prop_map(
            |(n, from, backward, entries, bytes)| Step::Read { n, from, backward, entries, bytes }
        ),
        2 => (1..=USERS, 0_u8..4, proptest::option::of(0_u8..2))
            .prop_map(|(id, name, invitation)| Step::CreateUser { id, name, invitation }),
        3 => (1..=USERS, 0..DEVICES, millis.clone(), 0_usize..4, millis.clone()).prop_map(
            |(user, device, expires_ms, devices_max, now_ms)| Step::PutToken {
                hash: (user as u8) * DEVICES + device,
                user,
                device,
                expires_ms,
                devices_max,
                now_ms,
            }
        ),
        1 => (0..(USERS as u8 + 1) * DEVICES, millis).prop_map(|(hash, expires_ms)| Step::ExtendToken { hash, expires_ms }),
        1 => (1..=USERS, proptest::option::of(0..DEVICES)).prop_map(|(user, device)| Step::Revoke { user, device }),
        2 => (1..=USERS, 0..DEVICES, 0..GROUPS, 0_u64..50)
            .prop_map(|(user, device, n, seq)| Step::PutAcked { user, device, n, seq }),
        6 => proptest::collection::vec(planned_timer(), 1..8).prop_map(Step::ChangeTimers),
        3 => (0..DUE_MS, 0..DUE_MS, 1_u16..4, 1_usize..6)
            .prop_map(|(from_ms, for_ms, cores, limit)| Step::Due { from_ms, for_ms, cores, limit }),
        3 => Just(Step::Settle),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ]
}

fn change_of(&(of, id, due_ms): &PlannedTimer) -> TimerChange {
    match due_ms {
        Some(due_ms) => TimerChange::Put(timer(of, id, due_ms)),
        None => TimerChange::Remove(timer(of, id, 0).key),
    }
}

struct Run {
    dir: TempDir,
    store: Embedded,
    model: Model,
    eager: bool,
    /// Acked positions that are not rows yet may be lost in a crash; the model cannot tell, so they are settled first.
    acked_pending: bool,
}

fn open(dir: &Path, eager: bool) -> Embedded {
    let mut options = EmbeddedOptions::new(dir);
    options.disk_reserve_bytes = 0;
    options.cache_bytes = 1024 * 1024;
    options.heads_max = 2;
    options.behind_batch_rows_max = 1;
    options.behind_delay = if eager { Duration::ZERO } else { Duration::from_secs(3600) };
    Embedded::open(options).unwrap()
}

impl Run {
    fn new(eager: bool) -> Self {
        let dir = disk::scratch();
        let store = open(dir.path(), eager);
        Self { dir, store, model: Model::default(), eager, acked_pending: false }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Commit(plans) => {
                // Heads move within the call, so the model has to take each commit as it is made.
                let mut commits = Vec::new();
                let mut expected = Vec::new();
                for plan in plans {
                    let commit = self.commit_of(plan);
                    expected.push(self.model.commit(&commit));
                    commits.push(commit);
                }
                assert_eq!(wait(self.store.commit(commits)), expected);
            }
            &Step::Read { n, from, backward, entries, bytes } => {
                let direction = if backward { Direction::Backward } else { Direction::Forward };
                let limit = PageLimit { entries, bytes };
                let page = wait(self.store.read(group(n), Seq(from), direction, limit)).unwrap();
                assert_eq!(page, self.model.read(group(n), Seq(from), direction, limit));
            }
            &Step::CreateUser { id, name, invitation } => {
                let user = account(id, &format!("Name{name}"));
                let invitation = invitation.map(|n| InvitationId([n; 16]));
                let expected = self.model.create_user(&user, invitation);
                assert_eq!(wait(self.store.create_user(user, invitation)), Ok(expected));
            }
            &Step::PutToken { hash, user, device, expires_ms, devices_max, now_ms } => {
                let new = NewToken { record: token(hash, user, device, expires_ms), devices_max, now_ms };
                let expected = self.model.put_token(&new);
                assert_eq!(wait(self.store.put_token(new)), Ok(expected));
            }
            &Step::ExtendToken { hash, expires_ms } => {
                self.model.extend_token(TokenHash([hash; 32]), expires_ms);
                assert_eq!(wait(self.store.extend_token(TokenHash([hash; 32]), expires_ms)), Ok(()));
            }
            &Step::Revoke { user: of, device: n } => {
                let what = n.map_or(Revoke::AllDevices, |n| Revoke::Device(device(n)));
                let expected = self.model.revoke_tokens(user(of), what);
                assert_eq!(wait(self.store.revoke_tokens(user(of), what)), Ok(expected));
            }
            &Step::PutAcked { user: of, device: n, n: conversation, seq } => {
                let acked = vec![AckedPosition {
                    user: user(of),
                    device: device(n),
                    conversation: group(conversation),
                    seq: Seq(seq),
                }];
                self.model.put_acked(&acked);
                assert_eq!(wait(self.store.put_acked(acked)), Ok(()));
                self.acked_pending = true;
            }
            Step::ChangeTimers(plans) => {
                let changes: Vec<_> = plans.iter().map(change_of).collect();
                changes.iter().for_each(|change| self.model.put_timer(change));
                let durable = vec![TimerOutcome::Durable; changes.len()];
                assert_eq!(wait(self.store.put_timers(changes)), durable);
            }
            &Step::Due { from_ms, for_ms, cores, limit } => self.check_due(from_ms..from_ms + for_ms, cores, limit),
            Step::Settle => self.settle(),
            Step::Reopen => {
                self.store.close();
                self.store = open(self.dir.path(), self.eager);
            }
            Step::Crash => {
                if self.acked_pending {
                    self.settle();
                }
                let wreck = disk::scratch();
                disk::copy(self.dir.path(), wreck.path());
                self.store = open(wreck.path(), self.eager);
                self.dir = wreck;
            }
        }
    }

    fn settle(&mut self) {
        self.store.settle().unwrap();
        self.acked_pending = false;
    }

    fn commit_of(&self, plan: &Plan) -> Commit {
        let head = self.model.head(group(plan.n));
        let after = head.saturating_sub(plan.behind) + plan.ahead;
        let at = Position { seq: Seq(head), ordinal: head };
        let change = |&(n, joins): &(u64, bool)| {
            let scheduled = (head + 1..=head + plan.entries % 4).map(Seq).collect();
            let member = Member { read: at, scheduled, ..Member::new(user(n), Role::Member, Position::START) };
            if joins { MemberChange::Put(member) } else { take(n) }
        };
        // The first that would be before the log is the first entry of all; an empty log has none.
        let rewritten = plan.rewritten.iter().filter(|_| after > 0).map(|&(before, is_withdrawn)| {
            let seq = after.saturating_sub(before).max(1);
            if is_withdrawn { marker(seq) } else { sized_entry(seq, plan.body_bytes + 1) }
        });
        Commit {
            rewritten: rewritten.collect(),
            timers: plan.timers.iter().map(change_of).collect(),
            entries: (after + 1..=after + plan.entries).map(|seq| sized_entry(seq, plan.body_bytes)).collect(),
            members: plan.members.iter().map(change).collect(),
            details: plan.title.map(|title| titled(&title.to_string())),
            ..Commit::after(group(plan.n), Seq(after))
        }
    }

    fn check_due(&self, due_ms: std::ops::Range<u64>, cores: u16, limit: usize) {
        let is_owned = |vshard: Vshard| vshard.index().is_multiple_of(cores);
        let vshards: VshardSet = Vshard::all().filter(|vshard| is_owned(*vshard)).collect();
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = wait(self.store.due_timers(vshards.clone(), due_ms.clone(), after, limit)).unwrap();
            found.extend_from_slice(&page);
            assert!(found.len() as u64 <= USERS * TIMERS, "pages go on and on");
            if page.len() < limit {
                break;
            }
            after = page.last().copied();
        }
        found.sort_unstable();
        let due = self.model.timers().into_iter().map(|row| row.due());
        let due = due.filter(|due| due_ms.contains(&due.due_ms) && is_owned(due.key.owner.vshard()));
        assert_eq!(found, due.collect::<Vec<_>>());
    }

    fn check_timers(&self) {
        self.check_due(0..u64::MAX, 1, usize::MAX);
        let timers = self.model.timers();
        for of in 1..=USERS {
            let mine: Vec<TimerRow> = timers.iter().filter(|row| row.key.owner == owner(of)).cloned().collect();
            let keys: Vec<_> = (0..TIMERS).map(|id| timer(of, id, 0).key).collect();
            let expected: Vec<_> = keys.iter().map(|key| self.model.timer(*key)).collect();
            assert_eq!(wait(self.store.timers(keys)).unwrap(), expected);
            assert_eq!(wait(self.store.count_timers(REMINDER, owner(of))), Ok(mine.len() as u64));
            for (after, limit) in [(0, 9), (1, 2)] {
                let cursor = mine.get(after).map(|row| (row.due_ms, row.key.id)).filter(|_| after > 0);
                let page = wait(self.store.timers_of(REMINDER, owner(of), cursor, limit)).unwrap();
                let skipped = cursor.map_or(0, |_| after + 1);
                assert_eq!(page, mine.iter().skip(skipped).take(limit).cloned().collect::<Vec<_>>());
            }
        }
    }

    /// Compares everything that is not read page by page.
    fn check(&self) {
        let users: Vec<UserId> = (1..=USERS).map(user).collect();
        let groups: Vec<_> = (0..GROUPS).map(group).collect();
        for (&id, tail) in groups.iter().zip([1, 5, 1000]) {
            assert_eq!(wait(self.store.load(id, tail)).unwrap(), self.model.load(id, tail));
            let head = self.model.head(id);
            let all = PageLimit { entries: usize::MAX, bytes: usize::MAX };
            let log = wait(self.store.read(id, Seq::FIRST, Direction::Forward, all)).unwrap();
            assert_eq!(log, self.model.read(id, Seq::FIRST, Direction::Forward, all));
            for seq in [1, head.div_ceil(2), head, head + 1] {
                let found = wait(self.store.find_send(id, user(1), msg(seq))).unwrap();
                assert_eq!(found, self.model.find_send(id, user(1), msg(seq)));
            }
        }
        let wanted: Vec<_> = groups.iter().flat_map(|id| users.iter().map(|user| (*id, *user))).collect();
        let expected: Vec<_> = wanted.iter().map(|(id, user)| self.model.summary(*id, *user)).collect();
        assert_eq!(wait(self.store.summaries(wanted)).unwrap(), expected);
        for &of in &users {
            for (after, limit) in [(None, 9), (None, 1), (Some(group(0)), 9)] {
                let found = wait(self.store.conversations_of(of, after, limit)).unwrap();
                assert_eq!(found, self.model.conversations_of(of, after, limit));
            }
            for n in 0..DEVICES {
                let hash = TokenHash([(of.as_u64() as u8) * DEVICES + n; 32]);
                assert_eq!(wait(self.store.token(hash)).unwrap(), self.model.token(hash));
                let expected: Vec<_> = groups.iter().map(|id| self.model.acked(of, device(n), *id)).collect();
                assert_eq!(wait(self.store.acked(of, device(n), groups.clone())).unwrap(), expected);
            }
        }
        self.check_timers();
        let mut expected = self.model.users().to_vec();
        expected.sort_by_key(|user| user.id);
        assert_eq!(wait(self.store.users(users)).unwrap(), expected);
        for name in 0..4 {
            let key = format!("name{name}");
            let expected = self.model.users().iter().find(|user| user.name_key == key).cloned();
            assert_eq!(wait(self.store.user_by_name(key)).unwrap(), expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn the_store_answers_as_the_model_does(
        steps in proptest::collection::vec(step(), 1..40),
        eager in any::<bool>(),
    ) {
        let mut run = Run::new(eager);
        for step in &steps {
            run.step(step);
            run.check();
        }
    }
}
