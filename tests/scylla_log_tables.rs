//! The tables of conversations on a real ScyllaDB or Cassandra: what is written is what is read, and the newer of two writes counts.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/cql.rs"]
mod support;

use bytes::Bytes;
use godwit::store::{
    Direction,
    scylla::{
        Cql, DriverTables,
        tables::{LogHead, LogRow, LogState, LogTables, MemberCell, MembershipState, Mutation, Rows, Written},
    },
};
use godwit_proto::{ConversationId, Seq, UserId};
use std::sync::{Arc, Mutex};
use support::{Keyspace, run};
use tokio::runtime::Handle;

fn group(number: u8) -> ConversationId {
    ConversationId::group([number; 16])
}

fn user(id: u64) -> UserId {
    UserId::new(id).unwrap()
}

fn row(seq: u64, entry: &'static str) -> LogRow {
    LogRow { seq: Seq(seq), entry: entry.into() }
}

fn log(conversation: ConversationId, state: Option<(u64, &'static str)>, entries: Vec<LogRow>) -> Rows {
    let state = state.map(|(head, pending)| LogState { head: Seq(head), epoch: 3, pending: pending.into() });
    Rows::Log { conversation, bucket: 0, state, entries }
}

async fn write(tables: &DriverTables, timestamp_us: i64, rows: Rows) {
    assert_eq!(tables.write(Mutation { timestamp_us, rows }).await, Written::Done);
}

static ONE: Mutex<()> = Mutex::new(());

/// Runs with the tables of a keyspace; tests keep their ids apart.
fn with_tables<F: Future>(test: impl FnOnce(DriverTables) -> F) {
    let Some(keyspace) = Keyspace::shared() else { return };
    // The first one makes the tables.
    let _one = ONE.lock();
    run(async {
        let cql = Arc::new(Cql::connect(&keyspace.options()).await.unwrap());
        test(DriverTables::prepare(cql, Handle::current(), 4).await.unwrap()).await
    });
}

#[test]
fn a_bucket_is_read_from_both_ends_and_its_newer_cells_count() {
    with_tables(|tables| async move {
        let chat = group(1);
        assert_eq!(tables.log_head(chat, 0, 9).await, Ok(None));
        write(&tables, 10, log(chat, None, vec![row(1, "a"), row(2, "b")])).await;
        assert_eq!(tables.log_head(chat, 0, 9).await, Ok(None), "rows alone are no head");
        write(&tables, 20, log(chat, Some((3, "p")), vec![row(3, "c")])).await;
        write(&tables, 19, log(chat, Some((9, "late")), vec![row(3, "late"), row(4, "d")])).await;
        let state = LogState { head: Seq(3), epoch: 3, pending: "p".into() };
        let rows = vec![row(4, "d"), row(3, "c"), row(2, "b")];
        assert_eq!(tables.log_head(chat, 0, 3).await, Ok(Some(LogHead { state, rows })));
        let seqs = (Seq(2), Seq(4));
        let forward = tables.log_rows(chat, 0, seqs, Direction::Forward, 2).await;
        assert_eq!(forward, Ok(vec![row(2, "b"), row(3, "c")]));
        let backward = tables.log_rows(chat, 0, seqs, Direction::Backward, 2).await;
        assert_eq!(backward, Ok(vec![row(3, "c"), row(4, "d")]));
        assert_eq!(tables.log_rows(chat, 1, seqs, Direction::Forward, 2).await, Ok(vec![]));
    });
}

#[test]
fn a_head_without_rows_is_a_head() {
    with_tables(|tables| async move {
        write(&tables, 10, log(group(2), Some((0, "")), vec![])).await;
        let state = LogState { head: Seq(0), epoch: 3, pending: Bytes::new() };
        assert_eq!(tables.log_head(group(2), 0, 9).await, Ok(Some(LogHead { state, rows: vec![] })));
    });
}

#[test]
fn members_are_in_order_of_their_ids_and_details_beside_them() {
    with_tables(|tables| async move {
        let chat = group(3);
        let cell = |id: u64, member: &'static str| MemberCell { user: user(id), member: member.into() };
        let (meta, member) = (Some(Bytes::from("meta")), |id: u64| tables.member(chat, user(id)));
        assert_eq!((tables.meta(chat).await, member(1).await), (Ok(None), Ok(None)));
        let write_meta = Rows::Conversation { conversation: chat, meta: meta.clone(), members: vec![] };
        write(&tables, 10, write_meta).await;
        assert_eq!((tables.meta(chat).await, tables.members(chat).await), (Ok(meta), Ok(vec![])));
        let members = vec![cell(UserId::MAX.as_u64(), "last"), cell(1, "one"), cell(2, "")];
        write(&tables, 10, Rows::Conversation { conversation: chat, meta: None, members }).await;
        let expected = vec![cell(1, "one"), cell(2, ""), cell(UserId::MAX.as_u64(), "last")];
        assert_eq!(tables.members(chat).await, Ok(expected));
        assert_eq!(member(2).await, Ok(Some(cell(2, ""))));
    });
}

#[test]
fn memberships_are_paged_in_order_of_conversations() {
    with_tables(|tables| async move {
        let ada = user(77);
        let states = [MembershipState::Member, MembershipState::Unsure, MembershipState::Left];
        for (number, state) in [(30, states[2]), (10, states[0]), (20, states[1])] {
            let conversation = group(number);
            write(&tables, 10, Rows::Membership { user: ada, conversation, state }).await;
        }
        let all = vec![(group(10), states[0]), (group(20), states[1]), (group(30), states[2])];
        assert_eq!(tables.memberships(ada, None, 9).await, Ok(all.clone()));
        assert_eq!(tables.memberships(ada, Some(group(10)), 1).await, Ok(all[1..2].to_vec()));
        assert_eq!(tables.memberships(user(78), None, 9).await, Ok(vec![]));
    });
}

#[test]
fn hashes_of_sends_are_in_order_of_their_segments() {
    with_tables(|tables| async move {
        for (segment, hashes) in [(2, "two"), (0, "zero")] {
            let rows = Rows::Sends { conversation: group(5), bucket: 7, segment, hashes: hashes.into() };
            write(&tables, 10, rows).await;
        }
        assert_eq!(tables.sends(group(5), 7).await, Ok(vec![(0, "zero".into()), (2, "two".into())]));
    });
}
