//! Hashing passwords on a few threads of its own, so that a storm of logins cannot starve chat.

use super::Password;
use crate::telemetry::metric;
use argon2::{Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version};
use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
};
use thiserror::Error;
use tokio::sync::oneshot;

/// Bytes of salt for a new hash, as RFC 9106 recommends.
const SALT_BYTES: usize = 16;

/// What hashing costs, and how much of it may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordSettings {
    /// Memory for one hash.
    pub memory_kib: u32,
    /// Passes over it.
    pub iterations: u32,
    /// Lanes, computed one after the other.
    pub parallelism: u32,
    /// Threads that hash.
    pub threads: usize,
    /// Jobs that wait for a thread.
    pub queue_max: usize,
}

/// Threads that hash and verify with Argon2id. Clones share them; they end with the last clone.
///
/// The futures need no particular runtime. One that is dropped before its turn costs nothing.
#[derive(Debug, Clone)]
pub struct PasswordPool {
    jobs: SyncSender<Job>,
}

#[derive(Debug)]
enum Job {
    Hash { password: Password, done: oneshot::Sender<Result<String, PasswordError>> },
    Verify { stored: Option<String>, password: Password, done: oneshot::Sender<Result<bool, PasswordError>> },
}

impl PasswordPool {
    /// Starts the threads. Takes the time of one hash, for the dummy that unknown users are verified against.
    pub fn start(settings: &PasswordSettings) -> io::Result<Self> {
        let params = Params::new(settings.memory_kib, settings.iterations, settings.parallelism, None)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let dummy: Arc<str> = hash(&argon2, b"nobody has this password").map_err(io::Error::other)?.into();
        let (jobs, receiver) = sync_channel(settings.queue_max);
        let receiver = Arc::new(Mutex::new(receiver));
        for index in 0..settings.threads {
            let (receiver, argon2, dummy) = (receiver.clone(), argon2.clone(), dummy.clone());
            thread::Builder::new().name(format!("password-{index}")).spawn(move || work(&receiver, &argon2, &dummy))?;
        }
        Ok(Self { jobs })
    }

    /// A PHC string with a fresh salt, to be stored.
    pub fn hash(&self, password: Password) -> impl Future<Output = Result<String, PasswordError>> + Send + use<> {
        let (done, answer) = oneshot::channel();
        self.run(Job::Hash { password, done }, answer)
    }

    /// Whether this is the password of the PHC string. Without one (an unknown user) the answer is no, after the same time
    /// that a wrong password takes, so that names cannot be guessed by the clock.
    pub fn verify(
        &self,
        stored: Option<String>,
        password: Password,
    ) -> impl Future<Output = Result<bool, PasswordError>> + Send + use<> {
        let (done, answer) = oneshot::channel();
        self.run(Job::Verify { stored, password, done }, answer)
    }

    fn run<T: Send + 'static>(
        &self,
        job: Job,
        answer: oneshot::Receiver<Result<T, PasswordError>>,
    ) -> impl Future<Output = Result<T, PasswordError>> + Send + use<T> {
        // Queued now and not at the first poll: whether there is room is decided in the order of the calls.
        let refused = self.jobs.try_send(job).err().map(|error| match error {
            TrySendError::Full(_) => PasswordError::Overloaded,
            TrySendError::Disconnected(_) => PasswordError::Failed,
        });
        if refused == Some(PasswordError::Overloaded) {
            count("overloaded");
        }
        async move {
            match refused {
                Some(error) => Err(error),
                // The thread died with the job in its hands.
                None => answer.await.unwrap_or(Err(PasswordError::Failed)),
            }
        }
    }
}

fn work(jobs: &Mutex<Receiver<Job>>, argon2: &Argon2<'_>, dummy: &str) {
    loop {
        // The lock is held while waiting, and passed on with the next job; nothing under it can be left half done.
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Err(_) => return,
            // Who asked may be gone: a client that gave up must not cost a hash.
            Ok(Job::Hash { password, done }) if !done.is_closed() => {
                let hashed = hash(argon2, password.as_bytes());
                count(if hashed.is_ok() { "hashed" } else { "failed" });
                let _ = done.send(hashed);
            }
            Ok(Job::Verify { stored, password, done }) if !done.is_closed() => {
                let verified = verify(argon2, stored.as_deref().unwrap_or(dummy), password.as_bytes());
                let verified = verified.map(|same| same && stored.is_some());
                count(match verified {
                    Ok(true) => "right",
                    Ok(false) => "wrong",
                    Err(_) => "failed",
                });
                let _ = done.send(verified);
            }
            Ok(Job::Hash { .. } | Job::Verify { .. }) => {}
        }
    }
}

fn count(outcome: &'static str) {
    metrics::counter!(metric::PASSWORDS, metric::OUTCOME => outcome).increment(1);
}

fn hash(argon2: &Argon2<'_>, password: &[u8]) -> Result<String, PasswordError> {
    let mut salt = [0; SALT_BYTES];
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| PasswordError::Failed)?;
    let hash: PasswordHash = argon2.hash_password_with_salt(password, &salt).map_err(|_| PasswordError::Failed)?;
    Ok(hash.to_string())
}

