//! `figures` on the command line.

use super::{ClientOptions, LOSSY_LINK, ServerOptions, mixed::habits, rig};
use crate::{
    figures::{Effort, Key},
    rig::Rig,
    scenario::Habits,
};
use anyhow::ensure;
use clap::Args;
use std::{num::NonZeroUsize, path::PathBuf};

/// Everything that Godwit is judged by.
#[derive(Debug, Clone, Args)]
pub struct FiguresOptions {
    /// Figures to measure; all that take less than an hour if none is named
    #[arg(value_enum, value_name = "KEY")]
    keys: Vec<Key>,
    /// Runs of each server; a figure is their median [default: 3]
    #[arg(long, value_name = "N")]
    rounds: Option<NonZeroUsize>,
    /// Small and short, to see whether everything works. The figures say little
    #[arg(long)]
    quick: bool,
    /// Messages to learn from how people write, for soak_growth, as in `mixed`
    #[arg(long, value_name = "FILE")]
    corpus: Option<PathBuf>,
    #[command(flatten)]
    server: ServerOptions,
    #[command(flatten)]
    clients: ClientOptions,
    /// Write the figures, and all runs that they come from, to FILE
    #[arg(long, value_name = "FILE", help_heading = "Result")]
    pub json: Option<PathBuf>,
    /// Write a page with the figures, and plots of the runs over time, to FILE, for a browser
    #[arg(long, value_name = "FILE.html", help_heading = "Result")]
    pub report: Option<PathBuf>,
}

impl FiguresOptions {
    pub fn keys(&self) -> Vec<Key> {
        if self.keys.is_empty() { Key::usual() } else { self.keys.clone() }
    }

    pub fn rig(&self) -> anyhow::Result<Rig> {
        ensure!(self.server.is_own(), "figures are measured on servers that are started for them, not with --server");
        let rig = rig(&self.server, &self.clients)?;
        // It is for one of the figures.
        Ok(Rig { link: None, ..rig })
    }

    /// How much is done. `--link` is the network of lanes_p99 and of nothing else.
    pub fn effort(&self) -> anyhow::Result<Effort> {
        let ClientOptions { seed, body_bytes, .. } = self.clients;
        let link = match self.clients.link() {
            Some(link) => link,
            None => LOSSY_LINK.parse()?,
        };
        let effort = if self.quick { Effort::quick(seed, link) } else { Effort::full(seed, link) };
        Ok(Effort { rounds: self.rounds.map_or(effort.rounds, NonZeroUsize::get), body_bytes, ..effort })
    }

    pub fn habits(&self) -> anyhow::Result<Habits> {
        habits(self.corpus.clone(), self.clients.seed)
    }
}
