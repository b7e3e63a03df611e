//! The offline hook on one core with the test's clocks: one that works, one that fails, one that hangs, one that recovers.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/one_core.rs"]
mod one_core;

use futures_util::{FutureExt, future::BoxFuture};
use godwit::{
    router::{
        Backoff, Channel, DeadLetters, HookError, Limits, Mailboxes, OfflineHandle, OfflineHook, OfflineLimits,
        OfflineNotice, Placement, SessionId,
    },
    timer::Tick,
};
use godwit_proto::{
    ConversationId, Seq, UserId,
    v1::{CreateGroupRequest, ResumeRequest, SendRequest, client_frame::Body as Request, server_frame::Body},
};
use one_core::{OneCore, id, user};
use std::sync::{Arc, Mutex};

const NOW_MS: u64 = 1_700_000_000_000;
const GATHER_MS: u64 = 1_000;
const TIMEOUT_MS: u64 = 5_000;
/// Longer than all attempts together.
const LONG_MS: u64 = 3_600_000;

#[derive(Clone, Copy)]
enum Mood {
    Works,
    Fails,
    Hangs,
    Panics,
}

struct Hook {
    mood: Mutex<Mood>,
    calls: Mutex<Vec<Vec<OfflineNotice>>>,
}

impl OfflineHook for Hook {
    fn notify(&self, notices: Vec<OfflineNotice>) -> BoxFuture<'static, Result<(), HookError>> {
        self.calls.lock().unwrap().push(notices);
        match *self.mood.lock().unwrap() {
            Mood::Works => Box::pin(async { Ok(()) }),
            Mood::Fails => Box::pin(async { Err(HookError("nobody answers".into())) }),
            Mood::Hangs => Box::pin(std::future::pending()),
            Mood::Panics => panic!("a hook with a fault"),
        }
    }
}

/// Alice is there, Bob and Carol were and are not.
struct Chat {
    core: OneCore,
    now_ms: u64,
    tick: u64,
    hook: Arc<Hook>,
    dead_letters: DeadLetters,
    alice: SessionId,
    users: [UserId; 3],
    bobs_token: bytes::Bytes,
    sent: u8,
}

impl Chat {
    fn new(mood: Mood) -> Self {
        Self::with(mood, |_| ())
    }

    fn with(mood: Mood, change: impl FnOnce(&mut OfflineLimits)) -> Self {
        let mut offline = OfflineLimits {
            gather_ms: GATHER_MS,
            call_timeout_ms: TIMEOUT_MS,
            backoff: Backoff { base_ms: 1_000, factor: 2, max_ms: 8_000 },
            attempts_max: 4,
            ..OfflineLimits::default()
        };
        change(&mut offline);
        let mut core = OneCore::new(Limits { offline, ..Limits::default() });
        let hook = Arc::new(Hook { mood: Mutex::new(mood), calls: Mutex::default() });
        let dead_letters = DeadLetters::new(offline.dead_letters_max);
        core.hook(hook.clone(), dead_letters.clone());
        let (alice, alice_is) = core.register(NOW_MS, "alice");
        let (bob, bob_is) = core.register(NOW_MS, "bob");
        let (carol, carol_is) = core.register(NOW_MS, "carol");
        core.close(NOW_MS, bob);
        core.close(NOW_MS, carol);
        let users = [user(&alice_is), user(&bob_is), user(&carol_is)];
        let bobs_token = bob_is.token;
        Self { core, now_ms: NOW_MS, tick: 0, hook, dead_letters, alice, users, bobs_token, sent: 0 }
    }

    fn bobs_chat(&self) -> ConversationId {
        ConversationId::direct(self.users[0], self.users[1])
    }

    fn send_to(&mut self, other: usize) {
        let conversation = ConversationId::direct(self.users[0], self.users[other]);
        self.send(conversation);
    }

    fn send(&mut self, conversation: ConversationId) {
        self.sent += 1;
        let (conversation_id, client_msg_id) = (conversation.to_bytes(), id(self.sent));
        let send = SendRequest { conversation_id, client_msg_id, body: "hi".into(), ..SendRequest::default() };
        self.core.put(self.now_ms, self.alice, Channel::Session, Request::Send(send));
        // Not more: what hangs would be waited for.
        while self.core.take(self.alice).is_empty() {
            self.core.step(self.now_ms);
        }
    }

