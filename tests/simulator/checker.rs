//! Holds everything that the server says against what is durable, at the moment when it says it.

use crate::{
    client::{Asked, Client, What, Wish},
    disk::Stored,
    expiries,
    store::SimStore,
};
use godwit_proto::{
    ConversationId, ConversationKind, UserId,
    v1::{self, ErrorCode, server_frame::Body},
};
use std::collections::BTreeMap;

pub struct Checker {
    store: SimStore,
    /// When which read position was confirmed.
    reads: BTreeMap<(UserId, ConversationId), Vec<(u64, u64)>>,
    /// What was looked at, so that a run that checked nothing can be told from a good one.
    pub checked: u64,
}

impl Checker {
    pub fn new(store: SimStore) -> Self {
        Self { store, reads: BTreeMap::new(), checked: 0 }
    }

    /// The server tells a client something. `asked` is empty when the client has given up on this connection.
    pub fn on_told(&mut self, client: &Client, frame: &v1::ServerFrame, current: bool) {
        let asked = if current { client.asked.get(&frame.request_id) } else { None };
        let Some(me) = client.me else { return };
        match frame.body.as_ref().expect("no frame is empty") {
            Body::Entries(push) => self.on_entries(me, &push.conversation_id, &push.entries),
            Body::History(page) => self.on_entries(me, &page.conversation_id, &page.entries),
            Body::Sync(response) => self.on_lines(me, asked, &response.changed),
            Body::ListConversations(response) => {
                self.on_lines(me, asked, &response.conversations);
                let sum: u64 = response.conversations.iter().map(|line| line.unread).sum();
                assert!(sum <= response.unread_total, "the total leaves something out");
                assert!(response.more || sum == response.unread_total, "the total counts what is not there");
            }
            Body::Read(read) => self.on_read(me, &read.conversation_id, read.read_seq, read.read_ordinal),
            Body::Scheduled(push) => self.store.lock().disk.schedules.on_push(me, push),
            body => {
                if let Some(asked) = asked {
                    self.on_answer(me, asked, body);
                }
            }
        }
    }

    /// Nobody is given an entry that is not durable, or that they may not read.
    fn on_entries(&mut self, me: UserId, conversation: &[u8], entries: &[v1::Entry]) {
        self.checked += entries.len() as u64;
        let clock_ms = self.clock_ms();
        self.with(conversation, |id, stored| {
            for entry in entries {
                let Some(durable) = stored.entries.get(entry.seq as usize - 1) else {
                    panic!("{id:?} #{}: told, but not durable", entry.seq)
                };
                expiries::check_told(id, me, entry, durable, stored.ledger.has_missed(me, entry.seq), clock_ms);
                let may = stored.ledger.may_see(me, entry.seq);
                assert!(may, "{id:?} #{}: {me:?} is given what they may not read", entry.seq);
            }
        });
    }

    fn on_lines(&mut self, me: UserId, asked: Option<&Asked>, lines: &[v1::ConversationSummary]) {
        for line in lines {
            if let Some(entry) = &line.last_entry {
                self.on_entries(me, &line.conversation_id, std::slice::from_ref(entry));
            }
            let id = ConversationId::from_slice(&line.conversation_id).unwrap();
            let confirmed = asked.and_then(|asked| {
                let reads = self.reads.get(&(me, id))?;
                reads.iter().filter(|(at_ms, _)| *at_ms <= asked.at_ms).map(|(_, seq)| *seq).max()
            });
            self.with(&line.conversation_id, |id, stored| {
                let ledger = &stored.ledger;
                let (last, read) = (line.last_seq, line.read_seq);
                assert!(last <= ledger.len() && read <= last, "{id:?}: a line is beyond the log: {line:?}");
                assert_eq!(line.last_ordinal, ledger.ordinal(last), "{id:?}: {line:?}");
                assert_eq!(line.read_ordinal, ledger.ordinal(read), "{id:?}: {line:?}");
                assert_eq!(
                    line.unread,
                    ledger.count_unread(me, read, last),
                    "{id:?}: unread is not a recount: {line:?}"
                );
                let Some(stay) = ledger.stay(me) else { return };
                if stay.joined.max(1) != line.first_seq {
                    return; // An answer about an earlier membership.
                }
                let least = stay.joined.max(ledger.own(me, last)).max(confirmed.unwrap_or(0).min(last));
                assert!(read >= least, "{id:?}: read to {read}, but {least} is behind {me:?}");
            });
        }
    }

