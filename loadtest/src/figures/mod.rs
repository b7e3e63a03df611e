//! `figures`: everything that Godwit is judged by, measured in one invocation on one machine, Godwit and its baseline in
//! turn, each figure with its goal beside it.

mod absolute;
mod disk;
mod effort;
mod key;
mod page;
mod ratios;
mod table;

pub use effort::Effort;
pub use key::Key;

use crate::{
    report::{self, Machine, format},
    rig::Rig,
    scenario::{Figure, Habits, Outcome},
};
use absolute::Absolute;
use key::{Goal, Verdict};
use ratios::Ratios;
use serde::{Serialize, Serializer};
use std::{collections::BTreeMap, path::Path, time::SystemTime};

/// One figure.
#[derive(Debug, Serialize)]
pub struct Row {
    pub key: Key,
    /// Of Godwit, and of what it is compared with; medians. None where the figure is no ratio of two.
    pub godwit: Option<f64>,
    pub baseline: Option<f64>,
    pub unit: &'static str,
    pub value: f64,
    pub goal: Goal,
    pub verdict: Verdict,
    /// What else was seen on the way.
    pub notes: Vec<Figure>,
    #[serde(serialize_with = "without_seconds")]
    pub runs: Vec<Outcome>,
}

/// All that were asked for.
#[derive(Debug, Serialize)]
pub struct FiguresReport {
    pub tool_version: &'static str,
    pub command_line: Vec<String>,
    pub machine: Machine,
    pub started: String,
    /// Runs of each server.
    pub rounds: usize,
    pub figures: BTreeMap<Key, Row>,
    pub absolute: Vec<Absolute>,
    /// Those that could not be measured, and why.
    pub failed: BTreeMap<Key, String>,
}

/// Measures.
pub async fn measure(rig: &Rig, effort: &Effort, keys: &[Key], habits: &Habits) -> FiguresReport {
    let started = format::utc(SystemTime::now());
    let mut ratios = Ratios::new(rig, effort, habits);
    let (mut figures, mut absolute, mut failed) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
    for &key in keys {
        eprintln!("--- {}", key.name());
        // What took an hour should not be lost because of what comes behind it.
        let done = if key == Key::Absolute {
            absolute::measure(rig, effort).await.map(|rows| absolute = rows)
        } else {
            ratios.measure(key).await.map(|row| {
                eprintln!("--- {}: {}, {}", key.name(), format::figure(row.value), row.verdict);
                figures.insert(key, row);
            })
        };
        if let Err(error) = done {
            eprintln!("--- {}: {error:#}", key.name());
            failed.insert(key, format!("{error:#}"));
        }
    }
    FiguresReport {
        tool_version: env!("CARGO_PKG_VERSION"),
        command_line: std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect(),
        machine: Machine::this(&std::env::temp_dir()),
        started,
        rounds: effort.rounds,
        figures,
        absolute,
        failed,
    }
}

impl FiguresReport {
    /// Whether everything was measured and nothing went wrong in any run. A goal that is missed is nothing that went wrong.
    pub fn is_clean(&self) -> bool {
        self.failed.is_empty() && self.are_runs_clean()
    }

    fn are_runs_clean(&self) -> bool {
        let of_absolute = self.absolute.iter().flat_map(|row| &row.runs);
        self.figures.values().flat_map(|row| &row.runs).chain(of_absolute).all(Outcome::is_clean)
    }

    /// As JSON.
    pub fn write_json(&self, path: &Path) -> anyhow::Result<()> {
        report::write_json(self, path)
    }

    /// As a page for a browser.
    pub fn write_html(&self, path: &Path) -> anyhow::Result<()> {
        report::write(path, &page::of(self))
    }

    /// The tables, on standard output.
    pub fn print(&self) {
        if !self.figures.is_empty() {
            println!("{}", table::of_figures(self.figures.values()).to_terminal());
        }
        if !self.absolute.is_empty() {
            println!("{}", table::of_absolute(&self.absolute).to_terminal());
        }
        println!("on {}, medians of {}", self.machine, self.rounds);
        for (key, error) in &self.failed {
            println!("{} could not be measured: {error}", key.name());
        }
        println!("{}", self.words());
    }

    /// Whether the runs went right.
    fn words(&self) -> &'static str {
        match self.are_runs_clean() {
            true => "clean: nothing lost, duplicated, out of order, refused or unanswered",
            false => "NOT CLEAN: something went wrong in a run; the result says in which",
        }
    }
}

/// The seconds are for the page; in the result they would hide the figures.
fn without_seconds<S: Serializer>(runs: &[Outcome], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(runs.iter().map(|run| Outcome { seconds: Vec::new(), ..run.clone() }))
}

/// A run without what only its own report shows.
fn slim(mut run: Outcome) -> Outcome {
    run.ack_curve.clear();
    run.delivery_curve.clear();
    run
}
