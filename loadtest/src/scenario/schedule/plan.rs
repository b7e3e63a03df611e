//! Who schedules what, and when it is due.

use godwit_proto::ClientMsgId;

/// All that is scheduled in a run, by number: who schedules a message, its id and when it is due follow from that, so that
/// nobody has to remember a million of them. Those below `due` fall due during the run, all others long after it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// They take turns: message `n` is of person `n` modulo this.
    pub people: u32,
    pub pending: u64,
    pub due: u64,
    pub due_rate_per_s: f64,
    /// Milliseconds since the epoch.
    pub first_due_ms: u64,
    /// Days after this the others fall due.
    pub began_ms: u64,
    /// In the ids of this run, and of no other run on the same server.
    pub tag: u64,
}

/// Whose message an id is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Scheduled {
        number: u64,
    },
    /// By hand; numbers are 1, 2, 3, … for every sender.
    Chat {
        sender: u32,
        number: u32,
    },
}

impl Plan {
    /// What a person schedules, of all messages below `to` from `from` on.
    pub fn of_person(&self, person: u32, from: u64, to: u64) -> impl Iterator<Item = u64> + use<> {
        let (people, person) = (u64::from(self.people), u64::from(person));
        let first = from + (person + people - from % people) % people;
        (first..to).step_by(people as usize)
    }

    pub fn author(&self, number: u64) -> u32 {
        (number % u64::from(self.people)) as u32
    }

    /// Milliseconds since the epoch.
    pub fn due_ms(&self, number: u64) -> u64 {
        if number < self.due {
            return self.first_due_ms + (number as f64 * 1000.0 / self.due_rate_per_s) as u64;
        }
        // In no order, as people schedule.
        let scattered = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        self.began_ms + FAR_FROM_DAYS * DAY_MS + scattered % (FAR_DAYS * DAY_MS)
    }

    pub fn id(&self, origin: Origin) -> ClientMsgId {
        let (number, tag) = match origin {
            Origin::Scheduled { number } => (number, self.tag),
            Origin::Chat { sender, number } => (u64::from(sender) << 32 | u64::from(number), !self.tag),
        };
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_le_bytes());
        id[8..].copy_from_slice(&tag.to_le_bytes());
        ClientMsgId(id)
    }

    /// `None` for an id that is not of this run.
    pub fn origin(&self, id: &[u8]) -> Option<Origin> {
        let (number, tag) = id.split_first_chunk()?;
        let (number, tag) = (u64::from_le_bytes(*number), u64::from_le_bytes(tag.try_into().ok()?));
        if tag == self.tag && number < self.pending {
            return Some(Origin::Scheduled { number });
        }
        let (sender, number) = ((number >> 32) as u32, number as u32);
        (tag == !self.tag && sender < self.people).then_some(Origin::Chat { sender, number })
    }
}

const DAY_MS: u64 = 24 * 3_600_000;
/// Those that are not due in the run are due in this many days at the earliest, and within as many more.
const FAR_FROM_DAYS: u64 = 2;
const FAR_DAYS: u64 = 28;

#[cfg(test)]
pub mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    pub const PLAN: Plan = Plan {
        people: 4,
        pending: 10,
        due: 6,
        due_rate_per_s: 500.0,
        first_due_ms: 1_700_000_000_000,
        began_ms: 1_700_000_000_000 - 5_000,
        tag: 7,
    };

    #[test]
    fn everything_is_scheduled_by_one_person() {
        for (from, to) in [(0, 6), (6, 10), (3, 9), (0, 10)] {
            let mut all: Vec<u64> = (0..4).flat_map(|person| PLAN.of_person(person, from, to)).collect();
            all.sort_unstable();
            assert_eq!(all, (from..to).collect::<Vec<u64>>());
        }
        assert!(PLAN.of_person(3, 0, 10).all(|number| PLAN.author(number) == 3));
    }

    #[test]
    fn some_fall_due_at_a_steady_rate_and_the_others_in_days() {
        assert_eq!([0, 1, 5].map(|number| PLAN.due_ms(number) - PLAN.first_due_ms), [0, 2, 10]);
        let days: Vec<u64> = (6..10).map(|number| (PLAN.due_ms(number) - PLAN.began_ms) / DAY_MS).collect();
        assert!(days.iter().all(|days| (2..30).contains(days)), "{days:?}");
    }

    #[test]
    fn an_id_says_whose_message_it_is() {
        for origin in [Origin::Scheduled { number: 9 }, Origin::Chat { sender: 3, number: 1_000_000 }] {
            assert_eq!(PLAN.origin(&PLAN.id(origin).0), Some(origin));
            assert_eq!(Plan { tag: 8, ..PLAN }.origin(&PLAN.id(origin).0), None, "another run");
        }
        assert_eq!(PLAN.origin(b"short"), None);
    }
}
