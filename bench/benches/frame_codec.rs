//! What a frame costs: one by one, and off a stream of many.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use godwit::chat::LogEntry;
use godwit_bench::{NOW_MS, push_frame, sized_entry, sized_send_frame, user};
use godwit_proto::{
    ConversationId,
    codec::{self, FrameDecoder},
    v1,
};
use prost::Message;
use std::hint::black_box;

/// A word, a typical message, a long one.
const BODIES_BYTES: [usize; 3] = [16, 128, 4_096];
/// Frames of the stream that is taken apart.
const STREAM_FRAMES: u64 = 1_000;
/// What a decoder is given at once: one packet, and a read that brings many.
const CHUNKS_BYTES: [usize; 2] = [1_200, 65_536];

fn conversation() -> ConversationId {
    ConversationId::direct(user(1), user(2))
}

fn reply_frame(number: u64) -> v1::ServerFrame {
    let response = v1::SendResponse { seq: number, ordinal: number, sent_ms: NOW_MS };
    v1::ServerFrame { request_id: number, body: Some(v1::server_frame::Body::Send(response)) }
}

fn send(c: &mut Criterion) {
    let mut group = c.benchmark_group("frame_codec");
    for bytes in BODIES_BYTES {
        let frame = sized_send_frame(conversation(), 300, bytes);
        group.throughput(Throughput::Bytes(frame.encoded_len() as u64));
        group.bench_function(BenchmarkId::new("encode_send", bytes), |b| {
            let mut out = BytesMut::with_capacity(8 * 1024);
            b.iter(|| {
                out.clear();
                codec::encode_frame(black_box(&frame), &mut out);
            });
        });
        let encoded: Bytes = frame.encode_to_vec().into();
        group.bench_function(BenchmarkId::new("decode_send", bytes), |b| {
            b.iter(|| v1::ClientFrame::decode(black_box(encoded.clone())).unwrap());
        });
    }
    group.finish();
}

fn reply(c: &mut Criterion) {
    let mut group = c.benchmark_group("frame_codec");
    let frame = reply_frame(300);
    group.throughput(Throughput::Bytes(frame.encoded_len() as u64));
    group.bench_function("encode_reply", |b| b.iter(|| codec::frame(black_box(&frame))));
    let encoded: Bytes = frame.encode_to_vec().into();
    group.bench_function("decode_reply", |b| {
        b.iter(|| v1::ServerFrame::decode(black_box(encoded.clone())).unwrap());
    });
    group.finish();
}

/// A push as the generated code writes it, from an entry that is encoded already. Around a fan-out the server writes it by
/// hand, which `fan_out` measures.
fn push(c: &mut Criterion) {
    let mut group = c.benchmark_group("frame_codec");
    for bytes in BODIES_BYTES {
        let encoded = LogEntry::new(&sized_entry(300, bytes));
        let frame: Bytes = push_frame(conversation(), &encoded).encode_to_vec().into();
        group.throughput(Throughput::Bytes(frame.len() as u64));
        group.bench_function(BenchmarkId::new("encode_entry", bytes), |b| {
            b.iter_batched(|| sized_entry(300, bytes), |entry| LogEntry::new(&entry), BatchSize::SmallInput);
        });
        group.bench_function(BenchmarkId::new("encode_push", bytes), |b| {
            b.iter(|| codec::frame(&push_frame(conversation(), black_box(&encoded))));
        });
        group.bench_function(BenchmarkId::new("decode_push", bytes), |b| {
            b.iter(|| v1::ServerFrame::decode(black_box(frame.clone())).unwrap());
        });
    }
    group.finish();
}

fn stream(c: &mut Criterion) {
    let mut group = c.benchmark_group("frame_codec");
    let (mut sends, mut replies) = (BytesMut::new(), BytesMut::new());
    for number in 0..STREAM_FRAMES {
        codec::encode_frame(&sized_send_frame(conversation(), number, 128), &mut sends);
        codec::encode_frame(&reply_frame(number), &mut replies);
    }
    group.throughput(Throughput::Elements(STREAM_FRAMES));
    for (name, stream) in [("split_sends_in_chunks_of", sends), ("split_replies_in_chunks_of", replies)] {
        for chunk_bytes in CHUNKS_BYTES {
            group.bench_function(BenchmarkId::new(name, chunk_bytes), |b| {
                b.iter(|| assert_eq!(split(&stream, chunk_bytes), STREAM_FRAMES));
            });
        }
    }
    group.finish();
}

fn split(stream: &[u8], chunk_bytes: usize) -> u64 {
    let (mut decoder, mut frames) = (FrameDecoder::new(), 0);
    for chunk in stream.chunks(chunk_bytes) {
        decoder.push(chunk);
        while let Some(frame) = decoder.next_frame().unwrap() {
            black_box(frame);
            frames += 1;
        }
    }
    frames
}

criterion_group!(benches, send, reply, push, stream);
criterion_main!(benches);
