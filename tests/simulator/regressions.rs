//! Faults that the simulator has found, each as the shortest case that shows it, played by hand on one core.

use crate::{
    process::SimPasswords,
    rng::Rng,
    settings::Settings,
    store::{Script, SimStore},
};
use bytes::Bytes;
use futures_util::FutureExt;
use godwit::router::{
    Channel, Core, CoreId, Effects, Limits, Output, Placement, Registration, Services, SessionId, Task,
};
use godwit_proto::{
    ClientMsgId, ConversationId, DeviceId, UserId,
    v1::{self, ErrorCode, client_frame::Body as Request, server_frame::Body},
};
use prost::Message;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

const NOW_MS: u64 = 1_700_000_000_000;

/// One core, its store, and what it has told each session.
struct Case {
    core: Core,
    store: SimStore,
    effects: Effects,
    tasks: Vec<Task>,
    now_ms: u64,
    /// After so many completions the clock is set forward by so much, before the core hears of it.
    forward: Option<(usize, u64)>,
    sessions: u64,
    requests: u64,
    told: BTreeMap<SessionId, Vec<v1::ServerFrame>>,
}

impl Case {
    fn new(limits: Limits) -> Self {
        let settings = Settings { store_delay_ms_max: 0, ..Settings::draw(1, &mut Rng::new(1), None) };
        let store = SimStore::new(settings, Rng::new(2));
        let random = Mutex::new(Rng::new(3));
        let services = Services {
            store: Arc::new(store.clone()),
            passwords: Arc::new(SimPasswords::default()),
            registration: Registration::Open,
            random: Arc::new(move |bytes| random.lock().unwrap().fill(bytes)),
        };
        Self {
            core: Core::new(CoreId(0), Placement::new(1), limits, services),
            store,
            effects: Effects::default(),
            tasks: Vec::new(),
            now_ms: NOW_MS,
            forward: None,
            sessions: 0,
            requests: 0,
            told: BTreeMap::new(),
        }
    }

    fn script(&self, script: Script) {
        self.store.lock().script = script;
    }

    fn open(&mut self, device: u8) -> SessionId {
        self.sessions += 1;
        let session = SessionId(self.sessions);
        self.core.on_opened(session, "127.0.0.1:9".parse().unwrap(), 10_000, &mut self.effects);
        let device_id = DeviceId([device; 16]).to_bytes();
        let hello = v1::HelloRequest { protocol_version: 1, device_id, ..Default::default() };
        self.ask(session, Channel::Session, Request::Hello(hello));
        session
    }

    /// A new user, online, and the token of the device.
    fn register(&mut self, device: u8) -> (SessionId, UserId, Bytes) {
        let session = self.open(device);
        let (username, password) = (format!("user{device}"), "a long password".into());
        let register = v1::RegisterRequest { username, password, ..Default::default() };
        let request = self.ask(session, Channel::Session, Request::Register(register));
        self.turn();
        match self.answer(session, request) {
            Some(Body::Authenticate(response)) => {
                (session, UserId::new(response.user_id).unwrap(), response.token.clone())
            }
            other => panic!("registration was answered with {other:?}"),
        }
    }

    fn ask(&mut self, session: SessionId, channel: Channel, body: Request) -> u64 {
        self.requests += 1;
        let frame = v1::ClientFrame { request_id: self.requests, body: Some(body) };
        self.core.on_frame(self.now_ms, session, channel, frame.encode_to_vec().into(), &mut self.effects);
        self.requests
    }

    fn send(&mut self, session: SessionId, conversation: ConversationId, id: u8) -> u64 {
        let request = v1::SendRequest {
            conversation_id: conversation.to_bytes(),
            client_msg_id: ClientMsgId([id; 16]).to_bytes(),
            body: "1 0".into(),
            ..Default::default()
        };
        self.ask(session, Channel::Session, Request::Send(request))
    }

    /// Turns until nothing moves any more.
    fn turn(&mut self) {
        loop {
            self.core.end_turn(self.now_ms, &mut self.effects);
            self.store.advance(0);
            self.tasks.append(&mut self.effects.tasks);
            assert!(self.effects.mail.is_empty(), "there is one core");
            for (session, output) in self.effects.output.drain(..) {
                if let Output::Reply(_, frame) | Output::Push(_, frame) = output {
                    let frame = v1::ServerFrame::decode_length_delimited(frame).unwrap();
                    self.told.entry(session).or_default().push(frame);
                }
            }
            let mut moved = false;
            for mut task in std::mem::take(&mut self.tasks) {
                match task.poll_unpin(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(completion) => {
                        moved = true;
                        self.forward = match self.forward.take() {
                            Some((0, by_ms)) => {
                                self.now_ms += by_ms;
                                None
                            }
                            later => later.map(|(left, by_ms)| (left - 1, by_ms)),
                        };
                        self.core.on_completion(self.now_ms, completion, &mut self.effects);
                    }
                    Poll::Pending => self.tasks.push(task),
                }
            }
            // A task that was not done may have begun to write.
            if !moved && !self.store.is_writing() {
                return;
            }
        }
    }

