//! Another revision of the repository, checked out beside it for a while.

use anyhow::{Context, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A checkout that is removed when it is dropped.
pub struct Worktree {
    repository: PathBuf,
    path: PathBuf,
}

/// The commit that a revision means.
pub fn commit_of(repository: &Path, revision: &str) -> Result<String> {
    let output = git(repository)
        .args(["rev-parse", "--verify", "--quiet", "--end-of-options"])
        .arg(format!("{revision}^{{commit}}"))
        .output()
        .context("starting git")?;
    if !output.status.success() {
        bail!("`{revision}` is no revision of this repository");
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

impl Worktree {
    /// Checks a commit out. What a run that was killed left there goes first.
    pub fn add(repository: &Path, path: &Path, commit: &str) -> Result<Self> {
        let worktree = Self { repository: repository.to_owned(), path: path.to_owned() };
        worktree.remove()?;
        let mut add = git(repository);
        add.args(["worktree", "add", "--quiet", "--detach"]).arg(path).arg(commit);
        let output = add.output().context("starting git")?;
        if !output.status.success() {
            bail!("checking {commit} out failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(worktree)
    }

    /// Its root.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn remove(&self) -> Result<()> {
        if self.path.exists() {
            fs::remove_dir_all(&self.path).with_context(|| format!("removing {}", self.path.display()))?;
        }
        // Lets git forget worktrees whose directories are gone.
        git(&self.repository).args(["worktree", "prune"]).output().context("starting git")?;
        Ok(())
    }
}

impl Drop for Worktree {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("warning: {} is left behind: {error:#}", self.path.display());
        }
    }
}

fn git(repository: &Path) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(repository);
    command
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    /// A repository with two commits, which say "old" and "new" in a file.
    fn repository() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let done = |arguments: &[&str]| {
            let identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost"];
            let output = git(dir.path()).args(identity).args(arguments).output().unwrap();
            assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        };
        done(&["init", "--quiet"]);
        for text in ["old", "new"] {
            fs::write(dir.path().join("file"), text).unwrap();
            done(&["add", "file"]);
            done(&["commit", "--quiet", "--message", text]);
        }
        dir
    }

    fn known(repository: &Path) -> String {
        String::from_utf8(git(repository).args(["worktree", "list"]).output().unwrap().stdout).unwrap()
    }

    #[test]
    fn a_revision_is_checked_out_and_is_gone_afterwards() {
        let repository = repository();
        let path = repository.path().join("beside");
        let commit = commit_of(repository.path(), "HEAD~1").unwrap();
        let worktree = Worktree::add(repository.path(), &path, &commit).unwrap();
        assert_eq!(fs::read_to_string(worktree.path().join("file")).unwrap(), "old");
        drop(worktree);
        assert!(!path.exists());
        assert_eq!(known(repository.path()).lines().count(), 1);
    }

    #[test]
    fn what_a_killed_run_left_is_replaced() {
        let repository = repository();
        let path = repository.path().join("beside");
        let commit = |revision| commit_of(repository.path(), revision).unwrap();
        std::mem::forget(Worktree::add(repository.path(), &path, &commit("HEAD~1")).unwrap());
        let worktree = Worktree::add(repository.path(), &path, &commit("HEAD")).unwrap();
        assert_eq!(fs::read_to_string(worktree.path().join("file")).unwrap(), "new");
    }

    #[test]
    fn an_unknown_revision_is_named() {
        let repository = repository();
        for revision in ["nowhere", "--all", ""] {
            let error = commit_of(repository.path(), revision).unwrap_err().to_string();
            assert_eq!(error, format!("`{revision}` is no revision of this repository"));
        }
    }
}
