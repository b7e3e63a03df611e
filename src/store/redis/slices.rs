//! What this process knows about each slice: which writes are certainly there, and so what may be believed.
//!
//! A slice has a *tag* (epoch, a random number of this process, generation) and numbers its writes. Redis holds both in the
//! slice's sentinel, and the tag in every value. A script writes only if the sentinel has its tag and the number of the write
//! before it: so the writes of a generation are there without a gap, or the next one fails. Whenever something may be missing
//! (a write that failed, a sentinel that is gone or older than what was answered) the slice is closed: the generation that
//! comes next believes no value that is there. A late write of a former one finds another tag and does nothing.

use super::keys::SLICES;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long a slice that belongs to a newer owner is left alone.
const REFUSED_PAUSE: Duration = Duration::from_secs(10);

/// Which start of the owner this is. What was written under another one is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Epoch {
    /// The epoch of the lease, below 2^53. Who meets a newer one in Redis is not the owner any more, and reads its store alone.
    Lease(u64),
    /// Of a store that can have no other owner, because its files are locked: from this on, and above whatever Redis has
    /// seen. The wall clock in microseconds will do.
    Sole(u64),
}

/// All slices.
pub(super) struct Slices {
    epoch: Epoch,
    /// Keeps apart two processes that believe to have the same epoch.
    nonce: u64,
    slices: Vec<Mutex<Slice>>,
}

/// What a reader may believe.
#[derive(Clone)]
pub(super) struct Trust {
    pub(super) tag: Arc<str>,
    /// All writes up to this one were answered before the read began.
    least: u64,
}

/// One write, as the script wants it.
pub(super) struct Turn {
    pub(super) tag: Arc<str>,
    pub(super) epoch: u64,
    /// The generation is new to Redis and must be opened first.
    pub(super) opens: bool,
    pub(super) previous: u64,
    pub(super) number: u64,
}

struct Slice {
    epoch: u64,
    generation: u64,
    tag: Arc<str>,
    state: State,
    /// The newest write that was given out, and the newest that was answered.
    number: u64,
    answered: u64,
    refused_until: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Closed,
    Opening,
    Open,
}

impl Slices {
    pub(super) fn new(epoch: Epoch, nonce: u64) -> Self {
        let (Epoch::Lease(number) | Epoch::Sole(number)) = epoch;
        let slice = || Slice {
            epoch: number,
            generation: 1,
            tag: tag(number, nonce, 1),
            state: State::Closed,
            number: 0,
            answered: 0,
            refused_until: None,
        };
        Self { epoch, nonce, slices: (0..SLICES).map(|_| Mutex::new(slice())).collect() }
    }

    /// What may be believed of a slice from now on. `None`: nothing.
    pub(super) fn trust(&self, slice: usize) -> Option<Trust> {
        let slice = self.lock(slice);
        (slice.state == State::Open).then(|| Trust { tag: slice.tag.clone(), least: slice.answered })
    }

    /// Whether a sentinel says that all is there that a reader relies on.
    pub(super) fn bears_out(&self, slice: usize, trust: &Trust, sentinel: Option<&[u8]>) -> bool {
        let Some(number) = sentinel.and_then(|sentinel| number_of(sentinel, &trust.tag)) else { return false };
        let slice = self.lock(slice);
        trust.least <= number && (slice.tag != trust.tag || number <= slice.number)
    }

    /// Whether a write to the slice has anything to change.
    pub(super) fn is_closed(&self, slice: usize) -> bool {
        self.lock(slice).state == State::Closed
    }

    /// Gives out the next write. Only one may be under way. `None`: the slice is closed, and `may_open` is false or another
    /// owner has it.
    pub(super) fn begin(&self, slice: usize, may_open: bool, now: Instant) -> Option<Turn> {
        let mut slice = self.lock(slice);
        let opens = slice.state == State::Closed;
        if opens {
            if !may_open || slice.refused_until.is_some_and(|until| now < until) {
                return None;
            }
            slice.state = State::Opening;
        }
        let previous = slice.number;
        slice.number += 1;
        Some(Turn { tag: slice.tag.clone(), epoch: slice.epoch, opens, previous, number: slice.number })
    }

    /// A write was answered. Says whether it counts: the slice may have been closed meanwhile.
    pub(super) fn answered(&self, slice: usize, turn: &Turn) -> bool {
        let mut slice = self.lock(slice);
        if slice.tag != turn.tag {
            return false;
        }
        slice.answered = turn.number;
        slice.state = State::Open;
        slice.refused_until = None;
        true
    }

    /// Something may be missing: nothing that is there is believed any more. Says whether anything was.
    pub(super) fn close(&self, slice: usize) -> bool {
        let mut slice = self.lock(slice);
        slice.state != State::Closed && {
            slice.next_generation(self.nonce);
            true
        }
    }

