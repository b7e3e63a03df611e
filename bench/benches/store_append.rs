//! What it costs to make messages durable: a batch is handed to the embedded store, which syncs it and answers.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use godwit::store::{Commit, CommitOutcome, LogStore};
use godwit_bench::{ScratchStore, append, user};
use godwit_proto::ConversationId;

/// Messages of one turn of a core, which share a sync.
const BATCHES_MESSAGES: [u64; 4] = [1, 16, 256, 1_024];

/// Conversations that the messages go to in turn.
const CONVERSATIONS: u64 = 100;

/// The next messages, each a change of its own as the owner of a conversation makes it.
struct Messages(u64);

impl Messages {
    fn next_batch(&mut self, messages: u64) -> Vec<Commit> {
        let range = self.0..self.0 + messages;
        self.0 += messages;
        let commit = |number| {
            let conversation = ConversationId::direct(user(1), user(2 + number % CONVERSATIONS));
            let seq = number / CONVERSATIONS + 1;
            append(conversation, seq..=seq)
        };
        range.map(commit).collect()
    }
}

fn append_synced(c: &mut Criterion) {
    let mut group = c.benchmark_group("store_append");
    for messages in BATCHES_MESSAGES {
        group.throughput(Throughput::Elements(messages));
        // A store of its own, so that no measurement pays for the rows of the one before.
        let (mut opened, mut next) = (None, Messages(0));
        group.bench_function(BenchmarkId::new("synced_batches_of", messages), |b| {
            let scratch = opened.get_or_insert_with(|| ScratchStore::open(env!("CARGO_TARGET_TMPDIR"), |_| ()));
            b.iter_batched(
                || next.next_batch(messages),
                |commits| {
                    let outcomes = scratch.wait(scratch.store().commit(commits));
                    assert!(outcomes.iter().all(|outcome| *outcome == CommitOutcome::Durable), "{outcomes:?}");
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, append_synced);
criterion_main!(benches);