    fn on_read(&mut self, me: UserId, conversation: &[u8], seq: u64, ordinal: u64) {
        self.with(conversation, |id, stored| {
            let row = stored.members.get(&me).map_or(u64::MAX, |member| member.position().seq.as_u64());
            assert!(row >= seq, "{id:?}: {me:?} is told of read position {seq}, and {row} is durable");
            assert_eq!(ordinal, stored.ledger.ordinal(seq), "{id:?}: the ordinal of read position {seq}");
        });
    }

    fn on_answer(&mut self, me: UserId, asked: &Asked, body: &Body) {
        self.checked += 1;
        if let What::Schedule(_, id, wish) = &asked.what {
            let mut inner = self.store.lock();
            let between_ms = (asked.at_ms, inner.now_ms);
            inner.disk.schedules.on_answer(me, *id, wish, between_ms, body);
        }
        match (&asked.what, body) {
            (What::Send(conversation, msg) | What::Schedule(conversation, msg, Wish::Send(_)), Body::Send(sent)) => {
                self.with(conversation.as_bytes(), |id, stored| {
                    let found = match &asked.what {
                        What::Schedule(_, _, Wish::Send(of_series)) => stored.ledger.find(me, *of_series),
                        _ => None,
                    };
                    assert_eq!(
                        found.or(stored.ledger.find(me, *msg)),
                        Some(sent.seq),
                        "{id:?} {msg:?}: an ack of what is not durable"
                    );
                    let entry = &stored.log[sent.seq as usize - 1];
                    assert_eq!((entry.ordinal, entry.sent_ms), (sent.ordinal, sent.sent_ms), "{id:?} #{}", sent.seq);
                });
            }
            (What::ListScheduled(request), Body::ListScheduled(page)) => {
                let inner = self.store.lock();
                inner.disk.schedules.on_page(me, request, (asked.at_ms, inner.now_ms), page);
            }
            (What::Chore(_, msg), Body::CreateGroup(created)) => self.with(&created.conversation_id, |id, stored| {
                assert_eq!(stored.ledger.find(me, *msg), Some(created.seq), "{id:?}: an ack of what is not durable");
            }),
            (What::Chore(conversation, msg), Body::ChangeMembers(changed)) if changed.seq > 0 => {
                self.with(conversation.as_bytes(), |id, stored| {
                    assert_eq!(
                        stored.ledger.find(me, *msg),
                        Some(changed.seq),
                        "{id:?}: an ack of what is not durable"
                    );
                });
            }
            (What::MarkRead(conversation, _), Body::MarkRead(marked)) => {
                self.on_read(me, conversation.as_bytes(), marked.read_seq, marked.read_ordinal);
                self.with(conversation.as_bytes(), |id, stored| {
                    let most = stored.ledger.ordinal(stored.ledger.len()) - marked.read_ordinal;
                    assert!(marked.unread <= most, "{id:?}: {} unread, of {most}", marked.unread);
                });
                let now_ms = self.store.lock().now_ms;
                self.reads.entry((me, *conversation)).or_default().push((now_ms, marked.read_seq));
            }
            (
                What::Send(conversation, _)
                | What::Schedule(conversation, ..)
                | What::Chore(conversation, _)
                | What::MarkRead(conversation, _)
                | What::History(conversation)
                | What::Page(conversation),
                Body::Error(error),
            ) => self.on_refused(me, asked, *conversation, error),
            _ => {}
        }
    }

    /// A refusal for good must be true, and of something durable.
    fn on_refused(&self, me: UserId, asked: &Asked, conversation: ConversationId, error: &v1::Error) {
        let code = error.code();
        if code == ErrorCode::UserNotFound
            && let ConversationKind::Direct(low, high) = conversation.kind()
        {
            let inner = self.store.lock();
            let exist = [low, high].iter().all(|user| inner.disk.users.contains_key(user));
            assert!(!exist, "{conversation:?}: both users exist");
        }
        if code == ErrorCode::NotAMember {
            let inner = self.store.lock();
            let Some(stored) = inner.disk.conversations.get(&conversation) else { return };
            let stay = stored.ledger.stay(me);
            let all_along = stay.is_some_and(|stay| stay.since_ms < asked.at_ms);
            assert!(!all_along, "{conversation:?}: {me:?} is a member, and is told otherwise");
        }
    }

    fn clock_ms(&self) -> u64 {
        let inner = self.store.lock();
        inner.disk.schedules.clock.read(inner.now_ms)
    }

    fn with(&self, conversation: &[u8], check: impl FnOnce(ConversationId, &Stored)) {
        let id = ConversationId::from_slice(conversation).unwrap();
        let inner = self.store.lock();
        let stored = inner.disk.conversations.get(&id);
        check(id, stored.unwrap_or_else(|| panic!("{id:?}: told of a conversation that is not durable")));
    }
}
