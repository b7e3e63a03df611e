//! The log: to standard error, for people or for a collector.

use std::io::IsTerminal;
use thiserror::Error;
use tracing_subscriber::{EnvFilter, fmt};

/// What a line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStyle {
    /// For people; with colours on a terminal.
    Plain,
    /// One JSON object a line.
    Json,
}

/// Starts logging what passes `filter`: a level, or a list by module such as `info,godwit::store=debug`. Once a process.
///
/// Standard error is the right place under systemd, in a container and on a terminal alike. Lines are written by the
/// thread that logs, so a core logs only what is rare.
pub fn start_log(filter: &str, style: LogStyle) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| LogError::Filter { filter: filter.into(), reason: error.to_string() })?;
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match style {
        LogStyle::Plain => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogStyle::Json => lines.json().flatten_event(true).try_init(),
    }
    .map_err(|_| LogError::Started)
}

/// Why there is no log.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LogError {
    /// The filter cannot be read.
    #[error(
        "log.filter = {filter:?} cannot be read: {reason}; write a level such as \"info\", or \"info,godwit::store=debug\""
    )]
    Filter {
        /// As configured.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It was started before.
    #[error("the log is started already")]
    Started,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_cannot_be_read_is_refused_with_an_example() {
        let error = start_log("godwit=loud", LogStyle::Plain).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("godwit=loud") && error.contains("godwit::store=debug"), "{error}");
    }
}
