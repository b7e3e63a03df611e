//! What servers and clients have used at the end of every second of a run.

use super::SecondFigures;
use crate::{
    peer::Second,
    process_figures::{Figures, process_figures},
    subject::Subject,
};
use std::time::{Duration, Instant};

/// The first ones are from the beginning.
pub struct Samples {
    pub server: Vec<Figures>,
    clients: Vec<Figures>,
}

impl Samples {
    /// Takes them for so many seconds, and says so after each, the first being 1.
    pub async fn take(
        subject: &mut Subject,
        origin: Instant,
        seconds: usize,
        mut taken: impl AsyncFnMut(usize, &Self),
    ) -> anyhow::Result<Self> {
        let mut samples = Self::begin(subject)?;
        for second in 1..=seconds {
            tokio::time::sleep_until((origin + Duration::from_secs(second as u64)).into()).await;
            samples.add(subject)?;
            taken(second, &samples).await;
        }
        Ok(samples)
    }

    /// The first ones, for who takes the others by hand.
    pub fn begin(subject: &mut Subject) -> anyhow::Result<Self> {
        let mut samples = Self { server: Vec::new(), clients: Vec::new() };
        samples.add(subject)?;
        Ok(samples)
    }

    /// Those of the second that has just ended.
    pub fn add(&mut self, subject: &mut Subject) -> anyhow::Result<()> {
        subject.check_alive()?;
        self.server.push(subject.figures()?);
        self.clients.push(process_figures(std::process::id())?);
        Ok(())
    }

    /// CPU time of this process in `seconds` seconds from `from` on.
    pub fn client_cpu_s(&self, from: usize, seconds: usize) -> f64 {
        self.clients[from + seconds].cpu_s - self.clients[from].cpu_s
    }

    /// The seconds with what happened in each.
    pub fn seconds(&self, happened: &[Second]) -> Vec<SecondFigures> {
        let nothing = Second::default();
        (1..self.server.len()).map(|second| self.second(second, happened.get(second - 1).unwrap_or(&nothing))).collect()
    }

    /// One second, the first being 1, with what happened in it.
    pub fn second(&self, second: usize, happened: &Second) -> SecondFigures {
        let (before, now) = (self.server[second - 1], self.server[second]);
        SecondFigures::new(happened, now.cpu_s - before.cpu_s, now.rss_now_bytes)
    }
}
