//! One conversation as its log alone tells it: the simulator's own idea of the truth, which shares no code with the rules.

use godwit::chat::{LogEntry, Member, Position, Role};
use godwit_proto::{ClientMsgId, ConversationId, ConversationKind, UserId, v1, v1::entry::Content};
use std::collections::{BTreeMap, BTreeSet};

/// Read off the durable entries, and angry about any that should not be there.
#[derive(Debug)]
pub struct Ledger {
    id: ConversationId,
    facts: Vec<Fact>,
    by_id: BTreeMap<(UserId, ClientMsgId), u64>,
    stays: BTreeMap<UserId, Vec<Stay>>,
    owner: Option<UserId>,
    /// The last message of each device, by the number that the device gave it.
    counters: BTreeMap<u64, u64>,
    /// Messages that their devices do not wait for any more. They may still come, in any order.
    given_up: BTreeSet<(u64, u64)>,
    /// Messages whose delivery ended before these users had them, with the entry that says so.
    missed: BTreeMap<(u64, UserId), u64>,
}

#[derive(Debug)]
struct Fact {
    ordinal: u64,
    sent_ms: u64,
    sender: UserId,
    is_message: bool,
    is_scheduled: bool,
    is_withdrawn: bool,
    /// The entry that says so.
    withdrawn_by: Option<u64>,
}

/// One time that somebody was a member.
#[derive(Debug)]
pub struct Stay {
    pub joined: u64,
    /// When that became durable, in simulated time.
    pub since_ms: u64,
    pub left: Option<u64>,
}

impl Ledger {
    pub fn new(id: ConversationId, now_ms: u64) -> Self {
        let users = match id.kind() {
            ConversationKind::Direct(low, high) => vec![low, high],
            ConversationKind::Group => Vec::new(),
        };
        let stays = users.into_iter().map(|user| (user, vec![Stay { joined: 0, since_ms: now_ms, left: None }]));
        Self {
            id,
            facts: Vec::new(),
            by_id: BTreeMap::new(),
            stays: stays.collect(),
            owner: None,
            counters: BTreeMap::new(),
            given_up: BTreeSet::new(),
            missed: BTreeMap::new(),
        }
    }

    pub fn len(&self) -> u64 {
        self.facts.len() as u64
    }

    /// Takes the next durable entry.
    pub fn append(&mut self, now_ms: u64, entry: &LogEntry, proto: &v1::Entry) {
        let id = self.id;
        assert_eq!(entry.seq.as_u64(), self.len() + 1, "{id:?}: seqs are not dense");
        assert_eq!((proto.seq, proto.ordinal), (entry.seq.as_u64(), entry.ordinal), "{id:?}: the header lies");
        assert_eq!(proto.sender_id, entry.sender.as_u64(), "{id:?}: the header lies");
        let content = proto.content.as_ref().unwrap_or_else(|| panic!("{id:?}: an entry without content"));
        let is_message = matches!(content, Content::Message(_));
        let is_scheduled = matches!(content, Content::Message(message) if message.scheduled);
        let ordinal = self.ordinal(self.len()) + u64::from(is_message);
        assert_eq!(entry.ordinal, ordinal, "{id:?} {:?}: the ordinal is wrong", entry.seq);
        let previous_ms = self.facts.last().map_or(0, |fact| fact.sent_ms);
        assert!(entry.sent_ms >= previous_ms, "{id:?} {:?}: sent_ms went back", entry.seq);
        let seq = entry.seq.as_u64();
        let before = self.by_id.insert((entry.sender, entry.client_msg_id), seq);
        assert!(before.is_none(), "{id:?}: {:?} is in the log twice, as {before:?} and {seq}", entry.client_msg_id);
        self.follow(now_ms, seq, entry.sender, content);
        let (sent_ms, sender) = (entry.sent_ms, entry.sender);
        self.facts.push(Fact {
            ordinal,
            sent_ms,
            sender,
            is_message,
            is_scheduled,
            is_withdrawn: false,
            withdrawn_by: None,
        });
    }

    /// One durable entry takes the place of another: a message that is withdrawn, or whose deadlines change.
    pub fn rewrite(&mut self, older: &v1::Entry, newer: &v1::Entry) {
        let id = self.id;
        let header = |entry: &v1::Entry| v1::Entry { content: None, ..entry.clone() };
        assert_eq!(header(older), header(newer), "{id:?}: another entry takes the place of one");
        match (&older.content, &newer.content) {
            (Some(Content::Message(older)), Some(Content::Withdrawn(newer))) => {
                assert_eq!(older.scheduled, newer.scheduled, "{id:?}: the marker lies");
            }
            (Some(Content::Message(older)), Some(Content::Message(newer))) => {
                let sent =
                    |message: &v1::Message| (message.body.clone(), message.content_type.clone(), message.scheduled);
                assert_eq!(sent(older), sent(newer), "{id:?}: a message was changed");
            }
            (older, newer) => assert_eq!(older, newer, "{id:?}: not what takes a message's place"),
        }
        let is_withdrawn = matches!(newer.content, Some(Content::Withdrawn(_)));
        self.facts[newer.seq as usize - 1].is_withdrawn |= is_withdrawn;
    }

