//! Servers and clients on the command line.

use crate::{
    link::LinkSpec,
    scenario::{CrewSettings, Sockets},
    subject::{Recipe, Server},
    wire::STAMP_BYTES,
};
use clap::Args;
use std::{num::NonZeroUsize, path::PathBuf, thread};

/// The server.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub struct ServerOptions {
    /// Cores of the server that is started, each kept on a CPU of its own; the clients get the machine's other CPUs
    /// [default: 1, or with --no-pin the server's own default]
    #[arg(long, value_name = "N", conflicts_with = "server")]
    cores: Option<NonZeroUsize>,
    /// Keep neither server nor clients on certain CPUs
    #[arg(long)]
    no_pin: bool,
    /// The server to start: the `godwit` beside this program if not given
    #[arg(long, value_name = "PATH", conflicts_with = "server")]
    server_binary: Option<PathBuf>,
    /// Configuration of the server that is started, as in `limits.message_bytes_max=8192`. Can be repeated
    #[arg(long, value_name = "SECTION.KEY=VALUE", value_parser = setting, conflicts_with = "server")]
    set: Vec<(String, String)>,
    /// A server that runs already, and lets everybody make an account, instead of one that is started
    #[arg(long, value_name = "HOST:PORT", requires = "fingerprint")]
    server: Option<String>,
    /// The SHA-256 of that server's certificate, as the server prints it
    #[arg(long, value_name = "HEX", requires = "server")]
    fingerprint: Option<String>,
    /// That server's process, if it is on this machine, to report its CPU time and memory
    #[arg(long, value_name = "PID", requires = "server")]
    server_pid: Option<u32>,
}

impl ServerOptions {
    /// Whether servers are started.
    pub fn is_own(&self) -> bool {
        self.server.is_none()
    }

    /// How many CPUs are the server's; `None` when nobody is kept anywhere.
    pub fn pinned_cores(&self) -> Option<usize> {
        // Somebody else's server is where it is.
        let pinned = !self.no_pin && self.server.is_none();
        pinned.then(|| self.cores.map_or(1, NonZeroUsize::get))
    }

    /// How servers come about, on these CPUs.
    pub fn recipe(&self, cpus: Vec<usize>) -> Recipe {
        let server = match (&self.server, &self.fingerprint) {
            (Some(address), Some(fingerprint)) => {
                let (address, fingerprint) = (address.clone(), fingerprint.clone());
                Server::Running { address, fingerprint, pid: self.server_pid }
            }
            _ => Server::Started(self.server_binary.clone()),
        };
        let cores = self.pinned_cores().or(self.cores.map(NonZeroUsize::get));
        Recipe { server, cores, environment: self.set.clone(), cpus, listen: None }
    }
}

/// The clients.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Clients")]
pub struct ClientOptions {
    /// Bytes of a message
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = body_bytes)]
    pub body_bytes: usize,
    /// UDP sockets of the clients: the kernel spreads them over a server's cores [default: one for 64 clients, 4 to 64]
    #[arg(long, value_name = "N")]
    sockets: Option<NonZeroUsize>,
    /// Threads of clients [default: as many as they have CPUs]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    #[arg(long, value_name = "KEY=VALUE,…", help = LinkSpec::HELP)]
    link: Option<LinkSpec>,
    /// Repeats the random decisions of an earlier run, where a scenario makes any
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
}

impl ClientOptions {
    /// The network between clients and server.
    pub fn link(&self) -> Option<LinkSpec> {
        self.link
    }

    /// Where clients live, on these CPUs.
    pub fn crew(&self, cpus: Vec<usize>) -> anyhow::Result<CrewSettings> {
        let threads = match (self.threads, cpus.len()) {
            (Some(threads), _) => threads,
            (None, 0) => thread::available_parallelism()?,
            (None, cpus) => NonZeroUsize::new(cpus).unwrap_or(NonZeroUsize::MIN),
        };
        let sockets = match self.sockets {
            Some(sockets) => Sockets::Number(sockets.get()),
            // Clients that share a socket would share a link.
            None if self.link.is_some() => Sockets::OneEach,
            None => Sockets::Shared,
        };
        Ok(CrewSettings { sockets, threads: threads.get(), cpus })
    }
}

/// `section.key=value` as the environment variable that says the same.
pub fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a setting is KEY=VALUE")?;
    if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_')) {
        return Err(format!("{key:?} is no key"));
    }
    Ok((format!("GODWIT_{}", key.replace('.', "__").to_uppercase()), value.to_owned()))
}

fn body_bytes(text: &str) -> Result<usize, String> {
    let bytes: usize = text.parse().map_err(|_| "not a number".to_owned())?;
    if (STAMP_BYTES..=BODY_BYTES_MAX).contains(&bytes) {
        return Ok(bytes);
    }
    Err(format!("a message holds {STAMP_BYTES} to {BODY_BYTES_MAX} bytes"))
}

/// The frames of the bare relay have two bytes for it.
const BODY_BYTES_MAX: usize = 40 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    #[test]
    fn a_setting_becomes_the_environment_variable_of_its_key() {
        let expected = ("GODWIT_LIMITS__IDLE_TIMEOUT_MS".to_owned(), "1=2".to_owned());
        assert_eq!(setting("limits.idle_timeout_ms=1=2"), Ok(expected));
        assert_eq!(setting("cores=2").unwrap().0, "GODWIT_CORES");
        assert!(setting("cores").is_err() && setting("=1").is_err() && setting("a b=1").is_err());
    }

    #[test]
    fn a_message_has_room_for_its_stamp_and_fits_a_frame() {
        assert_eq!(body_bytes("128"), Ok(128));
        assert!(body_bytes("19").is_err() && body_bytes("65536").is_err() && body_bytes("x").is_err());
    }
}
