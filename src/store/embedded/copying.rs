//! A file that says that a copy into the store is not complete: a server that started on half of it would lose the rest.

use super::error::OpenError;
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// Leaves word in a directory that is to receive a copy, and refuses one that does or does not.
pub(super) fn check(dir: &Path, receives_copy: bool, is_store: bool) -> Result<(), OpenError> {
    let path = path(dir);
    match (receives_copy, path.exists()) {
        (false, true) => Err(OpenError::CopyIncomplete { dir: dir.to_owned() }),
        (true, false) if is_store => Err(OpenError::NotEmpty { dir: dir.to_owned() }),
        (true, false) => File::create(&path).and_then(|_| sync(dir)).map_err(|source| OpenError::Io { path, source }),
        (true, true) | (false, false) => Ok(()),
    }
}

/// Takes the word back.
pub(super) fn complete(dir: &Path) -> io::Result<()> {
    fs::remove_file(path(dir))?;
    sync(dir)
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn path(dir: &Path) -> PathBuf {
    dir.join("copy-incomplete")
}
