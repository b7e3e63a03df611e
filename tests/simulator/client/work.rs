//! What a client does of its own: messages, groups, reading.

use super::{Around, Client, What, requests::wait_ms};
use crate::{ledger::write_body, network::Stream};
use bytes::Bytes;
use godwit_proto::{
    ClientMsgId, ConversationId, ConversationKind, UserId,
    v1::{self, ErrorCode, client_frame::Body as Request, server_frame::Body},
};

/// Messages of one client that wait in one conversation.
const OUTGOING_MAX: usize = 5;

/// A message that is not acknowledged yet. It goes out again under the same id until it is.
#[derive(Debug)]
pub struct Outgoing {
    pub id: ClientMsgId,
    number: u64,
    body: Bytes,
    expiry: Option<v1::Expiry>,
    deliver_by_ms: u64,
    tried: bool,
    /// On the present connection.
    pub in_flight: bool,
    not_before_ms: u64,
}

/// A change of a group that is not acknowledged yet.
#[derive(Debug)]
pub struct Chore {
    id: ClientMsgId,
    kind: ChoreKind,
    pub in_flight: bool,
    not_before_ms: u64,
}

#[derive(Debug, Clone)]
enum ChoreKind {
    Create(Vec<UserId>),
    Add(ConversationId, Vec<UserId>),
    Remove(ConversationId, UserId),
    Leave(ConversationId),
}

impl Client {
    pub(super) fn begin_something(&mut self, around: &Around<'_>) {
        match self.rng.below(100) {
            0..50 => self.write(around),
            50..60 => self.plan_something(around),
            60..72 if self.chore.is_none() => self.begin_chore(around),
            72..85 if self.reading.is_none() => {
                let open: Vec<_> = self.views.iter().filter(|(_, view)| !view.left && view.last() > 0).collect();
                if !open.is_empty() {
                    let (id, view) = open[self.rng.index(open.len())];
                    self.reading = Some((*id, view.last() - self.rng.below(view.last().min(3))));
                }
            }
            _ => self.say_whatever(around),
        }
    }

    fn write(&mut self, around: &Around<'_>) {
        let places = self.places(around);
        let place = self.rng.pick(&places);
        let number = self.next_message;
        let queue = self.outgoing.entry(place).or_default();
        let many = 1 + self.rng.below(3);
        for number in number..number + many {
            if queue.len() < OUTGOING_MAX {
                self.next_message = number + 1;
                let padding_max = if self.rng.chance(50) { 2000 } else { 20 };
                let padding = self.rng.index(padding_max);
                let body = write_body(self.id as u64, number, padding).into();
                let id = ClientMsgId(self.rng.sixteen_bytes());
                let expiry = self
                    .rng
                    .chance(250)
                    .then(|| v1::Expiry { after_ms: 1_000 + self.rng.below(2_000), start: self.rng.pick(&[1, 2]) });
                let clock_ms = around.store.lock().disk.schedules.clock.read(around.now_ms);
                let deliver_by_ms = if self.rng.chance(150) { clock_ms + 20 + self.rng.below(1_000) } else { 0 };
                queue.push_back(Outgoing {
                    id,
                    number,
                    body,
                    expiry,
                    deliver_by_ms,
                    tried: false,
                    in_flight: false,
                    not_before_ms: 0,
                });
            }
        }
    }

    /// Where the client may write, as far as it knows. There is always somewhere: its user may write to themself.
    pub(super) fn places(&self, around: &Around<'_>) -> Vec<ConversationId> {
        let me = self.me.unwrap();
        let mut places: Vec<ConversationId> =
            self.views.iter().filter(|(_, view)| !view.left).map(|(id, _)| *id).collect();
        places.extend(around.people.iter().filter_map(|person| Some(ConversationId::direct(me, person.id?))));
        places
    }

