//! What one sync costs on the disk that the servers write to.

use crate::report::median;
use anyhow::Context;
use std::{io::Write, time::Instant};

/// Median of the time that it takes to write 4 KiB and have them durable, in milliseconds.
pub fn sync_ms() -> anyhow::Result<f64> {
    // Where the servers' data directories are, too.
    let mut file = tempfile::tempfile().context("a file to measure the disk with")?;
    let mut took_ms = Vec::new();
    for _ in 0..SYNCS {
        let began = Instant::now();
        file.write_all(&[0x5a; 4096])?;
        file.sync_data()?;
        took_ms.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(median(took_ms))
}

const SYNCS: usize = 200;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    #[test]
    fn a_sync_takes_some_time() {
        assert!(sync_ms().unwrap() > 0.0);
    }
}
