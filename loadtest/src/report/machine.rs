//! On what machine a run took place, because figures of two machines do not compare.

use super::format;
use serde::Serialize;
use std::{
    fmt,
    fs::{self, read_to_string},
    path::Path,
};

/// What is known about it; `None` where the system does not say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    pub cpu_model: Option<String>,
    /// Those that the machine has, not those that the run may use.
    pub cpus: usize,
    pub memory_bytes: Option<u64>,
    pub kernel: Option<String>,
    /// Of the directory with the servers' data.
    pub data_file_system: Option<String>,
}

impl Machine {
    /// The one that this process is on, with the servers' data under `data_directory`.
    pub fn this(data_directory: &Path) -> Self {
        let cpus = read_to_string("/proc/cpuinfo").unwrap_or_default();
        let mounts = read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let data_directory = fs::canonicalize(data_directory).unwrap_or_else(|_| data_directory.to_owned());
        Self {
            cpu_model: value_of(&cpus, "model name").map(str::to_owned),
            cpus: cpus.lines().filter(|line| line.starts_with("processor")).count(),
            memory_bytes: read_to_string("/proc/meminfo").ok().and_then(|memory| total_bytes(&memory)),
            kernel: read_to_string("/proc/sys/kernel/osrelease").ok().map(|kernel| kernel.trim().to_owned()),
            data_file_system: file_system(&mounts, &data_directory).map(str::to_owned),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = || "unknown".to_owned();
        write!(
            out,
            "{}, {} CPUs, {} of memory, Linux {}, data on {}",
            self.cpu_model.as_deref().unwrap_or("CPU of unknown model"),
            self.cpus,
            self.memory_bytes.map_or_else(unknown, format::gibibytes),
            self.kernel.clone().unwrap_or_else(unknown),
            self.data_file_system.clone().unwrap_or_else(unknown),
        )
    }
}

/// From lines of `key : value`.
fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().filter_map(|line| line.split_once(':')).find(|(name, _)| name.trim() == key).map(|(_, it)| it.trim())
}

/// From `/proc/meminfo`; see proc_meminfo(5).
fn total_bytes(memory: &str) -> Option<u64> {
    let kib = value_of(memory, "MemTotal")?.strip_suffix(" kB")?;
    Some(kib.parse::<u64>().ok()? * 1024)
}

/// The type of the file system that a path is on, from `/proc/self/mountinfo`; see proc_pid_mountinfo(5).
fn file_system<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let of_line = |line: &'a str| {
        let (mount, source) = line.split_once(" - ")?;
        let at = mount.split(' ').nth(4)?;
        path.starts_with(at).then_some((at.len(), source.split(' ').next()?))
    };
    // Of two mounts on one directory, the later one hides the other.
    mounts.lines().filter_map(of_line).max_by_key(|(length, _)| *length).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    const MOUNTS: &str = "1 0 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
                          2 1 0:5 / /tmp rw - tmpfs tmpfs rw\n\
                          3 1 0:6 / /tmpfiles rw - xfs /dev/sdb rw\n";

    #[test]
    fn a_path_is_on_the_file_system_that_is_mounted_closest() {
        assert_eq!(file_system(MOUNTS, Path::new("/tmp/data")), Some("tmpfs"));
        assert_eq!(file_system(MOUNTS, Path::new("/srv/data")), Some("ext4"));
        assert_eq!(file_system("", Path::new("/srv/data")), None);
    }

    #[test]
    fn memory_is_in_bytes() {
        assert_eq!(total_bytes("MemTotal:        8000000 kB\nMemFree: 1 kB\n"), Some(8_192_000_000));
        assert_eq!(total_bytes("MemFree: 1 kB\n"), None);
    }

    #[test]
    fn this_machine_has_a_cpu_and_memory() {
        let machine = Machine::this(&std::env::temp_dir());
        assert!(machine.cpus > 0 && machine.memory_bytes.unwrap() > 0 && machine.kernel.is_some());
    }
}