    fn follow(&mut self, now_ms: u64, seq: u64, sender: UserId, content: &Content) {
        let id = self.id;
        // What the server writes about a message is in the name of whoever sent it, and has gone perhaps; that a ban has ended,
        // in the name of whoever was banned.
        let is_by_server =
            matches!(content, Content::Expired(_) | Content::Undelivered(_) | Content::MemberUnbanned(_));
        if !matches!(content, Content::GroupCreated(_)) && !is_by_server {
            assert!(self.stay(sender).is_some(), "{id:?} #{seq}: {sender:?} is no member and wrote");
        }
        match content {
            Content::Message(message) => {
                let (device, number) = read_body(&message.body);
                let last = self.counters.entry(device).or_default();
                let ordered = number > *last || number == OUT_OF_ORDER || self.given_up.contains(&(device, number));
                assert!(ordered, "{id:?} #{seq}: device {device} wrote {number} before {last}, not after");
                *last = number.max(*last);
            }
            Content::Withdrawn(_) => panic!("{id:?} #{seq}: a marker for no message"),
            Content::Expired(expired) => {
                for gone in &expired.seqs {
                    let fact = &mut self.facts[*gone as usize - 1];
                    assert!(fact.is_withdrawn, "{id:?} #{seq}: {gone} is said to have gone");
                    let before = fact.withdrawn_by.replace(seq);
                    assert!(before.is_none(), "{id:?} #{seq}: {gone} went twice, and before as of {before:?}");
                }
            }
            Content::Undelivered(undelivered) => {
                assert!(self.facts[undelivered.seq as usize - 1].is_message, "{id:?} #{seq}: not about a message");
                let users = undelivered.member_ids.iter().map(|user| UserId::new(*user).unwrap());
                for user in users {
                    let before = self.missed.insert((undelivered.seq, user), seq);
                    assert!(before.is_none(), "{id:?} #{seq}: a delivery ended twice");
                }
            }
            Content::ExpiryChanged(_) => {}
            Content::GroupCreated(created) => {
                assert_eq!(seq, 1, "{id:?}: a group was created twice");
                self.owner = Some(sender);
                self.join(now_ms, seq, sender.as_u64());
                created.member_ids.iter().for_each(|&user| self.join(now_ms, seq, user));
            }
            Content::MemberBanned(banned) => {
                assert_eq!(self.owner, Some(sender), "{id:?} #{seq}: only the owner bans");
                if banned.removed {
                    self.leave(seq, UserId::new(banned.member_id).unwrap());
                }
            }
            Content::MemberMuted(_) => assert_eq!(self.owner, Some(sender), "{id:?} #{seq}: only the owner mutes"),
            Content::MemberUnmuted(_) | Content::MemberUnbanned(_) => {}
            Content::MembersAdded(added) => {
                assert_eq!(self.owner, Some(sender), "{id:?} #{seq}: only the owner adds");
                added.member_ids.iter().for_each(|&user| self.join(now_ms, seq, user));
            }
            Content::MemberRemoved(removed) => {
                let gone = UserId::new(removed.member_id).unwrap();
                assert!(gone == sender || self.owner == Some(sender), "{id:?} #{seq}: only the owner removes");
                self.leave(seq, gone);
                if self.owner == Some(gone) {
                    self.owner = UserId::new(removed.new_owner_id).ok();
                    assert_eq!(self.owner.is_none(), self.members().is_empty(), "{id:?} #{seq}: who owns it now?");
                }
            }
        }
    }

    fn leave(&mut self, seq: u64, gone: UserId) {
        let stay = self.stays.get_mut(&gone).and_then(|stays| stays.last_mut()).unwrap();
        assert!(stay.left.replace(seq).is_none(), "{:?} #{seq}: {gone:?} was out already", self.id);
    }

    fn join(&mut self, now_ms: u64, seq: u64, user: u64) {
        let user = UserId::new(user).unwrap();
        assert!(self.stay(user).is_none(), "{:?} #{seq}: {user:?} was in already", self.id);
        self.stays.entry(user).or_default().push(Stay { joined: seq, since_ms: now_ms, left: None });
    }

    /// A device was told that this message will not be accepted.
    pub fn give_up(&mut self, device: u64, number: u64) {
        self.given_up.insert((device, number));
    }

    /// The present membership of somebody.
    pub fn stay(&self, user: UserId) -> Option<&Stay> {
        self.stays.get(&user)?.last().filter(|stay| stay.left.is_none())
    }

