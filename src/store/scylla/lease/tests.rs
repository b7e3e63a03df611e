//! Two servers and a database that loses answers, on a clock that only the test moves.

#![allow(clippy::unwrap_used, reason = "a test")]

use super::*;
use crate::store::scylla::fence::{Clock, Fence};
use futures_util::FutureExt as _;
use std::{
    collections::{BTreeMap, VecDeque},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Poll, Waker},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinHandle, yield_now},
};

const LEASE: Duration = Duration::from_secs(10);

/// What becomes of the next transaction on the lease.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    /// It is done, and its answer lost.
    AnswerLost,
    /// It is lost.
    Lost,
    /// It is never answered, nor done.
    Silence,
}

/// Time that passes when the test says so.
#[derive(Clone, Default)]
struct Time(Arc<Mutex<Sleepers>>);

/// What time it is, and who is to be woken when.
type Sleepers = (Duration, Vec<(Duration, Waker)>);

impl Time {
    fn now(&self) -> Duration {
        self.0.lock().unwrap().0
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        let (shared, ends) = (self.0.clone(), self.now() + time);
        std::future::poll_fn(move |context| {
            let mut shared = shared.lock().unwrap();
            if shared.0 >= ends {
                return Poll::Ready(());
            }
            shared.1.push((ends, context.waker().clone()));
            Poll::Pending
        })
        .boxed()
    }

    /// To the next moment at which somebody wants to be woken, if that is not beyond `end`.
    fn step(&self, end: Duration) -> bool {
        let mut shared = self.0.lock().unwrap();
        let Some(next) = shared.1.iter().map(|(ends, _)| *ends).min().filter(|next| *next <= end) else { return false };
        shared.0 = shared.0.max(next);
        let (due, later) = shared.1.drain(..).partition(|(ends, _)| *ends <= next);
        shared.1 = later;
        Vec::into_iter(due).for_each(|(_, waker): (Duration, Waker)| waker.wake());
        true
    }

    /// Lets everybody do what they do in that time.
    async fn pass(&self, time: Duration) {
        let end = self.now() + time;
        loop {
            for _ in 0..TURNS {
                yield_now().await;
            }
            if !self.step(end) {
                break;
            }
        }
        self.0.lock().unwrap().0 = end;
    }

    /// Lets time pass until a future comes back, for some leases at most.
    async fn until<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let (mut future, end) = (pin!(future), self.now() + LEASE * 20);
        loop {
            for _ in 0..TURNS {
                if let Some(done) = (&mut future).now_or_never() {
                    return Some(done);
                }
                yield_now().await;
            }
            if !self.step(end) {
                return None;
            }
        }
    }
}

/// More than a server does without waiting.
const TURNS: usize = 64;

#[derive(Default)]
struct Rows {
    lease: Option<LeaseRow>,
    owners: BTreeMap<u16, OwnerRow>,
    fates: VecDeque<Fate>,
    /// Of batches of vshards.
    owner_fates: VecDeque<Fate>,
    away: bool,
}

#[derive(Clone, Default)]
struct Database {
    rows: Arc<Mutex<Rows>>,
    time: Time,
}

impl Database {
    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap()
    }

    fn until_us(&self) -> i64 {
        self.rows().lease.as_ref().unwrap().until_us
    }
}

