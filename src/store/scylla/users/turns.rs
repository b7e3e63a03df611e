//! Taking turns at what must not be changed by two at once.

use foldhash::fast::FixedState;
use std::hash::{BuildHasher as _, Hash};
use tokio::sync::{Mutex, MutexGuard};

/// Whoever has the turn of a thing is the only one in this process. A bounded number of locks: two things may share one.
pub(super) struct Turns(Box<[Mutex<()>]>);

const LOCKS: usize = 256;

impl Turns {
    pub(super) fn new() -> Self {
        Self((0..LOCKS).map(|_| Mutex::default()).collect())
    }

    /// Waits for the turns of all these things, given by [`Turns::place`].
    pub(super) async fn take<const N: usize>(&self, mut places: [usize; N]) -> Vec<MutexGuard<'_, ()>> {
        // In one order, so that no two wait for each other; and none twice, which would be waiting for oneself.
        places.sort_unstable();
        let mut turns = Vec::with_capacity(N);
        for (at, place) in places.iter().enumerate() {
            if at == 0 || places[at - 1] != *place {
                turns.push(self.0[*place].lock().await);
            }
        }
        turns
    }

    /// Where the turn of a thing is.
    pub(super) fn place(thing: &impl Hash) -> usize {
        (FixedState::default().hash_one(thing) % LOCKS as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[test]
    fn nobody_gets_a_turn_that_another_one_has_and_things_may_share_one() {
        let turns = Turns::new();
        let both = turns.take([7, 3, 7]).now_or_never();
        assert!(both.is_some(), "free turns are waited for");
        assert!(turns.take([3]).now_or_never().is_none() && turns.take([9, 7]).now_or_never().is_none());
        drop(both);
        assert!(turns.take([9, 7, 3]).now_or_never().is_some());
    }
}
