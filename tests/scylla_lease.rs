//! The lease on a real ScyllaDB or Cassandra: who has the keyspace, and from when on.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/cql.rs"]
mod support;

use godwit::store::scylla::{
    Cql,
    fence::Fence,
    lease::{CqlLease, Lease, LeaseSettings, Lost, SystemClock, acquire},
};
use godwit_proto::Vshard;
use std::{sync::Arc, time::Duration};
use support::{Keyspace, run};
use tokio::{
    sync::{Mutex, oneshot},
    task::JoinHandle,
};

/// Short, for these tests wait for several of them, and yet longer than a busy server takes to answer.
const LEASE: Duration = Duration::from_secs(2);

/// There is one lease in a keyspace, so one test at a time.
static ONE: Mutex<()> = Mutex::const_new(());

struct Running {
    fence: Fence,
    stop: oneshot::Sender<()>,
    kept: JoinHandle<Result<(), Lost>>,
}

async fn server(cql: &Arc<Cql>) -> Lease {
    let tables = Arc::new(CqlLease::prepare(cql.clone()).await.unwrap());
    let incarnation = rand::random();
    let settings = LeaseSettings { lease: LEASE, incarnation, address: format!("server {incarnation}") };
    acquire(tables, Arc::new(SystemClock::start()), settings, |_| {}).await.unwrap()
}

fn keep(lease: Lease) -> Running {
    let (stop, stopped) = oneshot::channel();
    let fence = lease.fence();
    let kept = tokio::spawn(lease.keep(async { drop(stopped.await) }));
    Running { fence, stop, kept }
}

async fn start(cql: &Arc<Cql>) -> Running {
    keep(server(cql).await)
}

impl Running {
    async fn stop(self) {
        self.stop.send(()).unwrap();
        assert_eq!(self.kept.await.unwrap(), Ok(()));
    }
}

fn epochs(fence: &Fence) -> Vec<u64> {
    Vshard::all().map(|vshard| fence.epoch(vshard)).collect()
}

/// Runs with a session in the keyspace, alone.
fn alone<T, F: Future<Output = T>>(test: impl FnOnce(Arc<Cql>) -> F) -> Option<T> {
    let keyspace = Keyspace::shared()?;
    Some(run(async {
        let _one = ONE.lock().await;
        test(Arc::new(Cql::connect(&keyspace.options()).await.unwrap())).await
    }))
}

#[test]
fn a_second_server_waits_while_the_first_renews_and_takes_at_once_what_is_given_back() {
    alone(|cql| async move {
        let first = start(&cql).await;
        let first_us = first.fence.timestamp().unwrap();
        let second = {
            let cql = cql.clone();
            tokio::spawn(async move { start(&cql).await })
        };
        let beats = Duration::from_millis(100);
        for _ in 0..40 {
            tokio::time::sleep(beats).await;
            assert!(!second.is_finished(), "the first one renews");
        }
        assert!(first.fence.holds());
        let before = epochs(&first.fence);
        first.stop().await;
        let second = second.await.unwrap();
        assert!(second.fence.timestamp().unwrap() > first_us);
        assert!(epochs(&second.fence).iter().zip(before).all(|(now, before)| *now == before + 1));
        second.stop().await;
    });
}

#[test]
fn a_server_that_stops_renewing_is_succeeded_after_its_fence_and_does_not_get_the_lease_back() {
    alone(|cql| async move {
        // It is not kept: as if the process stood still.
        let first = server(&cql).await;
        let fence = first.fence();
        let first_us = fence.timestamp().unwrap();
        let second = start(&cql).await;
        assert!(!fence.holds() && fence.timestamp().is_err(), "the fence ended before the takeover");
        assert!(second.fence.timestamp().unwrap() > first_us);
        let lost = first.keep(std::future::pending()).await.unwrap_err();
        assert!(matches!(lost, Lost::TakenOver { .. }), "{lost}");
        assert!(second.fence.holds());
        second.stop().await;
    });
}

#[test]
fn of_servers_that_start_at_once_one_has_the_keyspace_at_a_time_and_each_gets_it() {
    alone(|cql| async move {
        let servers = (0..3).map(|_| {
            let cql = cql.clone();
            tokio::spawn(async move {
                let server = start(&cql).await;
                let (first_us, epochs) = (server.fence.timestamp().unwrap(), epochs(&server.fence));
                tokio::time::sleep(LEASE / 4).await;
                let last_us = server.fence.timestamp().unwrap();
                server.stop().await;
                (first_us, last_us, epochs)
            })
        });
        let mut terms =
            futures_util::future::join_all(servers).await.into_iter().map(Result::unwrap).collect::<Vec<_>>();
        terms.sort();
        for pair in terms.windows(2) {
            assert!(pair[0].1 < pair[1].0, "timestamps of two terms overlap");
            assert!(pair[0].2.iter().zip(&pair[1].2).all(|(before, after)| after == &(before + 1)));
        }
    });
}

#[test]
fn a_server_whose_lease_was_taken_from_it_hears_of_it_at_its_next_renewal() {
    alone(|cql| async move {
        let keyspace = Keyspace::shared().unwrap();
        let first = start(&cql).await;
        let taken = format!(
            "UPDATE {}.node_leases SET incarnation = 7, beat = 1, address = 'elsewhere' WHERE node_id = 1 IF EXISTS",
            keyspace.name
        );
        keyspace.execute(&taken).await;
        assert_eq!(first.kept.await.unwrap(), Err(Lost::TakenOver { by: "elsewhere".into() }));
        assert!(!first.fence.holds());
    });
}