    fn bob_comes(&mut self) {
        let session = self.core.connect(self.now_ms, 1);
        let resume = ResumeRequest { token: self.bobs_token.clone() };
        assert!(matches!(self.core.ask(self.now_ms, session, Request::Resume(resume)), Body::Authenticate(_)));
    }

    fn set(&self, mood: Mood) {
        *self.hook.mood.lock().unwrap() = mood;
    }

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

    fn calls(&self) -> Vec<Vec<OfflineNotice>> {
        std::mem::take(&mut self.hook.calls.lock().unwrap())
    }

    fn notice(&self, other: usize, newest: u64, unread: u64) -> OfflineNotice {
        let (user, conversation) = (self.users[other], ConversationId::direct(self.users[0], self.users[other]));
        OfflineNotice { user, conversation, newest: Seq(newest), unread }
    }
}

#[test]
fn a_burst_to_users_who_are_not_there_makes_one_notice_for_each_conversation() {
    let mut chat = Chat::new(Mood::Works);
    (0..3).for_each(|_| chat.send_to(1));
    chat.send_to(2);
    assert!(chat.calls().is_empty(), "they are gathered");
    chat.pass(GATHER_MS);
    let mut calls = chat.calls();
    assert_eq!(calls.len(), 1);
    calls[0].sort_unstable_by_key(|notice| notice.newest);
    assert_eq!(calls[0], [chat.notice(2, 1, 1), chat.notice(1, 3, 3)]);
    chat.pass(LONG_MS);
    assert!(chat.calls().is_empty(), "once is enough");
    chat.send_to(1);
    chat.pass(GATHER_MS);
    assert_eq!(chat.calls(), [[chat.notice(1, 4, 1)]]);
}

#[test]
fn a_change_of_members_is_told_and_is_not_unread() {
    let mut chat = Chat::new(Mood::Works);
    let member_ids = vec![chat.users[1].as_u64()];
    let create = CreateGroupRequest { client_msg_id: id(200), title: "birds".into(), member_ids };
    assert!(matches!(chat.core.ask(NOW_MS, chat.alice, Request::CreateGroup(create)), Body::CreateGroup(_)));
    chat.pass(GATHER_MS);
    let calls = chat.calls();
    assert_eq!(calls.len(), 1);
    assert!(matches!(calls[0][..], [OfflineNotice { newest: Seq(1), unread: 0, .. }]), "{calls:?}");
}

#[test]
fn who_comes_meanwhile_needs_no_notice() {
    let mut chat = Chat::new(Mood::Works);
    chat.send_to(1);
    chat.bob_comes();
    chat.pass(LONG_MS);
    assert!(chat.calls().is_empty());

    let mut chat = Chat::new(Mood::Fails);
    chat.send_to(1);
    chat.send_to(2);
    chat.pass(GATHER_MS);
    assert_eq!(chat.calls()[0].len(), 2);
    chat.bob_comes();
    chat.set(Mood::Works);
    chat.pass(LONG_MS);
    assert_eq!(chat.calls(), [[chat.notice(2, 1, 1)]], "though he was to be told again");
}

#[test]
fn a_hook_that_recovers_gets_everything_and_what_came_meanwhile_in_one_notice() {
    let mut chat = Chat::new(Mood::Fails);
    chat.send_to(1);
    chat.pass(GATHER_MS + 1);
    chat.send_to(1);
    chat.set(Mood::Works);
    chat.calls();
    chat.pass(LONG_MS);
    assert_eq!(chat.calls(), [[chat.notice(1, 2, 2)]]);
    assert!(chat.dead_letters.list().is_empty());
}

