//! What a delivery costs when one message goes to a group: from the frame of the sender to the frames of all others.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use godwit::router::SessionId;
use godwit_bench::{CoreBench, scaled, send_frame};
use godwit_proto::{ConversationId, UserId};
use prost::Message;

/// Members who are online, the sender among them.
const GROUPS_MEMBERS: [u64; 4] = [2, 100, 1_000, 5_000];

struct Group {
    core: CoreBench,
    sender: SessionId,
    conversation: ConversationId,
    /// Frames of one message: a push to everybody else, and the sender's reply.
    frames: u64,
}

impl Group {
    fn new(members: u64) -> Self {
        let mut core = CoreBench::new();
        let (sender, _) = core.register();
        let others: Vec<UserId> = (1..members).map(|_| core.register().1).collect();
        Self { conversation: core.create_group(sender, &others), sender, core, frames: members }
    }
}

fn fan_out(c: &mut Criterion) {
    let mut group = c.benchmark_group("fan_out");
    for members in GROUPS_MEMBERS {
        group.throughput(Throughput::Elements(members - 1));
        // Made when it is measured: thousands of registrations take a while.
        let (mut made, mut number) = (None, 0);
        group.bench_function(BenchmarkId::new("core_group_of", members), |b| {
            let Group { core, sender, conversation, frames } = made.get_or_insert_with(|| Group::new(scaled(members)));
            b.iter_batched(
                || {
                    number += 1;
                    Bytes::from(send_frame(*conversation, number).encode_to_vec())
                },
                |frame| {
                    core.frame(*sender, frame);
                    assert_eq!(core.turn(), *frames);
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, fan_out);
criterion_main!(benches);