/// With the parameters that the PHC string names, whatever is configured now.
fn verify(argon2: &Argon2<'_>, stored: &str, password: &[u8]) -> Result<bool, PasswordError> {
    let stored = PasswordHash::new(stored).map_err(|_| PasswordError::Failed)?;
    match argon2.verify_password(password, &stored) {
        Ok(()) => Ok(true),
        Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
        Err(_) => Err(PasswordError::Failed),
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PasswordError {
    /// The queue is full. Answer `OVERLOADED`; the client asks again later.
    #[error("too many passwords are waiting to be checked")]
    Overloaded,
    /// The stored hash is damaged, or the machine has no memory or no randomness. Answer `INTERNAL`.
    #[error("the password could not be hashed")]
    Failed,
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{FutureExt, future::join_all};
    use std::time::{Duration, Instant};

    /// Little work, so that a test build hashes in a moment.
    const CHEAP: PasswordSettings =
        PasswordSettings { memory_kib: 64, iterations: 1, parallelism: 1, threads: 2, queue_max: 16 };

    /// Enough work to be busy for longer than a test takes to fill the queue.
    const DEAR: PasswordSettings =
        PasswordSettings { memory_kib: 64 * 1024, iterations: 2, parallelism: 1, threads: 1, queue_max: 2 };

    fn password(text: &str) -> Password {
        Password::new(text.into()).unwrap()
    }

    #[tokio::test]
    async fn a_password_verifies_against_its_own_hash_only() {
        let pool = PasswordPool::start(&CHEAP).unwrap();
        let stored = pool.hash(password("correct horse")).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{stored}");
        assert_eq!(pool.verify(Some(stored.clone()), password("correct horse")).await, Ok(true));
        assert_eq!(pool.verify(Some(stored), password("correct house")).await, Ok(false));
    }

    #[tokio::test]
    async fn the_same_password_hashes_differently_each_time() {
        let pool = PasswordPool::start(&CHEAP).unwrap();
        let (one, other) = (pool.hash(password("correct horse")), pool.hash(password("correct horse")));
        assert_ne!(one.await, other.await);
    }

    #[tokio::test]
    async fn a_hash_made_with_other_parameters_still_verifies() {
        let before = PasswordPool::start(&CHEAP).unwrap().hash(password("correct horse")).await.unwrap();
        let pool = PasswordPool::start(&PasswordSettings { memory_kib: 128, ..CHEAP }).unwrap();
        assert_eq!(pool.verify(Some(before), password("correct horse")).await, Ok(true));
    }

    #[tokio::test]
    async fn an_unknown_user_costs_a_hash_and_is_refused() {
        let pool = PasswordPool::start(&DEAR).unwrap();
        let started = Instant::now();
        assert_eq!(pool.verify(None, password("nobody has this password")).await, Ok(false));
        let unknown = started.elapsed();
        let stored = pool.hash(password("correct horse")).await.unwrap();
        let started = Instant::now();
        assert_eq!(pool.verify(Some(stored), password("wrong horse")).await, Ok(false));
        let wrong = started.elapsed();
        // The machine may be busy: only an answer without any hashing at all is told from one with it.
        assert!(unknown > wrong / 10, "{unknown:?} against {wrong:?}");
        assert!(unknown > Duration::from_millis(5), "{unknown:?}");
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once_and_loses_nothing_it_took() {
        let pool = PasswordPool::start(&DEAR).unwrap();
        let answers = join_all((0..20).map(|_| pool.hash(password("correct horse")))).await;
        let refused = answers.iter().filter(|answer| **answer == Err(PasswordError::Overloaded)).count();
        assert!((1..20).contains(&refused), "{refused} refused");
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 20 - refused);
    }

    #[tokio::test]
    async fn a_job_whose_asker_left_is_skipped() {
        let pool = PasswordPool::start(&PasswordSettings { queue_max: 64, ..DEAR }).unwrap();
        let started = Instant::now();
        pool.hash(password("correct horse")).await.unwrap();
        let one = started.elapsed();
        for _ in 0..60 {
            drop(pool.hash(password("correct horse")));
        }
        let started = Instant::now();
        pool.hash(password("correct horse")).await.unwrap();
        assert!(started.elapsed() < one * 20, "{:?} against {one:?}", started.elapsed());
    }

    #[tokio::test]
    async fn a_damaged_hash_is_a_fault_and_not_a_wrong_password() {
        let pool = PasswordPool::start(&CHEAP).unwrap();
        assert_eq!(
            pool.verify(Some("$argon2id$damaged".into()), password("12345678")).await,
            Err(PasswordError::Failed)
        );
    }

    #[test]
    fn parameters_that_argon2_refuses_are_an_error_at_the_start() {
        assert!(PasswordPool::start(&PasswordSettings { memory_kib: 1, ..CHEAP }).is_err());
    }

    #[test]
    fn whether_there_is_room_is_known_without_polling_first() {
        let pool = PasswordPool::start(&DEAR).unwrap();
        let mut taken: Vec<_> = (0..20).map(|_| Box::pin(pool.hash(password("correct horse")))).collect();
        let last = taken.pop().unwrap().now_or_never();
        assert_eq!(last, Some(Err(PasswordError::Overloaded)));
    }
}
