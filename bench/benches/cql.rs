//! What the store on a CQL server and Redis adds to their clients: rows a second, pages and conversation lists, each in turn with the bare
//! client that has the same rows, batches and concurrency. `GODWIT_TEST_CQL` and `GODWIT_TEST_REDIS` name the servers.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use futures_util::future::join_all;
use godwit::{
    chat::{Member, MemberChange, Position, Role},
    store::{
        Commit, CommitOutcome, Direction, LogStore, PageLimit, Store,
        redis::{Epoch, RedisOptions, Summarised},
        scylla::{OnLease, Scylla, ScyllaOptions},
    },
};
use godwit_bench::{BareCql, BareRedis, append, entry, runs_once, user};
use godwit_proto::{ConversationId, Seq};
use prost::Message;
use std::{
    env,
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::runtime::Builder;

/// Conversations with a batch each on its way, and messages of a batch.
const SHAPES: [(u64, u64); 4] = [(64, 1), (64, 8), (64, 32), (256, 4)];
const ROUNDS: u64 = 3;
const PAGE_ENTRIES: usize = 50;
const LIST: u64 = 200;

fn main() {
    let (Ok(cql), Ok(redis)) = (env::var("GODWIT_TEST_CQL"), env::var("GODWIT_TEST_REDIS")) else {
        println!(
            "cql: left out; `cargo xtask services up` starts servers, and GODWIT_TEST_CQL and GODWIT_TEST_REDIS name them"
        );
        return;
    };
    let node = cql.split(',').next().unwrap().to_owned();
    let keyspace = format!("bench_{}", std::process::id());
    let mut options = ScyllaOptions::new(vec![node.clone()], &keyspace);
    options.replication_factor = NonZeroUsize::new(1);
    options.lease_ms = 60_000;
    let connections = options.connections_per_host;
    let on_lease = OnLease { waiting: Box::new(|_| ()), lost: Box::new(|lost| panic!("{lost}")) };
    let store = Scylla::open(options, on_lease).unwrap();
    // The bare client works where the store does, on as many threads.
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let bare = BareCql::connect(&node, &keyspace, connections).await;
        appends(&store, &bare).await;
        pages(&store, &bare).await;
        lists(&store, &redis).await;
        bare.drop_keyspace(&keyspace).await;
    });
}

