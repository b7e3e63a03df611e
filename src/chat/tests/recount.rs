//! Whatever happens in whatever order, unread is what a naive count of the log says.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

const PEOPLE: [u64; 3] = [ALICE, BOB, CAROL];

#[derive(Debug, Clone)]
enum Step {
    Send(u64, SentBy),
    /// Somebody says that they have read this part of the log, in hundredths.
    Read(u64, u64),
    /// These parts of the log expire, in hundredths.
    Expire(u64, u64),
    /// The delivery of this part of the log ends without having reached somebody.
    Miss(u64, u64),
    /// The owner takes somebody out, or in again.
    Leave(u64),
    Join(u64),
    /// The store makes this many changes durable.
    Commit(usize),
    /// The store fails, and the conversation is loaded again.
    Fail,
    /// The store catches up, and the conversation is let go of and loaded again.
    Reload,
}

fn step() -> impl Strategy<Value = Step> {
    let who = proptest::sample::select(PEOPLE.to_vec());
    let other = proptest::sample::select(vec![BOB, CAROL]);
    let by = prop_oneof![1 => Just(SentBy::Hand), 3 => Just(SentBy::Schedule)];
    prop_oneof![
        16 => (who.clone(), by).prop_map(|(who, by)| Step::Send(who, by)),
        6 => (who.clone(), 0_u64..=100).prop_map(|(who, part)| Step::Read(who, part)),
        3 => (0_u64..100, 0_u64..100).prop_map(|(from, to)| Step::Expire(from, to)),
        3 => (who, 0_u64..100).prop_map(|(who, part)| Step::Miss(who, part)),
        1 => other.clone().prop_map(Step::Leave),
        1 => other.prop_map(Step::Join),
        8 => (1_usize..5).prop_map(Step::Commit),
        1 => Just(Step::Fail),
        1 => Just(Step::Reload),
    ]
}

/// A group whose log is counted again after every step.
struct Recounted {
    talk: Talk,
    /// What was said to be read by each change that is not durable yet, if that is what the change says.
    marking: VecDeque<Option<(u64, u64)>>,
    /// Every mark that is durable: the length of the log then, who, and up to where.
    marked: Vec<(usize, u64, u64)>,
    readers: BTreeMap<Ticket, u64>,
    /// Replies that were looked at.
    replies: usize,
    next_id: u128,
}

impl Recounted {
    fn new() -> Self {
        let mut talk = Talk::with_window(ConversationId::group([1; 16]), 3);
        talk.ask(ALICE, create());
        let (marking, readers) = (VecDeque::from([None]), BTreeMap::new());
        let mut new = Self { talk, marking, marked: Vec::new(), readers, replies: 0, next_id: 1 };
        new.commit();
        new
    }

    fn step(&mut self, step: &Step) {
        self.next_id += 1;
        let id = msg(self.next_id);
        match *step {
            Step::Send(who, by) => {
                let expiry = Some(Expiry { after_ms: 1_000, from_reading: false });
                let deliver_by_ms = self.talk.now_ms + 1;
                let message = NewMessage { expiry, deliver_by_ms, ..new_message(self.next_id, by) };
                self.ask(who, &Action::Send(message));
            }
            Step::Expire(from, to) => {
                self.talk.now_ms += 2_000;
                let log = &self.talk.log;
                let of = |part: u64| log.len() * part as usize / 100;
                let entries = log[of(from.min(to))..=of(from.max(to))].to_vec();
                self.ask(entries[0].sender.as_u64(), &Action::Expire(entries));
            }
            Step::Miss(who, part) => {
                let entry = self.talk.log[self.talk.log.len() * part as usize / 100].clone();
                let sender = entry.sender.as_u64();
                if who != sender {
                    self.ask(sender, &Action::EndDelivery { entry, missed: vec![user(who)] });
                }
            }
            Step::Read(who, part) => {
                self.ask(who, &Action::MarkRead(Seq(self.talk.conversation.last.seq.0 * part / 100)));
            }
            Step::Leave(member) => self.ask(ALICE, &Action::RemoveMember { client_msg_id: id, member: user(member) }),
            Step::Join(who) => self.ask(ALICE, &Action::AddMembers { client_msg_id: id, members: vec![user(who)] }),
            Step::Commit(count) => (0..count.min(self.talk.commits.len())).for_each(|_| self.commit()),
            Step::Fail => {
                while !self.talk.commits.is_empty() {
                    self.talk.fail();
                }
                self.marking.clear();
                self.replies = self.talk.replies.len();
                self.talk.reload();
            }
            Step::Reload => {
                while !self.talk.commits.is_empty() {
                    self.commit();
                }
                self.talk.reload();
            }
        }
        self.check();
    }

