//! Which server a run starts.

use anyhow::{Context, bail, ensure};
use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

/// `chosen`, or the `godwit` beside this program. Under `cargo run`, that one is built first: otherwise a server from
/// before the last change would be tested, or none would be there.
pub fn find(chosen: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    if let Some(path) = chosen {
        ensure!(path.is_file(), "there is no server at {}", path.display());
        // It is started in a directory of its own.
        return path.canonicalize().with_context(|| format!("finding {}", path.display()));
    }
    let own = env::current_exe().context("the path of this program")?;
    let directory = own.parent().context("this program lies in no directory")?;
    let server = directory.join(format!("godwit{}", env::consts::EXE_SUFFIX));
    let run_by_cargo = env::var_os("CARGO_PKG_NAME").is_some_and(|name| name == env!("CARGO_PKG_NAME"));
    if let Some(cargo) = env::var_os("CARGO").filter(|_| run_by_cargo) {
        build(cargo, directory)?;
    }
    if !server.is_file() {
        bail!(
            "there is no server at {}; build it with `cargo build --release -p godwit`, or name one with --server-binary",
            server.display()
        );
    }
    Ok(server)
}

/// How a server under load is configured beyond its defaults.
pub fn load_test_environment() -> Vec<(String, String)> {
    let settings = [
        // Thousands of accounts are made within seconds, and what is measured is chat.
        ("GODWIT_PASSWORD__MEMORY_KIB", "64"),
        ("GODWIT_PASSWORD__ITERATIONS", "1"),
        ("GODWIT_REGISTRATION__MODE", "open"),
        // Any port: another server on this machine may have the usual one.
        ("GODWIT_METRICS__LISTEN", "127.0.0.1:0"),
    ];
    settings.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec()
}

fn build(cargo: OsString, profile_directory: &Path) -> anyhow::Result<()> {
    let profile = match profile_directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    eprintln!("Building the server: cargo build --profile {profile} -p godwit");
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--profile", profile, "-p", "godwit", "--bin", "godwit"]);
    // `cargo run` works from anywhere in the workspace; so must this.
    if let Some(manifest) = env::var_os("CARGO_MANIFEST_DIR") {
        command.current_dir(manifest);
    }
    let status = command.status().context("running cargo")?;
    ensure!(status.success(), "the server does not build: cargo ended with {status}");
    Ok(())
}
