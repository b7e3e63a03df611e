//! What is asked of a log, and whether the answer can be true.

use crate::{
    oracle::{Asked, CommitId},
    owner::{Known, Owner},
    plans::{ALL, USERS},
    store_suite::{build::user, model::Model},
    world::World,
};
use futures_util::{FutureExt, future::BoxFuture};
use godwit::{
    chat::LogEntry,
    store::{Commit, CommitOutcome, Direction, LoadedConversation, LogStore, PageLimit, StoreError, StoredSummary},
};
use godwit_proto::{ClientMsgId, ConversationId, Seq, UserId};

pub type CallId = u64;

/// Sends that are looked for at the end.
const FINDS: usize = 6;

pub struct Call {
    /// Of the owner that was asked.
    pub epoch: u64,
    question: Question,
}

enum Question {
    Commits(Vec<Made>),
    Load(Asked, usize, usize),
    Page(Asked, ConversationId, Seq, Direction, PageLimit),
    Find(Asked, ConversationId, UserId, ClientMsgId),
    Summaries(Vec<Asked>, Vec<(ConversationId, UserId)>),
    List(Vec<Asked>, UserId),
}

pub struct Made {
    pub id: CommitId,
    pub index: usize,
    pub commit: Commit,
    /// It was asked of the owner, not of a former one.
    pub counts: bool,
    pub may_conflict: bool,
}

#[derive(Debug)]
pub enum Answer {
    Outcomes(Vec<CommitOutcome>),
    Load(Result<Option<LoadedConversation>, StoreError>),
    Entries(Result<Vec<LogEntry>, StoreError>),
    Found(Result<Option<LogEntry>, StoreError>),
    Summaries(Result<Vec<Option<StoredSummary>>, StoreError>),
    List(Result<Vec<ConversationId>, StoreError>),
}

impl World {
    /// Asks an owner; the answer is looked at when the world goes on.
    fn call(&mut self, owner: &Owner, question: Question, answered: BoxFuture<'static, Answer>) {
        let id = self.next_id();
        self.calls.insert(id, Call { epoch: owner.epoch, question });
        let (answers, fence) = (self.answers.clone(), owner.fence.clone());
        let task = async move {
            let answer = answered.await;
            answers.lock().unwrap().push((id, fence.holds(), answer));
        };
        self.cluster.spawn(owner.process, task.boxed());
    }

    pub fn commit(&mut self, owner: &Owner, made: Vec<Made>) {
        let commits: Vec<Commit> = made.iter().map(|made| made.commit.clone()).collect();
        self.note(|| format!("epoch {} is to commit {}", owner.epoch, describe(&made)));
        let answered = owner.log.commit(commits).map(Answer::Outcomes).boxed();
        self.call(owner, Question::Commits(made), answered);
    }

    pub fn load(&mut self, owner: &Owner, index: usize, tail: usize) {
        let conversation = self.conversations[index];
        let answered = owner.log.load(conversation, tail).map(Answer::Load).boxed();
        self.call(owner, Question::Load(self.oracle.ask(conversation, false), index, tail), answered);
    }

    pub fn page(&mut self, owner: &Owner, index: usize, from: Seq, direction: Direction, limit: PageLimit) {
        let conversation = self.conversations[index];
        let answered = owner.log.read(conversation, from, direction, limit).map(Answer::Entries).boxed();
        let asked = self.oracle.ask(conversation, false);
        self.call(owner, Question::Page(asked, conversation, from, direction, limit), answered);
    }

    pub fn find(&mut self, owner: &Owner, index: usize, sender: UserId, id: ClientMsgId) {
        let conversation = self.conversations[index];
        let answered = owner.log.find_send(conversation, sender, id).map(Answer::Found).boxed();
        let asked = self.oracle.ask(conversation, false);
        self.call(owner, Question::Find(asked, conversation, sender, id), answered);
    }

