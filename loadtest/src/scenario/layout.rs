//! Who talks with whom.

use std::ops::Range;

/// All conversations of a run, by the numbers of the clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    pub peers: u32,
    /// The members of each. They say something to each of their conversations in turn.
    pub conversations: Vec<Vec<u32>>,
    /// Those who send; the others listen.
    pub senders: Range<u32>,
    /// Conversations of two are direct ones, not groups.
    pub direct: bool,
}

impl Layout {
    /// Two by two, everybody sending.
    pub fn pairs(connections: u32) -> Self {
        let peers = connections / 2 * 2;
        let conversations = (0..peers / 2).map(|index| vec![2 * index, 2 * index + 1]).collect();
        Self { peers, conversations, senders: 0..peers, direct: true }
    }

    /// `groups` of `members` each, everybody in `groups_each` of them and sending: that many groups have the same members,
    /// as the circles of one company have.
    pub fn groups(groups: u32, members: u32, groups_each: u32) -> Self {
        let circles = groups.div_ceil(groups_each.max(1)).max(1);
        let group = |index: u32| {
            let first = index % circles * members;
            (first..first + members).collect()
        };
        let peers = circles * members;
        Self { peers, conversations: (0..groups).map(group).collect(), senders: 0..peers, direct: false }
    }

    /// One group, in which the first `senders` members send.
    pub fn hot_group(members: u32, senders: u32) -> Self {
        Self { peers: members, conversations: vec![(0..members).collect()], senders: 0..members, direct: false }
            .with_senders(senders)
    }

    /// Only the first `senders` send.
    pub fn with_senders(self, senders: u32) -> Self {
        Self { senders: 0..senders.min(self.peers), ..self }
    }

    /// The conversations of every peer, by index.
    pub fn of_peers(&self) -> Vec<Vec<usize>> {
        let mut of = vec![Vec::new(); self.peers as usize];
        for (index, conversation) in self.conversations.iter().enumerate() {
            for &member in conversation {
                of[member as usize].push(index);
            }
        }
        of
    }

    /// Members of the largest conversation.
    pub fn members_max(&self) -> usize {
        self.conversations.iter().map(Vec::len).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_partner_in_pairs() {
        let pairs = Layout::pairs(5);
        assert_eq!((pairs.peers, pairs.conversations.len()), (4, 2));
        assert_eq!(pairs.of_peers(), [[0], [0], [1], [1]]);
    }

    #[test]
    fn everybody_is_in_one_group_or_in_as_many_as_asked_for() {
        let groups = Layout::groups(3, 4, 1);
        assert_eq!((groups.peers, groups.conversations[2].clone()), (12, vec![8, 9, 10, 11]));
        let groups = Layout::groups(8, 5, 4);
        assert_eq!((groups.peers, groups.conversations.len()), (10, 8));
        assert!(groups.of_peers().iter().all(|conversations| conversations.len() == 4));
    }

    #[test]
    fn a_hot_group_has_few_senders() {
        assert_eq!(Layout::hot_group(1_000, 2).senders, 0..2);
        assert_eq!(Layout::pairs(4).with_senders(9).senders, 0..4);
    }
}
