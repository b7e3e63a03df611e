//! What it costs to hand mail to another core.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use godwit::router::{Channel, CoreId, Mail, Mailboxes, SessionId};
use godwit_bench::{body, user};
use godwit_proto::{ConversationId, Seq};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};
use tokio::runtime::Runtime;

/// What one turn has for another core.
const BATCHES_ITEMS: [u64; 3] = [1, 16, 256];

const HERE: CoreId = CoreId(0);
const THERE: CoreId = CoreId(1);

fn batch(items: u64) -> Vec<Mail> {
    let conversation = ConversationId::direct(user(1), user(2));
    let reply = |number| Mail::Reply {
        session: SessionId(number),
        channel: Channel::Session,
        frame: body(24),
        known: Some((conversation, Seq(number))),
    };
    (0..items).map(reply).collect()
}

/// Putting and taking alone, without anybody to wake or to wait for.
fn one_thread(c: &mut Criterion) {
    let mut group = c.benchmark_group("mailbox");
    for items in BATCHES_ITEMS {
        let boxes = Mailboxes::new(2, usize::MAX);
        let mut mail = batch(items);
        group.throughput(Throughput::Elements(items));
        group.bench_function(BenchmarkId::new("one_thread_batches_of", items), |b| {
            b.iter(|| {
                boxes.of(THERE).put(&mut mail);
                boxes.of(THERE).take(&mut mail);
                assert_eq!(mail.len() as u64, items);
            });
        });
    }
    group.finish();
}

/// There and back between two busy threads, which look into their boxes all the time.
fn busy(c: &mut Criterion) {
    between_threads(c, "busy_threads_batches_of", |_, boxes, core, mail| {
        // A machine with other work to do may run one of the two at a time.
        let mut looks = 0_u32;
        while mail.is_empty() {
            looks += 1;
            if looks.is_multiple_of(1_000) {
                std::thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
            boxes.of(core).take(mail);
        }
    });
}

/// There and back between two idle threads, each of which sleeps until it is woken.
fn idle(c: &mut Criterion) {
    between_threads(c, "idle_threads_batches_of", |waiting, boxes, core, mail| {
        while mail.is_empty() {
            waiting.block_on(boxes.of(core).filled());
            boxes.of(core).take(mail);
        }
    });
}

/// Waits for mail to a core, and takes it.
type Receive = fn(&Runtime, &Mailboxes, CoreId, &mut Vec<Mail>);

fn between_threads(c: &mut Criterion, name: &str, receive: Receive) {
    let mut group = c.benchmark_group("mailbox");
    let (mut echo, waiting) = (None, runtime());
    for items in BATCHES_ITEMS {
        let mut mail = batch(items);
        // Two hops.
        group.throughput(Throughput::Elements(2 * items));
        group.bench_function(BenchmarkId::new(name, items), |b| {
            let Echo { boxes, .. } = echo.get_or_insert_with(|| Echo::start(receive));
            b.iter(|| {
                boxes.of(THERE).put(&mut mail);
                receive(&waiting, boxes, HERE, &mut mail);
                assert_eq!(mail.len() as u64, items);
            });
        });
    }
    group.finish();
}

/// A thread that sends back whatever it gets.
struct Echo {
    boxes: Arc<Mailboxes>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    fn start(receive: Receive) -> Self {
        let boxes = Arc::new(Mailboxes::new(2, usize::MAX));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (boxes, stop) = (boxes.clone(), stop.clone());
            move || {
                let (waiting, mut mail) = (runtime(), Vec::new());
                while !stop.load(Ordering::Acquire) {
                    receive(&waiting, &boxes, THERE, &mut mail);
                    boxes.of(HERE).put(&mut mail);
                }
            }
        });
        Self { boxes, stop, thread: Some(thread) }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // The last batch, which lets it look whether it should stop.
        self.boxes.of(THERE).put(&mut batch(1));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// As a core's thread has one: with a driver for its sockets, which is what a sleeping one waits in.
fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

criterion_group!(benches, one_thread, busy, idle);
criterion_main!(benches);