/// A group of one of the two sides.
fn conversation(is_bare: bool, number: u64) -> ConversationId {
    let mut id = [u8::from(is_bare); 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    ConversationId::group(id)
}

async fn appends(store: &Scylla, bare: &BareCql) {
    for (shape, (conversations, batch)) in SHAPES.into_iter().enumerate() {
        let mut rates = [Vec::new(), Vec::new()];
        for round in 0..rounds() {
            let first = (shape as u64 * ROUNDS + round) * 1_000;
            rates[0].push(store_rate(store, first..first + conversations, batch).await);
            rates[1].push(bare_rate(bare, first..first + conversations, batch).await);
        }
        let [store, bare] = rates.map(median);
        let what = format!("append, {conversations} batches of {batch} in flight, rows/s");
        println!("{what}: store {store:.0}, driver {bare:.0}, ratio {:.2} (goal at least 0.7)", store / bare);
    }
}

async fn store_rate(store: &Scylla, numbers: std::ops::Range<u64>, batch: u64) -> f64 {
    let began = Instant::now();
    let loops = numbers.map(async |number| {
        let mut next = 1;
        while began.elapsed() < time() {
            // As the owner of a conversation hands over what came in one turn.
            let commits = (next..next + batch).map(|seq| append(conversation(false, number), seq..=seq)).collect();
            let outcomes = store.commit(commits).await;
            assert!(outcomes.iter().all(|outcome| *outcome == CommitOutcome::Durable), "{outcomes:?}");
            next += batch;
        }
        next - 1
    });
    let rows: u64 = join_all(loops).await.into_iter().sum();
    rows as f64 / began.elapsed().as_secs_f64()
}

async fn bare_rate(bare: &BareCql, numbers: std::ops::Range<u64>, batch: u64) -> f64 {
    let began = Instant::now();
    let loops = numbers.map(async |number| {
        let mut next = 1;
        while began.elapsed() < time() {
            let entries: Vec<Bytes> = (next..next + batch).map(|seq| entry(seq).encode_to_vec().into()).collect();
            bare.append(conversation(true, number), next, &entries).await;
            next += batch;
        }
        next - 1
    });
    let rows: u64 = join_all(loops).await.into_iter().sum();
    rows as f64 / began.elapsed().as_secs_f64()
}

/// The newest page of conversations that nobody has read yet in this process, and again.
async fn pages(store: &Scylla, bare: &BareCql) {
    const CONVERSATIONS: u64 = 64;
    const FIRST: u64 = 1_000_000;
    for number in FIRST..FIRST + CONVERSATIONS {
        for seqs in [1..=300, 301..=600] {
            let outcomes = store.commit(vec![append(conversation(false, number), seqs)]).await;
            assert_eq!(outcomes, [CommitOutcome::Durable]);
        }
    }
    let limit = PageLimit { entries: PAGE_ENTRIES, bytes: 1 << 20 };
    let mut times = [Vec::new(), Vec::new()];
    for turn in 0..rounds() * 500 {
        let conversation = conversation(false, FIRST + turn * 7 % CONVERSATIONS);
        let began = Instant::now();
        let page = store.read(conversation, Seq(u64::MAX), Direction::Backward, limit).await.unwrap();
        times[0].push(began.elapsed().as_secs_f64() * 1e6);
        let began = Instant::now();
        assert_eq!(bare.newest(conversation, 0, page.len() as i32).await, PAGE_ENTRIES);
        times[1].push(began.elapsed().as_secs_f64() * 1e6);
    }
    report("newest page of 50, p50 us", times, 1.3);
}

async fn lists(store: &Scylla, redis: &str) {
    let prefix = format!("bench{}", std::process::id());
    let mut options = RedisOptions::from_url(redis).unwrap();
    options.prefix.clone_from(&prefix);
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    let summarised = Summarised::open(shared, options, Epoch::Lease(store.term()), store.runtime()).await.unwrap();
    let alice = user(1);
    let ids: Vec<ConversationId> = (0..LIST).map(|number| ConversationId::direct(alice, user(2 + number))).collect();
    for (number, id) in ids.iter().enumerate() {
        let members = [alice, user(2 + number as u64)].map(|user| Member::new(user, Role::Member, Position::START));
        let members = members.map(MemberChange::Put).to_vec();
        let outcomes = summarised.commit(vec![Commit { members, ..append(*id, 1..=3) }]).await;
        assert_eq!(outcomes, [CommitOutcome::Durable]);
    }
    let read = async || {
        let ids = summarised.conversations_of(alice, None, LIST as usize).await.unwrap();
        let lines = summarised.summaries(ids.into_iter().map(|id| (id, alice)).collect()).await.unwrap();
        assert_eq!(lines.iter().flatten().count(), LIST as usize);
    };
    // Until all of it is in Redis.
    let mut bare = loop {
        read().await;
        let bare = BareRedis::connect(redis, &prefix, alice.as_u64()).await;
        if bare.lines() == LIST as usize {
            break bare;
        }
    };
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..rounds() * 300 {
        let began = Instant::now();
        read().await;
        times[0].push(began.elapsed().as_secs_f64() * 1e6);
        let began = Instant::now();
        assert!(bare.read().await > 0);
        times[1].push(began.elapsed().as_secs_f64() * 1e6);
    }
    println!("{:?}", summarised.counts());
    report("conversation list of 200, p50 us", times, 1.5);
    bare.forget(&prefix).await;
}

fn report(what: &str, times: [Vec<f64>; 2], goal: f64) {
    let [store, bare] = times.map(median);
    println!("{what}: store {store:.0}, bare client {bare:.0}, ratio {:.2} (goal at most {goal})", store / bare);
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn rounds() -> u64 {
    if runs_once() { 1 } else { ROUNDS }
}

fn time() -> Duration {
    if runs_once() { Duration::from_millis(100) } else { Duration::from_secs(3) }
}
