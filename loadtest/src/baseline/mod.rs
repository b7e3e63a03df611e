//! What Godwit is measured against: a relay with the same transport and nothing behind it.

mod relay;

pub use relay::{Options, run};
