//! Everything that is in one store is in the other after a copy, and nothing else is.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod store_suite;
#[path = "support/cql.rs"]
mod support;

use godwit::store::{
    AckedPosition, Commit, CreateUserOutcome, InvitationId, LogStore, NewToken, StoreError, TimerChange, TimerStore,
    UserStore,
    copy::{self, CopyError, Progress, Stage, Totals, Whole},
    embedded::{Embedded, EmbeddedOptions, OpenError},
    scylla::{
        self, Cluster, Cql, DriverTables, OnLease, Scylla, ScyllaOptions, schema,
        tables::{LogState, LogTables, Mutation, Rows, Written},
    },
};
use godwit_proto::{ConversationId, Seq};
use std::{path::Path, sync::Arc};
use store_suite::{build::*, disk};

struct Silent;

impl Progress for Silent {
    fn begin(&self, _: Stage, _: Option<u64>) {}
    fn done(&self, _: u64) {}
}

fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

fn open(dir: &Path, receives_copy: bool) -> Result<Embedded, OpenError> {
    let options = EmbeddedOptions { receives_copy, disk_reserve_bytes: 0, ..EmbeddedOptions::new(dir) };
    Embedded::open(options)
}

fn copied(from: &(impl Whole + Clone), to: &(impl Whole + Clone)) -> Result<Totals, CopyError> {
    let (from, to): (Arc<dyn Whole>, Arc<dyn Whole>) = (Arc::new(from.clone()), Arc::new(to.clone()));
    wait(async {
        let totals = copy::copy(&from, &to, &Silent).await?;
        assert_eq!(copy::verify(&from, &to, &Silent).await?, totals);
        Ok(totals)
    })
}

fn verified(from: &Embedded, to: &Embedded) -> Result<Totals, CopyError> {
    let (from, to): (Arc<dyn Whole>, Arc<dyn Whole>) = (Arc::new(from.clone()), Arc::new(to.clone()));
    wait(copy::verify(&from, &to, &Silent))
}

/// Something of everything.
fn fill(store: &Embedded) -> Totals {
    for n in 1..=3 {
        let invitation = (n == 2).then_some(InvitationId([n as u8; 16]));
        wait(store.create_user(account(n, &format!("User{n}")), invitation)).unwrap();
        let record = token(n as u8, n, 1, 1_000 * n);
        assert!(wait(store.put_token(NewToken { record, devices_max: 5, now_ms: 0 })).unwrap());
        let acked = AckedPosition { user: user(n), device: device(1), conversation: group(1), seq: Seq(100 * n) };
        wait(store.put_acked(vec![acked])).unwrap();
        wait(store.put_timers(vec![TimerChange::Put(timer(n, n, 77 * n))]));
    }
    let everybody = || (1..=3).map(put).collect();
    wait(store.commit(vec![
        Commit { members: everybody(), details: Some(titled("long")), ..append(group(1), 1..=700) },
        rewrite(group(1), 700, vec![marker(1), marker(300), marker(700)]),
        Commit { members: vec![put(1)], details: Some(titled("")), ..nothing(group(2), 0) },
        change(group(3), 0, everybody()),
        change(group(3), 0, vec![take(2)]),
        append(group(4), 1..=1),
    ]));
    Totals { accounts: 3, invitations: 1, tokens: 3, conversations: 4, entries: 701, members: 6, timers: 3, acked: 3 }
}

#[test]
fn a_copy_is_the_same_store() {
    let dir = disk::scratch();
    let from = open(&dir.path().join("from"), false).unwrap();
    let totals = fill(&from);
    let to = open(&dir.path().join("to"), true).unwrap();
    assert_eq!(copied(&from, &to).unwrap(), totals);
    to.copy_complete().unwrap();
    to.close();
    let to = open(&dir.path().join("to"), false).unwrap();
    assert_eq!(verified(&from, &to).unwrap(), totals);
    assert_eq!(wait(to.find_send(group(1), user(1), msg(555))).unwrap().unwrap().seq, Seq(555));
    assert_eq!(wait(to.conversations_of(user(2), None, 9)).unwrap(), [group(1)]);
    let again = wait(to.create_user(account(9, "Nine"), Some(InvitationId([2; 16])))).unwrap();
    assert_eq!(again, CreateUserOutcome::InvitationUsed);
}

