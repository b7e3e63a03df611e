//! The clients that have a link of their own.

use super::{
    direction::{Direction, Fate},
    spec::LinkSpec,
    stats::Way,
};
use rand::{Rng, SeedableRng, rngs::Xoshiro256PlusPlus};
use std::{
    collections::HashMap,
    hash::Hash,
    io,
    time::{Duration, Instant},
};

/// The links of all clients, by what tells clients apart.
///
/// At most [`FLOWS_MAX`]; who has been silent for [`IDLE_MAX`] is forgotten, and when there are too many, who has been silent
/// for longest.
#[derive(Debug)]
pub struct Flows<K, T> {
    spec: LinkSpec,
    /// Gives each new link its seed: links get theirs in the order in which clients first speak.
    seeds: Xoshiro256PlusPlus,
    by_client: HashMap<K, Flow<T>>,
}

/// One client's link.
#[derive(Debug)]
pub struct Flow<T> {
    up: Direction,
    down: Direction,
    used_at: Instant,
    /// What the relay needs to pass datagrams on.
    pub end: T,
}

impl<K: Copy + Eq + Hash, T> Flows<K, T> {
    /// None yet. The seed of the run counts where the spec has none.
    pub fn new(spec: LinkSpec, seed: u64) -> Self {
        let seeds = Xoshiro256PlusPlus::seed_from_u64(spec.seed.unwrap_or(seed));
        Self { spec, seeds, by_client: HashMap::new() }
    }

    /// Whether a client has a link.
    pub fn knows(&self, client: K) -> bool {
        self.by_client.contains_key(&client)
    }

    /// The link of a client that is known.
    pub fn get(&mut self, client: K) -> Option<&mut Flow<T>> {
        self.by_client.get_mut(&client)
    }

    /// A link for a client that is not.
    pub fn start(&mut self, client: K, now: Instant, end: impl FnOnce() -> io::Result<T>) -> io::Result<&mut Flow<T>> {
        if self.by_client.len() >= FLOWS_MAX {
            self.forget_idle(now);
        }
        if self.by_client.len() >= FLOWS_MAX
            && let Some((&oldest, _)) = self.by_client.iter().min_by_key(|(_, flow)| flow.used_at)
        {
            self.by_client.remove(&oldest);
        }
        let flow = Flow {
            up: Direction::new(&self.spec, self.seeds.next_u64()),
            down: Direction::new(&self.spec, self.seeds.next_u64()),
            used_at: now,
            end: end()?,
        };
        Ok(self.by_client.entry(client).insert_entry(flow).into_mut())
    }

    /// Forgets who has been silent for long.
    pub fn forget_idle(&mut self, now: Instant) {
        self.by_client.retain(|_, flow| now.saturating_duration_since(flow.used_at) < IDLE_MAX);
    }
}

impl<T> Flow<T> {
    /// What becomes of a datagram of so many bytes with its headers.
    pub fn offer(&mut self, way: Way, now: Instant, bytes: usize) -> Fate {
        self.used_at = now;
        match way {
            Way::Up => self.up.offer(now, bytes),
            Way::Down => self.down.offer(now, bytes),
        }
    }
}

/// Each has a socket in the UDP relay, so this also stays below the usual limit of open files.
pub const FLOWS_MAX: usize = 16_384;

/// Longer than any connection here lives without a packet.
const IDLE_MAX: Duration = Duration::from_secs(180);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    fn flows(spec: &str) -> Flows<u32, u32> {
        Flows::new(spec.parse().unwrap(), 1)
    }

    #[test]
    fn who_has_been_silent_for_longest_makes_room() {
        let (mut flows, now) = (flows("loss=0%"), Instant::now());
        for client in 0..FLOWS_MAX as u32 {
            flows.start(client, now + Duration::from_micros(client.into()), || Ok(client)).unwrap();
        }
        flows.get(0).unwrap().offer(Way::Down, now + Duration::from_secs(1), 1);
        flows.start(u32::MAX, now + Duration::from_secs(1), || Ok(0)).unwrap();
        assert_eq!(flows.by_client.len(), FLOWS_MAX);
        assert!(flows.get(0).is_some() && flows.get(1).is_none());
    }

    #[test]
    fn a_client_that_said_nothing_for_long_is_forgotten() {
        let (mut flows, now) = (flows("loss=0%"), Instant::now());
        flows.start(1, now, || Ok(1)).unwrap();
        flows.start(2, now + IDLE_MAX / 2, || Ok(2)).unwrap();
        flows.forget_idle(now + IDLE_MAX);
        assert!(flows.get(1).is_none() && flows.get(2).is_some());
    }

    #[test]
    fn links_have_chances_of_their_own_that_the_seed_decides() {
        let fates = |spec| -> Vec<Vec<Fate>> {
            let (mut flows, now) = (flows(spec), Instant::now());
            let mut of = |client, way| {
                let flow = flows.start(client, now, || Ok(0)).unwrap();
                (0..100)
                    .map(|_| flow.offer(way, now, 1))
                    .map(|fate| if fate == Fate::Lost { fate } else { Fate::Overflowed })
                    .collect()
            };
            vec![of(1, Way::Up), of(1, Way::Down), of(2, Way::Up)]
        };
        let first = fates("loss=50%");
        assert!(first[0] != first[1] && first[1] != first[2] && first[0] != first[2]);
        assert_eq!(first, fates("loss=50%"));
        assert_eq!(first, fates("loss=50%,seed=1"), "the run's seed is 1");
        assert_ne!(first, fates("loss=50%,seed=2"));
    }
}
