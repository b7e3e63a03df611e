//! Who talks with whom.

use crate::peer::RoomKey;
use std::ops::Range;

/// All conversations of a run, by the numbers of the clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    pub peers: u32,
    /// Who sends to several sends to each in turn.
    pub conversations: Vec<Circle>,
    /// Those who send; the others listen.
    pub senders: Range<u32>,
}

/// The members of one conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circle {
    pub members: Vec<u32>,
    /// Of two, and no group.
    pub direct: bool,
}

impl Layout {
    /// Two by two, everybody sending.
    pub fn pairs(connections: u32) -> Self {
        let peers = connections / 2 * 2;
        let pair = |index| Circle { members: vec![2 * index, 2 * index + 1], direct: true };
        Self::of(peers, (0..peers / 2).map(pair).collect())
    }

    /// `groups` of `members` each, everybody in `groups_each` of them and sending: that many groups have the same members,
    /// as the circles of one company have.
    pub fn groups(groups: u32, members: u32, groups_each: u32) -> Self {
        let circles = groups.div_ceil(groups_each.max(1)).max(1);
        let group = |index: u32| {
            let first = index % circles * members;
            Circle { members: (first..first + members).collect(), direct: false }
        };
        Self::of(circles * members, (0..groups).map(group).collect())
    }

    /// One group, in which the first `senders` members send.
    pub fn hot_group(members: u32, senders: u32) -> Self {
        Self::groups(1, members, 1).with_senders(senders)
    }

    /// Any conversations, everybody sending.
    pub fn of(peers: u32, conversations: Vec<Circle>) -> Self {
        Self { peers, conversations, senders: 0..peers }
    }

    /// Only the first `senders` send.
    pub fn with_senders(self, senders: u32) -> Self {
        Self { senders: 0..senders.min(self.peers), ..self }
    }

    /// The conversations of every peer, by index.
    pub fn of_peers(&self) -> Vec<Vec<usize>> {
        let mut of = vec![Vec::new(); self.peers as usize];
        for (index, conversation) in self.conversations.iter().enumerate() {
            for &member in &conversation.members {
                of[member as usize].push(index);
            }
        }
        of
    }

    /// The same as they turned out on a server, with the number of the others in each. `rooms` are all conversations.
    pub fn memberships(&self, rooms: &[RoomKey]) -> Vec<Vec<(RoomKey, u32)>> {
        let membership = |index: usize| (rooms[index], self.conversations[index].members.len() as u32 - 1);
        self.of_peers().into_iter().map(|of_peer| of_peer.into_iter().map(membership).collect()).collect()
    }

    /// Members of the largest conversation.
    pub fn members_max(&self) -> usize {
        self.conversations.iter().map(|circle| circle.members.len()).max().unwrap_or(0)
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
        let rooms = [RoomKey::Group(7), RoomKey::Group(9)];
        assert_eq!(pairs.memberships(&rooms)[2..], [[(rooms[1], 1)], [(rooms[1], 1)]]);
    }

    #[test]
    fn everybody_is_in_one_group_or_in_as_many_as_asked_for() {
        let groups = Layout::groups(3, 4, 1);
        assert_eq!((groups.peers, groups.conversations[2].members.clone()), (12, vec![8, 9, 10, 11]));
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
