//! What a message costs: by the rules alone, and through a core with its frames and its fan-out.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use godwit::{
    chat::{Action, Conversation, ConversationLimits, Input},
    router::Output,
};
use godwit_bench::{CoreBench, NOW_MS, new_message, send_frame, user};
use godwit_proto::{
    ConversationId,
    v1::{self, client_frame::Body as Request, server_frame::Body},
};
use prost::Message;

const LIMITS: ConversationLimits = ConversationLimits { dedupe_entries: 128, group_members_max: 1_000 };

/// Messages of one turn under load.
const TURN_MESSAGES: u64 = 32;
/// Members of the group that is online, the sender not counted.
const GROUP_OTHERS: u64 = 100;

fn rules(c: &mut Criterion) {
    let id = ConversationId::direct(user(1), user(2));
    let mut conversation = Conversation::<u64>::new(id, LIMITS);
    let mut number = 0;
    let mut effects = Vec::new();
    c.bench_function("conversation_send/rules", |b| {
        b.iter(|| {
            number += 1;
            effects.clear();
            let input = Input { reply_to: number, user: user(1), action: Action::Send(new_message(number)) };
            conversation.handle(NOW_MS, &input, &mut effects).unwrap();
            conversation.on_committed(None, &mut effects);
            // A commit, a reply, a fan-out.
            assert_eq!(effects.len(), 3);
        });
    });
}

fn core(c: &mut Criterion) {
    let mut bench = CoreBench::new();
    let ((session, alice), (_, bob)) = (bench.register(), bench.register());
    let conversation = ConversationId::direct(alice, bob);
    let mut number = 0;
    let mut frames = |count: u64| -> Vec<Bytes> {
        let range = number..number + count;
        number += count;
        range.map(|number| send_frame(conversation, number + 1).encode_to_vec().into()).collect()
    };
    let mut group = c.benchmark_group("conversation_send");
    for messages in [1, TURN_MESSAGES] {
        group.throughput(Throughput::Elements(messages));
        group.bench_function(format!("core_{messages}_a_turn"), |b| {
            b.iter_batched(
                || frames(messages),
                |frames| {
                    frames.into_iter().for_each(|frame| bench.frame(session, frame));
                    // A reply and a push each.
                    assert_eq!(bench.turn().len() as u64, 2 * messages);
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn fan_out(c: &mut Criterion) {
    let mut bench = CoreBench::new();
    let (session, _) = bench.register();
    let member_ids = (0..GROUP_OTHERS).map(|_| bench.register().1.as_u64()).collect();
    let client_msg_id = Bytes::from_static(&[9; 16]);
    let create = Request::CreateGroup(v1::CreateGroupRequest { client_msg_id, title: "all".into(), member_ids });
    bench.frame(session, v1::ClientFrame { request_id: 1, body: Some(create) }.encode_to_vec().into());
    let created = bench.turn().into_iter().find_map(|(_, output)| match output {
        Output::Reply(_, frame) => match v1::ServerFrame::decode_length_delimited(frame).unwrap().body {
            Some(Body::CreateGroup(created)) => ConversationId::from_slice(&created.conversation_id).ok(),
            _ => None,
        },
        _ => None,
    });
    let conversation = created.expect("the group was created");
    let mut number = 0;
    let mut group = c.benchmark_group("conversation_send");
    group.throughput(Throughput::Elements(GROUP_OTHERS));
    group.bench_function(format!("core_group_of_{GROUP_OTHERS}"), |b| {
        b.iter_batched(
            || {
                number += 1;
                Bytes::from(send_frame(conversation, number).encode_to_vec())
            },
            |frame| {
                bench.frame(session, frame);
                assert_eq!(bench.turn().len() as u64, GROUP_OTHERS + 1);
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, rules, core, fan_out);
criterion_main!(benches);
