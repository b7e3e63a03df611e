//! What the command line can do beside serving.

pub mod copy;
pub mod store;

use godwit::{
    config::{Config, LogFormat},
    telemetry::{self, LogError, LogStyle},
};
use std::io::{self, ErrorKind, Write};

/// Logs to standard error, as configured. Whom a store waits for, and what it died of, is in the log only.
pub fn start_log(config: &Config) -> Result<(), LogError> {
    let style = match config.log.format {
        LogFormat::Plain => LogStyle::Plain,
        LogFormat::Json => LogStyle::Json,
    };
    telemetry::start_log(&config.log.filter, style)
}

/// Writes what was asked for to standard output. Whoever reads it may stop reading, as `head` does.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