    /// Of all conversations, for one user.
    pub fn summaries(&mut self, owner: &Owner, of: UserId) {
        let wanted: Vec<_> = self.conversations.iter().map(|conversation| (*conversation, of)).collect();
        let asked = self.conversations.iter().map(|conversation| self.oracle.ask(*conversation, true)).collect();
        let answered = owner.log.summaries(wanted.clone()).map(Answer::Summaries).boxed();
        self.call(owner, Question::Summaries(asked, wanted), answered);
    }

    pub fn list(&mut self, owner: &Owner, of: UserId) {
        let asked = self.conversations.iter().map(|conversation| self.oracle.ask(*conversation, true)).collect();
        let answered = owner.log.conversations_of(of, None, 100).map(Answer::List).boxed();
        self.call(owner, Question::List(asked, of), answered);
    }

    /// Asks everything there is to ask about a conversation.
    pub fn ask_all(&mut self, owner: &Owner, index: usize) {
        let conversation = self.conversations[index];
        self.load(owner, index, 1_000_000);
        self.load(owner, index, 3);
        self.page(owner, index, Seq::FIRST, Direction::Forward, ALL);
        self.page(owner, index, Seq(u64::MAX), Direction::Backward, ALL);
        let newest = PageLimit { entries: 100, ..ALL };
        let log = self.oracle.any(conversation).model.read(conversation, Seq(u64::MAX), Direction::Backward, newest);
        for _ in 0..FINDS.min(log.len()) {
            let entry = &log[self.rng.index(log.len())];
            self.find(owner, index, entry.sender, entry.client_msg_id);
        }
    }

    pub fn ask_all_of_users(&mut self, owner: &Owner) {
        for of in (1..=USERS).map(user) {
            self.summaries(owner, of);
            self.list(owner, of);
        }
    }

    /// Checks what was answered since the last time.
    pub fn look_at_answers(&mut self) {
        let answers = std::mem::take(&mut *self.answers.lock().unwrap());
        for (id, believed, answer) in answers {
            let call = self.calls.remove(&id).expect("answered once");
            self.note(|| {
                format!(
                    "epoch {} (believed: {believed}) answers about {}: {}",
                    call.epoch,
                    call.about(),
                    brief(&answer)
                )
            });
            self.look_at(call, believed, answer);
        }
    }

    fn look_at(&mut self, call: Call, believed: bool, answer: Answer) {
        match (call.question, answer) {
            (Question::Commits(made), Answer::Outcomes(outcomes)) => {
                assert_eq!(made.len(), outcomes.len());
                // Of several, one may have been answered while the owner believed in itself.
                let believed = believed || made.len() > 1;
                for (made, outcome) in made.iter().zip(&outcomes) {
                    self.look_at_outcome(call.epoch, believed, made, outcome);
                }
                return;
            }
            (Question::Load(asked, index, tail), Answer::Load(Ok(found))) => {
                let head = found.as_ref().and_then(|found| found.tail.last()).map_or(0, |entry| entry.seq.0);
                if let Some(owner) = self.owner.as_mut().filter(|owner| owner.epoch == call.epoch) {
                    owner.known.insert(index, Known { head });
                }
                let id = self.conversations[index];
                self.oracle.answer(&asked, |model| model.load(id, tail) == found, &(id, tail, &found));
            }
            (Question::Page(asked, id, from, direction, limit), Answer::Entries(Ok(page))) => {
                let is = |model: &Model| model.read(id, from, direction, limit) == page;
                self.oracle.answer(&asked, is, &(id, from, direction, limit, &page));
            }
            (Question::Find(asked, id, sender, sent), Answer::Found(Ok(found))) => {
                let is = |model: &Model| model.find_send(id, sender, sent) == found;
                self.oracle.answer(&asked, is, &(id, sender, sent, &found));
            }
            (Question::Summaries(asked, wanted), Answer::Summaries(Ok(found))) => {
                assert_eq!(wanted.len(), found.len());
                for ((asked, (id, of)), found) in asked.iter().zip(&wanted).zip(&found) {
                    self.oracle.answer(asked, |model| model.summary(*id, *of) == *found, &(id, of, found));
                }
            }
            (Question::List(asked, of), Answer::List(Ok(found))) => {
                assert!(found.is_sorted_by(|one, next| one < next), "{found:?}");
                for (asked, id) in asked.iter().zip(self.conversations.clone()) {
                    let listed = found.contains(&id);
                    let is = |model: &Model| model.summary(id, of).is_some() == listed;
                    self.oracle.answer(asked, is, &("listed", id, of, listed));
                }
            }
            (_, answer) => {
                self.refused = Some(format!("{answer:?}"));
                return;
            }
        }
        assert!(believed, "read by an owner whose lease had lapsed");
        self.answered += 1;
    }

