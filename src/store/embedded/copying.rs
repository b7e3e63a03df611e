//! A file that says that a copy into the store is not complete: a server that started on half of it would lose the rest.

use super::{LOCK, error::OpenError};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// Refuses a directory with files that are not a store's, before anything is written to it.
pub(super) fn refuse_others(dir: &Path, is_store: bool) -> Result<(), OpenError> {
    if is_store || path(dir).exists() {
        return Ok(());
    }
    let failed = |source| OpenError::Io { path: dir.to_owned(), source };
    for entry in fs::read_dir(dir).map_err(failed)? {
        // An opening that died at once leaves it alone behind.
        if entry.map_err(failed)?.file_name() != LOCK {
            return Err(OpenError::Occupied { dir: dir.to_owned() });
        }
    }
    Ok(())
}

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