    /// As [`close`](Self::close), unless another generation has begun since.
    pub(super) fn close_if(&self, slice: usize, tag: &Arc<str>) -> bool {
        let mut slice = self.lock(slice);
        slice.tag == *tag && slice.state != State::Closed && {
            slice.next_generation(self.nonce);
            true
        }
    }

    /// Redis has a newer epoch.
    pub(super) fn refused(&self, slice: usize, held: u64, now: Instant) {
        let mut slice = self.lock(slice);
        match self.epoch {
            Epoch::Lease(_) => slice.refused_until = Some(now + REFUSED_PAUSE),
            Epoch::Sole(_) => slice.epoch = slice.epoch.max(held + 1),
        }
        slice.next_generation(self.nonce);
    }

    fn lock(&self, slice: usize) -> MutexGuard<'_, Slice> {
        // Nothing here panics half-way through a change.
        self.slices[slice].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slice {
    fn next_generation(&mut self, nonce: u64) {
        self.generation += 1;
        self.tag = tag(self.epoch, nonce, self.generation);
        self.state = State::Closed;
        self.number = 0;
        self.answered = 0;
    }
}

fn tag(epoch: u64, nonce: u64, generation: u64) -> Arc<str> {
    format!("{epoch}.{nonce:x}.{generation}").into()
}

/// What a sentinel holds: `tag:number`.
fn number_of(sentinel: &[u8], tag: &str) -> Option<u64> {
    let number = sentinel.strip_prefix(tag.as_bytes())?.strip_prefix(b":")?;
    str::from_utf8(number).ok()?.parse().ok()
}

/// The epoch in a sentinel; what cannot be read is none that is newer.
pub(super) fn epoch_of(sentinel: &[u8]) -> u64 {
    let digits = sentinel.split(|byte| *byte == b'.').next().and_then(|digits| str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn slices(epoch: Epoch) -> Slices {
        Slices::new(epoch, 0xA)
    }

    fn write(slices: &Slices) -> Turn {
        let turn = slices.begin(3, true, Instant::now()).unwrap();
        assert!(slices.answered(3, &turn));
        turn
    }

    #[test]
    fn nothing_is_believed_before_a_first_write_was_answered() {
        let slices = slices(Epoch::Lease(7));
        assert!(slices.trust(3).is_none());
        assert!(slices.begin(3, false, Instant::now()).is_none());
        let turn = slices.begin(3, true, Instant::now()).unwrap();
        assert!(turn.opens && slices.trust(3).is_none());
        assert!(slices.answered(3, &turn) && slices.trust(3).is_some());
        assert!(slices.trust(4).is_none());
    }

    #[test]
    fn a_sentinel_bears_out_what_was_answered_before_and_what_is_under_way() {
        let slices = slices(Epoch::Lease(7));
        write(&slices);
        write(&slices);
        let trust = slices.trust(3).unwrap();
        let bears_out = |sentinel: &str| slices.bears_out(3, &trust, Some(sentinel.as_bytes()));
        assert!(bears_out("7.a.1:2"));
        assert!(!bears_out("7.a.1:1"), "a write that was answered is missing");
        assert!(!bears_out("7.a.1:3"), "a write that was never made is there");
        assert!(!bears_out("7.b.1:2") && !bears_out("8.a.1:2") && !bears_out("7.a.2:2") && !bears_out("7.a.12"));
        assert!(!slices.bears_out(3, &trust, None));
        slices.begin(3, false, Instant::now()).unwrap();
        assert!(slices.bears_out(3, &trust, Some(b"7.a.1:3")));
    }

    #[test]
    fn what_was_under_way_when_a_slice_was_closed_does_not_open_it() {
        let slices = slices(Epoch::Lease(7));
        write(&slices);
        let late = slices.begin(3, false, Instant::now()).unwrap();
        assert!(slices.close_if(3, &late.tag) && !slices.close_if(3, &late.tag));
        assert!(!slices.answered(3, &late));
        assert!(slices.trust(3).is_none());
        let next = write(&slices);
        assert!(next.opens && next.previous == 0 && next.tag != late.tag);
    }

    #[test]
    fn a_lease_gives_way_to_a_newer_epoch_and_a_sole_owner_goes_above_it() {
        let now = Instant::now();
        let lease = slices(Epoch::Lease(7));
        lease.refused(3, 9, now);
        assert!(lease.begin(3, true, now).is_none());
        assert!(lease.begin(3, true, now + REFUSED_PAUSE).is_some());
        let sole = slices(Epoch::Sole(7));
        sole.refused(3, 9, now);
        assert_eq!(sole.begin(3, true, now).unwrap().epoch, 10);
    }

    #[test]
    fn the_epoch_of_a_sentinel_is_what_stands_first() {
        assert_eq!(epoch_of(b"17.a.1:2"), 17);
        assert_eq!(epoch_of(b"rubbish"), 0);
    }
}
