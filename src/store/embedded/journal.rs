//! Reads the engine's journals before the engine does, and finds where one stops making sense.
//!
//! The engine treats some damage as the end of its journal and cuts the file there; other damage, such as a lost page in
//! a batch that was never synced, makes it refuse for ever. Here both are the same: a journal is sound up to a point. What
//! lies after it in the newest journal may be what a crash left of batches nobody was told about; [`super::recovery`]
//! decides by the records' numbers. In an older journal, which was synced before the next was begun, it is damage.
//!
//! The format is that of fjall 3 (`FJL\x03`): a journal is a row of batches, each a start (1, items `u32`, seqno `u64`),
//! items (2, ..), and an end (3, xxh3 of the items `u64`, magic), all little-endian; zeros follow the last batch. Batches
//! are in the order of their seqnos, which no checksum covers: one out of order is damage too.

use super::error::OpenError;
use rustix::{
    fs::{SeekFrom, seek},
    io::Errno,
};
use std::{
    fs::{self, File},
    io::{self, BufReader, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};
use xxhash_rust::xxh3::Xxh3;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const MAGIC: [u8; 4] = *b"FJL\x03";

/// Seqnos are given out one by one; no store lives long enough to leave such a gap.
const SEQNO_GAP_MAX: u64 = 1 << 40;

/// Checks every journal in an engine's directory. If the newest has something after its sound part, that part is cut off,
/// and the whole journal kept as a copy in `dir`, whose path is returned.
pub(super) fn check(engine: &Path, dir: &Path) -> Result<Option<PathBuf>, OpenError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Io { path, source }
    };
    let journals = list(engine).map_err(failed(engine))?;
    let mut seqno = 0;
    for (index, path) in journals.iter().enumerate() {
        let (sound, newest) = sound_bytes(path, seqno).map_err(failed(path))?;
        seqno = newest;
        let Some(sound) = sound else { continue };
        if index + 1 < journals.len() {
            let detail = format!("{} makes no sense after byte {sound}", path.display());
            return Err(OpenError::Damaged { dir: dir.to_owned(), detail });
        }
        let kept = dir.join(format!("torn-{}", path.file_name().unwrap_or_default().to_string_lossy()));
        cut(path, sound, &kept).map_err(failed(path))?;
        tracing::warn!(journal = %path.display(), sound, "the journal's end is torn; cut it off");
        return Ok(Some(kept));
    }
    Ok(None)
}

/// The number of the journal that is written to.
pub(super) fn newest(engine: &Path) -> io::Result<u64> {
    numbers(engine).map(|numbers| numbers.last().copied().unwrap_or_default())
}

/// The number of the oldest journal that is still there.
pub(super) fn oldest(engine: &Path) -> io::Result<u64> {
    numbers(engine).map(|numbers| numbers.first().copied().unwrap_or_default())
}

fn numbers(engine: &Path) -> io::Result<Vec<u64>> {
    Ok(list(engine)?.iter().filter_map(|path| number(path)).collect())
}

fn number(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.parse().ok()
}

/// The journals, oldest first.
fn list(engine: &Path) -> io::Result<Vec<PathBuf>> {
    let mut journals = Vec::new();
    for file in fs::read_dir(engine)? {
        let path = file?.path();
        if let Some(number) = number(&path)
            && path.extension().is_some_and(|extension| extension == "jnl")
        {
            journals.push((number, path));
        }
    }
    journals.sort_unstable();
    Ok(journals.into_iter().map(|(_, path)| path).collect())
}

/// How much of a journal makes sense, or `None` if all of it does; and the newest seqno, given the newest one before.
fn sound_bytes(path: &Path, mut seqno: u64) -> io::Result<(Option<u64>, u64)> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut reader = Reader { file: BufReader::with_capacity(256 * 1024, file), at: 0, length, item: Vec::new() };
    loop {
        let start = reader.at;
        match reader.batch()? {
            Some(batch) if batch > seqno && batch - seqno < SEQNO_GAP_MAX => seqno = batch,
            // Seqnos begin at 0.
            Some(0) if seqno == 0 => {}
            Some(_) => return Ok((Some(start), seqno)),
            None => {
                let clean = is_zero_from(reader.file.get_ref(), start, length)?;
                return Ok(((!clean).then_some(start), seqno));
            }
        }
    }
}

