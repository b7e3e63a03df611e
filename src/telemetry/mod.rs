//! What the server says about itself: its log, and the names of its metrics.

mod log;
pub mod metric;
mod recorder;

pub use log::{LogError, LogStyle, start_log};
pub use recorder::{MetricsText, RecorderError};

#[cfg(test)]
pub(crate) use recorder::tests as recorder_tests;