    /// In order, each after the one before it that is not acknowledged either.
    pub(super) fn send_due(&mut self, around: &Around<'_>) {
        let now_ms = around.now_ms;
        // A careful client waits until the one before is on its way again; a hasty one trusts `after_client_msg_id`.
        let hasty = self.rng.chance(500);
        let mut requests = Vec::new();
        for (conversation, queue) in &mut self.outgoing {
            let mut after = Bytes::new();
            for message in queue {
                if !message.in_flight {
                    if now_ms < message.not_before_ms {
                        if hasty {
                            after = message.id.to_bytes();
                            continue;
                        }
                        break;
                    }
                    let request = v1::SendRequest {
                        conversation_id: conversation.to_bytes(),
                        client_msg_id: message.id.to_bytes(),
                        body: message.body.clone(),
                        content_type: String::new(),
                        first_attempt: !message.tried,
                        after_client_msg_id: after,
                        expiry: message.expiry,
                        deliver_by_ms: message.deliver_by_ms,
                    };
                    (message.tried, message.in_flight) = (true, true);
                    requests.push((What::Send(*conversation, message.id), request));
                }
                after = message.id.to_bytes();
            }
        }
        for (what, request) in requests {
            self.ask(now_ms, what, Stream::Session, Request::Send(request));
        }
    }

    pub(super) fn on_sent(&mut self, around: &Around<'_>, conversation: ConversationId, id: ClientMsgId, body: Body) {
        let queue = self.outgoing.get_mut(&conversation).unwrap();
        let index = queue.iter().position(|message| message.id == id).expect("a message waits until it is answered");
        match body {
            Body::Send(sent) => {
                let message = queue.remove(index).unwrap();
                // The sender is not pushed its own message: the answer tells all of it.
                let content = v1::Message { body: message.body, ..v1::Message::default() };
                let entry = v1::Entry {
                    seq: sent.seq,
                    ordinal: sent.ordinal,
                    sender_id: self.me.unwrap().as_u64(),
                    sent_ms: sent.sent_ms,
                    client_msg_id: id.to_bytes(),
                    content: Some(v1::entry::Content::Message(content)),
                };
                let view = self.views.entry(conversation).or_default();
                if view.left {
                    // It was accepted before the sender was removed, and there is no more to be read here.
                    return;
                }
                view.on_entry(self.me.unwrap(), conversation, entry);
            }
            Body::Error(error) if error.retry_after_ms > 0 => {
                queue[index].in_flight = false;
                queue[index].not_before_ms = around.now_ms + wait_ms(&error);
            }
            Body::Error(error) => {
                let direct = matches!(conversation.kind(), ConversationKind::Direct(..));
                let gone = match error.code() {
                    ErrorCode::NotAMember => !direct,
                    ErrorCode::DeadlinePassed => queue[index].deliver_by_ms > 0,
                    _ => false,
                };
                assert!(gone, "client {}: a message was refused for good: {error:?}", self.id);
                let message = queue.remove(index).unwrap();
                // It may still be on its way on an older connection, and be accepted there in another membership.
                if let Some(stored) = around.store.lock().disk.conversations.get_mut(&conversation) {
                    stored.ledger.give_up(self.id as u64, message.number);
                }
            }
            body => panic!("a message was answered with {body:?}"),
        }
    }

    fn begin_chore(&mut self, around: &Around<'_>) {
        let others: Vec<UserId> = around.people.iter().filter_map(|person| person.id).collect();
        let some =
            |rng: &mut crate::rng::Rng| -> Vec<UserId> { others.iter().copied().filter(|_| rng.chance(500)).collect() };
        let is_group = |id: &ConversationId| matches!(id.kind(), ConversationKind::Group);
        let groups: Vec<_> =
            self.views.iter().filter(|(id, view)| is_group(id) && !view.left).map(|(id, _)| *id).collect();
        let kind = match self.rng.below(10) {
            0..3 => ChoreKind::Create(some(&mut self.rng)),
            _ if groups.is_empty() => ChoreKind::Create(some(&mut self.rng)),
            3..6 => ChoreKind::Add(self.rng.pick(&groups), some(&mut self.rng)),
            6..9 => ChoreKind::Remove(self.rng.pick(&groups), self.rng.pick(&others)),
            _ => ChoreKind::Leave(self.rng.pick(&groups)),
        };
        let id = ClientMsgId(self.rng.sixteen_bytes());
        self.chore = Some(Chore { id, kind, in_flight: false, not_before_ms: 0 });
    }

