//! What an embedded store refuses, and that it goes on afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod store_suite;

use godwit::store::{
    AckedPosition, Commit, CommitOutcome, CreateUserOutcome, Direction, LogStore, PageLimit, StoreError, TimerChange,
    TimerOutcome, TimerStore, UserStore,
    embedded::{Embedded, EmbeddedOptions, OpenError},
};
use godwit_proto::Seq;
use std::{
    io,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use store_suite::{build::*, disk, wait};

/// Set for the process that comes second.
const CHILD: &str = "GODWIT_STORE_SECOND_PROCESS";

fn options(dir: &Path) -> EmbeddedOptions {
    let mut options = EmbeddedOptions::new(dir);
    options.disk_reserve_bytes = 0;
    options
}

fn read_all(store: &Embedded) -> Vec<u64> {
    let all = PageLimit { entries: usize::MAX, bytes: usize::MAX };
    let log = wait(store.read(group(1), Seq::FIRST, Direction::Forward, all)).unwrap();
    log.iter().map(|entry| entry.seq.0).collect()
}

fn commit(store: &Embedded, seq: u64) -> CommitOutcome {
    wait(store.commit(vec![append(group(1), seq..=seq)])).remove(0)
}

fn put_timer(store: &Embedded, id: u64) -> TimerOutcome {
    wait(store.put_timers(vec![TimerChange::Put(timer(1, id, id))])).remove(0)
}

fn count_timers(store: &Embedded) -> u64 {
    wait(store.count_timers(REMINDER, owner(1))).unwrap()
}

#[test]
fn second_process() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let error = Embedded::open(options(Path::new(&dir))).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    println!("{error}");
}

#[test]
fn a_second_process_is_refused_by_name_of_the_directory() {
    let dir = disk::scratch();
    let store = Embedded::open(options(dir.path())).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "second_process", "--nocapture"])
        .env(CHILD, dir.path())
        .output()
        .unwrap();
    assert!(child.status.success());
    let said = String::from_utf8(child.stdout).unwrap();
    assert!(said.contains(&format!("another godwit process uses {}", dir.path().display())), "{said}");
    assert_eq!(commit(&store, 1), CommitOutcome::Durable);
}

#[test]
fn the_directory_is_for_its_owner_alone_and_free_after_closing() {
    use std::os::unix::fs::PermissionsExt;
    let parent = disk::scratch();
    let dir = parent.path().join("a").join("store");
    let store = Embedded::open(options(&dir)).unwrap();
    assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    let clone = store.clone();
    clone.close();
    assert!(matches!(commit(&store, 1), CommitOutcome::NotWritten(StoreError::Unavailable(_))));
    assert!(matches!(wait(store.load(group(1), 1)), Err(StoreError::Unavailable(_))));
    assert!(matches!(put_timer(&store, 1), TimerOutcome::NotWritten(StoreError::Unavailable(_))));
    let again = Embedded::open(options(&dir)).unwrap();
    assert_eq!(commit(&again, 1), CommitOutcome::Durable);
}

#[test]
fn what_was_asked_before_closing_is_answered() {
    let dir = disk::scratch();
    let store = Embedded::open(options(dir.path())).unwrap();
    let calls: Vec<_> = (1..=500).map(|seq| store.commit(vec![append(group(1), seq..=seq)])).collect();
    drop(store);
    assert!(calls.into_iter().all(|call| wait(call) == [CommitOutcome::Durable]));
    assert_eq!(read_all(&Embedded::open(options(dir.path())).unwrap()).len(), 500);
}

#[test]
fn settling_ends_while_commits_go_on() {
    let dir = disk::scratch();
    let store = Embedded::open(options(dir.path())).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for seq in 1.. {
                assert_eq!(commit(&store, seq), CommitOutcome::Durable);
                if stop.load(Ordering::SeqCst) {
                    break;
                }
            }
        });
        for _ in 0..20 {
            store.settle().unwrap();
        }
        stop.store(true, Ordering::SeqCst);
    });
}

