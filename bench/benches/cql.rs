//! What the store on a CQL server and Redis adds to their clients: rows a second, pages and conversation lists, each in turn with the bare
//! client that has the same rows, batches and concurrency. `GODWIT_TEST_CQL` and `GODWIT_TEST_REDIS` name the servers.
//!
//! Both sides run on the same machine as their servers, alternating, and only the ratio of the medians means anything.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use godwit::{
    chat::{Member, MemberChange, Position, Role},
    store::{
        Commit, CommitOutcome, Direction, LogStore, PageLimit, Store,
        redis::{Epoch, RedisOptions, Summarised},
        scylla::{OnLease, Scylla, ScyllaOptions},
    },
    telemetry::MetricsText,
};
use godwit_bench::{BareCql, BareRedis, append, runs_once, user};
use godwit_proto::{ConversationId, Seq};
use rustix::time::{ClockId, clock_gettime};
use std::{
    env,
    fs::OpenOptions,
    io::Write,
    num::NonZeroUsize,
    ops::Range,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{runtime::Builder, task::JoinSet};

/// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Conversations with a batch each on its way, and messages of a batch.
const SHAPES: [(u64, u64); 4] = [(64, 1), (64, 8), (64, 32), (256, 4)];
/// Of each side, alternating.
const ROUNDS: u64 = 5;
const ROUND: Duration = Duration::from_secs(2);
const PAGE_ENTRIES: usize = 50;
const LIST: u64 = 200;

/// What there is to ask for by name, as with the other benchmarks.
const APPENDS: &str = "cql/appends";
const PAGES: &str = "cql/pages";
const LISTS: &str = "cql/lists";

fn main() -> ExitCode {
    if ![APPENDS, PAGES, LISTS].into_iter().any(is_asked_for) {
        return ExitCode::SUCCESS;
    }
    let (Ok(cql), Ok(redis)) = (env::var("GODWIT_TEST_CQL"), env::var("GODWIT_TEST_REDIS")) else {
        return without_services();
    };
    let node = cql.split(',').next().unwrap().to_owned();
    let keyspace = format!("bench_{}", std::process::id());
    // Metrics cost something, and a server has them.
    let metrics = MetricsText::install().unwrap();
    let mut options = ScyllaOptions::new(vec![node.clone()], &keyspace);
    options.replication_factor = NonZeroUsize::new(1);
    options.lease_ms = 60_000;
    let connections = options.connections_per_host;
    let on_lease = OnLease { waiting: Box::new(|_| ()), lost: Box::new(|lost| panic!("{lost}")) };
    let store = Scylla::open(options, on_lease).unwrap();
    // The bare client has as many threads as the store.
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let bare = BareCql::connect(&node, &keyspace, connections).await;
        let folding = metrics.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                folding.fold();
            }
        });
        if is_asked_for(APPENDS) {
            appends(&store, &bare, &metrics).await;
        }
        if is_asked_for(PAGES) {
            pages(&store, &bare).await;
        }
        if is_asked_for(LISTS) {
            lists(&store, &redis).await;
        }
        bare.drop_keyspace(&keyspace).await;
    });
    ExitCode::SUCCESS
}

/// Whether the arguments name nothing, or this.
fn is_asked_for(what: &str) -> bool {
    // Options of criterion may have a number behind them.
    let mut names =
        env::args().skip(1).filter(|name| !name.starts_with('-') && name.parse::<f64>().is_err()).peekable();
    names.peek().is_none() || names.any(|name| what.contains(&name))
}

