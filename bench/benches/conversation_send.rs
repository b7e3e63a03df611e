//! What a message between two users costs: by the rules alone, and through a core with its frames and its fan-out.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use godwit::{
    chat::{Action, Conversation, ConversationLimits, Input},
    router::SessionId,
};
use godwit_bench::{CoreBench, NOW_MS, new_message, send_frame, user};
use godwit_proto::ConversationId;
use prost::Message;

const LIMITS: ConversationLimits = ConversationLimits { dedupe_entries: 128, group_members_max: 1_000 };

/// Messages of one turn, from idle to flat out.
const TURNS_MESSAGES: [u64; 4] = [1, 8, 64, 512];

/// Pairs of users who write at the same time.
const PAIRS: usize = 100;

fn rules(c: &mut Criterion) {
    let id = ConversationId::direct(user(1), user(2));
    let mut conversation = Conversation::<u64>::new(id, LIMITS);
    let (mut number, mut effects) = (0, Vec::new());
    let mut group = c.benchmark_group("conversation_send");
    for messages in TURNS_MESSAGES {
        group.throughput(Throughput::Elements(messages));
        group.bench_function(BenchmarkId::new("rules_in_turns_of", messages), |b| {
            b.iter(|| {
                effects.clear();
                for _ in 0..messages {
                    number += 1;
                    let input = Input { reply_to: number, user: user(1), action: Action::Send(new_message(number)) };
                    conversation.handle(NOW_MS, &input, &mut effects).unwrap();
                }
                (0..messages).for_each(|_| conversation.on_committed(None, &mut effects));
                // A commit, a reply and a fan-out each.
                assert_eq!(effects.len() as u64, 3 * messages);
            });
        });
    }
    group.finish();
}

/// A core with pairs of users online, the first of whom writes to the second.
struct Pairs {
    core: CoreBench,
    pairs: Vec<(SessionId, ConversationId)>,
}

impl Pairs {
    fn new(pairs: usize) -> Self {
        let mut core = CoreBench::new();
        let pairs = (0..pairs).map(|_| {
            let ((session, alice), (_, bob)) = (core.register(), core.register());
            (session, ConversationId::direct(alice, bob))
        });
        Self { pairs: pairs.collect(), core }
    }
}

fn core_with_pairs(c: &mut Criterion, name: &str, pairs: usize) {
    let Pairs { mut core, pairs } = Pairs::new(pairs);
    let mut writers = pairs.iter().cycle();
    let mut number = 0;
    let mut next_frame = || -> (SessionId, Bytes) {
        number += 1;
        let (session, conversation) = writers.next().unwrap();
        (*session, send_frame(*conversation, number).encode_to_vec().into())
    };
    let mut group = c.benchmark_group("conversation_send");
    for messages in TURNS_MESSAGES {
        group.throughput(Throughput::Elements(messages));
        group.bench_function(BenchmarkId::new(name, messages), |b| {
            b.iter_batched(
                || (0..messages).map(|_| next_frame()).collect::<Vec<_>>(),
                |frames| {
                    frames.into_iter().for_each(|(session, frame)| core.frame(session, frame));
                    // A reply and a push each.
                    assert_eq!(core.turn(), 2 * messages);
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn core_one_pair(c: &mut Criterion) {
    core_with_pairs(c, "core_one_pair_in_turns_of", 1);
}

fn core_many_pairs(c: &mut Criterion) {
    core_with_pairs(c, &format!("core_{PAIRS}_pairs_in_turns_of"), PAIRS);
}

criterion_group!(benches, rules, core_one_pair, core_many_pairs);
criterion_main!(benches);