    fn answer(&self, session: SessionId, request: u64) -> Option<&Body> {
        let frames = self.told.get(&session)?;
        frames.iter().find(|frame| frame.request_id == request)?.body.as_ref()
    }

    fn refusal(&self, session: SessionId, request: u64) -> Option<ErrorCode> {
        match self.answer(session, request)? {
            Body::Error(error) => Some(error.code()),
            other => panic!("{other:?}"),
        }
    }

    /// The seqs that a session was pushed.
    fn pushed(&self, session: SessionId) -> Vec<u64> {
        let frames = self.told.get(&session).into_iter().flatten();
        let pushes = frames.filter_map(|frame| match &frame.body {
            Some(Body::Entries(push)) => Some(push.entries.iter().map(|entry| entry.seq)),
            _ => None,
        });
        pushes.flatten().collect()
    }
}

#[test]
fn a_store_that_fails_at_the_end_of_a_login_does_not_make_a_token_invalid() {
    let mut case = Case::new(Limits::default());
    let (_, _, token) = case.register(1);
    let session = case.open(1);
    let resume = case.ask(session, Channel::Session, Request::Resume(v1::ResumeRequest { token }));
    // The token, the user, and the token once more when the session is registered.
    case.script(Script { fail_read: Some(3), ..Default::default() });
    case.turn();
    assert_eq!(case.refusal(session, resume), Some(ErrorCode::StoreUnavailable));
}

#[test]
fn a_message_of_unknown_outcome_is_pushed_although_the_first_reload_fails() {
    let mut case = Case::new(Limits::default());
    let ((from, alice, _), (to, bob, _)) = (case.register(1), case.register(2));
    let conversation = ConversationId::direct(alice, bob);
    case.send(from, conversation, 1);
    case.turn();
    assert_eq!(case.pushed(to), [1]);

    let unknown = case.send(from, conversation, 2);
    case.script(Script { unknown_changes: 1, fail_read: Some(1), ..Default::default() });
    case.turn();
    assert_eq!(case.refusal(from, unknown), Some(ErrorCode::StoreUnavailable));
    assert_eq!(case.pushed(to), [1]);
    case.now_ms += 1_000;
    case.turn();
    assert_eq!((case.pushed(to), case.pushed(from)), (vec![1, 2], vec![2]));
}

#[test]
fn a_page_of_history_ends_where_the_membership_was_checked() {
    let mut case = Case::new(Limits::default());
    let ((owner, _, _), (gone, bob, _)) = (case.register(1), case.register(2));
    let client_msg_id = ClientMsgId([9; 16]).to_bytes();
    let create = v1::CreateGroupRequest { client_msg_id, title: "crew".into(), member_ids: vec![bob.as_u64()] };
    let create = case.ask(owner, Channel::Session, Request::CreateGroup(create));
    case.turn();
    let Some(Body::CreateGroup(created)) = case.answer(owner, create) else { panic!("no group") };
    let group = ConversationId::from_slice(&created.conversation_id).unwrap();

    // The membership is looked up; the page waits.
    case.script(Script { answers: Some(1), ..Default::default() });
    let history = v1::HistoryRequest {
        conversation_id: group.to_bytes(),
        direction: v1::Direction::Forward.into(),
        ..Default::default()
    };
    let history = case.ask(gone, Channel::Bulk(1), Request::History(history));
    case.turn();
    let (conversation_id, client_msg_id) = (group.to_bytes(), ClientMsgId([8; 16]).to_bytes());
    let remove = v1::RemoveMemberRequest { conversation_id, client_msg_id, user_id: bob.as_u64() };
    case.ask(owner, Channel::Session, Request::RemoveMember(remove));
    case.send(owner, group, 1);
    case.turn();
    case.script(Script::default());
    case.turn();
    let Some(Body::History(page)) = case.answer(gone, history) else { panic!("no page") };
    assert_eq!((page.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), page.last_seq), (vec![1], 1));
    assert_eq!(case.pushed(gone), [1, 2]);
}

