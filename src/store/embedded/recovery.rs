//! Opening: everything that was durable is there, or the store says what is missing.

use super::{
    error::{OpenError, RowError},
    keys,
    keyspaces::Keyspaces,
    record::Record,
};
use std::path::Path;

/// What this version writes and reads. A version that does not know rewritten entries would lose them on their way from
/// records to rows, and with them that a message is gone, so it must not open this.
const FORMAT: u64 = 4;
/// What is read too, and becomes [`FORMAT`] by opening: the same without rewritten entries,
const WITHOUT_REWRITTEN: u64 = 3;
/// and the same without timers.
const WITHOUT_TIMERS: u64 = 2;

/// Where the records stand.
pub(super) struct Recovered {
    /// Records up to here are gone.
    pub(super) removed_upto: u64,
    /// Records up to here have their rows, durably.
    pub(super) rows_upto: u64,
    /// The records after that. Some of their rows may be there, and others not.
    pub(super) records: Vec<Record>,
}

impl Recovered {
    /// The newest durable record.
    pub(super) fn newest(&self) -> u64 {
        self.rows_upto + self.records.len() as u64
    }
}

/// What has to be there.
pub(super) struct Expected<'a> {
    /// The newest record that was durable.
    pub(super) number: u64,
    /// The file that says so.
    pub(super) guard: &'a Path,
    /// A copy of the journal as it was found, if its end was cut off.
    pub(super) torn: Option<&'a Path>,
}

/// Checks that the records are complete, and reads those whose rows are still missing: as many as the write-behind was
/// allowed to lag.
pub(super) fn recover(keyspaces: &Keyspaces, expected: &Expected<'_>, dir: &Path) -> Result<Recovered, OpenError> {
    let failed = |error: RowError| match error {
        RowError::Poisoned => OpenError::Engine { dir: dir.to_owned(), source: fjall::Error::Poisoned },
        RowError::Engine(source) => OpenError::Engine { dir: dir.to_owned(), source },
        RowError::Damaged(detail) => OpenError::Damaged { dir: dir.to_owned(), detail },
    };
    let found = check_format(keyspaces, dir, failed)?;
    let rows_upto = keyspaces.rows_upto().map_err(failed)?;
    let present = present(keyspaces).map_err(failed)?;
    let removed_upto = present.first().map_or(rows_upto, |first| (first - 1).min(rows_upto));
    let newest = present.last().map_or(rows_upto, |last| (*last).max(rows_upto));
    if let Some(missing) = (rows_upto + 1..=newest).find(|number| present.binary_search(number).is_err()) {
        let detail = format!("record {missing} is gone, and {newest} is there");
        return Err(OpenError::Damaged { dir: dir.to_owned(), detail });
    }
    if expected.number > newest {
        return Err(OpenError::CommitsMissing {
            dir: dir.to_owned(),
            guard: expected.guard.to_owned(),
            expected: expected.number,
            found: newest,
            torn: expected.torn.map(Path::to_owned),
        });
    }
    let records = (rows_upto + 1..=newest).map(|number| record(keyspaces, number));
    let records = records.collect::<Result<_, _>>().map_err(failed)?;
    if found != FORMAT {
        // Only now: a directory that is refused keeps what it had.
        format(keyspaces).map_err(|error| failed(error.into()))?;
    }
    Ok(Recovered { removed_upto, rows_upto, records })
}

/// Notes this version's format in a store, durably.
pub(super) fn format(keyspaces: &Keyspaces) -> fjall::Result<()> {
    keyspaces.meta.insert(keys::FORMAT, FORMAT.to_be_bytes())?;
    keyspaces.persist()
}

fn check_format(keyspaces: &Keyspaces, dir: &Path, failed: impl Fn(RowError) -> OpenError) -> Result<u64, OpenError> {
    let value = keyspaces.meta.get(keys::FORMAT).map_err(|error| failed(error.into()))?;
    match value.map(|value| keys::number(&value)).transpose().map_err(&failed)? {
        Some(known @ (FORMAT | WITHOUT_REWRITTEN | WITHOUT_TIMERS)) => Ok(known),
        Some(found) => Err(OpenError::Format { dir: dir.to_owned(), found, known: FORMAT }),
        None => Err(failed(RowError::Damaged("the store's format is missing".to_owned()))),
    }
}

/// The numbers of all records, ascending.
fn present(keyspaces: &Keyspaces) -> Result<Vec<u64>, RowError> {
    let number = |key: &[u8]| {
        keys::record_number(key).ok_or_else(|| RowError::Damaged("a record under a strange key".to_owned()))
    };
    keyspaces.records.iter().map(|record| number(&record.key()?)).collect()
}

fn record(keyspaces: &Keyspaces, number: u64) -> Result<Record, RowError> {
    let value = keyspaces.records.get(keys::record(number))?;
    let record = value.map(|value| Record::decode(&value)).transpose()?;
    record
        .filter(|record| record.number == number)
        .ok_or_else(|| RowError::Damaged(format!("record {number} is not under its key")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::embedded::{Embedded, EmbeddedOptions};

    /// A store of this format, whose keyspaces of timers are taken away.
    fn of_format(format: u64) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let options = EmbeddedOptions::new(dir.path());
        Embedded::open(options.clone()).unwrap().close();
        let keyspaces = Keyspaces::open(&dir.path().join("db"), &options).unwrap();
        for keyspace in [&keyspaces.timers, &keyspaces.timers_of, &keyspaces.timers_due] {
            keyspaces.db.delete_keyspace(keyspace.clone()).unwrap();
        }
        keyspaces.meta.insert(keys::FORMAT, format.to_be_bytes()).unwrap();
        keyspaces.persist().unwrap();
        dir
    }

    fn format_of(dir: &tempfile::TempDir) -> u64 {
        let keyspaces = Keyspaces::open(&dir.path().join("db"), &EmbeddedOptions::new(dir.path())).unwrap();
        keys::number(&keyspaces.meta.get(keys::FORMAT).unwrap().unwrap()).unwrap()
    }

    #[test]
    fn a_store_of_an_older_format_has_this_one_once_it_was_opened() {
        for format in [WITHOUT_TIMERS, WITHOUT_REWRITTEN] {
            let dir = of_format(format);
            Embedded::open(EmbeddedOptions::new(dir.path())).unwrap().close();
            assert_eq!(format_of(&dir), FORMAT);
            Embedded::open(EmbeddedOptions::new(dir.path())).unwrap().close();
        }
    }

    #[test]
    fn a_store_of_another_format_is_refused_and_left_as_it_is() {
        for format in [WITHOUT_TIMERS - 1, FORMAT + 1] {
            let dir = of_format(format);
            let error = Embedded::open(EmbeddedOptions::new(dir.path())).unwrap_err();
            assert!(matches!(error, OpenError::Format { found, known: FORMAT, .. } if found == format), "{error}");
            assert_eq!(format_of(&dir), format);
        }
    }
}
