//! What lies where in the data directory.

use super::StartError;
use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// The one directory that everything is kept in, readable by its owner only.
pub struct DataDir(PathBuf);

impl DataDir {
    /// Makes it, with its subdirectories.
    pub fn prepare(path: &Path) -> Result<Self, StartError> {
        let dir = Self(path.to_owned());
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        let made = builder.create(path).and_then(|()| builder.create(dir.tls()));
        made.map_err(|source| dir.failed(source))?;
        Ok(dir)
    }

    /// Takes it for this process, as long as what comes back is there; or until the process ends, however it does.
    pub fn lock(&self) -> Result<File, StartError> {
        let file = File::options().write(true).create(true).truncate(false).open(self.0.join("server.lock"));
        let file = file.map_err(|source| self.failed(source))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(StartError::DataDirInUse(self.0.clone())),
            Err(TryLockError::Error(source)) => Err(self.failed(source)),
        }
    }

    /// As it is, if it is there.
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The store's files.
    pub fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// Certificate, keys and the fingerprint.
    pub fn tls(&self) -> PathBuf {
        self.0.join("tls")
    }

    /// Leaves the fingerprint where a client on the same machine finds it.
    pub fn write_fingerprint(&self, fingerprint: &str) -> Result<(), StartError> {
        let (path, new) = (self.tls().join("fingerprint"), self.tls().join("fingerprint.new"));
        fs::write(&new, format!("{fingerprint}\n")).and_then(|()| fs::rename(&new, &path)).map_err(|e| self.failed(e))
    }

    fn failed(&self, source: io::Error) -> StartError {
        StartError::DataDir { path: self.0.clone(), source }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;
    use crate::store::embedded::{Embedded, EmbeddedOptions};

    #[test]
    fn a_data_directory_is_one_servers() {
        let directory = tempfile::tempdir().unwrap();
        let dir = DataDir::prepare(&directory.path().join("data")).unwrap();
        let first = dir.lock().unwrap();
        let refused = dir.lock().unwrap_err();
        assert!(matches!(&refused, StartError::DataDirInUse(path) if path == dir.path()), "{refused}");
        assert!(refused.to_string().contains("--data-dir"), "{refused}");
        // A store may be in the directory itself, and locks that for itself.
        drop(Embedded::open(EmbeddedOptions::new(dir.path())).unwrap());
        drop(first);
        dir.lock().unwrap();
    }
}