#[test]
fn a_copy_that_was_interrupted_goes_on_with_what_changed_meanwhile() {
    let dir = disk::scratch();
    let (from_dir, to_dir) = (dir.path().join("from"), dir.path().join("to"));
    let from = open(&from_dir, false).unwrap();
    let totals = fill(&from);
    let to = open(&to_dir, true).unwrap();
    // What an earlier attempt had copied: half a log, of which one message was withdrawn since, somebody who has left since.
    wait(to.create_user(account(1, "User1"), None)).unwrap();
    let earlier = append(group(1), 1..=350);
    wait(to.commit(vec![Commit { members: vec![put(1), put(9)], ..earlier }]));
    to.close();
    assert!(matches!(open(&to_dir, false), Err(OpenError::CopyIncomplete { .. })), "half a copy is served");
    let to = open(&to_dir, true).unwrap();
    assert_eq!(copied(&from, &to).unwrap(), totals);
}

#[test]
fn only_an_empty_store_receives_a_copy() {
    let dir = disk::scratch();
    let (from_dir, to_dir) = (dir.path().join("from"), dir.path().join("to"));
    open(&to_dir, false).unwrap().close();
    let refused = open(&to_dir, true).unwrap_err();
    assert!(matches!(refused, OpenError::NotEmpty { .. }), "{refused}");
    assert!(refused.to_string().contains("it is ready: set `store` to it"), "{refused}");
    let from = open(&from_dir, false).unwrap();
    fill(&from);
    let to = open(&dir.path().join("half"), true).unwrap();
    wait(to.commit(vec![append(group(4), 1..=2)]));
    assert!(matches!(copied(&from, &to), Err(CopyError::Differs(_))));
}

#[test]
fn a_directory_of_something_else_receives_no_copy() {
    let dir = disk::scratch();
    let to_dir = dir.path().join("to");
    std::fs::create_dir(&to_dir).unwrap();
    std::fs::write(to_dir.join("thesis.txt"), "all there is").unwrap();
    let refused = open(&to_dir, true).unwrap_err();
    assert!(matches!(refused, OpenError::Occupied { .. }), "{refused}");
    assert!(refused.to_string().contains(&to_dir.display().to_string()), "{refused}");
    assert_eq!(std::fs::read_dir(&to_dir).unwrap().count(), 1, "something was written");
    std::fs::remove_file(to_dir.join("thesis.txt")).unwrap();
    open(&to_dir, true).unwrap().close();
    open(&to_dir, true).unwrap().close();
}

#[test]
fn half_a_copy_of_another_store_is_left_as_it_is() {
    let dir = disk::scratch();
    let from = open(&dir.path().join("from"), false).unwrap();
    let totals = fill(&from);
    let others = [account(7, "Stranger"), account(7, "User1"), account(1, "Another")];
    for (n, stranger) in others.into_iter().enumerate() {
        let at = |name: &str| dir.path().join(format!("{name}{n}"));
        let other = open(&at("other"), false).unwrap();
        wait(other.create_user(stranger.clone(), None)).unwrap();
        let to = open(&at("to"), true).unwrap();
        wait(to.create_user(account(1, "User1"), None)).unwrap();
        let refused = copied(&other, &to).unwrap_err();
        assert!(matches!(&refused, CopyError::OfAnother(name) if name == "User1"), "{n}: {refused}");
        assert_eq!(copied(&from, &to).unwrap(), totals, "{n}: the right copy does not go on");
    }
}

#[test]
fn the_comparison_sees_every_difference() {
    let dir = disk::scratch();
    let from = open(&dir.path().join("from"), false).unwrap();
    fill(&from);
    type Change = fn(&Embedded);
    let changes: [Change; 9] = [
        |to| drop(wait(to.commit(vec![rewrite(group(1), 700, vec![marker(299)])]))),
        |to| drop(wait(to.commit(vec![change(group(1), 700, vec![take(3)])]))),
        |to| drop(wait(to.commit(vec![Commit { details: Some(titled("x")), ..nothing(group(3), 0) }]))),
        |to| drop(wait(to.commit(vec![append(group(9), 1..=1)]))),
        |to| assert_eq!(wait(to.create_user(account(8, "More"), None)).unwrap(), CreateUserOutcome::Created),
        |to| wait(to.extend_token(token(1, 1, 1, 0).hash, 5)).unwrap(),
        |to| drop(wait(to.put_timers(vec![TimerChange::Put(timer(1, 1, 78))]))),
        |to| drop(wait(to.put_timers(vec![TimerChange::Put(timer(5, 1, 78))]))),
        |to| {
            let further = AckedPosition { user: user(1), device: device(1), conversation: group(1), seq: Seq(101) };
            wait(to.put_acked(vec![further])).unwrap();
        },
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let to = open(&dir.path().join(format!("to{n}")), true).unwrap();
        copied(&from, &to).unwrap();
        change(&to);
        assert!(matches!(verified(&from, &to), Err(CopyError::Differs(_))), "change {n} is not seen");
        to.close();
    }
}

