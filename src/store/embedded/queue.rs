//! A bounded queue between callers on any thread and the threads of the store.

use super::sync::{lock, wait};
use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex},
};

/// Bounded by items and by bytes; a full queue refuses instead of blocking the caller.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    max: Weight,
}

struct State<T> {
    items: VecDeque<(T, Weight)>,
    weight: Weight,
    closed: bool,
}

/// What something costs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Weight {
    pub(super) items: usize,
    pub(super) bytes: usize,
}

/// Why a push failed. The item is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PushError {
    Full,
    Closed,
}

impl<T> Queue<T> {
    pub(super) fn new(max: Weight) -> Self {
        let state = State { items: VecDeque::new(), weight: Weight::default(), closed: false };
        Self { state: Mutex::new(state), filled: Condvar::new(), max }
    }

    /// Adds an item, and says how many waiting items that makes. Something heavier than the whole queue is taken when
    /// the queue is empty, for it could never be taken otherwise.
    pub(super) fn push(&self, item: T, weight: Weight) -> Result<usize, PushError> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(PushError::Closed);
        }
        let sum = Weight { items: state.weight.items + weight.items, bytes: state.weight.bytes + weight.bytes };
        if !state.items.is_empty() && (sum.items > self.max.items || sum.bytes > self.max.bytes) {
            return Err(PushError::Full);
        }
        state.weight = sum;
        state.items.push_back((item, weight));
        drop(state);
        self.filled.notify_one();
        Ok(sum.items)
    }

    /// Waits for items and moves them into `into`, in order, until `max` is reached. Returns the items that still wait;
    /// `None` when the queue is closed and empty.
    pub(super) fn pop_many(&self, max: Weight, into: &mut Vec<T>) -> Option<usize> {
        let mut state = lock(&self.state);
        while state.items.is_empty() {
            if state.closed {
                return None;
            }
            state = wait(&self.filled, state);
        }
        let mut taken = Weight::default();
        while let Some((_, weight)) = state.items.front() {
            taken = Weight { items: taken.items + weight.items, bytes: taken.bytes + weight.bytes };
            if !into.is_empty() && (taken.items > max.items || taken.bytes > max.bytes) {
                break;
            }
            let Some((item, weight)) = state.items.pop_front() else { break };
            state.weight.items -= weight.items;
            state.weight.bytes -= weight.bytes;
            into.push(item);
        }
        Some(state.weight.items)
    }

    /// Waits for one item; `None` when the queue is closed and empty.
    pub(super) fn pop(&self) -> Option<T> {
        let mut one = Vec::with_capacity(1);
        self.pop_many(Weight { items: 1, bytes: 0 }, &mut one)?;
        one.pop()
    }

    /// Refuses what comes from now on. What waits is still handed out.
    pub(super) fn close(&self) {
        lock(&self.state).closed = true;
        self.filled.notify_all();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ONE: Weight = Weight { items: 1, bytes: 10 };

    #[test]
    fn a_full_queue_refuses_and_takes_again_when_drained() {
        let queue = Queue::new(Weight { items: 2, bytes: 100 });
        assert_eq!(queue.push('a', ONE), Ok(1));
        assert_eq!(queue.push('b', ONE), Ok(2));
        assert_eq!(queue.push('c', ONE), Err(PushError::Full));
        assert_eq!(queue.pop(), Some('a'));
        assert_eq!(queue.push('c', ONE), Ok(2));
    }

    #[test]
    fn an_item_heavier_than_the_queue_is_taken_when_it_is_alone() {
        let queue = Queue::new(Weight { items: 2, bytes: 15 });
        assert_eq!(queue.push('a', Weight { items: 9, bytes: 99 }), Ok(9));
        assert_eq!(queue.push('b', ONE), Err(PushError::Full));
    }

    #[test]
    fn a_closed_queue_hands_out_what_it_has_and_then_ends() {
        let queue = Queue::new(Weight { items: 2, bytes: 100 });
        queue.push('a', ONE).unwrap();
        queue.close();
        assert_eq!(queue.push('b', ONE), Err(PushError::Closed));
        assert_eq!(queue.pop(), Some('a'));
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn one_pop_takes_no_more_than_a_turn_may_hold() {
        let queue = Queue::new(Weight { items: 9, bytes: 100 });
        for item in ['a', 'b', 'c'] {
            queue.push(item, ONE).unwrap();
        }
        let mut turn = Vec::new();
        assert_eq!(queue.pop_many(Weight { items: 9, bytes: 20 }, &mut turn), Some(1));
        assert_eq!(turn, ['a', 'b']);
    }
}