#[test]
fn a_notice_that_fails_for_good_is_a_dead_letter_and_can_be_replayed() {
    let mut chat = Chat::new(Mood::Fails);
    (0..2).for_each(|_| chat.send_to(1));
    chat.pass(LONG_MS);
    assert_eq!(chat.calls(), vec![vec![chat.notice(1, 2, 2)]; 4], "as often as the limit says");
    let letters = chat.dead_letters.list();
    assert_eq!((letters.len(), letters[0].notice, letters[0].attempts), (1, chat.notice(1, 2, 2), 4));
    assert_eq!(letters[0].error, "nobody answers");

    chat.set(Mood::Works);
    let mailboxes = Arc::new(Mailboxes::new(1, 100));
    let handle = OfflineHandle::new(chat.dead_letters.clone(), Placement::new(1), mailboxes.clone());
    assert_eq!((handle.dead_letters().len(), handle.replay(), handle.replay()), (1, 1, 0));
    let mut mail = Vec::new();
    mailboxes.of(godwit::router::CoreId(0)).take(&mut mail);
    mail.into_iter().for_each(|mail| chat.core.mail(chat.now_ms, mail));
    chat.pass(1);
    assert_eq!(chat.calls(), [[chat.notice(1, 2, 2)]]);
    assert!(handle.dead_letters().is_empty());
}

#[test]
fn a_hook_that_hangs_is_given_up_after_a_while_and_asked_again() {
    let mut chat = Chat::new(Mood::Hangs);
    chat.send_to(1);
    let hang = |chat: &mut Chat| {
        chat.tick += GATHER_MS;
        chat.core.set_tick(Tick(chat.tick));
        chat.core.turn(chat.now_ms);
        let mut hanging = chat.core.hold();
        assert_eq!(hanging.iter_mut().filter_map(|task| task.now_or_never()).count(), 0);
        assert_eq!(hanging.len(), 1);
        hanging
    };
    let hanging = hang(&mut chat);
    assert_eq!(chat.calls().len(), 1);
    chat.set(Mood::Works);
    chat.pass(TIMEOUT_MS);
    chat.core.release(hanging);
    chat.core.settle(chat.now_ms);
    chat.pass(LONG_MS);
    assert_eq!(chat.calls(), [[chat.notice(1, 1, 1)]]);

    // A server that stops does not wait for it.
    chat.set(Mood::Hangs);
    chat.send_to(1);
    let hanging = hang(&mut chat);
    chat.core.release(hanging);
    chat.core.stop(chat.now_ms);
    chat.core.settle(chat.now_ms);
}

#[test]
fn a_hook_that_panics_is_one_that_fails() {
    let mut chat = Chat::new(Mood::Panics);
    chat.send_to(1);
    chat.pass(LONG_MS);
    let letters = chat.dead_letters.list();
    assert_eq!((letters.len(), letters[0].error.as_str()), (1, "the hook panicked"));
}

#[test]
fn calls_and_batches_are_bounded_and_so_is_what_waits() {
    let limits = |limits: &mut OfflineLimits| {
        (limits.batch_max, limits.calls_max, limits.notices_max) = (1, 1, 2);
    };
    let mut chat = Chat::with(Mood::Works, limits);
    let group = |chat: &mut Chat, number: u8| {
        let create = CreateGroupRequest {
            client_msg_id: id(number),
            title: "birds".into(),
            member_ids: vec![chat.users[1].as_u64()],
        };
        let Body::CreateGroup(_) = chat.core.ask(NOW_MS, chat.alice, Request::CreateGroup(create)) else { panic!() };
    };
    (100..105).for_each(|number| group(&mut chat, number));
    chat.pass(LONG_MS);
    let calls = chat.calls();
    assert!(calls.len() == 2 && calls.iter().all(|batch| batch.len() == 1), "{calls:?}");
    chat.send(chat.bobs_chat());
    chat.pass(GATHER_MS);
    assert_eq!(chat.calls(), [[chat.notice(1, 1, 1)]], "there is room again");
}

#[test]
fn what_failed_is_handed_over_again_even_after_a_pause_of_no_length() {
    let mut chat = Chat::with(Mood::Fails, |offline| offline.backoff.base_ms = 0);
    chat.send_to(1);
    chat.pass(GATHER_MS);
    chat.pass(LONG_MS);
    assert_eq!(chat.calls(), vec![vec![chat.notice(1, 1, 1)]; 4]);
    assert_eq!(chat.dead_letters.list().len(), 1);
}