    pub(super) fn do_chore(&mut self, around: &Around<'_>) {
        let Some(chore) = &mut self.chore else { return };
        if chore.in_flight || around.now_ms < chore.not_before_ms {
            return;
        }
        chore.in_flight = true;
        let (client_msg_id, id) = (chore.id.to_bytes(), chore.id);
        let raw = |users: &[UserId]| users.iter().map(|user| user.as_u64()).collect();
        let (conversation, request) = match &chore.kind {
            ChoreKind::Create(users) => {
                let request = v1::CreateGroupRequest { client_msg_id, title: "a".into(), member_ids: raw(users) };
                // Its id is not known yet.
                (ConversationId::group([0; 16]), Request::CreateGroup(request))
            }
            ChoreKind::Add(group, users) => {
                let (conversation_id, user_ids) = (group.to_bytes(), raw(users));
                (*group, Request::AddMembers(v1::AddMembersRequest { conversation_id, client_msg_id, user_ids }))
            }
            ChoreKind::Remove(group, user) => {
                let (conversation_id, user_id) = (group.to_bytes(), user.as_u64());
                (*group, Request::RemoveMember(v1::RemoveMemberRequest { conversation_id, client_msg_id, user_id }))
            }
            ChoreKind::Leave(group) => {
                (*group, Request::Leave(v1::LeaveRequest { conversation_id: group.to_bytes(), client_msg_id }))
            }
        };
        self.ask(around.now_ms, What::Chore(conversation, id), Stream::Session, request);
    }

    pub(super) fn on_chore_answer(&mut self, around: &Around<'_>, id: ClientMsgId, body: Body) {
        let chore = self.chore.as_mut().filter(|chore| chore.id == id).expect("a chore waits until it is answered");
        let (group, seq) = match (body, &chore.kind) {
            (Body::Error(error), _) if error.retry_after_ms > 0 => {
                chore.in_flight = false;
                chore.not_before_ms = around.now_ms + wait_ms(&error);
                return;
            }
            (Body::Error(error), _) => {
                let allowed = [ErrorCode::NotAMember, ErrorCode::Forbidden, ErrorCode::GroupFull];
                assert!(allowed.contains(&error.code()), "client {}: {chore:?} was refused: {error:?}", self.id);
                self.chore = None;
                return;
            }
            (Body::CreateGroup(created), ChoreKind::Create(_)) => {
                (ConversationId::from_slice(&created.conversation_id).unwrap(), created.seq)
            }
            (Body::ChangeMembers(v1::ChangeMembersResponse { seq }), ChoreKind::Add(group, _))
            | (Body::ChangeMembers(v1::ChangeMembersResponse { seq }), ChoreKind::Leave(group))
            | (Body::ChangeMembers(v1::ChangeMembersResponse { seq }), ChoreKind::Remove(group, _)) => (*group, seq),
            (body, kind) => panic!("{kind:?} was answered with {body:?}"),
        };
        let me = self.me.unwrap();
        let leaves = match &chore.kind {
            ChoreKind::Leave(_) => true,
            ChoreKind::Remove(_, user) => *user == me,
            ChoreKind::Create(_) | ChoreKind::Add(..) => false,
        };
        let view = self.views.entry(group).or_default();
        if leaves {
            // Unless a push has already told of a later membership.
            if view.last().max(view.target) <= seq {
                view.leave(seq);
            }
        } else if !view.left {
            view.target = view.target.max(seq);
        }
        self.chore = None;
    }

    pub(super) fn mark_read(&mut self, around: &Around<'_>) {
        let Some((conversation, seq)) = self.reading else { return };
        let is_asked = |what: &What| matches!(what, What::MarkRead(..));
        if self.asked.values().any(|asked| is_asked(&asked.what)) {
            return;
        }
        let request = v1::MarkReadRequest { conversation_id: conversation.to_bytes(), seq };
        self.ask(around.now_ms, What::MarkRead(conversation, seq), Stream::Session, Request::MarkRead(request));
    }

    pub(super) fn on_marked(&mut self, conversation: ConversationId, seq: u64, body: Body) {
        match body {
            Body::MarkRead(response) => {
                assert!(response.read_seq >= seq, "marked {seq} and got {response:?}");
                let view = self.views.get_mut(&conversation).expect("views stay");
                view.read = view.read.max(response.read_seq);
                self.reading = None;
            }
            Body::Error(error) if error.retry_after_ms > 0 => {}
            Body::Error(error) => {
                assert_eq!(error.code(), ErrorCode::NotAMember, "client {}: {error:?}", self.id);
                self.reading = None;
            }
            body => panic!("a read position was answered with {body:?}"),
        }
    }
}
