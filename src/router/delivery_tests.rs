use super::*;
use godwit_proto::UserId;
use proptest::prelude::*;

const ACK_WAIT_MS: u64 = 100;
const ROOM: usize = 4;

fn conversation(number: u64) -> ConversationId {
    ConversationId::direct(UserId::new(1).unwrap(), UserId::new(1 + number).unwrap())
}

/// One session, its log and its deadline, as a core has them.
struct Session {
    deliveries: Deliveries,
    patience: Patience,
    deadline: Option<Tick>,
    reading: Vec<PageToRead>,
    /// What left, by conversation.
    left: HashMap<ConversationId, Vec<u64>>,
}

impl Session {
    fn new(attempts_max: u8) -> Self {
        let backoff = Backoff { base_ms: ACK_WAIT_MS, factor: 2, max_ms: 400 };
        Self {
            deliveries: Deliveries::default(),
            patience: Patience::new(backoff, attempts_max, 7),
            deadline: None,
            reading: Vec::new(),
            left: HashMap::default(),
        }
    }

    fn push(&mut self, id: ConversationId, seq: u64) -> bool {
        let Pushed { leaves, deadline } = self.deliveries.on_push(id, Seq(seq), &mut self.patience);
        if leaves {
            self.left.entry(id).or_default().push(seq);
        }
        if let Some(at) = deadline {
            assert_eq!(self.deadline.replace(at), None, "two deadlines of one session");
        }
        leaves
    }

    fn ack(&mut self, id: ConversationId, seq: u64) -> bool {
        self.deliveries.on_ack(id, Seq(seq), &mut self.patience)
    }

    /// Time passes until the deadline.
    fn wait(&mut self) -> Result<(), Dead> {
        let Some(at) = self.deadline.take() else { return Ok(()) };
        assert!(at > self.patience.now, "a deadline that is not ahead");
        self.patience.now = at;
        self.deadline = self.deliveries.on_deadline(&mut self.patience, ROOM, &mut self.reading)?;
        Ok(())
    }

    /// The store answers the oldest question with up to `page` entries of a log that ends at `last`.
    fn read(&mut self, last: u64, page: u64) {
        if self.reading.is_empty() {
            return;
        }
        let (id, from) = self.reading.remove(0);
        let newest = (from.0 + page - 1).min(last);
        let newest = (newest >= from.0).then_some(Seq(newest));
        let Some(read) = self.deliveries.on_page(id, from, newest, &mut self.patience) else { return };
        self.left.entry(id).or_default().extend(read.after.0 + 1..=read.up_to.0);
        self.reading.extend(read.next.map(|from| (id, from)));
    }

    /// Waits until something is pushed again, or the session is dead.
    fn wait_for_retry(&mut self, last: u64) -> Result<(), Dead> {
        while self.reading.is_empty() && self.deadline.is_some() {
            self.wait()?;
        }
        while !self.reading.is_empty() {
            self.read(last, 2);
        }
        Ok(())
    }

    fn left(&mut self, id: ConversationId) -> Vec<u64> {
        self.left.remove(&id).unwrap_or_default()
    }
}

#[test]
fn what_is_acknowledged_in_time_is_pushed_once_and_leaves_nothing_behind() {
    let (mut session, id) = (Session::new(3), conversation(1));
    (5..=7).for_each(|seq| assert!(session.push(id, seq)));
    assert!(session.ack(id, 7));
    assert!(session.deliveries.conversations.is_empty());
    session.wait().unwrap();
    assert_eq!((session.deadline, session.reading.len(), session.left(id)), (None, 0, vec![5, 6, 7]));
    assert_eq!(session.deliveries.conversations.capacity(), 0);
}

#[test]
fn nothing_is_held_back_for_a_retry_that_failed_and_has_become_pointless() {
    let (mut session, id) = (Session::new(3), conversation(1));
    session.push(id, 1);
    while session.reading.is_empty() {
        session.wait().unwrap();
    }
    let (_, from) = session.reading.remove(0);
    session.deliveries.on_page_failed(id, from);
    // A reply said more than was pushed, so that the conversation stays known.
    session.deliveries.on_reply(id, Seq(2));
    assert!(session.ack(id, 1));
    assert!(session.push(id, 3), "it leaves at once");
}

#[test]
fn what_is_not_acknowledged_is_pushed_again_from_the_oldest_on() {
    let (mut session, id) = (Session::new(3), conversation(1));
    (5..=9).for_each(|seq| assert!(session.push(id, seq)));
    assert!(session.ack(id, 6));
    session.wait_for_retry(20).unwrap();
    assert!(session.patience.now.0 >= ACK_WAIT_MS);
    assert_eq!(session.left(id), [5, 6, 7, 8, 9, 7, 8, 9], "not what nobody pushed yet, though the log has it");
}

