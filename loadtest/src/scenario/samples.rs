//! What servers and clients have used at the end of every second of a run.

use super::{SecondFigures, crew::Crew};
use crate::{
    peer::{Progress, Second},
    report::Live,
    server_process::{Figures, process_figures},
    subject::Subject,
};
use std::time::{Duration, Instant};

/// The first ones are from the beginning.
pub struct Samples {
    pub server: Vec<Figures>,
    clients: Vec<Figures>,
}

/// Where what is sampled is shown, and who says what else happened.
pub struct Watch<'a> {
    pub live: &'a Live,
    pub crew: &'a Crew,
    pub progress: &'a Progress,
}

impl Samples {
    /// Takes them for so many seconds.
    pub async fn take(
        subject: &mut Subject,
        origin: Instant,
        seconds: usize,
        watch: &Watch<'_>,
    ) -> anyhow::Result<Self> {
        let own = || process_figures(std::process::id());
        let mut samples = Self { server: vec![subject.figures()?], clients: vec![own()?] };
        for second in 1..=seconds {
            tokio::time::sleep_until((origin + Duration::from_secs(second as u64)).into()).await;
            subject.check_alive()?;
            samples.server.push(subject.figures()?);
            samples.clients.push(own()?);
            if watch.live.wants(second)
                && let Some(happened) = watch.crew.second(second - 1).await
            {
                watch.live.show(second, &samples.second(second - 1, &happened), watch.progress.in_flight());
            }
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
        let seconds = 0..self.server.len() - 1;
        seconds.map(|index| self.second(index, happened.get(index).unwrap_or(&nothing))).collect()
    }

    fn second(&self, index: usize, happened: &Second) -> SecondFigures {
        let (from, to) = (self.server[index], self.server[index + 1]);
        SecondFigures::new(happened, to.cpu_s - from.cpu_s, to.rss_now_bytes)
    }
}
