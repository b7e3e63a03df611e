//! Shows how far a phase is, and notices when it does not get any further.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io::IsTerminal,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};
use tokio::time::MissedTickBehavior;

/// Why a phase did not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stalled {
    /// How far it came.
    pub done: u64,
    /// For how long it stood still.
    pub for_s: u64,
}

/// Does some work and shows how far it is, going by `done` of `total`. Gives up when `done` stands still for `patience`.
pub async fn shown<T>(
    phase: &str,
    total: u64,
    done: &AtomicU64,
    patience: Duration,
    work: impl Future<Output = T>,
) -> Result<T, Stalled> {
    let mut display = Display::new(phase, total);
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut seen, mut since) = (done.load(Ordering::Relaxed), Instant::now());
    tokio::pin!(work);
    loop {
        tokio::select! {
            output = &mut work => {
                display.finish(done.load(Ordering::Relaxed));
                return Ok(output);
            }
            _ = ticks.tick() => {
                let now = done.load(Ordering::Relaxed);
                display.show(now);
                if now != seen {
                    (seen, since) = (now, Instant::now());
                } else if since.elapsed() > patience {
                    display.finish(now);
                    return Err(Stalled { done: now, for_s: since.elapsed().as_secs() });
                }
            }
        }
    }
}

/// A bar on a terminal; elsewhere a line now and then.
enum Display {
    Bar(ProgressBar),
    Lines { phase: String, total: u64, started: Instant, last: Instant },
}

impl Display {
    fn new(phase: &str, total: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            let now = Instant::now();
            return Self::Lines { phase: phase.to_owned(), total, started: now, last: now };
        }
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        bar.set_prefix(phase.to_owned());
        Self::Bar(bar)
    }

    fn show(&mut self, done: u64) {
        match self {
            Self::Bar(bar) => bar.set_position(done),
            Self::Lines { last, .. } if last.elapsed() < LINE_EVERY => {}
            Self::Lines { phase, total, started, last } => {
                *last = Instant::now();
                eprintln!("{phase}: {done} of {total} after {:.0} s", started.elapsed().as_secs_f64());
            }
        }
    }

    fn finish(self, done: u64) {
        match self {
            Self::Bar(bar) => {
                bar.set_position(done);
                bar.abandon();
            }
            Self::Lines { phase, total, started, .. } => {
                eprintln!("{phase}: {done} of {total} in {:.1} s", started.elapsed().as_secs_f64());
            }
        }
    }
}

const TICK: Duration = Duration::from_millis(100);
const LINE_EVERY: Duration = Duration::from_secs(5);
const TEMPLATE: &str = "{prefix:<20} {bar:40} {human_pos}/{human_len} {per_sec} {elapsed}";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    #[tokio::test]
    async fn work_that_ends_gives_its_output() {
        let done = AtomicU64::new(0);
        assert_eq!(shown("test", 1, &done, Duration::from_secs(60), async { 5 }).await, Ok(5));
    }

    #[tokio::test]
    async fn work_that_stands_still_is_given_up() {
        let done = AtomicU64::new(3);
        let stalled = shown("test", 9, &done, Duration::ZERO, std::future::pending::<()>()).await.unwrap_err();
        assert_eq!(stalled.done, 3);
    }
}
