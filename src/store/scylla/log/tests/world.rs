//! Time and tasks of one thread: what runs next is always the same, and time goes on only when nothing else can.

use futures_util::future::BoxFuture;
use std::{
    collections::BTreeMap,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use crate::store::scylla::fence::Clock;

#[derive(Default)]
pub(super) struct World {
    now_ms: AtomicU64,
    tasks: Mutex<Vec<BoxFuture<'static, ()>>>,
    sleepers: Mutex<BTreeMap<(u64, u64), Waker>>,
    sleeps: AtomicU64,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl World {
    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::SeqCst)
    }

    pub(super) fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.tasks.lock().unwrap().push(task);
    }

    pub(super) fn sleep(self: &Arc<Self>, ms: u64) -> Sleep {
        Sleep { world: self.clone(), due_ms: self.now_ms() + ms, id: self.sleeps.fetch_add(1, Ordering::SeqCst) }
    }

    /// Runs until the future is done.
    pub(super) fn run<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let woken = Arc::new(Woken(AtomicBool::new(false)));
        let waker = Waker::from(woken.clone());
        let mut context = Context::from_waker(&waker);
        loop {
            woken.0.store(false, Ordering::SeqCst);
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return output;
            }
            let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap());
            tasks.retain_mut(|task| task.as_mut().poll(&mut context).is_pending());
            let mut spawned = self.tasks.lock().unwrap();
            let is_more = !spawned.is_empty();
            tasks.append(&mut spawned);
            *spawned = tasks;
            drop(spawned);
            if !is_more && !woken.0.load(Ordering::SeqCst) {
                let ((due_ms, _), waker) = self.sleepers.lock().unwrap().pop_first().expect("nothing will ever happen");
                self.now_ms.fetch_max(due_ms, Ordering::SeqCst);
                waker.wake();
            }
        }
    }

    /// Lets this much time go by.
    pub(super) fn pass(self: &Arc<Self>, ms: u64) {
        self.run(self.sleep(ms));
    }

    /// Everybody stops where they are, for good: the process has died.
    pub(super) fn kill(&self) {
        self.tasks.lock().unwrap().clear();
        self.sleepers.lock().unwrap().clear();
    }
}

impl Clock for World {
    fn wall_us(&self) -> i64 {
        self.now_ms() as i64 * 1_000
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.now_ms())
    }
}

pub(super) struct Sleep {
    world: Arc<World>,
    due_ms: u64,
    id: u64,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.world.now_ms() >= self.due_ms {
            return Poll::Ready(());
        }
        self.world.sleepers.lock().unwrap().insert((self.due_ms, self.id), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Ok(mut sleepers) = self.world.sleepers.lock() {
            sleepers.remove(&(self.due_ms, self.id));
        }
    }
}
