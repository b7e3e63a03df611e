//! A client that breaks the rules now and then. It must be refused or ignored, and nobody else may notice.

use super::{Around, Client, Stage, What};
use crate::{
    clock::START_MS,
    ledger::{OUT_OF_ORDER, write_body},
    network::{Stream, prefixed},
};
use bytes::Bytes;
use godwit_proto::{
    ClientMsgId, ConversationId, UserId, codec,
    v1::{self, client_frame::Body as Request},
};

impl Client {
    pub(super) fn misbehave(&mut self, around: &Around<'_>) {
        let now_ms = around.now_ms;
        let whatever = What::Whatever(None);
        match self.rng.below(9) {
            0 => {
                let mut garbage = vec![0; self.rng.index(60)];
                self.rng.fill(&mut garbage);
                // No tag, so that it is never a request by accident.
                garbage.iter_mut().take(1).for_each(|byte| *byte = 0xff);
                self.out.push((Stream::Session, prefixed(&garbage)));
            }
            1 => self.out.push((Stream::Session, Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f]))),
            2 => self.ask(now_ms, whatever, Stream::Session, Request::Hello(v1::HelloRequest::default())),
            3 => {
                let empty = v1::ClientFrame { request_id: 0, body: None };
                self.out.push((Stream::Session, codec::frame(&empty)));
            }
            4 => {
                let sync = Request::Sync(v1::SyncRequest { known_continues: true, ..Default::default() });
                self.ask(now_ms, whatever, Stream::Session, sync);
            }
            5 => {
                // Acks of what nobody has sent.
                let position =
                    |id: &ConversationId| v1::ConversationPosition { conversation_id: id.to_bytes(), seq: u64::MAX };
                let positions = self.views.keys().map(position).collect();
                let body = Some(Request::Ack(v1::AckRequest { positions }));
                self.out.push((Stream::Session, codec::frame(&v1::ClientFrame { request_id: 0, body })));
            }
            6 => {
                // Somebody else's conversation, read and written.
                let Some(conversation) = self.strange_conversation(around) else { return };
                let history = v1::HistoryRequest {
                    conversation_id: conversation.to_bytes(),
                    direction: v1::Direction::Forward.into(),
                    ..Default::default()
                };
                let stream = self.new_bulk();
                self.ask(now_ms, whatever.clone(), stream, Request::History(history));
                self.send_blindly(now_ms, conversation, 0);
                let schedule = v1::ScheduleRequest {
                    schedule_id: ClientMsgId(self.rng.sixteen_bytes()).to_bytes(),
                    conversation_id: conversation.to_bytes(),
                    body: write_body(self.id as u64, OUT_OF_ORDER, 0).into(),
                    content_type: String::new(),
                    due_ms: START_MS + now_ms,
                    recurrence: None,
                };
                self.ask(now_ms, whatever, Stream::Session, Request::Schedule(schedule));
            }
            7 => {
                let nobody = UserId::new(7).unwrap();
                let me = self.me.unwrap_or(nobody);
                self.send_blindly(now_ms, ConversationId::direct(me, nobody), 0);
            }
            _ => {
                let Some(conversation) = self.strange_conversation(around) else { return };
                self.send_blindly(now_ms, conversation, around.settings.limits.message_bytes_max);
            }
        }
        if self.stage == Stage::Offline {
            self.out.clear();
        }
    }

    fn strange_conversation(&mut self, around: &Around<'_>) -> Option<ConversationId> {
        let all: Vec<ConversationId> = around.store.lock().disk.conversations.keys().copied().collect();
        (!all.is_empty()).then(|| self.rng.pick(&all))
    }

    /// A message outside of every order.
    fn send_blindly(&mut self, now_ms: u64, conversation: ConversationId, padding: usize) {
        let request = v1::SendRequest {
            conversation_id: conversation.to_bytes(),
            client_msg_id: ClientMsgId(self.rng.sixteen_bytes()).to_bytes(),
            body: write_body(self.id as u64, 0, padding).into(),
            ..Default::default()
        };
        self.ask(now_ms, What::Whatever(Some(conversation)), Stream::Session, Request::Send(request));
    }
}