    pub fn members(&self) -> Vec<UserId> {
        self.stays.keys().copied().filter(|user| self.stay(*user).is_some()).collect()
    }

    /// Whether somebody ever had the right to read an entry.
    pub fn may_see(&self, user: UserId, seq: u64) -> bool {
        let stays = self.stays.get(&user).into_iter().flatten();
        stays.into_iter().any(|stay| seq >= stay.joined && seq <= stay.left.unwrap_or(u64::MAX))
    }

    /// Messages up to and including an entry.
    pub fn ordinal(&self, seq: u64) -> u64 {
        if seq == 0 { 0 } else { self.facts[seq as usize - 1].ordinal }
    }

    /// Messages that are gone, and recipients who did not get one in time.
    pub fn withdrawn(&self) -> u64 {
        self.facts.iter().filter(|fact| fact.is_withdrawn).count() as u64 + self.missed.len() as u64
    }

    /// Whether a message's delivery ended before somebody had it.
    pub fn has_missed(&self, user: UserId, seq: u64) -> bool {
        self.missed.contains_key(&(seq, user))
    }

    /// Messages of others after one entry, up to and including another: counted one by one, without those of which an
    /// entry up to there says that they were withdrawn, or that the user missed them.
    pub fn count_unread(&self, user: UserId, after: u64, up_to: u64) -> u64 {
        let counts = |seq: &u64| {
            let fact = &self.facts[*seq as usize - 1];
            let missed_by = self.missed.get(&(*seq, user)).copied();
            let is_gone = fact.withdrawn_by.into_iter().chain(missed_by).any(|by| by <= up_to);
            fact.is_message && fact.sender != user && !is_gone
        };
        (after + 1..=up_to).filter(counts).count() as u64
    }

    /// The last message that somebody sent by hand since they joined, as of an entry; 0 for none.
    pub fn own(&self, user: UserId, up_to: u64) -> u64 {
        let joined = self.stay(user).map_or(0, |stay| stay.joined);
        let by_hand = |fact: &Fact| fact.is_message && !fact.is_scheduled && fact.sender == user;
        (joined + 1..=up_to).rev().find(|seq| by_hand(&self.facts[*seq as usize - 1])).unwrap_or(0)
    }

    /// What schedules sent for somebody after an entry.
    fn scheduled(&self, user: UserId, after: u64) -> Vec<u64> {
        let mine = |seq: &u64| {
            let fact = &self.facts[*seq as usize - 1];
            fact.is_scheduled && !fact.is_withdrawn && fact.sender == user
        };
        (after + 1..=self.len()).filter(mine).collect()
    }

    pub fn find(&self, user: UserId, id: ClientMsgId) -> Option<u64> {
        self.by_id.get(&(user, id)).copied()
    }

    /// Holds the rows of the members against the log.
    pub fn check_rows(&self, members: &BTreeMap<UserId, Member>) {
        let id = self.id;
        assert_eq!(members.keys().copied().collect::<Vec<_>>(), self.members(), "{id:?}: rows of others than members");
        for member in members.values() {
            let stay = self.stay(member.user).unwrap();
            assert_eq!(member.joined.seq.as_u64(), stay.joined, "{id:?}: {member:?} joined elsewhere");
            let own = self.own(member.user, self.len());
            assert_eq!(member.own.seq.as_u64(), own, "{id:?}: {member:?} wrote last elsewhere");
            let scheduled: Vec<u64> = member.scheduled.seqs().iter().map(|seq| seq.as_u64()).collect();
            let counted = self.scheduled(member.user, member.position().seq.as_u64());
            assert_eq!(scheduled, counted, "{id:?}: {member:?} has other scheduled messages ahead");
            for Position { seq, ordinal } in [member.joined, member.own, member.read] {
                assert!(seq.as_u64() <= self.len(), "{id:?}: {member:?} is beyond the log");
                assert_eq!(ordinal, self.ordinal(seq.as_u64()), "{id:?}: an ordinal of {member:?} is wrong");
            }
            assert_eq!(member.role == Role::Owner, self.owner == Some(member.user), "{id:?}: the role of {member:?}");
        }
    }
}

/// The number of a message that is sent outside of every order.
pub const OUT_OF_ORDER: u64 = 0;

/// What the simulated clients write: which device, and its how manieth message.
pub fn write_body(device: u64, number: u64, padding: usize) -> String {
    format!("{device} {number} {}", "x".repeat(padding))
}

fn read_body(body: &[u8]) -> (u64, u64) {
    let text = std::str::from_utf8(body).unwrap();
    let mut words = text.split(' ').map(|word| word.parse().unwrap_or(0));
    (words.next().unwrap(), words.next().unwrap())
}
