//! What it costs to tell a user what there is: the conversation list with its unread counts, and a sync, as requests to a
//! core on the embedded store.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use godwit::{
    chat::{Member, MemberChange, Position, Role},
    router::SessionId,
    store::{Commit, CommitOutcome, LogStore},
};
use godwit_bench::{CoreBench, ScratchStore, append, request, scaled, user};
use godwit_proto::{
    ConversationId, Seq, UserId,
    v1::{self, client_frame::Body as Request, server_frame::Body},
};
use std::sync::Arc;

const USERS_CONVERSATIONS: [u64; 3] = [10, 100, 1_000];

/// Messages of each conversation, of which the user has read the first.
const MESSAGES: u64 = 3;

/// Commits in one call.
const COMMITS: usize = 500;

/// Somebody online, with the requests that their client makes.
struct Reader {
    core: CoreBench,
    session: SessionId,
    /// The list, newest first.
    list: Bytes,
    /// A whole sync of a client that knows nothing, one request a page.
    sync_all: Vec<Bytes>,
    /// A whole sync of a client that knows everything.
    sync_none: Vec<Bytes>,
    // Last, for the core uses it.
    _scratch: ScratchStore,
}

impl Reader {
    fn new(conversations: u64) -> Self {
        let scratch = ScratchStore::open(env!("CARGO_TARGET_TMPDIR"), |_| ());
        let mut core = CoreBench::on(Arc::new(scratch.store().clone()));
        let (session, alice) = core.register();
        let commits: Vec<Commit> = (0..conversations).map(|number| begun(alice, user(1_000_000 + number))).collect();
        for commits in commits.chunks(COMMITS) {
            let outcomes = scratch.wait(scratch.store().commit(commits.to_vec()));
            assert!(outcomes.iter().all(|outcome| *outcome == CommitOutcome::Durable), "{outcomes:?}");
        }
        scratch.store().settle().unwrap();

        let list = request(9, Request::ListConversations(v1::ListConversationsRequest::default()));
        let mut reader = Self { core, session, list, sync_all: Vec::new(), sync_none: Vec::new(), _scratch: scratch };
        let Body::ListConversations(list) = reader.ask(reader.list.clone()) else { panic!("no list") };
        assert_eq!(list.unread_total, conversations * (MESSAGES - 1));
        reader.walk(conversations);
        reader
    }

    /// Syncs once, and keeps the requests of that.
    fn walk(&mut self, conversations: u64) {
        let (mut after, mut seen) = (Bytes::new(), 0);
        loop {
            let sync_all = request(9, Request::Sync(v1::SyncRequest { after: after.clone(), ..Default::default() }));
            let Body::Sync(page) = self.ask(sync_all.clone()) else { panic!("no sync") };
            self.sync_all.push(sync_all);
            let known = page.changed.iter().map(|line| v1::KnownConversation {
                conversation_id: line.conversation_id.clone(),
                seq: line.last_seq,
                read_seq: line.read_seq,
            });
            let sync = v1::SyncRequest { after, known: known.collect(), known_continues: page.more };
            seen += page.changed.len() as u64;
            let sync_none = request(9, Request::Sync(sync));
            let Body::Sync(nothing) = self.ask(sync_none.clone()) else { panic!("no sync") };
            assert_eq!((nothing.changed, &nothing.up_to), (Vec::new(), &page.up_to));
            self.sync_none.push(sync_none);
            after = page.up_to;
            if !page.more {
                break;
            }
        }
        assert_eq!(seen, conversations);
    }

    fn ask(&mut self, frame: Bytes) -> Body {
        self.core.bulk_frame(self.session, frame);
        self.core.replies().remove(0)
    }
}

/// A conversation that the other user began.
fn begun(alice: UserId, other: UserId) -> Commit {
    let mut member = Member::new(alice, Role::Member, Position::START);
    member.read = Position { seq: Seq(1), ordinal: 1 };
    let members = [member, Member::new(other, Role::Member, Position::START)];
    let members = members.map(MemberChange::Put).to_vec();
    Commit { members, ..append(ConversationId::direct(alice, other), 1..=MESSAGES) }
}

fn requests(c: &mut Criterion) {
    let mut group = c.benchmark_group("conversation_list");
    for conversations in USERS_CONVERSATIONS {
        group.throughput(Throughput::Elements(conversations));
        let mut made = None;
        let reader = || Reader::new(scaled(conversations));
        group.bench_function(BenchmarkId::new("newest_page_with_unread_of", conversations), |b| {
            let Reader { core, session, list, .. } = made.get_or_insert_with(reader);
            b.iter(|| {
                core.bulk_frame(*session, list.clone());
                assert_eq!(core.turn(), 1);
            });
        });
        group.bench_function(BenchmarkId::new("sync_of_new_client_of", conversations), |b| {
            let Reader { core, session, sync_all, .. } = made.get_or_insert_with(reader);
            b.iter(|| walk(core, *session, sync_all));
        });
        group.bench_function(BenchmarkId::new("sync_without_news_of", conversations), |b| {
            let Reader { core, session, sync_none, .. } = made.get_or_insert_with(reader);
            b.iter(|| walk(core, *session, sync_none));
        });
    }
    group.finish();
}

fn walk(core: &mut CoreBench, session: SessionId, pages: &[Bytes]) {
    for page in pages {
        core.bulk_frame(session, page.clone());
        assert_eq!(core.turn(), 1);
    }
}

criterion_group!(benches, requests);
criterion_main!(benches);
