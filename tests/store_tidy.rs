//! What a withdrawn message said is gone from the files of an embedded store, too.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod store_suite;

use bytes::Bytes;
use godwit::{
    chat::LogEntry,
    store::{
        Commit, CommitOutcome, Direction, LogStore, PageLimit, TimerChange, TimerRow, TimerStore,
        embedded::{Embedded, EmbeddedOptions},
    },
};
use godwit_proto::{
    Seq,
    v1::{self, WithdrawnReason, entry::Content},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};
use store_suite::{build::*, disk, wait};

const SECRET_BYTES: usize = 4_000;

fn open(dir: &Path, withdrawn_stay_max: Duration) -> Embedded {
    let mut options = EmbeddedOptions::new(dir);
    options.disk_reserve_bytes = 0;
    options.behind_delay = Duration::from_millis(1);
    options.withdrawn_stay_max = withdrawn_stay_max;
    Embedded::open(options).unwrap()
}

/// Bytes that no compression shortens and nobody else writes.
fn secret(n: u64) -> Bytes {
    let mut bytes = vec![0; SECRET_BYTES];
    StdRng::seed_from_u64(n).fill_bytes(&mut bytes);
    bytes.into()
}

fn says(seq: u64) -> LogEntry {
    let message = v1::Message { body: secret(seq), ..v1::Message::default() };
    LogEntry::new(&v1::Entry { content: Some(Content::Message(message)), ..entry(seq).to_proto() })
}

fn said(seq: u64) -> LogEntry {
    says(seq).withdrawn(WithdrawnReason::Expired)
}

fn commit(store: &Embedded, commit: Commit) {
    assert_eq!(wait(store.commit(vec![commit])), [CommitOutcome::Durable]);
}

fn log(store: &Embedded) -> Vec<LogEntry> {
    let all = PageLimit { entries: usize::MAX, bytes: usize::MAX };
    wait(store.read(group(1), Seq::FIRST, Direction::Forward, all)).unwrap()
}

/// How many of these secrets are in some file, in part at least.
fn found(dir: &Path, secrets: &[Bytes]) -> usize {
    const PIECE: usize = 24;
    const CHUNK: usize = 4096;
    let mut files = vec![dir.to_owned()];
    let mut found = vec![false; secrets.len()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(fs::read_dir(path).unwrap().map(|file| file.unwrap().path()));
            continue;
        }
        // The engine may have dropped it meanwhile.
        let Ok(bytes) = fs::read(path) else { continue };
        for at in (0..bytes.len()).step_by(CHUNK) {
            let chunk = &bytes[at..(at + CHUNK + PIECE).min(bytes.len())];
            // Nothing was written here, or what fills a journal up.
            if chunk[1..] == chunk[..chunk.len() - 1] {
                continue;
            }
            for (secret, found) in secrets.iter().zip(&mut found).filter(|(_, found)| !**found) {
                let pieces = secret.chunks_exact(SECRET_BYTES / 5).map(|piece| &piece[..PIECE]);
                *found = pieces.into_iter().any(|piece| chunk.windows(PIECE).any(|there| there == piece));
            }
        }
    }
    found.into_iter().filter(|found| *found).count()
}

fn wait_until_gone(dir: &Path, secrets: &[Bytes]) {
    let started = Instant::now();
    while found(dir, secrets) > 0 {
        assert!(started.elapsed() < Duration::from_secs(30), "{} are still there", found(dir, secrets));
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn what_a_withdrawn_message_said_stays_in_no_file_for_longer_than_it_may() {
    const LAST: u64 = 8;
    let dir = disk::scratch();
    let store = open(dir.path(), Duration::ZERO);
    let scheduled = TimerRow { payload: secret(100), ..timer(1, 1, 1) };
    let timers = vec![TimerChange::Put(scheduled.clone())];
    commit(&store, Commit { entries: (1..=4).map(says).collect(), timers, ..nothing(group(1), 0) });
    store.settle().unwrap();
    commit(&store, rewrite(group(1), 4, vec![said(1)]));
    wait_until_gone(dir.path(), &[secret(1)]);
    store.close();
    // From here on, what is there lies in tables, and the engine by itself would merge nothing.
    let store = open(dir.path(), Duration::from_secs(3600));
    let timers = vec![TimerChange::Remove(scheduled.key)];
    commit(&store, Commit { entries: (5..=LAST).map(says).collect(), timers, ..nothing(group(1), 4) });
    // Some are rows, and some are perhaps records only.
    commit(&store, rewrite(group(1), LAST, [2, 5, 8].map(said).to_vec()));
    store.settle().unwrap();
    let gone: Vec<_> = [2, 5, 8, 100].map(secret).to_vec();
    let kept: Vec<_> = [3, 4, 6, 7].map(secret).to_vec();
    let expected: Vec<_> =
        (1..=LAST).map(|seq| if [1, 2, 5, 8].contains(&seq) { said(seq) } else { says(seq) }).collect();
    assert_eq!(found(dir.path(), &gone), gone.len(), "they are there until the files are tidied up");
    store.close();
    // The next process knows of it.
    let store = open(dir.path(), Duration::ZERO);
    wait_until_gone(dir.path(), &gone);
    assert_eq!(found(dir.path(), &kept), kept.len());
    assert_eq!(log(&store), expected);
    let left = disk::scratch();
    store.close();
    disk::copy(dir.path(), left.path());
    let store = open(left.path(), Duration::ZERO);
    assert_eq!((log(&store), found(left.path(), &gone)), (expected, 0));
    assert_eq!(wait(store.timers_of(REMINDER, owner(1), None, 9)).unwrap(), []);
}

#[test]
fn messages_come_and_go_while_files_are_tidied_up() {
    const LAST: u64 = 60;
    let dir = disk::scratch();
    let store = open(dir.path(), Duration::ZERO);
    for seq in 1..=LAST {
        let rewritten = (seq > 1).then(|| said(seq - 1));
        commit(
            &store,
            Commit {
                entries: vec![says(seq)],
                rewritten: rewritten.into_iter().collect(),
                ..nothing(group(1), seq - 1)
            },
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let expected: Vec<_> = (1..LAST).map(said).chain([says(LAST)]).collect();
    assert_eq!(log(&store), expected);
    store.close();
    assert_eq!(log(&open(dir.path(), Duration::ZERO)), expected);
}
