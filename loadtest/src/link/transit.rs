//! Datagrams on their way, and when each of them arrives.

use std::{cmp::Ordering, collections::BinaryHeap, time::Instant};

/// Datagrams under way through all links of a relay, each with where it goes.
///
/// Holds at most [`UNDER_WAY_BYTES_MAX`]; buffers are used again.
#[derive(Debug)]
pub struct Transit<A> {
    under_way: BinaryHeap<Datagram<A>>,
    /// How many were put in; tells who was first among those that arrive at the same time.
    count: u64,
    bytes: usize,
    spare: Vec<Vec<u8>>,
}

/// A datagram that arrives.
#[derive(Debug)]
pub struct Datagram<A> {
    /// When it should have arrived.
    pub at: Instant,
    /// Where it goes.
    pub to: A,
    /// What is in it.
    pub bytes: Vec<u8>,
    order: u64,
}

impl<A> Transit<A> {
    /// Nothing under way.
    pub fn new() -> Self {
        Self { under_way: BinaryHeap::new(), count: 0, bytes: 0, spare: Vec::new() }
    }

    /// Sends a datagram on its way. Those that arrive at the same time do so in the order in which they were put in.
    #[must_use = "it says whether there was room"]
    pub fn put(&mut self, at: Instant, to: A, bytes: &[u8]) -> bool {
        if self.bytes + bytes.len().max(BUFFER_BYTES) > UNDER_WAY_BYTES_MAX {
            return false;
        }
        let mut buffer = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES));
        buffer.extend_from_slice(bytes);
        self.bytes += buffer.capacity();
        self.under_way.push(Datagram { at, to, bytes: buffer, order: self.count });
        self.count += 1;
        true
    }

    /// When the next one arrives.
    pub fn next_at(&self) -> Option<Instant> {
        self.under_way.peek().map(|datagram| datagram.at)
    }

    /// The next one that has arrived by now. Give it back with [`reuse`](Self::reuse) when it is passed on.
    pub fn take_arrived(&mut self, now: Instant) -> Option<Datagram<A>> {
        if self.next_at()? > now {
            return None;
        }
        let datagram = self.under_way.pop()?;
        self.bytes -= datagram.bytes.capacity();
        Some(datagram)
    }

    /// Keeps the buffer of a datagram for another one.
    pub fn reuse(&mut self, datagram: Datagram<A>) {
        let mut buffer = datagram.bytes;
        // One that had to grow would hold memory that hardly any datagram needs.
        if buffer.capacity() == BUFFER_BYTES && self.spare.len() < SPARE_MAX {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}

/// Room for a datagram of any path of the internet.
const BUFFER_BYTES: usize = 2_048;
const UNDER_WAY_BYTES_MAX: usize = 256 * 1024 * 1024;
const SPARE_MAX: usize = 4_096;

// The largest of a heap comes first, so the earliest is the largest.
impl<A> Ord for Datagram<A> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl<A> PartialOrd for Datagram<A> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<A> PartialEq for Datagram<A> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<A> Eq for Datagram<A> {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use std::time::Duration;

    #[test]
    fn datagrams_arrive_by_time_and_then_in_the_order_in_which_they_came() {
        let mut transit = Transit::new();
        let now = Instant::now();
        for (ms, name) in [(2, "c"), (1, "a"), (2, "d"), (1, "b"), (3, "e")] {
            assert!(transit.put(now + Duration::from_millis(ms), name, name.as_bytes()));
        }
        assert!(transit.take_arrived(now).is_none());
        let arrived: Vec<_> = std::iter::from_fn(|| transit.take_arrived(now + Duration::from_millis(2)))
            .map(|d| (d.to, d.bytes))
            .collect();
        assert_eq!(arrived.iter().map(|(name, _)| *name).collect::<String>(), "abcd");
        assert!(arrived.iter().all(|(name, bytes)| name.as_bytes() == bytes));
        assert_eq!(transit.next_at(), Some(now + Duration::from_millis(3)));
    }

    #[test]
    fn what_is_under_way_is_bounded_and_buffers_are_used_again() {
        let mut transit = Transit::new();
        let now = Instant::now();
        let taken = (0..UNDER_WAY_BYTES_MAX).take_while(|_| transit.put(now, (), &[7; 60_000])).count();
        assert!((1_000..=UNDER_WAY_BYTES_MAX / 60_000).contains(&taken), "{taken} of 60,000 bytes");
        while let Some(datagram) = transit.take_arrived(now) {
            transit.reuse(datagram);
        }
        assert_eq!((transit.bytes, transit.spare.len()), (0, 0), "large buffers are not kept");

        assert!(transit.put(now, (), b"small"));
        let datagram = transit.take_arrived(now).unwrap();
        let buffer = datagram.bytes.as_ptr();
        transit.reuse(datagram);
        assert!(transit.put(now, (), b"again"));
        let datagram = transit.take_arrived(now).unwrap();
        assert_eq!((datagram.bytes.as_ptr(), &*datagram.bytes), (buffer, &b"again"[..]));
    }
}
