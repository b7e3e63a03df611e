//! Counters of the `metrics` facade that a test can read.

#![allow(dead_code, clippy::unwrap_used, missing_docs)]

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

/// By name and the value of the only label, if there is one.
#[derive(Debug, Default)]
pub struct Counters {
    counters: Mutex<BTreeMap<(String, String), Arc<Value>>>,
}

#[derive(Debug, Default)]
struct Value {
    counter: AtomicU64,
    gauge: AtomicI64,
}

impl Counters {
    /// Records everything that this process counts from now on.
    pub fn install() -> &'static Self {
        let counters: &'static Self = Box::leak(Box::default());
        metrics::set_global_recorder(counters).unwrap();
        counters
    }

    /// A counter, or how often something went into a histogram.
    pub fn get(&self, name: &str, label: &str) -> u64 {
        let counters = self.counters.lock().unwrap();
        counters.get(&(name.to_owned(), label.to_owned())).map_or(0, |value| value.counter.load(Ordering::Relaxed))
    }

    pub fn gauge(&self, name: &str) -> i64 {
        let counters = self.counters.lock().unwrap();
        counters.get(&(name.to_owned(), String::new())).map_or(0, |value| value.gauge.load(Ordering::Relaxed))
    }

    fn value(&self, key: &Key) -> Arc<Value> {
        let label = key.labels().next().map_or("", |label| label.value()).to_owned();
        self.counters.lock().unwrap().entry((key.name().to_owned(), label)).or_default().clone()
    }
}

impl CounterFn for Value {
    fn increment(&self, value: u64) {
        self.counter.fetch_add(value, Ordering::Relaxed);
    }

    fn absolute(&self, value: u64) {
        self.counter.store(value, Ordering::Relaxed);
    }
}

impl GaugeFn for Value {
    fn increment(&self, value: f64) {
        self.gauge.fetch_add(value as i64, Ordering::Relaxed);
    }

    fn decrement(&self, value: f64) {
        self.gauge.fetch_sub(value as i64, Ordering::Relaxed);
    }

    fn set(&self, value: f64) {
        self.gauge.store(value as i64, Ordering::Relaxed);
    }
}

impl HistogramFn for Value {
    fn record(&self, _: f64) {
        CounterFn::increment(self, 1);
    }
}

impl Recorder for &'static Counters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.value(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.value(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.value(key))
    }
}
