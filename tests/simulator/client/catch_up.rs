//! Getting what was missed: the walk over all conversations, and pages of history into each gap.

use super::{Around, Client, What, requests::wait_ms};
use bytes::Bytes;
use godwit_proto::{
    ConversationId,
    v1::{self, ErrorCode, client_frame::Body as Request, server_frame::Body},
};

/// Bulk streams at once, as hello says.
const BULK_STREAMS_MAX: usize = 4;

/// The walk over all conversations, a page at a time.
#[derive(Debug, Default)]
pub struct Walk {
    after: Bytes,
    asked: bool,
    done: bool,
    /// Something happened that this walk may have passed by: walk again.
    again: bool,
    not_before_ms: u64,
}

impl Walk {
    pub fn start_over(&mut self) {
        if self.asked {
            self.again = true;
        } else {
            (self.done, self.after) = (false, Bytes::new());
        }
    }

    pub fn again_at(&mut self, at_ms: u64) {
        (self.asked, self.not_before_ms) = (false, at_ms);
    }

    pub fn is_done(&self) -> bool {
        self.done
    }
}

impl Client {
    pub(super) fn catch_up(&mut self, around: &Around<'_>) {
        let now_ms = around.now_ms;
        if !self.walk.done && !self.walk.asked && now_ms >= self.walk.not_before_ms {
            self.ask_walk(around);
        }
        let behind: Vec<ConversationId> = self
            .views
            .iter()
            .filter(|(_, view)| view.is_behind() && !view.filling && now_ms >= view.not_before_ms)
            .map(|(id, _)| *id)
            .collect();
        for conversation in behind {
            if self.bulk_open() >= BULK_STREAMS_MAX {
                return;
            }
            let Some(view) = self.views.get_mut(&conversation) else { unreachable!() };
            view.filling = true;
            let request = v1::HistoryRequest {
                conversation_id: conversation.to_bytes(),
                from_seq: view.next(),
                direction: v1::Direction::Forward.into(),
                limit: 0,
            };
            let stream = self.new_bulk();
            self.ask(now_ms, What::History(conversation), stream, Request::History(request));
        }
    }

    fn bulk_open(&self) -> usize {
        let is_bulk = |what: &What| {
            matches!(what, What::History(_) | What::Sync(_) | What::Page(_) | What::List | What::ListScheduled(_))
        };
        self.asked.values().filter(|asked| is_bulk(&asked.what)).count()
    }

    fn ask_walk(&mut self, around: &Around<'_>) {
        let after = ConversationId::from_slice(&self.walk.after).ok();
        let later = self.views.iter().filter(|(id, view)| !view.left && after.is_none_or(|after| **id > after));
        let mut known: Vec<_> = later.map(|(id, view)| (*id, view.last(), view.read)).collect();
        let page_max = around.settings.limits.conversations_per_page_max;
        let known_continues = known.len() > page_max;
        known.truncate(page_max);
        let request = v1::SyncRequest {
            after: self.walk.after.clone(),
            known: known
                .iter()
                .map(|(id, seq, read_seq)| v1::KnownConversation {
                    conversation_id: id.to_bytes(),
                    seq: *seq,
                    read_seq: *read_seq,
                })
                .collect(),
            known_continues,
        };
        self.walk.asked = true;
        let stream = self.new_bulk();
        let named = known.into_iter().map(|(id, seq, _)| (id, seq)).collect();
        self.ask(around.now_ms, What::Sync(named), stream, Request::Sync(request));
    }

    pub(super) fn on_synced(&mut self, named: &[(ConversationId, u64)], response: v1::SyncResponse) {
        self.walk.asked = false;
        for line in response.changed {
            let id = ConversationId::from_slice(&line.conversation_id).unwrap();
            let view = self.views.entry(id).or_default();
            if line.last_seq > view.last().max(view.left_at) {
                view.left = false;
            }
            if view.left {
                continue;
            }
            view.starts_at(line.first_seq);
            view.target = view.target.max(line.last_seq);
            view.read = view.read.max(line.read_seq);
        }
        for id in response.removed {
            let id = ConversationId::from_slice(&id).unwrap();
            let held = named.iter().find(|(other, _)| *other == id).expect("only what was named is removed").1;
            let view = self.views.get_mut(&id).expect("views stay");
            // Pushes since then may be of a new membership: what the server saw is older than what the client has.
            if view.last().max(view.target) > held {
                self.walk.again = true;
            } else {
                view.leave(held);
            }
        }
        if response.more {
            assert!(response.up_to > self.walk.after, "a walk that stands still");
            self.walk.after = response.up_to;
        } else {
            self.walk.done = true;
        }
        if std::mem::take(&mut self.walk.again) {
            (self.walk.done, self.walk.after) = (false, Bytes::new());
        }
    }

    pub(super) fn on_history(&mut self, around: &Around<'_>, conversation: ConversationId, body: Body) {
        let (me, view) = (self.me.unwrap(), self.views.get_mut(&conversation).expect("views stay"));
        view.filling = false;
        match body {
            Body::History(page) => {
                view.starts_at(page.first_seq);
                view.target = view.target.max(page.last_seq);
                let (next, empty) = (view.next(), page.entries.is_empty());
                for entry in page.entries {
                    if entry.seq == view.next() {
                        view.append(me, entry);
                    } else {
                        assert!(entry.seq < view.next(), "{conversation:?}: a page has a hole before {}", entry.seq);
                    }
                }
                let stuck = empty && page.last_seq >= next;
                assert!(!stuck, "{conversation:?}: an empty page, of {} and {next} wanted", page.last_seq);
            }
            Body::Error(error) if error.code() == ErrorCode::NotAMember => {
                view.leave(view.last());
            }
            Body::Error(error) => {
                assert!(error.retry_after_ms > 0, "a page was refused: {error:?}");
                view.not_before_ms = around.now_ms + wait_ms(&error);
            }
            body => panic!("a page was answered with {body:?}"),
        }
    }
}