struct Reader {
    file: BufReader<File>,
    at: u64,
    length: u64,
    item: Vec<u8>,
}

impl Reader {
    /// Reads a batch and gives its seqno; `None` if there is no sound batch here.
    fn batch(&mut self) -> io::Result<Option<u64>> {
        match self.try_batch() {
            Ok(seqno) => Ok(seqno),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn try_batch(&mut self) -> io::Result<Option<u64>> {
        let [START] = self.take()? else { return Ok(None) };
        let items = u32::from_le_bytes(self.take()?);
        let seqno = u64::from_le_bytes(self.take()?);
        let mut checksum = Xxh3::new();
        for _ in 0..items {
            if !self.item(&mut checksum)? {
                return Ok(None);
            }
        }
        let [END] = self.take()? else { return Ok(None) };
        let sound = u64::from_le_bytes(self.take()?) == checksum.digest() && self.take()? == MAGIC;
        Ok(sound.then_some(seqno))
    }

    /// Reads an item into the checksum; `false` if there is none.
    fn item(&mut self, checksum: &mut Xxh3) -> io::Result<bool> {
        const TAG_AND_KEYSPACE: usize = 9;
        let [tag] = self.take()?;
        checksum.update(&[tag]);
        if tag == CLEAR {
            checksum.update(&self.take::<{ TAG_AND_KEYSPACE - 1 }>()?);
            return Ok(true);
        }
        // Type, compression, keyspace, key length, value length, stored value length.
        let header: [u8; 20] = self.take()?;
        checksum.update(&header);
        let key_bytes = u16::from_le_bytes([header[10], header[11]]);
        let value_bytes = u32::from_le_bytes([header[16], header[17], header[18], header[19]]);
        let bytes = u64::from(key_bytes) + u64::from(value_bytes);
        if tag != ITEM || bytes > self.length.saturating_sub(self.at) {
            return Ok(false);
        }
        self.item.resize(usize::try_from(bytes).unwrap_or(usize::MAX), 0);
        self.file.read_exact(&mut self.item)?;
        self.at += bytes;
        checksum.update(&self.item);
        Ok(true)
    }

    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(bytes)
    }
}

/// Whether a file holds nothing but zeros from here on.
fn is_zero_from(file: &File, at: u64, length: u64) -> io::Result<bool> {
    let mut zero = true;
    for_each_chunk(file, at, length, |_, chunk| {
        zero = chunk == &ZEROS[..chunk.len()];
        Ok(zero)
    })?;
    Ok(zero)
}

/// Keeps a copy of a journal, and leaves its sound part, durably both.
fn cut(path: &Path, sound: u64, kept: &Path) -> io::Result<()> {
    let journal = File::options().read(true).write(true).open(path)?;
    let length = journal.metadata()?.len();
    let copy = File::create(kept)?;
    copy.set_len(length)?;
    for_each_chunk(&journal, 0, length, |at, chunk| copy.write_all_at(chunk, at).map(|()| true))?;
    copy.sync_all()?;
    journal.set_len(sound)?;
    journal.sync_all()
}

static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// Reads a file piece by piece until told to stop. Leaves out holes, for a new journal is one large hole.
fn for_each_chunk(
    file: &File,
    mut at: u64,
    length: u64,
    mut each: impl FnMut(u64, &[u8]) -> io::Result<bool>,
) -> io::Result<()> {
    let mut chunk = vec![0; ZEROS.len()];
    while at < length {
        match seek(file, SeekFrom::Data(at)) {
            Ok(data) => at = data,
            Err(Errno::NXIO) => break,
            // A file system without holes: read on.
            Err(_) => {}
        }
        let read = file.read_at(&mut chunk, at)?;
        if read == 0 || !each(at, &chunk[..read])? {
            break;
        }
        at += read as u64;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use fjall::{Database, KeyspaceCreateOptions, PersistMode};

    /// A database's directory with three batches, and what its journal holds.
    fn journal() -> (tempfile::TempDir, PathBuf, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let db = Database::builder(dir.path()).open().unwrap();
        let keyspace = db.keyspace("rows", KeyspaceCreateOptions::default).unwrap();
        for n in 0..3_u8 {
            let mut batch = db.batch().durability(Some(PersistMode::SyncData));
            batch.insert(&keyspace, [n], vec![n + 1; 50]);
            // Long enough for the engine to compress it.
            batch.insert(&keyspace, [n, n], vec![n + 1; 9_000]);
            batch.remove(&keyspace, [n, 9]);
            batch.commit().unwrap();
        }
        let path = dir.path().join("0.jnl");
        let mut written = fs::read(&path).unwrap();
        written.truncate(1 + written.iter().rposition(|byte| *byte != 0).unwrap());
        drop(keyspace);
        (dir, path, written)
    }

    fn sound(written: &[u8]) -> Option<u64> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), written).unwrap();
        file.as_file().set_len(written.len() as u64 + 100_000).unwrap();
        sound_bytes(file.path(), 0).unwrap().0
    }

    #[test]
    fn what_the_engine_wrote_is_sound() {
        let (_dir, path, written) = journal();
        assert_eq!(sound_bytes(&path, 0).unwrap().0, None);
        assert_eq!(sound(&written), None);
    }

    #[test]
    fn a_changed_bit_ends_the_sound_part_before_its_batch() {
        let (_dir, _, written) = journal();
        let magics: Vec<_> = (4..=written.len()).filter(|end| written[end - 4..*end] == MAGIC).collect();
        assert_eq!(magics.last(), Some(&written.len()));
        for at in 0..written.len() {
            let mut damaged = written.clone();
            damaged[at] ^= 1 << (at % 8);
            let before = magics.iter().rev().find(|end| **end <= at).copied().unwrap_or(0);
            match sound(&damaged) {
                Some(sound) if sound as usize == before => {}
                // A seqno that was raised shows only when the next one does not follow, or not at all if it still does.
                outcome => {
                    let seqno = before + 5..before + 13;
                    assert!(seqno.contains(&at), "bit of byte {at} of {magics:?}: {outcome:?}");
                }
            }
        }
    }

    #[test]
    fn a_batch_out_of_order_ends_the_sound_part() {
        let (_dir, _, written) = journal();
        let second = (4..).find(|end| written[end - 4..*end] == MAGIC).unwrap();
        let third = (second + 4..).find(|end| written[end - 4..*end] == MAGIC).unwrap();
        let seqno = |start: usize| u64::from_le_bytes(written[start + 5..start + 13].try_into().unwrap());
        let with_seqno = |start: usize, seqno: u64| {
            let mut changed = written.clone();
            changed[start + 5..start + 13].copy_from_slice(&seqno.to_le_bytes());
            sound(&changed)
        };
        // No later than the one before it.
        assert_eq!(with_seqno(second, seqno(0)), Some(second as u64));
        // No earlier than the one after it, which then is the one that does not fit.
        assert_eq!(with_seqno(second, seqno(third)), Some(third as u64));
        assert_eq!(with_seqno(third, u64::MAX), Some(third as u64));
        assert_eq!(with_seqno(third, seqno(third) + 1), None);
    }

    #[test]
    fn a_cut_journal_keeps_its_whole_batches_and_a_copy() {
        let (dir, path, written) = journal();
        fs::write(&path, &written[..written.len() - 1]).unwrap();
        let copies = tempfile::tempdir().unwrap();
        let kept = check(dir.path(), copies.path()).unwrap().unwrap();
        assert_eq!(fs::read(kept).unwrap(), written[..written.len() - 1]);
        assert_eq!(check(dir.path(), copies.path()).unwrap(), None);
        let db = Database::builder(dir.path()).open().unwrap();
        let keyspace = db.keyspace("rows", KeyspaceCreateOptions::default).unwrap();
        assert_eq!(keyspace.len().unwrap(), 4);
    }

    #[test]
    fn damage_in_an_older_journal_is_reported() {
        let (dir, path, mut written) = journal();
        fs::copy(&path, dir.path().join("1.jnl")).unwrap();
        written[30] ^= 1;
        fs::write(&path, &written).unwrap();
        assert!(matches!(check(dir.path(), dir.path()), Err(OpenError::Damaged { .. })));
    }
}
