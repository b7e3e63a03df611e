//! Who talks with whom.

/// One conversation, by the numbers of the clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    pub members: Vec<u32>,
    /// Those who send; the others listen.
    pub senders: Vec<u32>,
}

/// All conversations of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    pub peers: u32,
    pub conversations: Vec<Members>,
    /// Conversations of two are direct ones, not groups.
    pub direct: bool,
}

impl Layout {
    /// Two by two, both sending.
    pub fn pairs(connections: u32) -> Self {
        let pair = |first: u32| Members { members: vec![first, first + 1], senders: vec![first, first + 1] };
        let conversations = (0..connections / 2).map(|index| pair(2 * index)).collect();
        Self { peers: connections / 2 * 2, conversations, direct: true }
    }

    /// `groups` of `size` members each, everybody in one group and sending.
    pub fn groups(groups: u32, size: u32) -> Self {
        let group = |index: u32| {
            let members: Vec<u32> = (index * size..(index + 1) * size).collect();
            Members { senders: members.clone(), members }
        };
        Self { peers: groups * size, conversations: (0..groups).map(group).collect(), direct: false }
    }

    /// One group, in which the first `senders` members send.
    pub fn hot_group(members: u32, senders: u32) -> Self {
        let group = Members { members: (0..members).collect(), senders: (0..senders.min(members)).collect() };
        Self { peers: members, conversations: vec![group], direct: false }
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

    /// Peers that send to anybody, ascending.
    pub fn senders(&self) -> Vec<u32> {
        let mut senders: Vec<u32> = self.conversations.iter().flat_map(|one| one.senders.iter().copied()).collect();
        senders.sort_unstable();
        senders.dedup();
        senders
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
    fn groups_do_not_overlap_and_a_hot_group_has_few_senders() {
        let groups = Layout::groups(3, 4);
        assert_eq!((groups.peers, groups.conversations[2].members.clone()), (12, vec![8, 9, 10, 11]));
        assert_eq!(Layout::hot_group(1_000, 2).senders(), [0, 1]);
    }
}