/// A disk whose free space the test decides.
fn with_free_bytes(dir: &Path, free_bytes: &Arc<AtomicU64>) -> EmbeddedOptions {
    let mut options = EmbeddedOptions::new(dir);
    let free_bytes = free_bytes.clone();
    options.disk_reserve_bytes = 1_000;
    options.disk_probe_interval = Duration::ZERO;
    options.disk_probe = Arc::new(move |_| match free_bytes.load(Ordering::SeqCst) {
        u64::MAX => Err(io::Error::other("the disk does not answer")),
        free_bytes => Ok(free_bytes),
    });
    options
}

#[test]
fn a_full_disk_refuses_writes_and_takes_them_again_when_there_is_room() {
    let dir = disk::scratch();
    let free_bytes = Arc::new(AtomicU64::new(1_000));
    let store = Embedded::open(with_free_bytes(dir.path(), &free_bytes)).unwrap();
    assert_eq!(commit(&store, 1), CommitOutcome::Durable);
    assert_eq!(put_timer(&store, 1), TimerOutcome::Durable);
    for full in [999, 0, u64::MAX] {
        free_bytes.store(full, Ordering::SeqCst);
        assert_eq!(commit(&store, 2), CommitOutcome::NotWritten(StoreError::Full));
        assert_eq!(wait(store.create_user(account(7, "Ada"), None)), Err(StoreError::Full));
        assert_eq!(put_timer(&store, 2), TimerOutcome::NotWritten(StoreError::Full));
        assert_eq!(store.settle(), Err(StoreError::Full));
        assert_eq!((read_all(&store), count_timers(&store)), (vec![1], 1), "reads go on");
        assert_eq!(wait(store.user_by_name("ada".to_owned())), Ok(None));
    }
    free_bytes.store(1_000, Ordering::SeqCst);
    assert_eq!(commit(&store, 2), CommitOutcome::Durable);
    assert_eq!(wait(store.create_user(account(7, "Ada"), None)), Ok(CreateUserOutcome::Created));
    assert_eq!(put_timer(&store, 2), TimerOutcome::Durable);
    store.settle().unwrap();
    assert_eq!((read_all(&store), count_timers(&store)), (vec![1, 2], 2));
}

#[test]
fn a_store_that_was_closed_on_a_full_disk_has_everything() {
    let dir = disk::scratch();
    let free_bytes = Arc::new(AtomicU64::new(1_000));
    let mut lazy = with_free_bytes(dir.path(), &free_bytes);
    lazy.behind_delay = Duration::from_secs(3600);
    let store = Embedded::open(lazy).unwrap();
    assert_eq!(commit(&store, 1), CommitOutcome::Durable);
    free_bytes.store(0, Ordering::SeqCst);
    store.close();
    let store = Embedded::open(with_free_bytes(dir.path(), &free_bytes)).unwrap();
    assert_eq!(read_all(&store), [1]);
    free_bytes.store(1_000, Ordering::SeqCst);
    assert_eq!(commit(&store, 2), CommitOutcome::Durable);
}

#[test]
fn commits_wait_for_a_write_behind_that_lags_and_give_up_on_a_full_disk() {
    let dir = disk::scratch();
    let free_bytes = Arc::new(AtomicU64::new(1_000));
    let mut options = with_free_bytes(dir.path(), &free_bytes);
    options.behind_bytes_max = 4_000;
    let store = Embedded::open(options).unwrap();
    for seq in 1..=300 {
        assert_eq!(commit(&store, seq), CommitOutcome::Durable);
    }
    free_bytes.store(0, Ordering::SeqCst);
    assert_eq!(commit(&store, 301), CommitOutcome::NotWritten(StoreError::Full));
    free_bytes.store(1_000, Ordering::SeqCst);
    assert_eq!(commit(&store, 301), CommitOutcome::Durable);
    assert_eq!(read_all(&store).len(), 301);
}

