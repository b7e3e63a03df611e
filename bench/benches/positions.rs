//! What it costs to move a position: a user has read a conversation, a device has received its entries.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use godwit_bench::{CoreBench, request, send_frame};
use godwit_proto::{
    ConversationId,
    v1::{self, client_frame::Body as Request},
};
use prost::Message;
use std::time::{Duration, Instant};

/// Messages that are sent before they are marked as read one by one: fewer than a conversation remembers.
const MESSAGES: u64 = 64;

/// Conversations that one ack is about.
const ACKS_POSITIONS: [u64; 2] = [1, POSITIONS_MAX];
const POSITIONS_MAX: u64 = 16;

fn mark_read(c: &mut Criterion) {
    let mut core = CoreBench::new();
    let ((writer, alice), (reader, bob)) = (core.register(), core.register());
    let conversation = ConversationId::direct(alice, bob);
    let mut seq = 0;
    let mut group = c.benchmark_group("positions");
    group.throughput(Throughput::Elements(1));
    group.bench_function("core_mark_read", |b| {
        b.iter_custom(|iterations| {
            let (mut spent, mut rest) = (Duration::ZERO, iterations);
            while rest > 0 {
                let messages = rest.min(MESSAGES);
                rest -= messages;
                let numbers = seq + 1..=seq + messages;
                seq += messages;
                let sends = numbers.clone().map(|number| send_frame(conversation, number).encode_to_vec().into());
                sends.for_each(|frame| core.frame(writer, frame));
                assert_eq!(core.turn(), 2 * messages);
                let marks: Vec<Bytes> = numbers.map(|seq| mark(conversation, seq)).collect();
                let started = Instant::now();
                for mark in marks {
                    core.frame(reader, mark);
                    assert_eq!(core.turn(), 1);
                }
                spent += started.elapsed();
            }
            spent
        });
    });
    group.finish();
}

fn mark(conversation: ConversationId, seq: u64) -> Bytes {
    let mark = v1::MarkReadRequest { conversation_id: conversation.to_bytes(), seq };
    request(seq, Request::MarkRead(mark))
}

fn ack(c: &mut Criterion) {
    let mut core = CoreBench::new();
    let (device, bob) = core.register();
    let begin = |_| {
        let (writer, alice) = core.register();
        let conversation = ConversationId::direct(alice, bob);
        core.frame(writer, send_frame(conversation, 1).encode_to_vec().into());
        assert_eq!(core.turn(), 2);
        conversation
    };
    let conversations: Vec<ConversationId> = (0..POSITIONS_MAX).map(begin).collect();
    let mut group = c.benchmark_group("positions");
    for positions in ACKS_POSITIONS {
        group.throughput(Throughput::Elements(positions));
        group.bench_function(BenchmarkId::new("core_ack_of", positions), |b| {
            let acked = conversations[..positions as usize].iter();
            let positions = acked.map(|id| v1::ConversationPosition { conversation_id: id.to_bytes(), seq: 1 });
            // Never answered.
            let frame = request(0, Request::Ack(v1::AckRequest { positions: positions.collect() }));
            b.iter(|| {
                core.frame(device, frame.clone());
                assert_eq!(core.turn(), 0);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, mark_read, ack);
criterion_main!(benches);
