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
}