/// A test must not pass because nobody started servers, unless somebody said so. Whoever measures all else need not have any.
fn without_services() -> ExitCode {
    let is_left_out = !runs_once() || env::var_os("GODWIT_TEST_WITHOUT_SERVICES").is_some();
    println!(
        "cql: {}; `cargo xtask services up` starts servers, and says what to set GODWIT_TEST_CQL and GODWIT_TEST_REDIS to",
        if is_left_out {
            "left out, for it needs a CQL server and a Redis"
        } else {
            "there is no CQL server or no Redis"
        },
    );
    if !is_left_out {
        return ExitCode::FAILURE;
    }
    if let Some(list) = env::var_os("GODWIT_TEST_LEFT_OUT") {
        let mut list = OpenOptions::new().create(true).append(true).open(list).unwrap();
        list.write_all(b"cql (GODWIT_TEST_CQL, GODWIT_TEST_REDIS)\n").unwrap();
    }
    ExitCode::SUCCESS
}

/// A group of one of the two sides.
fn conversation(is_bare: bool, number: u64) -> ConversationId {
    let mut id = [u8::from(is_bare); 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    ConversationId::group(id)
}

/// What one side did in one round.
#[derive(Clone, Copy)]
struct Appended {
    /// That there should be.
    rows: u64,
    /// Rows a second.
    rate: f64,
    /// Of this process alone, in microseconds a row.
    cpu_us: f64,
}

async fn appends(store: &Scylla, bare: &BareCql, metrics: &MetricsText) {
    for (shape, (conversations, batch)) in SHAPES.into_iter().enumerate() {
        let mut sides = [Vec::new(), Vec::new()];
        let (mut entries, mut mutations) = (0.0, 0.0);
        for round in 0..rounds() {
            let first = (shape as u64 * ROUNDS + round) * 1_000;
            let numbers = first..first + conversations;
            for side in [round % 2, 1 - round % 2] {
                if side == 1 {
                    sides[1].push(append_bare(bare, numbers.clone(), batch).await);
                    continue;
                }
                let before = batches(metrics);
                sides[0].push(append_stored(store, numbers.clone(), batch, bare).await);
                let after = batches(metrics);
                (entries, mutations) = (entries + after.0 - before.0, mutations + after.1 - before.1);
            }
        }
        let rate = |side: usize| median(sides[side].iter().map(|appended: &Appended| appended.rate).collect());
        let cpu_us = |side: usize| median(sides[side].iter().map(|appended: &Appended| appended.cpu_us).collect());
        println!(
            "append, {conversations} batches of {batch} in flight: store {:.0} rows/s, driver {:.0}, ratio {:.2} (goal at least 0.7); \
             CPU of this process {:.1} and {:.1} us a row; {:.1} rows a mutation of the store",
            rate(0),
            rate(1),
            rate(0) / rate(1),
            cpu_us(0),
            cpu_us(1),
            entries / mutations,
        );
    }
}

/// Entries and mutations that the store has committed.
fn batches(metrics: &MetricsText) -> (f64, f64) {
    metrics.fold();
    let text = metrics.render();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    };
    (value("godwit_store_commit_batch_entries_sum"), value("godwit_store_commit_batch_entries_count"))
}

/// As the owner of conversations hands over what came in one turn: a commit for each message.
async fn append_stored(store: &Scylla, numbers: Range<u64>, batch: u64, bare: &BareCql) -> Appended {
    let store = store.clone();
    let appended = in_rounds(numbers.clone(), move |number, first| {
        let store = store.clone();
        async move {
            let commits: Vec<Commit> =
                (first..first + batch).map(|seq| append(conversation(false, number), seq..=seq)).collect();
            let outcomes = store.commit(commits).await;
            assert!(outcomes.iter().all(|outcome| *outcome == CommitOutcome::Durable), "{outcomes:?}");
            first + batch
        }
    })
    .await;
    // All that was said to be durable is there, whoever asks.
    let mut rows = 0;
    for number in numbers {
        rows += bare.count(conversation(false, number)).await;
    }
    assert_eq!(rows, appended.rows);
    appended
}

