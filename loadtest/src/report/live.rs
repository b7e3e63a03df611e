//! Says how a run goes while it goes.

use super::{format, sides};
use crate::{scenario::SecondFigures, subject::Kind};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io::IsTerminal,
    pin::pin,
    time::{Duration, Instant},
};

/// The last second of a run that is measured second by second.
pub struct Live {
    /// What runs.
    title: String,
    warm_up_s: usize,
    steady_s: usize,
    place: Place,
}

/// Says how far work is while it is not done, in the words of `how_far`.
pub async fn while_waiting<T>(
    scenario: &str,
    server: Kind,
    work: impl Future<Output = T>,
    how_far: impl Fn() -> String,
) -> T {
    let (place, began, mut work) = (Place::new(), Instant::now(), pin!(work));
    for second in 1.. {
        let end_of_second = began + Duration::from_secs(second as u64);
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = tokio::time::sleep_until(end_of_second.into()) => {}
        }
        if place.wants(second) {
            place.say(format!("{}: {second} s", title(scenario, server)), how_far());
        }
    }
    work.await
}

impl Live {
    /// Of a run that is not measured for so many seconds and then measured for so many.
    pub fn new(scenario: &str, server: Kind, warm_up_s: usize, steady_s: usize) -> Self {
        Self { title: title(scenario, server), warm_up_s, steady_s, place: Place::new() }
    }

    /// Whether the end of this second, the first being 1, is shown. Others need not be asked about.
    pub fn wants(&self, second: usize) -> bool {
        self.place.wants(second)
    }

    /// Shows the second that has just ended, the first being 1. `in_flight` messages were sent and have no answer.
    pub fn show(&self, second: usize, figures: &SecondFigures, in_flight: u64) {
        self.place.say(self.state(second, figures, in_flight), flow(figures));
    }

    /// Nothing is sent any more; what is in flight may still arrive.
    pub fn cool_down(&self, in_flight: u64) {
        self.place.say(format!("{}: cool-down", self.title), format!("in flight {}", format::count(in_flight)));
    }

    fn state(&self, second: usize, figures: &SecondFigures, in_flight: u64) -> String {
        let phase = if second <= self.warm_up_s { "warm-up" } else { "steady" };
        format!(
            "{}: {second}/{} s, {phase} · in flight {} · server CPU {:.0} %, {:.0} MiB",
            self.title,
            self.warm_up_s + self.steady_s,
            format::count(in_flight),
            figures.server_cpu_s * 100.0,
            figures.server_rss_bytes as f64 / format::MIB,
        )
    }
}

/// Where it is said: on standard error; on a terminal in the place of what was said before, in two lines since one would be
/// wider than most terminals; elsewhere in one line now and then.
struct Place {
    /// `None` off a terminal.
    bar: Option<ProgressBar>,
}

impl Place {
    fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{prefix}\n{wide_msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { bar }
    }

    fn wants(&self, second: usize) -> bool {
        self.bar.is_some() || second.is_multiple_of(LINE_EVERY_S)
    }

    fn say(&self, state: String, flow: String) {
        match &self.bar {
            Some(bar) => {
                bar.set_prefix(state);
                bar.set_message(flow);
            }
            None if flow.is_empty() => eprintln!("{state}"),
            None => eprintln!("{state} · {flow}"),
        }
    }
}

fn title(scenario: &str, server: Kind) -> String {
    format!("{scenario}, {}", sides::name(server))
}

/// Empty when nothing is sent, as in some scenarios.
fn flow(figures: &SecondFigures) -> String {
    if figures.offered + figures.acked + figures.delivered == 0 {
        return String::new();
    }
    format!(
        "offered {}, acked {}, delivered {} /s · p50 {}, p99 {} ms",
        format::count(figures.offered),
        format::count(figures.acked),
        format::count(figures.delivered),
        format::figure(figures.delivery.p50_ms),
        format::figure(figures.delivery.p99_ms),
    )
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

const LINE_EVERY_S: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::made_up;

    fn live() -> Live {
        Live { title: "pairs, Godwit".into(), warm_up_s: 2, steady_s: 10, place: Place { bar: None } }
    }

    #[test]
    fn what_is_said_is_where_the_run_is_and_how_it_goes() {
        let run = made_up::run(Kind::Godwit, 30_000.0, 2.0);
        let state = live().state(2, &run.seconds[1], 1_600);
        assert_eq!(state, "pairs, Godwit: 2/12 s, warm-up · in flight 1,600 · server CPU 93 %, 91 MiB");
        assert!(live().state(3, &run.seconds[2], 0).contains("3/12 s, steady"));
        assert_eq!(flow(&run.seconds[0]), "");
        let flow = flow(&run.seconds[1]);
        assert_eq!(flow, "offered 31,784, acked 31,784, delivered 31,784 /s · p50 2.06, p99 8.24 ms");
    }

    #[tokio::test]
    async fn work_of_less_than_a_second_is_not_talked_about() {
        let done = while_waiting("storm", Kind::Godwit, async { 7 }, || unreachable!("it is done at once"));
        assert_eq!(done.await, 7);
    }

    #[test]
    fn off_a_terminal_a_line_is_said_now_and_then() {
        let shown: Vec<usize> = (1..=12).filter(|&second| live().wants(second)).collect();
        assert_eq!(shown, [5, 10]);
    }
}