#[test]
fn a_store_that_is_away_ends_the_copy_and_says_which_one() {
    let dir = disk::scratch();
    let from = open(&dir.path().join("from"), false).unwrap();
    fill(&from);
    let options = EmbeddedOptions { disk_reserve_bytes: u64::MAX, ..EmbeddedOptions::new(dir.path().join("full")) };
    let full = Embedded::open(EmbeddedOptions { receives_copy: true, ..options }).unwrap();
    assert!(matches!(copied(&from, &full), Err(CopyError::Target(StoreError::Full))));
}

#[test]
fn a_store_moves_to_a_cluster_and_back() {
    let Some(keyspace) = support::Keyspace::new() else { return };
    let on_cluster = |receives_copy| {
        let on_lease = OnLease { waiting: Box::new(|_| ()), lost: Box::new(|lost| panic!("{lost}")) };
        Scylla::open(ScyllaOptions { receives_copy, ..keyspace.options() }, on_lease)
    };
    let dir = disk::scratch();
    let from = open(&dir.path().join("from"), false).unwrap();
    let totals = fill(&from);
    let cluster = on_cluster(true).unwrap();
    wait(cluster.create_user(account(1, "User1"), None)).unwrap();
    cluster.close();
    assert!(matches!(on_cluster(false), Err(scylla::OpenError::CopyIncomplete { .. })), "half a copy is served");
    let (well, said) = checked(&keyspace.options());
    assert!(!well && said.contains("copy: a copy into this keyspace is not complete"), "{said}");
    assert!(said.contains("lease: node 1:") && !said.contains("node 0"), "{said}");
    let cluster = on_cluster(true).unwrap();
    assert_eq!(copied(&from, &cluster).unwrap(), totals);
    cluster.copy_complete().unwrap();
    cluster.close();
    let (well, said) = checked(&keyspace.options());
    assert!(well && said.contains("copy: complete"), "{said}");
    let refused = on_cluster(true).err().unwrap();
    assert!(matches!(refused, scylla::OpenError::NotEmpty { .. }), "{refused}");
    assert!(refused.to_string().contains("it is ready: set `store` to it"), "{refused}");
    support::run(begin(&keyspace.options(), group(8)));
    let cluster = on_cluster(false).unwrap();
    let back = open(&dir.path().join("back"), true).unwrap();
    assert_eq!(copied(&cluster, &back).unwrap(), totals);
    assert_eq!(verified(&from, &back).unwrap(), totals);
    cluster.close();
}

/// Whether all is well with a keyspace, and what was looked at.
fn checked(options: &ScyllaOptions) -> (bool, String) {
    let findings = support::run(async { schema::check(&Cluster::reach(options).await.unwrap()).await.unwrap() });
    let said = findings.iter().map(|finding| format!("{}: {}\n", finding.subject, finding.detail));
    (findings.iter().all(|finding| finding.well), said.collect())
}

/// A conversation that somebody began to make, and whose first commit never came.
async fn begin(options: &ScyllaOptions, conversation: ConversationId) {
    let cql = Arc::new(Cql::connect(options).await.unwrap());
    let tables = DriverTables::prepare(cql, tokio::runtime::Handle::current(), 4).await.unwrap();
    let state = Some(LogState { head: Seq::ZERO, epoch: 1, pending: bytes::Bytes::new() });
    let rows = Rows::Log { conversation, bucket: 0, state, entries: vec![] };
    assert_eq!(tables.write(Mutation { timestamp_us: 1, rows }).await, Written::Done);
}