#[test]
fn an_entry_that_comes_during_a_retry_waits_its_turn() {
    let (mut session, id) = (Session::new(3), conversation(1));
    session.push(id, 5);
    session.wait().unwrap();
    while session.reading.is_empty() {
        session.wait().unwrap();
    }
    assert!(!session.push(id, 6), "it would overtake 5");
    assert!(!session.ack(id, 6), "it was not sent");
    assert!(session.push(conversation(2), 1), "another conversation has nothing to do with it");
    while !session.reading.is_empty() {
        session.read(6, 1);
    }
    assert_eq!(session.left(id), [5, 5, 6]);
    assert!(session.push(id, 7) && session.ack(id, 7));
}

#[test]
fn a_session_is_dead_after_the_last_attempt_and_waits_longer_for_each() {
    let (mut session, id) = (Session::new(3), conversation(1));
    session.push(id, 1);
    let mut attempts = 0;
    while session.wait_for_retry(1).is_ok() {
        attempts += 1;
        assert!(attempts <= 3);
    }
    assert_eq!((attempts, session.left(id)), (3, vec![1; 4]));
    let shortest_ms = 4 * ACK_WAIT_MS;
    // Each wait ends within another `ACK_WAIT_MS`, when the session's deadline comes up.
    let longest_ms = shortest_ms + (100 + 200 + 400 + 400) + 4 * ACK_WAIT_MS;
    assert!((shortest_ms..=longest_ms).contains(&session.patience.now.0), "{:?}", session.patience.now);
}

