//! What a page of history costs: off the embedded store, from wherever its entries lie, and as the answer to a request.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use godwit::{
    chat::{Member, MemberChange, Position, Role},
    router::{Limits, SessionId},
    store::{CommitOutcome, Direction, LogStore, PageLimit},
};
use godwit_bench::{CoreBench, ScratchStore, append, keep_pending, request, scaled};
use godwit_proto::{
    ConversationId, Seq,
    v1::{self, client_frame::Body as Request, server_frame::Body},
};
use std::sync::Arc;

const SHORT_ENTRIES: u64 = 1_000;
const LONG_ENTRIES: u64 = 100_000;
const PAGE_ENTRIES: u64 = 200;

const DIR: &str = env!("CARGO_TARGET_TMPDIR");

/// A conversation of its length.
fn conversation(entries: u64) -> ConversationId {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&entries.to_be_bytes());
    ConversationId::group(id)
}

/// Where the entries of a page lie.
#[derive(Clone, Copy)]
enum Place {
    /// In memory: durable, and not written as rows yet.
    Pending,
    /// In rows that the engine has in memory, or in its cache.
    Cached,
    /// In files, without a cache of the engine. What the system has in its own is not for us to say.
    Files,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Cached => "cached",
            Self::Files => "files",
        }
    }

    /// A store with a short and a long conversation there.
    fn store(self) -> ScratchStore {
        let scratch = ScratchStore::open(DIR, |_| ());
        for entries in [SHORT_ENTRIES, LONG_ENTRIES] {
            let rows = match self {
                Self::Pending => scaled(entries) - scaled(PAGE_ENTRIES),
                Self::Cached | Self::Files => scaled(entries),
            };
            scratch.fill(conversation(entries), rows);
        }
        match self {
            Self::Pending => {
                scratch.store().settle().unwrap();
                let scratch = scratch.reopen(keep_pending);
                for entries in [SHORT_ENTRIES, LONG_ENTRIES] {
                    let (rows, all) = (scaled(entries) - scaled(PAGE_ENTRIES), scaled(entries));
                    let newest = append(conversation(entries), rows + 1..=all);
                    assert_eq!(scratch.wait(scratch.store().commit(vec![newest])), [CommitOutcome::Durable]);
                }
                scratch
            }
            Self::Cached => {
                scratch.store().settle().unwrap();
                scratch
            }
            Self::Files => {
                // The engine writes a file when its memory for new rows is full: others fill it.
                scratch.fill(conversation(0), scaled(LONG_ENTRIES));
                scratch.store().settle().unwrap();
                scratch.reopen(|options| options.cache_bytes = 0)
            }
        }
    }
}

fn read_page(scratch: &ScratchStore, conversation: ConversationId, from: Seq) -> u64 {
    let limit = PageLimit { entries: PAGE_ENTRIES as usize, bytes: Limits::default().page_bytes() };
    let page = scratch.wait(scratch.store().read(conversation, from, Direction::Backward, limit));
    page.unwrap().len() as u64
}

fn store_pages(c: &mut Criterion) {
    let mut group = c.benchmark_group("history_page");
    group.throughput(Throughput::Elements(PAGE_ENTRIES));
    for place in [Place::Pending, Place::Cached, Place::Files] {
        let mut made = None;
        for entries in [SHORT_ENTRIES, LONG_ENTRIES] {
            let name = format!("newest_{}_in_log_of", place.name());
            group.bench_function(BenchmarkId::new(name, entries), |b| {
                let scratch = made.get_or_insert_with(|| place.store());
                let page = scaled(PAGE_ENTRIES);
                b.iter(|| assert_eq!(read_page(scratch, conversation(entries), Seq(u64::MAX)), page));
            });
        }
        if matches!(place, Place::Pending) {
            continue;
        }
        let name = format!("older_{}_in_log_of", place.name());
        group.bench_function(BenchmarkId::new(name, LONG_ENTRIES), |b| {
            let scratch = made.get_or_insert_with(|| place.store());
            let (first, last) = (scaled(PAGE_ENTRIES), scaled(LONG_ENTRIES));
            let mut from = first;
            b.iter(|| {
                // Somewhere else every time, so that it is not the same rows that are looked for.
                from = first + (from + 7_919) % (last - first + 1);
                assert_eq!(read_page(scratch, conversation(LONG_ENTRIES), Seq(from)), first);
            });
        });
    }
    group.finish();
}

/// A conversation whose messages came one at a time: each has a row of its own.
fn slow_conversation(c: &mut Criterion) {
    let mut group = c.benchmark_group("history_page");
    group.throughput(Throughput::Elements(PAGE_ENTRIES));
    let mut made = None;
    group.bench_function("newest_cached_one_entry_a_row", |b| {
        let scratch = made.get_or_insert_with(|| {
            let scratch = ScratchStore::open(DIR, |options| options.behind_rows_max = 1);
            for seq in 1..=scaled(PAGE_ENTRIES) {
                let outcomes = scratch.wait(scratch.store().commit(vec![append(conversation(1), seq..=seq)]));
                assert_eq!(outcomes, [CommitOutcome::Durable]);
            }
            scratch.store().settle().unwrap();
            scratch
        });
        b.iter(|| assert_eq!(read_page(scratch, conversation(1), Seq(u64::MAX)), scaled(PAGE_ENTRIES)));
    });
    group.finish();
}

/// Somebody online who is a member of a long conversation.
struct Reader {
    core: CoreBench,
    session: SessionId,
    newest: Bytes,
    // Last, for the core uses it.
    _scratch: ScratchStore,
}

impl Reader {
    fn new() -> Self {
        let scratch = ScratchStore::open(DIR, |_| ());
        let mut core = CoreBench::on(Arc::new(scratch.store().clone()));
        let (session, user) = core.register();
        let id = conversation(LONG_ENTRIES);
        scratch.fill(id, scaled(LONG_ENTRIES) - 1);
        let last = scaled(LONG_ENTRIES);
        let joined = MemberChange::Put(Member::new(user, Role::Owner, Position::START));
        let commit = godwit::store::Commit { members: vec![joined], ..append(id, last..=last) };
        assert_eq!(scratch.wait(scratch.store().commit(vec![commit])), [CommitOutcome::Durable]);
        scratch.store().settle().unwrap();
        let newest = v1::HistoryRequest {
            conversation_id: id.to_bytes(),
            from_seq: 0,
            direction: v1::Direction::Backward.into(),
            limit: PAGE_ENTRIES as u32,
        };
        Self { core, session, newest: request(9, Request::History(newest)), _scratch: scratch }
    }
}

fn history_request(c: &mut Criterion) {
    let mut group = c.benchmark_group("history_page");
    group.throughput(Throughput::Elements(PAGE_ENTRIES));
    let mut made = None;
    group.bench_function(BenchmarkId::new("core_request_newest_in_log_of", LONG_ENTRIES), |b| {
        let Reader { core, session, newest, .. } = made.get_or_insert_with(|| {
            let mut reader = Reader::new();
            reader.core.bulk_frame(reader.session, reader.newest.clone());
            let replies = reader.core.replies();
            let [Body::History(page)] = replies.as_slice() else { panic!("{replies:?}") };
            assert_eq!(page.entries.len() as u64, scaled(PAGE_ENTRIES));
            reader
        });
        b.iter(|| {
            core.bulk_frame(*session, newest.clone());
            assert_eq!(core.turn(), 1);
        });
    });
    group.finish();
}

criterion_group!(benches, store_pages, slow_conversation, history_request);
criterion_main!(benches);
