//! Entries that were pushed and not acknowledged, on one core with the test's clocks.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/one_core.rs"]
mod one_core;

use godwit::{
    router::{Channel, DeliveryLimits, Limits, SessionId, Task},
    timer::Tick,
};
use godwit_proto::{
    ConversationId,
    v1::{
        AckRequest, ConversationPosition, Direction, ErrorCode, HistoryRequest, ResumeRequest, SendRequest,
        client_frame::Body as Request, server_frame::Body,
    },
};
use one_core::{OneCore, id, user};
use std::collections::VecDeque;

const NOW_MS: u64 = 1_700_000_000_000;
const DAY_MS: u64 = 24 * 3_600_000;
const NOTHING: [u64; 0] = [];
/// Longer than the longest first wait, and shorter than the shortest two.
const FIRST_RETRY_MS: u64 = 10_000;

const YEAR_MS: u64 = 366 * 24 * 3_600_000;

/// Alice writes to Bob, whose client may do about acknowledgements what it likes.
struct Chat {
    core: OneCore,
    now_ms: u64,
    tick: u64,
    alice: SessionId,
    bob: SessionId,
    bobs_token: bytes::Bytes,
    conversation: ConversationId,
    sent: u8,
}

impl Chat {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        // Nobody is closed here for saying nothing.
        let mut core = OneCore::new(Limits { session_idle_ms_max: YEAR_MS, ..limits });
        let (alice, alice_is) = core.register(NOW_MS, "alice");
        let (bob, bob_is) = core.register(NOW_MS, "bob");
        let conversation = ConversationId::direct(user(&alice_is), user(&bob_is));
        Self { core, now_ms: NOW_MS, tick: 0, alice, bob, bobs_token: bob_is.token, conversation, sent: 0 }
    }

    fn put_send(&mut self) {
        self.sent += 1;
        let (conversation_id, client_msg_id) = (self.conversation.to_bytes(), id(self.sent));
        let send = SendRequest { conversation_id, client_msg_id, body: "hi".into(), ..SendRequest::default() };
        self.core.put(self.now_ms, self.alice, Channel::Session, Request::Send(send));
    }

    fn send(&mut self) {
        self.put_send();
        self.core.settle(self.now_ms);
    }

    fn ack(&mut self, seq: u64) {
        let position = ConversationPosition { conversation_id: self.conversation.to_bytes(), seq };
        let ack = Request::Ack(AckRequest { positions: vec![position] });
        self.core.put(self.now_ms, self.bob, Channel::Session, ack);
        self.core.settle(self.now_ms);
    }

    /// Both clocks go on, with a turn whenever the core wants one.
    fn pass(&mut self, ms: u64) {
        let end = self.tick + ms;
        while self.tick < end {
            let next = self.core.next_deadline().map_or(end, |at| at.0.clamp(self.tick + 1, end));
            self.now_ms += next - self.tick;
            self.tick = next;
            self.core.set_tick(Tick(next));
            self.core.settle(self.now_ms);
        }
    }

    /// The core looks at what was not acknowledged, and what it asks of the store takes long.
    fn begin_retry(&mut self) -> VecDeque<Task> {
        let mut slow = VecDeque::new();
        while slow.is_empty() {
            let at = self.core.next_deadline().unwrap();
            self.tick = at.0;
            self.core.set_tick(at);
            self.core.turn(self.now_ms);
            slow = self.core.hold();
        }
        slow
    }

    /// The entries that Bob was pushed since the last look.
    fn bob_got(&mut self) -> Vec<u64> {
        let pushed = self.core.take(self.bob).into_iter().filter_map(|body| match body {
            Body::Entries(push) => Some(push.entries),
            _ => None,
        });
        pushed.flatten().map(|entry| entry.seq).collect()
    }
}

#[test]
fn an_entry_that_is_acknowledged_late_is_pushed_again_until_it_is() {
    let mut chat = Chat::new();
    (0..3).for_each(|_| chat.send());
    chat.ack(1);
    assert_eq!(chat.bob_got(), [1, 2, 3]);
    chat.pass(FIRST_RETRY_MS);
    assert_eq!(chat.bob_got(), [2, 3]);
    chat.ack(3);
    chat.pass(DAY_MS);
    assert_eq!((chat.bob_got(), chat.core.closed(chat.bob)), (vec![], None));
}

#[test]
fn an_entry_that_is_acknowledged_in_time_is_pushed_once() {
    let mut chat = Chat::new();
    for seq in 1..=20 {
        chat.send();
        chat.pass(4_000);
        chat.ack(seq);
    }
    assert_eq!(chat.bob_got(), (1..=20).collect::<Vec<_>>());
}

