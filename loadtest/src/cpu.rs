//! Which CPUs a thread, and the processes that it starts, may use.

use anyhow::{Context, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The CPUs that this process may use, by number.
pub fn available() -> anyhow::Result<Vec<usize>> {
    let allowed = sched_getaffinity(None).context("asking which CPUs may be used")?;
    Ok((0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect())
}

/// Keeps this thread, and threads and processes that it starts, on some CPUs.
pub fn pin_this_thread(cpus: &[usize]) -> anyhow::Result<()> {
    ensure!(!cpus.is_empty(), "a thread needs a CPU");
    let mut only = CpuSet::new();
    cpus.iter().for_each(|&cpu| only.set(cpu));
    sched_setaffinity(None, &only).with_context(|| format!("pinning a thread to CPUs {cpus:?}"))
}

/// How the CPUs of this machine are shared out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shares {
    /// Of the server; empty: all.
    pub server: Vec<usize>,
    /// Of the clients; empty: all.
    pub clients: Vec<usize>,
}

impl Shares {
    /// Nobody is kept anywhere.
    pub fn unpinned() -> Self {
        Self { server: Vec::new(), clients: Vec::new() }
    }

    /// The server gets the first CPUs, the clients the rest.
    pub fn of(available: &[usize], server_cores: usize) -> anyhow::Result<Self> {
        ensure!(
            available.len() > server_cores,
            "the server wants {server_cores} of {} CPUs, which leaves none for the clients; use --no-pin",
            available.len()
        );
        let (server, clients) = available.split_at(server_cores);
        Ok(Self { server: server.to_vec(), clients: clients.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_thread_that_is_pinned_may_use_no_other_cpu() {
        let all = available().unwrap();
        std::thread::spawn(move || {
            pin_this_thread(&all[..1]).unwrap();
            assert_eq!(available().unwrap(), all[..1]);
        })
        .join()
        .unwrap();
        assert!(pin_this_thread(&[]).is_err());
    }

    #[test]
    fn server_and_clients_never_share_a_cpu() {
        assert_eq!(Shares::of(&[2, 3, 5], 1).unwrap(), Shares { server: vec![2], clients: vec![3, 5] });
        assert!(Shares::of(&[2, 3], 2).is_err());
    }
}
