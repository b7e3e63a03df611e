//! What servers and clients have used at the end of every second of a run.

use super::SecondFigures;
use crate::{
    peer::Second,
    server_process::{Figures, process_figures},
    subject::Subject,
};
use std::time::{Duration, Instant};

/// The first ones are from the beginning.
pub struct Samples {
    pub server: Vec<Figures>,
    clients: Vec<Figures>,
}

impl Samples {
    /// Takes them for so many seconds.
    pub async fn take(subject: &mut Subject, origin: Instant, seconds: usize) -> anyhow::Result<Self> {
        let own = || process_figures(std::process::id());
        let mut samples = Self { server: vec![subject.figures()?], clients: vec![own()?] };
        for second in 1..=seconds {
            tokio::time::sleep_until((origin + Duration::from_secs(second as u64)).into()).await;
            subject.check_alive()?;
            samples.server.push(subject.figures()?);
            samples.clients.push(own()?);
        }
        Ok(samples)
    }

    /// CPU time of this process in `seconds` seconds from `from` on.
    pub fn client_cpu_s(&self, from: usize, seconds: usize) -> f64 {
        self.clients[from + seconds].cpu_s - self.clients[from].cpu_s
    }

    /// The seconds with what happened in each.
    pub fn seconds(&self, happened: &[Second]) -> Vec<SecondFigures> {
        let nothing = Second::default();
        let second = |(index, pair): (usize, &[Figures])| {
            let happened = happened.get(index).unwrap_or(&nothing);
            SecondFigures::new(happened, pair[1].cpu_s - pair[0].cpu_s, pair[1].rss_now_bytes)
        };
        self.server.windows(2).enumerate().map(second).collect()
    }
}