#[test]
fn a_full_queue_refuses_whole_calls_and_keeps_their_order() {
    let dir = disk::scratch();
    let mut options = options(dir.path());
    options.queue_commits_max = 4;
    let store = Embedded::open(options).unwrap();
    let pair = |seq| vec![append(group(1), seq..=seq), append(group(2), seq..=seq)];
    // Faster than any disk: some of them must find the queue full.
    let calls: Vec<_> = (1..=2_000).map(|_| store.commit(pair(1))).collect();
    let outcomes: Vec<_> = calls.into_iter().map(wait).collect();
    let refused = vec![CommitOutcome::NotWritten(StoreError::Overloaded); 2];
    assert!(outcomes.contains(&refused));
    assert_eq!(outcomes[0], [CommitOutcome::Durable, CommitOutcome::Durable]);
    let there = vec![CommitOutcome::AlreadyDurable; 2];
    assert!(outcomes[1..].iter().all(|outcome| *outcome == refused || *outcome == there));
    let calls: Vec<_> = (1..=2_000).map(|id| store.put_timers(vec![TimerChange::Put(timer(1, id, id)); 2])).collect();
    let outcomes: Vec<_> = calls.into_iter().map(wait).collect();
    assert!(outcomes.contains(&vec![TimerOutcome::NotWritten(StoreError::Overloaded); 2]));
    let durable = outcomes.iter().filter(|outcomes| **outcomes == [TimerOutcome::Durable, TimerOutcome::Durable]);
    assert_eq!(durable.count() as u64, count_timers(&store), "of a call that was refused, nothing is there");
    // A call larger than the queue is taken when the queue is empty.
    let large: Vec<_> = (2..=20).flat_map(pair).collect::<Vec<Commit>>();
    assert!(wait(store.commit(large)).iter().all(|outcome| *outcome == CommitOutcome::Durable));
}

#[test]
fn reads_beyond_the_limit_are_refused() {
    let dir = disk::scratch();
    let mut options = options(dir.path());
    (options.readers, options.reads_max) = (1, 4);
    let store = Embedded::open(options).unwrap();
    wait(store.commit(vec![append(group(1), 1..=2_000)]));
    let calls: Vec<_> = (0..500).map(|_| store.load(group(1), 2_000)).collect();
    let answers: Vec<_> = calls.into_iter().map(wait).collect();
    assert!(answers.contains(&Err(StoreError::Overloaded)));
    assert!(answers.iter().any(Result::is_ok));
    assert_eq!(read_all(&store).len(), 2_000);
}

#[test]
fn acked_positions_beyond_the_limit_are_refused_until_they_are_rows() {
    let dir = disk::scratch();
    let mut options = options(dir.path());
    options.acked_pending_max = 3;
    options.behind_delay = Duration::from_secs(3600);
    let store = Embedded::open(options).unwrap();
    let at = |n| AckedPosition { user: user(1), device: device(1), conversation: group(n), seq: Seq(1) };
    assert_eq!(wait(store.put_acked(vec![at(1), at(2), at(3)])), Ok(()));
    assert_eq!(wait(store.put_acked(vec![at(4)])), Err(StoreError::Overloaded));
    store.settle().unwrap();
    assert_eq!(wait(store.put_acked(vec![at(4)])), Ok(()));
    assert_eq!(wait(store.acked(user(1), device(1), vec![group(4), group(1)])), Ok(vec![Seq(1), Seq(1)]));
}

#[test]
fn a_store_whose_engine_directory_is_gone_says_so() {
    let dir = disk::scratch();
    let store = Embedded::open(options(dir.path())).unwrap();
    assert_eq!(commit(&store, 1), CommitOutcome::Durable);
    drop(store);
    std::fs::remove_dir_all(dir.path().join("db")).unwrap();
    let error = Embedded::open(options(dir.path())).unwrap_err();
    assert!(matches!(error, OpenError::CommitsMissing { expected: 1, found: 0, .. }), "{error}");
}

