//! What the command line can do beside serving.

pub mod copy;
pub mod store;

use std::io::{self, ErrorKind, Write};

/// Writes what was asked for to standard output. Whoever reads it may stop reading, as `head` does.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
