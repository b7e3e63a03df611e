//! Who may not be taken into a group, and until when.

use godwit_proto::UserId;
use std::sync::Arc;

/// Users who may be banned from one group at once. They are part of the group's row, which is written whole: at most about
/// 20 bytes each.
pub const BANS_PER_GROUP_MAX: usize = 1_000;

/// One who is banned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ban {
    /// Who.
    pub user: UserId,
    /// They may be added from then on, in milliseconds since the epoch; [`NEVER_MS`](super::NEVER_MS): never.
    pub until_ms: u64,
}

/// All bans of a group, ascending by user; at most [`BANS_PER_GROUP_MAX`].
///
/// Nearly always there are none, which is one word without memory of its own. Copies share one list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bans(Option<Arc<Vec<Ban>>>);

impl Bans {
    /// All of them, ascending by user.
    pub fn all(&self) -> &[Ban] {
        self.0.as_ref().map_or(&[], |bans| bans)
    }

    /// Until when somebody is banned; 0: they are not. The time may have passed.
    pub fn until_ms(&self, user: UserId) -> u64 {
        self.place(user).map_or(0, |index| self.all()[index].until_ms)
    }

    /// Bans somebody until then, or lets them come back, when it is 0.
    pub(super) fn set(&mut self, user: UserId, until_ms: u64) {
        let place = self.place(user);
        let bans = Arc::make_mut(self.0.get_or_insert_default());
        match place {
            Ok(index) if until_ms == 0 => drop(bans.remove(index)),
            Ok(index) => bans[index].until_ms = until_ms,
            Err(_) if until_ms == 0 => {}
            Err(index) => bans.insert(index, Ban { user, until_ms }),
        }
        if bans.is_empty() {
            self.0 = None;
        }
    }

    fn place(&self, user: UserId) -> Result<usize, usize> {
        self.all().binary_search_by_key(&user, |ban| ban.user)
    }
}

impl FromIterator<Ban> for Bans {
    /// They must be ascending by user.
    fn from_iter<I: IntoIterator<Item = Ban>>(bans: I) -> Self {
        let bans: Vec<Ban> = bans.into_iter().collect();
        Self((!bans.is_empty()).then(|| Arc::new(bans)))
    }
}
