//! What a frame costs: one by one, and off a stream of many.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use godwit::chat::LogEntry;
use godwit_bench::{entry, push_frame, send_frame, user};
use godwit_proto::{
    ConversationId,
    codec::{self, FrameDecoder},
    v1,
};
use prost::Message;
use std::hint::black_box;

/// Frames of the stream that is taken apart.
const STREAM_FRAMES: u64 = 1_000;
/// What one datagram brings.
const CHUNK_BYTES: usize = 1_200;

fn client_frames(c: &mut Criterion) {
    let conversation = ConversationId::direct(user(1), user(2));
    let frame = send_frame(conversation, 7);
    let mut group = c.benchmark_group("frame_codec");

    group.bench_function("encode_send_128", |b| {
        let mut out = BytesMut::with_capacity(1024);
        b.iter(|| {
            out.clear();
            codec::encode_frame(black_box(&frame), &mut out);
        });
    });
    let encoded: Bytes = frame.encode_to_vec().into();
    group.bench_function("decode_send_128", |b| {
        b.iter(|| v1::ClientFrame::decode(black_box(encoded.clone())).unwrap());
    });

    let mut stream = BytesMut::new();
    for number in 0..STREAM_FRAMES {
        codec::encode_frame(&send_frame(conversation, number), &mut stream);
    }
    group.throughput(Throughput::Elements(STREAM_FRAMES));
    group.bench_function("decoder_1000_frames", |b| {
        b.iter(|| {
            let (mut decoder, mut frames) = (FrameDecoder::new(), 0);
            for chunk in stream.chunks(CHUNK_BYTES) {
                decoder.push(chunk);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    black_box(frame);
                    frames += 1;
                }
            }
            assert_eq!(frames, STREAM_FRAMES);
        });
    });
    group.finish();
}

fn server_frames(c: &mut Criterion) {
    let conversation = ConversationId::direct(user(1), user(2));
    let mut group = c.benchmark_group("frame_codec");
    group.bench_function("encode_entry_128", |b| {
        b.iter_batched(|| entry(300), |entry| LogEntry::new(&entry), BatchSize::SmallInput);
    });
    let encoded = LogEntry::new(&entry(300));
    group.bench_function("encode_push_128", |b| {
        b.iter(|| codec::frame(&push_frame(conversation, black_box(&encoded))));
    });
    let push: Bytes = push_frame(conversation, &encoded).encode_to_vec().into();
    group.bench_function("decode_push_128", |b| {
        b.iter(|| v1::ServerFrame::decode(black_box(push.clone())).unwrap());
    });
    group.finish();
}

criterion_group!(benches, client_frames, server_frames);
criterion_main!(benches);