impl LeaseTables for Database {
    fn lease(&self) -> BoxFuture<'static, Result<Option<LeaseRow>, StoreError>> {
        let rows = self.rows();
        let found = if rows.away { Err(StoreError::Unavailable("away".into())) } else { Ok(rows.lease.clone()) };
        async move { found }.boxed()
    }

    fn swap_lease(&self, before: Option<Beat>, row: LeaseRow) -> BoxFuture<'static, Swapped> {
        let mut rows = self.rows();
        let fate = if rows.away { Some(Fate::Lost) } else { rows.fates.pop_front() };
        if rows.lease.as_ref().map(|row| row.beat) != before {
            return async { Swapped::Refused }.boxed();
        }
        if !matches!(fate, Some(Fate::Lost | Fate::Silence)) {
            rows.lease = Some(row);
        }
        answer(fate)
    }

    fn owners(&self, part: u16) -> BoxFuture<'static, Result<Vec<OwnerRow>, StoreError>> {
        let first = part * PART_VSHARDS;
        let found = self.rows().owners.range(first..=first + (PART_VSHARDS - 1)).map(|(_, row)| row.clone()).collect();
        async move { Ok(found) }.boxed()
    }

    fn swap_owners(&self, _: u16, swaps: Vec<(Option<i64>, OwnerRow)>) -> BoxFuture<'static, Swapped> {
        let mut rows = self.rows();
        if swaps.iter().any(|(before, row)| rows.owners.get(&row.vshard).map(|row| row.epoch) != *before) {
            return async { Swapped::Refused }.boxed();
        }
        let fate = rows.owner_fates.pop_front();
        if !matches!(fate, Some(Fate::Lost | Fate::Silence)) {
            rows.owners.extend(swaps.into_iter().map(|(_, row)| (row.vshard, row)));
        }
        answer(fate)
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        self.time.sleep(time)
    }
}

fn answer(fate: Option<Fate>) -> BoxFuture<'static, Swapped> {
    match fate {
        None => async { Swapped::Done }.boxed(),
        Some(Fate::AnswerLost | Fate::Lost) => async { Swapped::Unknown("no answer".into()) }.boxed(),
        Some(Fate::Silence) => std::future::pending().boxed(),
    }
}

/// The clock of a server that started at nought.
struct Started {
    time: Time,
    wall_us: i64,
}

impl Clock for Started {
    fn wall_us(&self) -> i64 {
        self.wall_us + i64::try_from(self.time.now().as_micros()).unwrap()
    }

    fn elapsed(&self) -> Duration {
        self.time.now()
    }
}

impl Database {
    /// A server of that incarnation comes, whose wall clock showed `wall_us` at nought.
    async fn server(&self, incarnation: i64, wall_us: i64, waiting: impl FnMut(&LeaseRow) + Send) -> Lease {
        let clock = Arc::new(Started { time: self.time.clone(), wall_us });
        let settings = LeaseSettings { lease: LEASE, incarnation, address: format!("server {incarnation}") };
        acquire(Arc::new(self.clone()), clock, settings, waiting).await.unwrap()
    }

    /// The same, as soon as it has the lease.
    async fn acquired(&self, incarnation: i64, wall_us: i64) -> Lease {
        self.time.until(self.server(incarnation, wall_us, |_| {})).await.unwrap()
    }
}

/// A server that renews, until it is told to stop.
struct Running {
    fence: Fence,
    stop: Option<oneshot::Sender<()>>,
    kept: JoinHandle<Result<(), Lost>>,
}

fn run(lease: Lease) -> Running {
    let (stop, stopped) = oneshot::channel();
    let fence = lease.fence();
    let kept = tokio::spawn(lease.keep(async { drop(stopped.await) }));
    Running { fence, stop: Some(stop), kept }
}

impl Running {
    async fn stop(mut self, time: &Time) {
        self.stop.take().unwrap().send(()).unwrap();
        assert_eq!(time.until(self.kept).await.unwrap().unwrap(), Ok(()));
    }

    async fn lost(self, time: &Time) -> Lost {
        time.until(self.kept).await.unwrap().unwrap().unwrap_err()
    }
}

#[tokio::test]
async fn a_second_server_waits_as_long_as_the_first_renews_and_is_told_whom_for() {
    let database = Database::default();
    let first = run(database.acquired(1, 1_000_000).await);
    let (told, mut holders) = mpsc::unbounded_channel();
    let second = {
        let database = database.clone();
        let waiting = move |holder: &LeaseRow| told.send(holder.address.clone()).unwrap();
        tokio::spawn(async move { database.server(2, 1_000_000, waiting).await })
    };
    database.time.pass(LEASE * 10).await;
    assert!(!second.is_finished() && first.fence.holds());
    assert_eq!(holders.recv().await.unwrap(), "server 1");
    assert!(holders.try_recv().is_err(), "it is told once");
    first.stop(&database.time).await;
    assert!(database.time.until(second).await.unwrap().unwrap().fence().holds());
}