async fn append_bare(bare: &BareCql, numbers: Range<u64>, batch: u64) -> Appended {
    let bare = bare.clone();
    in_rounds(numbers, move |number, first| {
        let bare = bare.clone();
        async move {
            let made = append(conversation(true, number), first..=first + batch - 1);
            let entries: Vec<Bytes> = made.entries.into_iter().map(|entry| entry.encoded).collect();
            bare.append(made.conversation, first, &entries).await;
            first + batch
        }
    })
    .await
}

/// Every conversation has a task, which appends one batch after the other for a while. `append` gets its number and the first seq of a
/// batch, and gives that of the next one.
async fn in_rounds<F, W>(numbers: Range<u64>, append: F) -> Appended
where
    F: Fn(u64, u64) -> W + Clone + Send + 'static,
    W: Future<Output = u64> + Send,
{
    // The first batch is not timed: a store looks where a conversation ends, once.
    let mut first = JoinSet::new();
    for number in numbers {
        let append = append.clone();
        first.spawn(async move { (number, append(number, 1).await) });
    }
    let begun = first.join_all().await;
    let (began, cpu_began) = (Instant::now(), cpu_time());
    let mut tasks = JoinSet::new();
    for (number, from) in begun {
        let append = append.clone();
        tasks.spawn(async move {
            let mut next = from;
            while began.elapsed() < round_time() {
                next = append(number, next).await;
            }
            (next - from, next - 1)
        });
    }
    let appended = tasks.join_all().await;
    let timed = appended.iter().map(|(timed, _)| timed).sum::<u64>() as f64;
    let cpu_us = (cpu_time() - cpu_began).as_secs_f64() * 1e6 / timed;
    let rows = appended.iter().map(|(_, rows)| rows).sum();
    Appended { rows, rate: timed / began.elapsed().as_secs_f64(), cpu_us }
}

/// The newest page, one after the other.
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
        for side in [turn % 2, 1 - turn % 2] {
            let began = Instant::now();
            let read = match side {
                0 => store.read(conversation, Seq(u64::MAX), Direction::Backward, limit).await.unwrap().len(),
                _ => bare.newest(conversation, 0, PAGE_ENTRIES as i32).await,
            };
            times[side as usize].push(began.elapsed().as_secs_f64() * 1e6);
            assert_eq!(read, PAGE_ENTRIES);
        }
    }
    report("newest page of 50", times, 1.3);
}

/// A user's list, and then its lines, one after the other.
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
        lines.iter().flatten().filter(|line| line.last.as_ref().is_some_and(|last| last.seq == Seq(3))).count()
    };
    // The first one asks the store; all that follow are answered by Redis.
    assert_eq!(read().await, LIST as usize);
    summarised.settle().await;
    let before = summarised.counts();
    let mut bare = BareRedis::connect(redis, &prefix, alice.as_u64()).await;
    assert_eq!(bare.lines(), LIST as usize);
    let mut times = [Vec::new(), Vec::new()];
    for turn in 0..rounds() * 300 {
        for side in [turn % 2, 1 - turn % 2] {
            let began = Instant::now();
            let lines = match side {
                0 => read().await,
                _ => bare.read().await,
            };
            times[side as usize].push(began.elapsed().as_secs_f64() * 1e6);
            assert_eq!(lines, LIST as usize);
        }
    }
    let after = summarised.counts();
    assert_eq!((after.from_store, after.mismatches), (before.from_store, 0), "{after:?}");
    report("conversation list of 200", times, 1.5);
    bare.forget(&prefix).await;
}

/// Prints medians of two sides in microseconds.
fn report(what: &str, times: [Vec<f64>; 2], goal: f64) {
    let [store, bare] = times.map(median);
    println!(
        "{what}, p50: store {store:.0} us, bare client {bare:.0}, ratio {:.2} (goal at most {goal})",
        store / bare
    );
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// CPU time that this process has used.
fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

fn rounds() -> u64 {
    if runs_once() { 1 } else { ROUNDS }
}

fn round_time() -> Duration {
    if runs_once() { Duration::from_millis(100) } else { ROUND }
}
