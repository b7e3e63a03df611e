//! How much room the disk has, asked seldom enough to cost nothing.

use super::options::{DiskProbe, EmbeddedOptions};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Knows whether the disk has less room than the reserve.
pub(super) struct DiskSpace {
    dir: PathBuf,
    reserve_bytes: u64,
    interval: Duration,
    probe: DiskProbe,
    last: Mutex<Option<(Instant, bool)>>,
}

impl DiskSpace {
    pub(super) fn new(options: &EmbeddedOptions) -> Self {
        Self {
            dir: options.dir.clone(),
            reserve_bytes: options.disk_reserve_bytes,
            interval: options.disk_probe_interval,
            probe: options.disk_probe.clone(),
            last: Mutex::new(None),
        }
    }

    /// Whether writing must wait. A disk that cannot be asked counts as full: the next sync would likely fail, and that
    /// would end the process.
    pub(super) fn is_full(&self) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, full)) = *last
            && at.elapsed() < self.interval
        {
            return full;
        }
        let full = match (self.probe)(&self.dir) {
            Ok(free_bytes) => free_bytes < self.reserve_bytes,
            Err(error) => {
                tracing::warn!(%error, "cannot ask how much room the disk has");
                true
            }
        };
        if last.is_some_and(|(_, was_full)| was_full != full) || (last.is_none() && full) {
            tracing::warn!(full, reserve_bytes = self.reserve_bytes, "the disk's room crossed the reserve");
        }
        *last = Some((Instant::now(), full));
        full
    }

    /// Whether there is room for so many bytes above the reserve.
    pub(super) fn has_room_for(&self, bytes: u64) -> bool {
        (self.probe)(&self.dir).is_ok_and(|free_bytes| free_bytes >= self.reserve_bytes.saturating_add(bytes))
    }
}

/// What the file system says is free for this process.
pub(super) fn free_bytes(dir: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