#[tokio::test]
async fn a_server_that_is_gone_is_succeeded_after_its_fence_has_ended() {
    let database = Database::default();
    let first = run(database.acquired(1, 1_000_000).await);
    database.time.pass(LEASE).await;
    let first_us = first.fence.timestamp().unwrap();
    first.kept.abort();
    let second = database.acquired(2, 1_000_000).await;
    assert!(!first.fence.holds() && first.fence.timestamp().is_err());
    assert!(second.fence().timestamp().unwrap() > first_us);
}

#[tokio::test]
async fn timestamps_of_a_successor_are_above_all_that_its_predecessor_might_use_whatever_the_clocks_say() {
    let database = Database::default();
    let first = run(database.acquired(1, 9_000_000_000_000).await);
    first.kept.abort();
    let until_us = database.until_us();
    let second = database.acquired(2, 1_000_000).await;
    assert_eq!(second.fence().timestamp(), Ok(until_us + 1));
    assert!(database.until_us() > until_us);
}

#[tokio::test]
async fn a_lease_that_was_given_back_is_taken_at_once_with_higher_epochs_and_timestamps() {
    let database = Database::default();
    let first = run(database.acquired(1, 1_000_000).await);
    let first_us = first.fence.timestamp().unwrap();
    first.stop(&database.time).await;
    let before = database.time.now();
    let second = database.acquired(2, 1).await;
    assert_eq!(database.time.now(), before);
    assert!(second.fence().timestamp().unwrap() > first_us);
    for vshard in godwit_proto::Vshard::all() {
        assert_eq!(second.fence().epoch(vshard), 2);
    }
}

#[tokio::test]
async fn of_two_that_start_at_once_one_gets_the_lease() {
    let database = Database::default();
    let both = [1, 2].map(|incarnation| {
        let database = database.clone();
        tokio::spawn(async move { database.server(incarnation, 1, |_| {}).await.keep(std::future::pending()).await })
    });
    database.time.pass(LEASE * 3).await;
    assert!(both.iter().all(|server| !server.is_finished()), "one renews, one waits");
    let holder = database.rows().lease.clone().unwrap().beat;
    assert!(holder.number > 20);
    assert!(database.rows().owners.values().all(|row| row.incarnation == holder.incarnation && row.epoch == 1));
}

#[tokio::test]
async fn answers_that_get_lost_cost_no_lease() {
    let database = Database::default();
    database.rows().fates = [Fate::AnswerLost].into();
    database.rows().owner_fates = [Fate::AnswerLost, Fate::Lost, Fate::AnswerLost].into();
    let first = run(database.acquired(1, 1_000_000).await);
    for fates in [[Fate::AnswerLost; 2], [Fate::Lost; 2], [Fate::Silence, Fate::AnswerLost]] {
        database.rows().fates = fates.into();
        database.time.pass(LEASE).await;
        assert!(first.fence.holds() && database.rows().fates.is_empty(), "{fates:?}");
        assert!(first.fence.timestamp().unwrap() <= database.until_us());
    }
    assert_eq!(first.fence.epoch(godwit_proto::Vshard::all().next().unwrap()), 1);
}

#[tokio::test]
async fn a_server_whose_database_is_away_acknowledges_nothing_after_half_a_lease_and_goes_on_when_it_is_back() {
    let database = Database::default();
    let first = run(database.acquired(1, 1_000_000).await);
    let last_us = first.fence.timestamp().unwrap();
    database.rows().away = true;
    database.time.pass(LEASE / 2 - Duration::from_millis(1)).await;
    assert!(first.fence.holds());
    database.time.pass(Duration::from_millis(1)).await;
    assert!(!first.fence.holds() && first.fence.timestamp().is_err());
    database.time.pass(LEASE * 5).await;
    assert!(!first.fence.holds() && !first.fence.has_ended());
    database.rows().away = false;
    database.time.pass(LEASE / 20).await;
    assert!(first.fence.holds() && first.fence.timestamp().unwrap() > last_us);
    first.stop(&database.time).await;
}