#[test]
fn an_operator_can_accept_a_loss_by_deleting_the_guard() {
    let dir = disk::scratch();
    let store = Embedded::open(options(dir.path())).unwrap();
    for seq in 1..=3 {
        assert_eq!(commit(&store, seq), CommitOutcome::Durable);
    }
    // The process dies, and the disk has lost the last record.
    let wreck = disk::scratch();
    disk::copy(dir.path(), wreck.path());
    let journal = disk::journal(wreck.path());
    let written = disk::read_journal(&journal);
    disk::write_journal(&journal, &written[..written.len() - 1]);
    let error = Embedded::open(options(wreck.path())).unwrap_err();
    let OpenError::CommitsMissing { guard, torn, expected: 3, found: 2, .. } = &error else { panic!("{error}") };
    assert_eq!(disk::read_journal(torn.as_ref().unwrap()), written[..written.len() - 1], "the journal is kept");
    assert!(Embedded::open(options(wreck.path())).is_err(), "trying again changes nothing");
    std::fs::remove_file(guard).unwrap();
    let store = Embedded::open(options(wreck.path())).unwrap();
    assert_eq!(read_all(&store), [1, 2]);
    assert_eq!(commit(&store, 3), CommitOutcome::Durable);
}

/// Needs a small disk of its own: `mount -t tmpfs -o size=160m tmpfs DIR`, then
/// `GODWIT_SMALL_DISK=DIR cargo test --test store_limits small_disk -- --ignored --nocapture`.
#[test]
#[ignore = "needs a small disk"]
fn a_small_disk_fills_up_and_is_used_again_when_a_file_is_deleted() {
    let disk = std::env::var_os("GODWIT_SMALL_DISK").expect("GODWIT_SMALL_DISK names the disk");
    let dir = Path::new(&disk).join("store");
    let filler = Path::new(&disk).join("filler");
    let mut options = EmbeddedOptions::new(&dir);
    options.disk_reserve_bytes = 48 * 1024 * 1024;
    options.behind_bytes_max = 4 * 1024 * 1024;
    options.on_fatal = Arc::new(|reason| panic!("{reason}"));
    let mut store = Embedded::open(options.clone()).unwrap();
    let mut head = 0;
    let mut fill = |store: &Embedded| {
        let before = head;
        loop {
            let entries = (head + 1..=head + 50).map(|seq| sized_entry(seq, 2_000)).collect();
            let commit = Commit { entries, ..nothing(group(1), head) };
            match wait(store.commit(vec![commit])).remove(0) {
                CommitOutcome::Durable => head += 50,
                CommitOutcome::NotWritten(StoreError::Full) => return (before, head),
                outcome => panic!("{outcome:?}"),
            }
        }
    };
    let check = |store: &Embedded, head: u64| {
        let last = wait(store.load(group(1), 1)).unwrap().unwrap().tail.remove(0);
        assert_eq!(last.seq, Seq(head));
        assert_eq!(read_all(store).len() as u64, head);
    };
    std::fs::write(&filler, vec![1; 40 * 1024 * 1024]).unwrap();
    let (_, full) = fill(&store);
    println!("full after {full} entries");
    check(&store, full);
    // Somebody else takes all that is left.
    let mut rest = std::fs::File::create(Path::new(&disk).join("rest")).unwrap();
    while io::Write::write_all(&mut rest, &[1; 64 * 1024]).is_ok() {}
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(fill(&store), (full, full));
    check(&store, full);
    // Not even a restart needs room.
    store.close();
    store = Embedded::open(options.clone()).unwrap();
    assert_eq!(fill(&store), (full, full));
    check(&store, full);
    drop(rest);
    std::fs::remove_file(Path::new(&disk).join("rest")).unwrap();
    std::fs::remove_file(&filler).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let (_, more) = fill(&store);
    println!("after room was made, full after {more} entries");
    assert!(more > full);
    check(&store, more);
    drop(store);
    let store = Embedded::open(options).unwrap();
    check(&store, more);
}
