//! What a process has used of the machine, as the kernel tells it.

use anyhow::{Context, ensure};
use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

/// What a server has used.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Figures {
    /// User and system time.
    pub cpu_s: f64,
    /// The most memory that was resident at once.
    pub rss_bytes: u64,
    /// What is resident now.
    pub rss_now_bytes: u64,
    /// What it had the kernel write to disk.
    pub written_bytes: u64,
}

impl Figures {
    /// Of a process and the one that took its place: times add up, memory does not.
    pub fn followed_by(self, next: Self) -> Self {
        Self {
            cpu_s: self.cpu_s + next.cpu_s,
            rss_bytes: self.rss_bytes.max(next.rss_bytes),
            rss_now_bytes: next.rss_now_bytes,
            written_bytes: self.written_bytes + next.written_bytes,
        }
    }
}

/// What a running process has used, by its id.
pub fn process_figures(pid: u32) -> anyhow::Result<Figures> {
    let read = |file: &str| {
        fs::read_to_string(format!("/proc/{pid}/{file}")).with_context(|| format!("the figures of process {pid}"))
    };
    let (stat, status, io) = (read("stat")?, read("status")?, read("io")?);
    Ok(Figures {
        cpu_s: cpu_seconds(&stat)?,
        rss_bytes: memory(&status, "VmHWM:")?,
        rss_now_bytes: memory(&status, "VmRSS:")?,
        written_bytes: written_bytes(&io)?,
    })
}

/// What everything in a directory takes on the disk. What vanishes meanwhile counts nothing.
pub fn disk_bytes(directory: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        bytes += match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => disk_bytes(&path)?,
            Ok(metadata) => metadata.blocks() * BLOCK_BYTES,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
    }
    Ok(bytes)
}

/// From `/proc/<pid>/stat`; see proc_pid_stat(5).
fn cpu_seconds(stat: &str) -> anyhow::Result<f64> {
    // The second field is the program's name in parentheses and may hold anything, also spaces and parentheses.
    let (_, after_name) = stat.rsplit_once(')').context("/proc/<pid>/stat has no name")?;
    let ticks: Vec<u64> = after_name.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    ensure!(ticks.len() == 2, "/proc/<pid>/stat is too short");
    Ok((ticks[0] + ticks[1]) as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// From `/proc/<pid>/status`; see proc_pid_status(5).
fn memory(status: &str, key: &str) -> anyhow::Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib = kib.with_context(|| format!("/proc/<pid>/status has no {key}"))?;
    Ok(kib.trim().parse::<u64>()? * 1024)
}

/// From `/proc/<pid>/io`; see proc_pid_io(5).
fn written_bytes(io: &str) -> anyhow::Result<u64> {
    let bytes = io.lines().find_map(|line| line.strip_prefix("write_bytes:"));
    Ok(bytes.context("/proc/<pid>/io has no write_bytes")?.trim().parse()?)
}

/// In which file systems say how long files are; see stat(2).
const BLOCK_BYTES: u64 = 512;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    #[test]
    fn cpu_time_is_read_behind_a_name_with_spaces_and_parentheses() {
        let stat = "7 (a ) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 250 150 0 0 20 0 3 0 9 1 2 3";
        let seconds = 400.0 / rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(cpu_seconds(stat).unwrap(), seconds);
        assert!(cpu_seconds("7 (short) S 1").is_err());
    }

    #[test]
    fn memory_and_what_was_written_are_in_bytes() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 10 kB\n";
        assert_eq!((memory(status, "VmHWM:").unwrap(), memory(status, "VmRSS:").unwrap()), (2048 * 1024, 10 * 1024));
        assert!(memory("Name:\tx\n", "VmHWM:").is_err());
        assert_eq!(written_bytes("wchar: 9\nwrite_bytes: 4096\n").unwrap(), 4096);
    }

    #[test]
    fn a_directory_takes_what_its_files_take() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("inner")).unwrap();
        let empty = disk_bytes(directory.path()).unwrap();
        fs::write(directory.path().join("inner/file"), vec![7; 100_000]).unwrap();
        let grown = disk_bytes(directory.path()).unwrap() - empty;
        assert!((100_000..200_000).contains(&grown), "{grown}");
    }

    #[test]
    fn this_process_has_figures() {
        let figures = process_figures(std::process::id()).unwrap();
        assert!(figures.rss_bytes > 0 && figures.cpu_s >= 0.0);
    }

    #[test]
    fn times_add_up_over_restarts_and_memory_is_the_largest() {
        let first = Figures { cpu_s: 1.5, rss_bytes: 30, rss_now_bytes: 20, written_bytes: 1 };
        let second = Figures { cpu_s: 2.0, rss_bytes: 20, rss_now_bytes: 10, written_bytes: 2 };
        let both = Figures { cpu_s: 3.5, rss_bytes: 30, rss_now_bytes: 10, written_bytes: 3 };
        assert_eq!(first.followed_by(second), both);
    }
}