    fn look_at_outcome(&mut self, epoch: u64, believed: bool, made: &Made, outcome: &CommitOutcome) {
        let is_there = matches!(outcome, CommitOutcome::Durable | CommitOutcome::AlreadyDurable);
        assert!(believed || !is_there, "commit {}: acknowledged by an owner whose lease had lapsed", made.id);
        let is_owner = self.owner.as_ref().is_some_and(|owner| owner.epoch == epoch);
        // What was there when that was found out may have been rewritten by the next owner.
        if made.counts && (is_owner || *outcome != CommitOutcome::AlreadyDurable) {
            self.oracle.end(made.id, &made.commit, outcome);
        }
        let owner = self.owner.as_mut().filter(|owner| owner.epoch == epoch);
        match outcome {
            CommitOutcome::Durable => {
                self.durable += 1;
                let timers = self.timers.holds(&made.commit.timers);
                assert!(timers, "commit {} is durable without its timers", made.id);
            }
            CommitOutcome::AlreadyDurable => {}
            _ => {
                let failed = owner.map(|owner| owner.known.remove(&made.index)).is_some();
                let unexpected = *outcome == CommitOutcome::Conflict && failed && made.counts && !made.may_conflict;
                assert!(!unexpected, "commit {}: a conflict with nothing", made.id);
                self.unknown += u64::from(*outcome == CommitOutcome::Unknown);
            }
        }
    }
}

impl Call {
    fn about(&self) -> String {
        match &self.question {
            Question::Commits(made) => format!("commits {:?}", made.iter().map(|made| made.id).collect::<Vec<_>>()),
            Question::Load(asked, ..) | Question::Page(asked, ..) | Question::Find(asked, ..) => format!("{asked:?}"),
            Question::Summaries(asked, _) | Question::List(asked, _) => format!("{asked:?}"),
        }
    }
}

fn describe(made: &[Made]) -> String {
    let one = |made: &Made| {
        let commit = &made.commit;
        let rewritten: Vec<_> = commit.rewritten.iter().map(|entry| entry.seq).collect();
        let members: Vec<_> =
            commit.members.iter().map(|change| format!("{change:?}")).map(|text| text[..14].to_owned()).collect();
        format!(
            "commit {} of {:?} after {:?}: {} entries, members {members:?}, details {}, rewritten {rewritten:?}, timers {}",
            made.id,
            commit.conversation,
            commit.after,
            commit.entries.len(),
            commit.details.is_some(),
            commit.timers.len(),
        )
    };
    made.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn brief(answer: &Answer) -> String {
    let seqs = |entries: &[LogEntry]| match entries {
        [] => "nothing".to_owned(),
        [first, .., last] => format!("{:?}..={:?}", first.seq, last.seq),
        [one] => format!("{:?}", one.seq),
    };
    match answer {
        Answer::Load(Ok(Some(found))) => {
            format!("loaded {}, {} members, {:?}", seqs(&found.tail), found.members.len(), found.details.title)
        }
        Answer::Entries(Ok(page)) => seqs(page),
        Answer::Found(Ok(found)) => format!("found {:?}", found.as_ref().map(|entry| entry.seq)),
        Answer::Summaries(Ok(found)) => {
            let one = |one: &Option<StoredSummary>| {
                one.as_ref().map(|one| (one.last.as_ref().map(|entry| entry.seq), one.member_count))
            };
            format!("summaries {:?}", found.iter().map(one).collect::<Vec<_>>())
        }
        answer => format!("{answer:?}"),
    }
}