#[test]
fn an_acknowledgement_of_anything_new_starts_the_attempts_anew_and_an_old_one_does_not() {
    let (mut session, id) = (Session::new(1), conversation(1));
    (1..=2).for_each(|seq| assert!(session.push(id, seq)));
    session.wait_for_retry(2).unwrap();
    assert!(session.ack(id, 1));
    session.wait_for_retry(2).unwrap();
    assert_eq!(session.left(id), [1, 2, 1, 2, 2]);
    assert!(session.ack(id, 1) && session.ack(id, 0), "twice, and out of order");
    assert_eq!(session.wait_for_retry(2), Err(Dead));
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_changes_nothing() {
    let (mut session, id) = (Session::new(1), conversation(1));
    session.push(id, 5);
    assert!(!session.ack(id, 6) && !session.ack(conversation(2), 1));
    session.wait_for_retry(5).unwrap();
    assert_eq!(session.left(id), [5, 5]);
}

#[test]
fn what_the_client_asked_for_may_be_acknowledged_and_is_not_pushed_again() {
    let (mut session, id) = (Session::new(1), conversation(1));
    session.deliveries.on_reply(id, Seq(9));
    assert_eq!(session.deadline, None);
    session.push(id, 10);
    session.wait_for_retry(10).unwrap();
    assert_eq!(session.left(id), [10, 10]);
    assert!(session.ack(id, 9) && session.ack(id, 10) && session.deliveries.conversations.is_empty());
}

#[test]
fn a_store_that_does_not_answer_costs_the_client_no_attempt() {
    let (mut session, id) = (Session::new(1), conversation(1));
    session.push(id, 1);
    for _ in 0..20 {
        session.wait().unwrap();
        for (id, from) in std::mem::take(&mut session.reading) {
            session.deliveries.on_page_failed(id, from);
        }
    }
    assert!(!session.push(id, 2));
    session.wait_for_retry(2).unwrap();
    assert_eq!(session.left(id), [1, 1, 2]);
}

#[test]
fn a_client_that_is_told_to_sync_is_pushed_nothing_again() {
    let (mut session, id) = (Session::new(1), conversation(1));
    (1..=3).for_each(|seq| assert!(session.push(id, seq)));
    while session.reading.is_empty() {
        session.wait().unwrap();
    }
    session.deliveries.give_up();
    session.read(3, 10);
    assert_eq!(session.left(id), [1, 2, 3]);
    assert!(session.push(id, 9), "afterwards it goes on");
    session.wait_for_retry(9).unwrap();
    assert_eq!(session.left(id), [9, 9]);
    assert!(session.ack(id, 9));
}

#[test]
fn whoever_is_removed_during_a_retry_is_told_to_sync_if_something_was_held_back() {
    for held_back in [false, true] {
        let (mut session, id) = (Session::new(1), conversation(1));
        session.push(id, 1);
        while session.reading.is_empty() {
            session.wait().unwrap();
        }
        if held_back {
            assert!(!session.push(id, 2));
        }
        let (id, from) = session.reading.remove(0);
        assert_eq!(session.deliveries.on_page_forbidden(id, from), held_back);
        session.wait_for_retry(2).unwrap();
        assert_eq!(session.left(id), [1]);
    }
}

#[test]
fn a_page_that_was_asked_for_before_an_acknowledgement_is_for_nobody() {
    let (mut session, id) = (Session::new(3), conversation(1));
    session.push(id, 1);
    while session.reading.is_empty() {
        session.wait().unwrap();
    }
    assert!(session.ack(id, 1) && session.push(id, 2));
    session.read(2, 10);
    assert_eq!(session.left(id), [1, 2]);
}

#[test]
fn more_conversations_than_may_be_read_at_once_are_read_one_after_the_other() {
    let mut session = Session::new(1);
    let ids: Vec<_> = (1..=10).map(conversation).collect();
    ids.iter().for_each(|id| assert!(session.push(*id, 1)));
    for _ in 0..20 {
        session.wait().unwrap();
        assert!(session.reading.len() <= ROOM);
        while !session.reading.is_empty() {
            session.read(1, 1);
        }
        if ids.iter().all(|id| session.left[id] == [1, 1]) {
            return;
        }
    }
    panic!("some were never pushed again: {:?}", session.left);
}

#[derive(Debug, Clone)]
enum Doing {
    Push(u64),
    /// How far behind, or ahead of, what was sent last.
    Ack(u64, i64),
    Wait,
    Read(u64),
    ReadFails,
}

fn doing() -> impl Strategy<Value = Doing> {
    prop_oneof![
        4 => (1u64..3).prop_map(Doing::Push),
        3 => (1u64..3, -4i64..2).prop_map(|(id, by)| Doing::Ack(id, by)),
        3 => Just(Doing::Wait),
        4 => (1u64..4).prop_map(Doing::Read),
        1 => Just(Doing::ReadFails),
    ]
}

proptest! {
    /// Whatever happens in whatever order: entries leave in order of seq but for a new start at the oldest that is not
    /// acknowledged, nothing can be acknowledged that did not leave, and once the client acknowledges what it gets,
    /// everything has left and nothing is kept.
    #[test]
    fn entries_leave_in_order_and_all_of_them(doings in prop::collection::vec(doing(), 0..120)) {
        let mut session = Session::new(u8::MAX);
        let (mut last, mut acked) = ([10u64; 3], [10u64; 3]);
        for doing in doings {
            let before: Vec<usize> = (1..3).map(|n| session.left.get(&conversation(n)).map_or(0, Vec::len)).collect();
            match doing {
                Doing::Push(n) => {
                    last[n as usize] += 1;
                    session.push(conversation(n), last[n as usize]);
                }
                Doing::Ack(n, by) => {
                    let newest = session.left.get(&conversation(n)).and_then(|left| left.iter().max().copied());
                    let seq = last[n as usize].saturating_add_signed(by);
                    let taken = session.ack(conversation(n), seq);
                    prop_assert!(!taken || newest.is_some_and(|newest| seq <= newest));
                    if taken {
                        acked[n as usize] = acked[n as usize].max(seq);
                    }
                }
                Doing::Wait => session.wait().unwrap(),
                Doing::Read(page) => {
                    let last = session.reading.first().map_or(0, |(id, _)| if *id == conversation(1) { last[1] } else { last[2] });
                    session.read(last, page);
                }
                Doing::ReadFails => {
                    if let Some((id, from)) = session.reading.pop() {
                        session.deliveries.on_page_failed(id, from);
                    }
                }
            }
            for n in 1..3u64 {
                let Some(left) = session.left.get(&conversation(n)) else { continue };
                for index in before[n as usize - 1]..left.len() {
                    let restarts = left[index] == acked[n as usize] + 1;
                    let follows = index == 0 || left[index] == left[index - 1] + 1;
                    // What was acknowledged meanwhile is passed over.
                    let passes = left[..index].iter().max().is_some_and(|max| acked[n as usize] >= left[index] - 1 && *max >= left[index] - 1);
                    prop_assert!(follows || restarts || passes, "{left:?}, acked {acked:?}");
                }
            }
            let unacked = session.deliveries.conversations.values().any(Delivery::is_unacked);
            prop_assert!(!unacked || session.deadline.is_some());
        }
        for _ in 0..100 {
            for n in 1..3u64 {
                while !session.reading.is_empty() {
                    let id = session.reading[0].0;
                    session.read(if id == conversation(1) { last[1] } else { last[2] }, 3);
                }
                let newest = session.left.get(&conversation(n)).and_then(|left| left.iter().max().copied());
                if let Some(newest) = newest {
                    session.ack(conversation(n), newest);
                }
            }
            session.wait().unwrap();
        }
        for n in 1..3u64 {
            let left = session.left(conversation(n));
            prop_assert!((11..=last[n as usize]).all(|seq| left.contains(&seq)), "{left:?} of {last:?}");
        }
        prop_assert!(session.deliveries.conversations.is_empty() && session.deadline.is_none());
    }
}
