//! What a replay will do, worked out before anything is sent: who takes part where, what is sent in which order, and every
//! random decision. The same corpus and seed make the same plan.

use super::corpus::Corpus;
use godwit_client::ClientMsgId;
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use std::{collections::HashMap, time::Duration};

/// Everything that is decided beforehand. People, conversations and messages are named by their index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The corpus's number of each person, in order of first appearance.
    pub accounts: Vec<u64>,
    /// In order of their first message.
    pub conversations: Vec<Conversation>,
    /// Where each message of the corpus belongs.
    pub places: Vec<Place>,
    /// When the server is killed, in order.
    pub kills: Vec<Moment>,
}

/// One conversation and what will be said in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// A pair's, or the group.
    pub kind: Kind,
    /// Two accounts, or one for notes to oneself; in the group all senders, its owner first.
    pub members: Vec<Member>,
    /// Messages of the corpus, in its order.
    pub messages: Vec<usize>,
}

/// Which of the two kinds of conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A pair's.
    Direct,
    /// Of everybody who sends.
    Group,
}

/// An account in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub account: usize,
    /// The position in the conversation at whose arrival this member says that everything up to it is read.
    pub marks_read_at: Option<usize>,
    /// At the end this member reads the log backwards too.
    pub reads_backward: bool,
}

/// A message's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// In which conversation.
    pub conversation: usize,
    /// At which position of its messages, from 0.
    pub position: usize,
    /// By whom.
    pub sender: usize,
}

/// When something happens to the server or to what it depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Not before this many messages are acknowledged.
    pub after_acks: usize,
    /// And then this much later, so that it strikes anywhere between two messages.
    pub delay: Duration,
}

impl Plan {
    /// Plans the replay of a corpus.
    pub fn new(corpus: &Corpus, kills: usize, seed: u64) -> Self {
        let mut plan = Self { accounts: Vec::new(), conversations: Vec::new(), places: Vec::new(), kills: Vec::new() };
        plan.assign(corpus);
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        for conversation in &mut plan.conversations {
            let messages = conversation.messages.len();
            for member in &mut conversation.members {
                let marks = rng.random_bool(MARK_READ_CHANCE) && messages > 0;
                member.marks_read_at = marks.then(|| rng.random_range(0..messages));
                member.reads_backward = rng.random_bool(READ_BACKWARD_CHANCE);
            }
        }
        plan.kills = plan_kills(corpus.messages.len(), kills, &mut rng);
        plan
    }

    /// Entries with a message that arrive at somebody: every member gets every message, also the own ones.
    pub fn arrivals(&self) -> u64 {
        self.conversations.iter().map(|c| (c.members.len() * c.messages.len()) as u64).sum()
    }

    /// Arrivals at members other than the sender.
    pub fn deliveries(&self) -> u64 {
        self.conversations.iter().map(|c| ((c.members.len() - 1) * c.messages.len()) as u64).sum()
    }

    /// Marks that members will make.
    pub fn marks(&self) -> u64 {
        let members = self.conversations.iter().flat_map(|conversation| &conversation.members);
        members.filter(|member| member.marks_read_at.is_some()).count() as u64
    }

    /// The conversations of every account, each with the account's place among the members.
    pub fn memberships(&self) -> Vec<Vec<(usize, usize)>> {
        let mut memberships = vec![Vec::new(); self.accounts.len()];
        for (conversation, planned) in self.conversations.iter().enumerate() {
            for (slot, member) in planned.members.iter().enumerate() {
                memberships[member.account].push((conversation, slot));
            }
        }
        memberships
    }

    /// Words for a person who reads about this conversation.
    pub fn describe(&self, conversation: usize) -> String {
        let planned = &self.conversations[conversation];
        match (planned.kind, planned.members.as_slice()) {
            (Kind::Group, members) => format!("the group of {}", members.len()),
            (Kind::Direct, [own]) => format!("the notes of {}", self.accounts[own.account]),
            (Kind::Direct, members) => {
                let numbers: Vec<String> = members.iter().map(|m| self.accounts[m.account].to_string()).collect();
                format!("the conversation of {}", numbers.join(" and "))
            }
        }
    }

    fn assign(&mut self, corpus: &Corpus) {
        let mut account_of = HashMap::new();
        let mut account = |number: u64, accounts: &mut Vec<u64>| {
            *account_of.entry(number).or_insert_with(|| {
                accounts.push(number);
                accounts.len() - 1
            })
        };
        let mut conversation_of = HashMap::new();
        let mut senders = Vec::new();
        let mut is_sender = Vec::new();
        for (index, message) in corpus.messages.iter().enumerate() {
            let sender = account(message.from, &mut self.accounts);
            let receiver = message.to.map(|to| account(to, &mut self.accounts));
            is_sender.resize(self.accounts.len(), false);
            if !std::mem::replace(&mut is_sender[sender], true) {
                senders.push(sender);
            }
            let pair = receiver.map(|receiver| (sender.min(receiver), sender.max(receiver)));
            let conversation = *conversation_of.entry(pair).or_insert_with(|| {
                self.conversations.push(Conversation::between(pair));
                self.conversations.len() - 1
            });
            let messages = &mut self.conversations[conversation].messages;
            self.places.push(Place { conversation, position: messages.len(), sender });
            messages.push(index);
        }
        // Known only now: whoever sends anything, to whomever.
        if let Some(&group) = conversation_of.get(&None) {
            self.conversations[group].members = senders.into_iter().map(Member::new).collect();
        }
    }
}

