//! A future that lets a cluster's time pass while somebody waits for it.

use super::Cluster;
use futures_util::{FutureExt, future::BoxFuture};
use std::{future::poll_fn, task::Poll};

/// For callers that know nothing of simulated time.
pub fn driven<T: Send + 'static>(cluster: &Cluster, mut future: BoxFuture<'static, T>) -> BoxFuture<'static, T> {
    let cluster = cluster.clone();
    let all_at_once = poll_fn(move |context| {
        loop {
            if let Poll::Ready(answer) = future.as_mut().poll(context) {
                return Poll::Ready(answer);
            }
            assert!(cluster.step(), "nothing is under way that could answer");
        }
    });
    // Everything happens within one poll, which a runtime would break off at some length.
    tokio::task::unconstrained(all_at_once).boxed()
}