    /// Asks, and answers what the store is asked for it.
    fn ask(&mut self, who: u64, action: &Action) {
        let ticket = loop {
            match self.talk.try_ask(who, action.clone()) {
                Ok(ticket) => break ticket,
                Err(Question::FindSend(sender, id)) => self.talk.conversation.on_found(sender, id, None),
                Err(Question::Ordinal(seq)) => {
                    let ordinal = self.talk.log[seq.0 as usize - 1].ordinal;
                    self.talk.conversation.on_ordinal(Position { seq, ordinal });
                }
            }
        };
        if let Action::MarkRead(seq) = action {
            self.readers.insert(ticket, who);
            self.marking.resize(self.talk.commits.len(), Some((who, seq.0)));
        }
        self.marking.resize(self.talk.commits.len(), None);
        self.check_replies();
    }

    fn commit(&mut self) {
        self.talk.commit();
        if let Some((who, seq)) = self.marking.pop_front().flatten() {
            self.marked.push((self.talk.log.len(), who, seq));
        }
        self.check_replies();
    }

    /// Whoever is told how much is unread is told what is in the log at that moment.
    fn check_replies(&mut self) {
        for (ticket, reply) in &self.talk.replies[self.replies..] {
            if let Reply::Read { position, unread } = reply {
                let who = self.readers[ticket];
                let counted = recount(&self.talk.log, &self.marked, who, self.talk.log.len());
                assert_eq!((position.seq.0 as usize, *unread), counted, "the answer to {who}");
            }
        }
        self.replies = self.talk.replies.len();
    }

    fn check(&self) {
        let talk = &self.talk;
        let last = talk.log.last().map(|entry| Position { seq: entry.seq, ordinal: entry.ordinal }).unwrap();
        assert_eq!(talk.conversation.durable(), last);
        for (who, row) in &talk.rows {
            let counted = recount(&talk.log, &self.marked, who.as_u64(), talk.log.len());
            assert_eq!(
                (row.position().seq.0 as usize, row.unread(last, &self.talk.details.withdrawn)),
                counted,
                "the row of {who:?}"
            );
        }
        // The rules are ahead of the store.
        let mut log = talk.log.clone();
        let mut marked = self.marked.clone();
        for (change, marking) in talk.commits.iter().zip(&self.marking) {
            for entry in &change.rewritten {
                log[entry.seq.0 as usize - 1] = entry.clone();
            }
            log.extend(change.entries.iter().cloned());
            marked.extend(marking.map(|(who, seq)| (log.len(), who, seq)));
        }
        for (who, member) in &talk.conversation.members {
            let counted = recount(&log, &marked, who.as_u64(), talk.log.len());
            assert_eq!(
                (member.position().seq.0 as usize, member.unread(last, &talk.conversation.details.withdrawn)),
                counted,
                "the member {who:?}"
            );
            assert!(member.scheduled.seqs().iter().all(|seq| *seq > member.position().seq), "{member:?}");
        }
    }
}

/// Where a member's unread begins, and the messages of others from there to `up_to`, one by one.
fn recount(log: &[LogEntry], marked: &[(usize, u64, u64)], who: u64, up_to: usize) -> (usize, u64) {
    let contents: Vec<_> = log.iter().map(|entry| (entry.sender.as_u64(), entry.to_proto().content.unwrap())).collect();
    let joins = |content: &v1::entry::Content| match content {
        v1::entry::Content::GroupCreated(_) => true,
        v1::entry::Content::MembersAdded(added) => added.member_ids.contains(&who),
        _ => false,
    };
    let joined = contents.iter().rposition(|(_, content)| joins(content)).unwrap();
    let by_hand = |(sender, content): &(u64, v1::entry::Content)| match content {
        v1::entry::Content::Message(message) => *sender == who && !message.scheduled,
        v1::entry::Content::Withdrawn(withdrawn) => *sender == who && !withdrawn.scheduled,
        _ => false,
    };
    let missed = |index: usize| {
        contents.iter().any(|(_, content)| match content {
            v1::entry::Content::Undelivered(note) => note.seq == index as u64 + 1 && note.member_ids.contains(&who),
            _ => false,
        })
    };
    let wrote = contents.iter().rposition(by_hand).map_or(0, |index| index + 1);
    let marks = marked.iter().filter(|(length, reader, _)| *reader == who && *length > joined);
    let read = marks.map(|(_, _, seq)| *seq as usize).max().unwrap_or(0);
    let position = (joined + 1).max(wrote).max(read);
    let after = contents[..up_to].iter().enumerate().skip(position);
    let is_unread = |(index, (sender, content)): &(usize, &(u64, v1::entry::Content))| {
        *sender != who && matches!(content, v1::entry::Content::Message(_)) && !missed(*index)
    };
    let unread = after.filter(is_unread);
    (position, unread.count() as u64)
}

fn create() -> Action {
    Action::CreateGroup { client_msg_id: msg(1), title: "crew".into(), members: vec![user(BOB), user(CAROL)] }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn unread_is_what_is_in_the_log(steps in proptest::collection::vec(step(), 1..80)) {
        let mut recounted = Recounted::new();
        for step in &steps {
            recounted.step(step);
        }
    }
}