impl Conversation {
    fn between(pair: Option<(usize, usize)>) -> Self {
        let (kind, members) = match pair {
            None => (Kind::Group, Vec::new()),
            Some((a, b)) if a == b => (Kind::Direct, vec![Member::new(a)]),
            Some((a, b)) => (Kind::Direct, vec![Member::new(a), Member::new(b)]),
        };
        Self { kind, members, messages: Vec::new() }
    }
}

impl Member {
    fn new(account: usize) -> Self {
        Self { account, marks_read_at: None, reads_backward: false }
    }
}

/// One kill in each of `kills` equal parts of the replay, at a random moment in it.
fn plan_kills(messages: usize, kills: usize, rng: &mut Xoshiro256PlusPlus) -> Vec<Moment> {
    let part = messages as f64 / kills.max(1) as f64;
    let kill = |index| {
        let within: f64 = rng.random_range(0.05..0.95);
        let delay = Duration::from_micros(rng.random_range(0..KILL_DELAY_MAX_US));
        Moment { after_acks: ((index as f64 + within) * part) as usize, delay }
    };
    (0..kills).map(kill).collect()
}

/// The `client_msg_id` of every message, from which its index can be read back. Nothing is put into the body, which must
/// stay as it is in the corpus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageIds {
    tag: [u8; 8],
}

impl MessageIds {
    /// The ids of the run with this seed.
    pub fn new(seed: u64) -> Self {
        Self { tag: Xoshiro256PlusPlus::seed_from_u64(seed).random() }
    }

    /// The id of a message.
    pub fn id(&self, message: usize) -> ClientMsgId {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.tag);
        bytes[8..].copy_from_slice(&(message as u64).to_be_bytes());
        ClientMsgId(bytes)
    }

    /// The message with this id; `None` for an id that is not of this run.
    pub fn message(&self, id: &[u8]) -> Option<usize> {
        let number: [u8; 8] = id.strip_prefix(&self.tag)?.try_into().ok()?;
        usize::try_from(u64::from_be_bytes(number)).ok()
    }
}

const MARK_READ_CHANCE: f64 = 0.25;
const READ_BACKWARD_CHANCE: f64 = 0.125;
const KILL_DELAY_MAX_US: u64 = 20_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use crate::replay::{corpus::Message, generate};

    fn corpus(messages: &[(u64, Option<u64>)]) -> Corpus {
        let message = |&(from, to): &(u64, Option<u64>)| Message { from, to, text: "x".into() };
        Corpus { name: "test".into(), messages: messages.iter().map(message).collect() }
    }

    fn members(conversation: &Conversation) -> Vec<usize> {
        conversation.members.iter().map(|member| member.account).collect()
    }

    #[test]
    fn both_directions_of_a_pair_share_a_conversation_in_corpus_order() {
        let plan = Plan::new(&corpus(&[(5, Some(9)), (9, Some(7)), (9, Some(5)), (5, Some(9))]), 0, 1);
        assert_eq!(plan.accounts, [5, 9, 7]);
        assert_eq!(members(&plan.conversations[0]), [0, 1]);
        assert_eq!(plan.conversations[0].messages, [0, 2, 3]);
        assert_eq!(plan.places[2], Place { conversation: 0, position: 1, sender: 1 });
    }

    #[test]
    fn messages_without_a_receiver_go_to_one_group_of_all_senders() {
        let plan = Plan::new(&corpus(&[(1, Some(2)), (3, None), (1, None), (4, Some(3))]), 0, 1);
        let group = plan.conversations.iter().find(|c| c.kind == Kind::Group).unwrap();
        assert_eq!(members(group), [0, 2, 3], "the first sender owns it, and a mere receiver is not in it");
        assert_eq!(group.messages, [1, 2]);
    }

    #[test]
    fn notes_to_oneself_have_one_member_and_no_delivery() {
        let plan = Plan::new(&corpus(&[(4, Some(4)), (4, Some(5))]), 0, 1);
        assert_eq!(members(&plan.conversations[0]), [0]);
        assert_eq!((plan.arrivals(), plan.deliveries()), (3, 1));
    }

    #[test]
    fn every_message_has_one_place_and_the_seed_decides_the_rest() {
        let corpus = generate::corpus(1, 2000);
        let plan = Plan::new(&corpus, 5, 42);
        for (message, place) in plan.places.iter().enumerate() {
            assert_eq!(plan.conversations[place.conversation].messages[place.position], message);
            assert_eq!(plan.accounts[place.sender], corpus.messages[message].from);
        }
        assert!(plan.marks() > 0);
        assert_eq!(plan, Plan::new(&corpus, 5, 42));
        assert_ne!(plan, Plan::new(&corpus, 5, 43));
    }

    #[test]
    fn kills_are_spread_over_the_replay_in_order() {
        let plan = Plan::new(&generate::corpus(1, 1000), 4, 3);
        for (index, kill) in plan.kills.iter().enumerate() {
            assert!((index * 250..(index + 1) * 250).contains(&kill.after_acks), "{:?}", plan.kills);
        }
    }

    #[test]
    fn a_message_is_found_by_its_id_and_only_by_one_of_the_same_run() {
        let ids = MessageIds::new(1);
        assert_eq!(ids.message(&ids.id(55_834).0), Some(55_834));
        assert_eq!(ids.message(&MessageIds::new(2).id(5).0), None);
        assert_eq!(ids.message(b"short"), None);
    }
}