#[test]
fn a_session_that_never_acknowledges_is_closed_and_the_entry_is_there_when_the_client_comes_back() {
    let mut chat = Chat::new();
    chat.send();
    chat.pass(DAY_MS);
    assert_eq!(chat.core.closed(chat.bob), Some(ErrorCode::DeliveryTimeout));
    let attempts = usize::from(DeliveryLimits::default().attempts_max);
    assert_eq!(chat.bob_got(), vec![1; 1 + attempts]);
    assert_eq!(chat.core.closed(chat.alice), None, "who sends has its answer, and owes nothing");

    chat.core.close(chat.now_ms, chat.bob);
    chat.bob = chat.core.connect(chat.now_ms, 1);
    let resume = ResumeRequest { token: chat.bobs_token.clone() };
    assert!(matches!(chat.core.ask(chat.now_ms, chat.bob, Request::Resume(resume)), Body::Authenticate(_)));
    let Body::Sync(sync) = chat.core.ask_bulk(chat.now_ms, chat.bob, Request::Sync(Default::default())) else {
        panic!()
    };
    assert_eq!((sync.changed[0].last_seq, sync.changed[0].acked_seq, sync.changed[0].unread), (1, 0, 1));
    let (conversation_id, direction) = (chat.conversation.to_bytes(), Direction::Forward.into());
    let history = HistoryRequest { conversation_id, direction, ..HistoryRequest::default() };
    let Body::History(page) = chat.core.ask_bulk(chat.now_ms, chat.bob, Request::History(history)) else { panic!() };
    assert_eq!(page.entries.len(), 1);
    chat.pass(DAY_MS);
    assert_eq!(chat.bob_got(), NOTHING, "what a client fetched itself it asks for again itself");
}

#[test]
fn acknowledging_twice_out_of_order_or_what_was_never_sent_changes_nothing() {
    let mut chat = Chat::new();
    (0..3).for_each(|_| chat.send());
    assert_eq!(chat.bob_got(), [1, 2, 3]);
    for seq in [2, 1, 2, 0, 4, u64::MAX] {
        chat.ack(seq);
    }
    chat.pass(FIRST_RETRY_MS);
    assert_eq!(chat.bob_got(), [3]);
    for seq in [3, 3, 1] {
        chat.ack(seq);
    }
    chat.pass(DAY_MS);
    assert_eq!((chat.bob_got(), chat.core.closed(chat.bob)), (vec![], None));
}

#[test]
fn what_is_sent_while_a_slow_store_reads_for_a_retry_comes_after_it() {
    let mut chat = Chat::new();
    chat.send();
    let slow = chat.begin_retry();
    assert_eq!(chat.bob_got(), [1]);
    chat.send();
    assert_eq!(chat.bob_got(), NOTHING, "2 would overtake 1");
    chat.core.release(slow);
    chat.core.settle(NOW_MS);
    assert_eq!(chat.bob_got(), [1, 2], "once each, in order");
    chat.ack(2);
    chat.send();
    assert_eq!(chat.bob_got(), [3]);
}

#[test]
fn a_session_that_closes_during_a_retry_is_forgotten() {
    let mut chat = Chat::new();
    chat.send();
    let slow = chat.begin_retry();
    chat.core.close(NOW_MS, chat.bob);
    chat.core.release(slow);
    chat.pass(DAY_MS);
    assert_eq!(chat.bob_got(), [1]);
}

#[test]
fn a_long_stretch_is_pushed_again_in_pages_and_in_order() {
    let mut chat = Chat::with(Limits { history_entries_max: 4, ..Limits::default() });
    (0..11).for_each(|_| chat.send());
    chat.bob_got();
    chat.pass(FIRST_RETRY_MS);
    assert_eq!(chat.bob_got(), (1..=11).collect::<Vec<_>>());
}

#[test]
fn a_wall_clock_that_is_set_triggers_no_retry_and_delays_none() {
    let mut chat = Chat::new();
    chat.send();
    assert_eq!(chat.bob_got(), [1]);
    chat.now_ms += 10 * DAY_MS;
    chat.core.settle(chat.now_ms);
    assert_eq!(chat.bob_got(), NOTHING, "set forward");
    chat.now_ms -= 20 * DAY_MS;
    chat.core.settle(chat.now_ms);
    chat.pass(FIRST_RETRY_MS);
    assert_eq!(chat.bob_got(), [1], "set back");
}

#[test]
fn a_client_that_does_not_read_is_told_to_sync_and_pushed_nothing_again() {
    let mut chat = Chat::new();
    chat.send();
    chat.bob_got();
    chat.core.refuse_push(chat.bob);
    chat.pass(DAY_MS);
    assert_eq!((chat.bob_got(), chat.core.closed(chat.bob)), (vec![], None));
    chat.core.drain(chat.now_ms, chat.bob);
    assert!(matches!(chat.core.take(chat.bob)[..], [Body::ResyncRequired(_)]));
    chat.send();
    assert_eq!(chat.bob_got(), [2]);
    chat.pass(FIRST_RETRY_MS);
    assert_eq!(chat.bob_got(), [2], "what is before it the client fetches after its sync");
}
