//! Programs that must be there, installed by Debian's name when that may be done, else asked for.

use super::{process, redis};
use anyhow::{Context, Result, bail};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// What Apache Cassandra 5.0 runs on; it knows no newer one.
const JAVA: u32 = 17;
const JAVA_PACKAGE: &str = "openjdk-17-jre-headless";

/// For one command of apt, with the download.
const APT_TIMEOUT: Duration = Duration::from_secs(600);

/// Makes sure that there is a Redis.
pub fn redis_server() -> Result<()> {
    if on_path("redis-server").is_some() {
        return Ok(());
    }
    install(redis::PACKAGE, "redis-server")?;
    // Debian starts a service that it installs. Its port is the one that the tests' own Redis would like to have.
    let stopped = if Path::new("/run/systemd/system").exists() {
        process::run(Command::new("systemctl").args(["disable", "--now", "--quiet", redis::PACKAGE]), APT_TIMEOUT)
    } else {
        let script = Path::new("/etc/init.d").join(redis::PACKAGE);
        if !script.exists() {
            return Ok(());
        }
        process::run(Command::new(script).arg("stop").stdout(Stdio::null()), APT_TIMEOUT)
    };
    stopped.context("stopping the service that came with the package")
}

/// Makes sure that there is a Java that Cassandra runs on, and says where.
pub fn java() -> Result<PathBuf> {
    if let Some(found) = find_java() {
        return Ok(found);
    }
    install(JAVA_PACKAGE, "Java 17")?;
    find_java().with_context(|| format!("{JAVA_PACKAGE} was installed, but there is no Java {JAVA}; set JAVA_HOME"))
}

/// Makes sure that there is a Maven.
pub fn maven() -> Result<PathBuf> {
    if let Some(found) = on_path("mvn") {
        return Ok(found);
    }
    install("maven", "Maven")?;
    on_path("mvn").context("maven was installed, but there is no mvn in PATH")
}

fn find_java() -> Option<PathBuf> {
    let home = env::var_os("JAVA_HOME").map(|home| Path::new(&home).join("bin/java"));
    let system =
        fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten().map(|entry| entry.path().join("bin/java"));
    home.into_iter().chain(on_path("java")).chain(system).find(|java| {
        let version = Command::new(java).arg("-version").stdin(Stdio::null()).output();
        version.is_ok_and(|output| java_version(&String::from_utf8_lossy(&output.stderr)) == Some(JAVA))
    })
}

/// The 17 of `openjdk version "17.0.15" 2025-04-15`, possibly after lines about options from the environment.
fn java_version(said: &str) -> Option<u32> {
    let version = said.lines().find_map(|line| line.split_once("version \""))?.1;
    version.split(['.', '"', '-']).next()?.parse().ok()
}

fn install(package: &str, what: &str) -> Result<()> {
    let by_hand = format!("{what} is missing: install the package {package} (Debian's name)");
    if !rustix::process::geteuid().is_root() || on_path("apt-get").is_none() {
        bail!("{by_hand}");
    }
    eprintln!("installing the package {package}");
    // What was fetched long ago may name versions that are not there any more. A part of it that fails may be one that is not needed.
    if let Err(error) = process::run(apt().arg("update"), APT_TIMEOUT) {
        eprintln!("{error:#}");
    }
    process::run(apt().args(["install", "--yes", "--no-install-recommends", package]), APT_TIMEOUT).context(by_hand)
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.args(["-qq", "-o", "Acquire::Retries=3", "-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Use-Pty=0"]);
    command.env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
    command
}

fn on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|directory| directory.join(program)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_java_is_found() {
        let debian =
            "Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime Environment";
        assert_eq!(java_version(debian), Some(17));
        assert_eq!(java_version("openjdk version \"21-ea\" 2023-09-19"), Some(21));
        assert_eq!(java_version("java version \"1.8.0_392\""), Some(1));
        assert_eq!(java_version("command not found"), None);
    }
}
