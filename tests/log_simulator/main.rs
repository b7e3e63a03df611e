//! The log of conversations on a simulated cluster.
//!
//! `GODWIT_SIM_SEEDS=n` sets how many seeds are run; `GODWIT_SIM_SEED=n` replays one and prints what happens.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod cluster;
#[allow(dead_code)]
#[path = "../simulator/rng.rs"]
mod rng;
#[path = "../simulated_cluster/mod.rs"]
mod simulated_cluster;
