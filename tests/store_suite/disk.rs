//! What a crash leaves on disk.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// The engine gives a journal its full length at once; what is not written yet reads as zeros.
const JOURNAL_BYTES: u64 = 64 * 1024 * 1024;

/// A temporary directory in memory where there is one: a test that opens a thousand stores is about what they make of
/// their files, not about the disk.
pub fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// Copies a store's directory as it is, also while the store is open: what a process leaves that dies now.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let target = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            copy(&file.path(), &target);
        } else if target.extension().is_some_and(|extension| extension == "jnl") {
            write_journal(&target, &read_journal(&file.path()));
        } else {
            fs::copy(file.path(), target).unwrap();
        }
    }
}

/// The journals of a store, oldest first.
pub fn journals(dir: &Path) -> Vec<PathBuf> {
    let mut journals: Vec<_> = fs::read_dir(dir.join("db"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jnl"))
        .collect();
    journals.sort_by_key(|path| path.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap());
    journals
}

/// The one journal of a young store.
pub fn journal(dir: &Path) -> PathBuf {
    let mut journals = journals(dir);
    assert_eq!(journals.len(), 1);
    journals.remove(0)
}

/// What was written to a journal. Every batch ends in a byte that is not zero.
pub fn read_journal(path: &Path) -> Vec<u8> {
    const CHUNK: usize = 4096;
    let mut written = Vec::new();
    let mut file = File::open(path).unwrap();
    // A whole chunk of zeros is the part that was never written.
    while written.chunks(CHUNK).last() != Some(&[0; CHUNK]) {
        if (&mut file).take(CHUNK as u64).read_to_end(&mut written).unwrap() == 0 {
            break;
        }
    }
    let used = written.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    written.truncate(used);
    written
}

/// A journal that holds this and zeros after it.
pub fn write_journal(path: &Path, written: &[u8]) {
    let mut file = File::create(path).unwrap();
    file.write_all(written).unwrap();
    file.set_len(JOURNAL_BYTES.max(written.len() as u64)).unwrap();
}