#[tokio::test]
async fn a_server_whose_database_stays_away_ends() {
    let database = Database::default();
    let first = run(database.acquired(1, 1_000_000).await);
    database.rows().away = true;
    let fence = first.fence.clone();
    let lost = first.lost(&database.time).await;
    assert!(matches!(lost, Lost::Lapsed { silent } if silent > LEASE * 6), "{lost}");
    assert!(fence.has_ended());
}

#[tokio::test]
async fn a_server_whose_lease_was_taken_over_while_the_database_was_away_for_it_ends() {
    let database = Database::default();
    let first = run(database.acquired(1, 1_000_000).await);
    database.rows().fates = [Fate::Silence; 4].into();
    database.time.pass(LEASE * 7 / 10).await;
    assert!(!first.fence.holds());
    let taken_over = LeaseRow {
        beat: Beat { incarnation: 2, number: 9 },
        address: "other".into(),
        ..database.rows().lease.clone().unwrap()
    };
    database.rows().lease = Some(taken_over);
    let fence = first.fence.clone();
    assert_eq!(first.lost(&database.time).await, Lost::TakenOver { by: "other".into() });
    assert!(fence.has_ended());
}

#[tokio::test]
async fn a_renewal_of_long_ago_that_is_found_to_be_done_does_not_count_from_now() {
    let database = Database::default();
    let first = run(database.acquired(1, 1_000_000).await);
    database.rows().fates = [Fate::AnswerLost].into();
    // The answer of the look after it is lost, too.
    database.time.pass(LEASE / 20).await;
    let found = database.rows().lease.clone().unwrap().beat.number;
    database.rows().away = true;
    database.time.pass(LEASE).await;
    assert!(!first.fence.holds());
    database.rows().away = false;
    database.time.pass(LEASE / 20).await;
    assert!(first.fence.holds());
    assert!(database.rows().lease.clone().unwrap().beat.number > found, "by a renewal of its own");
}

#[tokio::test]
async fn a_server_that_stood_still_gives_out_no_timestamp_before_it_has_renewed() {
    let database = Database::default();
    let first = database.acquired(1, 1_000_000).await;
    let fence = first.fence();
    database.time.pass(LEASE / 2).await;
    assert!(fence.timestamp().is_err());
    let first = run(first);
    database.time.pass(Duration::ZERO).await;
    assert!(fence.timestamp().is_ok());
    assert_eq!(database.rows().lease.as_ref().unwrap().beat.number, 2);
    first.stop(&database.time).await;
}

#[tokio::test]
async fn a_server_that_finds_that_it_is_not_the_owner_gives_the_lease_up() {
    let database = Database::default();
    let first = run(database.acquired(1, 1_000_000).await);
    first.fence.end();
    assert_eq!(first.lost(&database.time).await, Lost::GivenUp);
}

#[tokio::test]
async fn a_server_that_finds_another_one_in_its_place_ends_and_names_it() {
    let database = Database::default();
    let first = run(database.acquired(1, 1_000_000).await);
    let other = database.rows().lease.clone().unwrap();
    database.rows().lease =
        Some(LeaseRow { beat: Beat { incarnation: 2, number: 9 }, address: "other".into(), ..other });
    let fence = first.fence.clone();
    assert_eq!(first.lost(&database.time).await, Lost::TakenOver { by: "other".into() });
    assert!(!fence.holds());
}

#[tokio::test]
async fn a_lease_with_an_impossible_time_is_not_taken() {
    let database = Database::default();
    drop(database.acquired(1, 1_000_000).await);
    database.rows().lease.as_mut().unwrap().until_us = i64::MAX;
    assert!(database.time.until(database.server(2, 1_000_000, |_| {})).await.is_none());
    assert_eq!(database.rows().lease.as_ref().unwrap().beat.incarnation, 1);
}
