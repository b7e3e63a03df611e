//! Remembers, outside the engine, how many commits were durable.
//!
//! The engine reads damage in the middle of its journal as a torn tail and drops what follows (fjall issue 311). The
//! number of the newest durable record is therefore mirrored in this small file: if fewer records come back than it
//! says, the store refuses to open.
//!
//! The file has two slots of [`SLOT_BYTES`], written in turn, each with a checksum: a torn write spoils one, and the
//! other still holds the number before. A slot is written only after its record was synced, so the file is never ahead;
//! it is synced now and then, so after a power cut it may be behind, which hides damage but never invents it.

use super::error::OpenError;
use aws_lc_rs::digest;
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// Far enough apart that one torn sector never spoils both.
const SLOT_BYTES: u64 = 4096;
const MAGIC: [u8; 8] = *b"godwit\0g";
const CHECKSUM_BYTES: usize = 16;
const SLOT_USED: usize = 16 + CHECKSUM_BYTES;

/// The open file.
pub(super) struct Guard {
    file: File,
}

impl Guard {
    /// Opens or makes the file, and reads the number: `None` if nothing was ever written to it.
    pub(super) fn open(path: &Path, dir: &Path) -> Result<(Self, Option<u64>), OpenError> {
        let failed = |source| OpenError::Io { path: path.to_owned(), source };
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        let guard = Self { file };
        let number = match guard.read().map_err(failed)? {
            Slots::Empty => None,
            Slots::Newest(number) => Some(number),
            Slots::Damaged => {
                let detail = format!("{} does not say how many commits there were; delete it to go on", path.display());
                return Err(OpenError::Damaged { dir: dir.to_owned(), detail });
            }
        };
        Ok((guard, number))
    }

    /// Notes that this record is durable.
    pub(super) fn write(&self, number: u64) -> io::Result<()> {
        self.file.write_all_at(&encode(number), (number % 2) * SLOT_BYTES)
    }

    /// Makes what was written survive the machine.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn read(&self) -> io::Result<Slots> {
        let length = self.file.metadata()?.len();
        let mut newest = None;
        for slot in 0..2 {
            let mut bytes = [0; SLOT_USED];
            match self.file.read_exact_at(&mut bytes, slot * SLOT_BYTES) {
                Ok(()) => newest = newest.max(decode(bytes)),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(error) => return Err(error),
            }
        }
        Ok(match newest {
            Some(number) => Slots::Newest(number),
            None if length == 0 => Slots::Empty,
            None => Slots::Damaged,
        })
    }
}

/// The file's place in a store's directory.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("commits.guard")
}

enum Slots {
    Empty,
    Newest(u64),
    Damaged,
}

fn encode(number: u64) -> [u8; SLOT_USED] {
    let mut slot = [0; SLOT_USED];
    slot[..8].copy_from_slice(&MAGIC);
    slot[8..16].copy_from_slice(&number.to_be_bytes());
    let checksum = checksum(&slot[..16]);
    slot[16..].copy_from_slice(&checksum);
    slot
}

fn decode(slot: [u8; SLOT_USED]) -> Option<u64> {
    let mut number = [0; 8];
    number.copy_from_slice(&slot[8..16]);
    let number = u64::from_be_bytes(number);
    (encode(number) == slot).then_some(number)
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest = digest::digest(&digest::SHA256, bytes);
    let mut checksum = [0; CHECKSUM_BYTES];
    checksum.copy_from_slice(&digest.as_ref()[..CHECKSUM_BYTES]);
    checksum
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn open(dir: &Path) -> Result<(Guard, Option<u64>), OpenError> {
        Guard::open(&path(dir), dir)
    }

    #[test]
    fn the_newest_number_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let (guard, number) = open(dir.path()).unwrap();
        assert_eq!(number, None);
        for number in [1, 2, 3] {
            guard.write(number).unwrap();
        }
        assert_eq!(open(dir.path()).unwrap().1, Some(3));
    }

    #[test]
    fn a_torn_slot_leaves_the_number_before() {
        let dir = tempfile::tempdir().unwrap();
        let (guard, _) = open(dir.path()).unwrap();
        guard.write(4).unwrap();
        guard.write(5).unwrap();
        for torn in 0..SLOT_USED as u64 {
            guard.write(5).unwrap();
            let mut byte = [0];
            guard.file.read_exact_at(&mut byte, SLOT_BYTES + torn).unwrap();
            guard.file.write_all_at(&[byte[0] ^ 0x10], SLOT_BYTES + torn).unwrap();
            assert_eq!(open(dir.path()).unwrap().1, Some(4));
        }
    }

    #[test]
    fn a_file_without_any_sound_slot_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(path(dir.path()), b"not a guard").unwrap();
        assert!(matches!(open(dir.path()), Err(OpenError::Damaged { .. })));
    }
}
