//! A future that lets a cluster's time pass while somebody waits for it.

use super::Cluster;
use futures_util::future::BoxFuture;
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// For callers that know nothing of simulated time.
pub struct Driven<T> {
    cluster: Cluster,
    future: BoxFuture<'static, T>,
}

impl<T> Driven<T> {
    pub fn new(cluster: &Cluster, future: BoxFuture<'static, T>) -> Self {
        Self { cluster: cluster.clone(), future }
    }
}

impl<T> Future for Driven<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        loop {
            if let Poll::Ready(answer) = self.future.as_mut().poll(context) {
                return Poll::Ready(answer);
            }
            assert!(self.cluster.step(), "nothing is under way that could answer");
        }
    }
}
