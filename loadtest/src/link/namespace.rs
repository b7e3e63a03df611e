//! A network of one's own: the harness runs itself again where it may set up devices, and where nobody else sends anything.

use anyhow::{Context, bail};
use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::process::CommandExt,
    process::{Command, Output},
};

/// Goes on in a network namespace of its own, with nothing but a loopback device in it.
///
/// Starts the program again, with the same arguments and as the same process, so call it before anything else is started.
/// It returns only inside, or with the reason why it cannot go there.
pub fn enter() -> anyhow::Result<()> {
    if inside() {
        return ip(&["link", "set", "lo", "up"]);
    }
    let own = env::current_exe().context("where this program lies is not known")?;
    let error = command(own)?.args(env::args_os().skip(1)).exec();
    Err(error).context("this program could not be started again in a network namespace")
}

/// A command that runs a program in a new network namespace, with loopback still down.
///
/// Root gets one as it is; everybody else becomes root of a user namespace, where the system allows that.
pub fn command(program: impl AsRef<OsStr>) -> anyhow::Result<Command> {
    let mut refusals = Vec::new();
    for arguments in [&["--net"][..], &["--user", "--map-root-user", "--net"]] {
        // Not just whether there are namespaces: also whether they have what the tunnel will need.
        let probe = ["ip", "tuntap", "add", "dev", "probe", "mode", "tun"];
        let probed = Command::new(UNSHARE).args(arguments).arg("--").args(probe).output();
        let output = probed.with_context(|| format!("{UNSHARE} cannot be run; install util-linux"))?;
        if output.status.success() {
            let mut command = Command::new(UNSHARE);
            command.args(arguments).arg("--").arg(program).env(OUTSIDE, own_namespace()?);
            return Ok(command);
        }
        refusals.push(format!("{UNSHARE} {}: {}", arguments.join(" "), said(&output)));
    }
    bail!(
        "there is no network namespace with a tunnel device to be had. Run this as root, or allow user namespaces (sysctl \
         kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0); install ip (of iproute2); \
         load the module tun, and give a container /dev/net/tun:\n  {}",
        refusals.join("\n  ")
    )
}

/// Whether this process is in a namespace that [`command`] made.
pub fn inside() -> bool {
    let outside = env::var(OUTSIDE).ok();
    outside.is_some_and(|outside| own_namespace().is_ok_and(|own| own != outside))
}

/// Runs `ip` in the namespace of this process.
pub(super) fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip").args(arguments).output().context("ip cannot be run; install iproute2")?;
    if !output.status.success() {
        bail!("ip {}: {}", arguments.join(" "), said(&output));
    }
    Ok(())
}

/// What the kernel calls the network namespace of this process.
fn own_namespace() -> anyhow::Result<String> {
    let link = fs::read_link("/proc/self/ns/net").context("this kernel has no network namespaces")?;
    Ok(link.to_string_lossy().into_owned())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")
}

const UNSHARE: &str = "unshare";

/// Holds the name of the namespace outside. One that is inherited by mistake does not let a process believe it is inside.
const OUTSIDE: &str = "GODWIT_LOADTEST_OUTSIDE";

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    /// Runs the test `name` of the module `path`, which calls this, again inside a namespace; true there. Outside, the test
    /// is over when this returns: it has passed inside, or this system has no namespaces, which is said.
    pub(crate) fn is_inside(path: &str, name: &str) -> bool {
        if inside() {
            ip(&["link", "set", "lo", "up"]).unwrap();
            return true;
        }
        let (_, module) = path.split_once("::").expect("a module of this crate");
        let test = format!("{module}::{name}");
        match command(env::current_exe().unwrap()) {
            Ok(mut again) => {
                let output = again.args(["--exact", &test, "--nocapture"]).output().unwrap();
                let said = String::from_utf8_lossy(&output.stdout);
                let what = format!("{test} inside:\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
                assert!(output.status.success() && said.contains("1 passed"), "{what}");
            }
            Err(error) => eprintln!("{test} was not run: {error:#}"),
        }
        false
    }

    #[test]
    fn a_namespace_has_nothing_in_it_but_a_loopback_device() {
        if is_inside(module_path!(), "a_namespace_has_nothing_in_it_but_a_loopback_device") {
            let devices = fs::read_to_string("/proc/self/net/dev").unwrap();
            let names: Vec<_> = devices.lines().skip(2).filter_map(|line| line.trim().split(':').next()).collect();
            assert_eq!(names, ["lo"]);
            assert!(std::net::TcpListener::bind("127.0.0.1:1").is_ok(), "and all its ports are free and ours");
        }
    }

    #[test]
    fn what_cannot_be_done_is_said_as_ip_says_it() {
        let error = ip(&["link", "set", "no-such-device", "up"]).unwrap_err().to_string();
        assert!(error.contains("ip link set no-such-device up: ") && error.contains("no-such-device\""), "{error}");
    }
}