#[test]
fn no_more_conversations_are_loaded_than_the_limit_allows() {
    let mut case = Case::new(Limits { conversations_active_max: 1, ..Limits::default() });
    let (session, alice, _) = case.register(1);
    case.script(Script { answers: Some(0), ..Default::default() });
    case.send(session, ConversationId::direct(alice, alice), 1);
    let second = case.send(session, ConversationId::group([1; 16]), 1);
    case.turn();
    assert_eq!(case.refusal(session, second), Some(ErrorCode::Overloaded));
}

/// A scheduled message to oneself, due in a second, and its author's session and conversation.
fn scheduled(case: &mut Case) -> (SessionId, ConversationId) {
    // Simulated time stands still here, so whatever a test makes of the time, the clock may have said it.
    case.store.lock().disk.schedules.clock.set(0, 2 * LATE_MS as i64);
    let (session, alice, _) = case.register(1);
    let conversation = ConversationId::direct(alice, alice);
    let request = v1::ScheduleRequest {
        schedule_id: ClientMsgId([7; 16]).to_bytes(),
        conversation_id: conversation.to_bytes(),
        body: "1 0".into(),
        content_type: String::new(),
        due_ms: case.now_ms + 1_000,
        recurrence: None,
    };
    case.ask(session, Channel::Session, Request::Schedule(request));
    case.turn();
    (session, conversation)
}

/// What could not be sent, of those that the list has.
fn failed(case: &mut Case, session: SessionId) -> Vec<ErrorCode> {
    let list = v1::ListScheduledRequest { failed: true, ..Default::default() };
    let list = case.ask(session, Channel::Bulk(1), Request::ListScheduled(list));
    case.turn();
    let Some(Body::ListScheduled(page)) = case.answer(session, list) else { panic!("no list") };
    page.scheduled.iter().map(|message| message.failure.as_ref().unwrap().code()).collect()
}

const LATE_MS: u64 = 25 * 3_600_000;

#[test]
fn a_message_that_was_sent_in_time_is_not_said_to_have_missed_it() {
    let mut case = Case::new(Limits::default());
    let (session, conversation) = scheduled(&mut case);
    case.now_ms += 1_000;
    // Its entry, and the removal of its timer.
    case.script(Script { fail_change: Some(2), ..Default::default() });
    case.turn();
    assert_eq!((case.pushed(session), case.store.lock().disk.pending(0).len()), (vec![1], 1));
    case.now_ms += LATE_MS;
    case.turn();
    assert_eq!((failed(&mut case, session), case.store.lock().disk.pending(0).len()), (vec![], 0));
    assert_eq!(case.store.lock().disk.conversations[&conversation].log.len(), 1);
}

#[test]
fn a_message_that_is_refused_just_when_the_clock_is_set_forward_is_tried_again() {
    for completions in 0..4 {
        let mut case = Case::new(Limits::default());
        let (session, _) = scheduled(&mut case);
        case.now_ms += 1_000;
        case.script(Script { fail_change: Some(1), ..Default::default() });
        case.forward = Some((completions, 3_600_000));
        case.turn();
        for _ in 0..2 {
            case.now_ms += 1_000;
            case.turn();
        }
        assert_eq!((completions, case.pushed(session)), (completions, vec![1]));
    }
}

#[test]
fn a_message_whose_report_is_not_written_is_not_forgotten() {
    let mut case = Case::new(Limits::default());
    let (session, _) = scheduled(&mut case);
    case.now_ms += LATE_MS;
    case.script(Script { fail_change: Some(1), ..Default::default() });
    case.turn();
    assert_eq!((failed(&mut case, session), case.store.lock().disk.pending(0).len()), (vec![], 1));
    case.now_ms += 1_000;
    case.turn();
    assert_eq!(
        (failed(&mut case, session), case.store.lock().disk.pending(0).len()),
        (vec![ErrorCode::ScheduleMissed], 0)
    );
}

#[test]
fn a_message_that_is_sent_after_all_is_not_said_to_have_failed() {
    let mut case = Case::new(Limits::default());
    let (session, _) = scheduled(&mut case);
    case.now_ms += 1_000 + LATE_MS;
    case.turn();
    assert_eq!(failed(&mut case, session), [ErrorCode::ScheduleMissed]);
    let due_ms = Some(case.now_ms + 1_000);
    let change =
        v1::ChangeScheduledRequest { schedule_id: ClientMsgId([7; 16]).to_bytes(), due_ms, ..Default::default() };
    case.ask(session, Channel::Session, Request::ChangeScheduled(change));
    // The timer, and the removal of the report.
    case.script(Script { fail_change: Some(2), ..Default::default() });
    case.turn();
    case.now_ms += 1_000;
    case.turn();
    assert_eq!((failed(&mut case, session), case.pushed(session)), (vec![], vec![1]));
    case.store.lock().disk.schedules.check_settled();
}
