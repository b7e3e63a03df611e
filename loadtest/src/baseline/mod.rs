//! What Godwit is measured against: relays with the same transport, or TLS over TCP, and nothing behind it.
//!
//! Every message is answered with an ack and pushed to the others of its group. Nobody logs in, nothing is checked,
//! remembered or stored. All of a connection's frames of a turn leave in one write: a connection has a task that reads and
//! one that writes, and the tasks that read run first.

mod groups;
mod quic;
mod tcp;

use crate::wire::{FrameSizes, Transport};
use anyhow::Context;
use clap::Args;
use groups::Groups;
use std::{net::SocketAddr, path::PathBuf, rc::Rc};
use tokio::{runtime::Builder, task::LocalSet};

/// How a relay is started.
#[derive(Debug, Args)]
pub struct Options {
    /// What carries the frames.
    #[arg(long, value_enum, default_value_t = Transport::Quic)]
    over: Transport,
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
    /// Where its certificate is kept.
    #[arg(long)]
    data_dir: PathBuf,
    /// Bytes of an ack.
    #[arg(long)]
    ack_bytes: usize,
    /// Bytes of a push.
    #[arg(long)]
    push_bytes: usize,
    /// Most connections that may be in their handshake.
    #[arg(long, default_value_t = 4096)]
    handshakes_max: usize,
}

/// Serves until the process is killed.
pub fn run(options: &Options) -> anyhow::Result<()> {
    std::fs::create_dir_all(&options.data_dir).with_context(|| format!("making {}", options.data_dir.display()))?;
    let sizes = FrameSizes { send_bytes: 0, ack_bytes: options.ack_bytes, push_bytes: options.push_bytes };
    let groups = Rc::new(Groups::new(sizes));
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        match options.over {
            Transport::Quic => quic::serve(options, groups).await,
            Transport::Tcp => tcp::serve(options, groups).await,
        }
    })
}

/// What the load test waits for.
fn announce(address: SocketAddr, fingerprint: &str) {
    println!("listening on {address}");
    println!("fingerprint {fingerprint}");
}
