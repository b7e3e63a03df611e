//! Redis: how it is started, and as much of its protocol as it takes to see that it answers.

use super::process::Launch;
use anyhow::{Context, Result, ensure};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

/// Where it listens unless that is taken.
pub const PORT: u16 = 6379;

/// Of Debian.
pub const PACKAGE: &str = "redis-server";

/// More than it has to say about itself.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// One that keeps everything in memory only.
pub fn launch(directory: &Path, address: SocketAddr) -> Launch {
    let arguments = [
        ["--port", &address.port().to_string()],
        ["--bind", &address.ip().to_string()],
        ["--save", ""],
        ["--appendonly", "no"],
        ["--daemonize", "no"],
    ];
    Launch {
        program: "redis-server".into(),
        arguments: arguments.concat().into_iter().map(str::to_owned).collect(),
        directory: directory.to_owned(),
    }
}

/// What it says about itself. Whoever does not answer to PING, not even that it wants a password, is no Redis.
pub fn ask(address: SocketAddr, timeout: Duration) -> Result<Option<String>> {
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    stream.write_all(b"PING\r\nINFO server\r\nQUIT\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX as u64).read_to_end(&mut answer).context("reading what it answers")?;
    let answer = String::from_utf8_lossy(&answer);
    ensure!(answer.starts_with("+PONG") || answer.starts_with("-NOAUTH"), "it answers {:?}", answer.lines().next());
    Ok(answer.lines().find_map(|line| line.strip_prefix("redis_version:")).map(str::to_owned))
}
