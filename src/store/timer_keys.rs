//! Timers as bytes that sort as they do: keys of rows, in every store on a disk.

use super::{
    DueTimer, TimerId, TimerKey, TimerKind, TimerOwner,
    rows::{DamagedRow, join},
};
use godwit_proto::{ConversationId, UserId};

/// `kind | owner | id`, where the owner has 17 bytes: what it is, and its id. Sorts as [`TimerKey`] does.
pub(in crate::store) type TimerKeyBytes = [u8; 34];

/// `when it is due | kind | owner | id`, which sorts as [`DueTimer`] does; or `kind | owner | when it is due | id`.
pub(in crate::store) type DueTimerBytes = [u8; 42];

pub(in crate::store) fn timer(key: TimerKey) -> TimerKeyBytes {
    join(timers(key.kind, key.owner), key.id.0)
}

/// `kind | owner`, where all timers of the owner start
pub(in crate::store) fn timers(kind: TimerKind, owner: TimerOwner) -> [u8; 18] {
    let (tag, id) = match owner {
        TimerOwner::User(user) => (OWNED_BY_USER, join(user.as_u64().to_be_bytes(), [0; 8])),
        TimerOwner::Conversation(conversation) => (OWNED_BY_CONVERSATION, *conversation.as_bytes()),
    };
    join([kind.0, tag], id)
}

/// `when it is due | kind | owner | id`
pub(in crate::store) fn due_timer(due: DueTimer) -> DueTimerBytes {
    join(due.due_ms.to_be_bytes(), timer(due.key))
}

/// `kind | owner | when it is due | id`
pub(in crate::store) fn timer_of_owner(due: DueTimer) -> DueTimerBytes {
    let since: [u8; 24] = join(due.due_ms.to_be_bytes(), due.key.id.0);
    join(timers(due.key.kind, due.key.owner), since)
}

/// The timer that a key of [`timer`] names.
pub(in crate::store) fn timer_key(key: &[u8]) -> Result<TimerKey, DamagedRow> {
    let key: &TimerKeyBytes = key.try_into().map_err(|_| damaged("timer"))?;
    let (owner, id) = key.split_at(18);
    let (kind, owner) = self::owner(owner)?;
    let id = id.try_into().map(TimerId).map_err(|_| damaged("timer"))?;
    Ok(TimerKey { kind, owner, id })
}

/// Kind and owner that a key of [`timers`] names.
pub(in crate::store) fn owner(key: &[u8]) -> Result<(TimerKind, TimerOwner), DamagedRow> {
    let key: &[u8; 18] = key.try_into().map_err(|_| damaged("owner of timers"))?;
    let [kind, tag, owner @ ..] = key;
    let owner = match *tag {
        OWNED_BY_USER => UserId::new(number(&owner[..8])?).ok().map(TimerOwner::User),
        OWNED_BY_CONVERSATION => ConversationId::from_slice(owner).ok().map(TimerOwner::Conversation),
        _ => None,
    };
    let owner = owner.ok_or_else(|| DamagedRow("a timer of nobody".to_owned()))?;
    Ok((TimerKind(*kind), owner))
}

/// The timer that a key of [`due_timer`] names.
pub(in crate::store) fn due_timer_key(key: &[u8]) -> Result<DueTimer, DamagedRow> {
    let (due_ms, key) = key.split_at_checked(8).ok_or_else(|| damaged("due timer"))?;
    Ok(DueTimer { due_ms: number(due_ms)?, key: timer_key(key)? })
}

/// When a timer is due and what it is called, from a key of [`timer_of_owner`].
pub(in crate::store) fn timer_of_owner_key(key: &[u8]) -> Result<(u64, TimerId), DamagedRow> {
    let key: &DueTimerBytes = key.try_into().map_err(|_| damaged("timer of an owner"))?;
    let (due_ms, id) = key[18..].split_at(8);
    Ok((number(due_ms)?, id.try_into().map(TimerId).map_err(|_| damaged("timer of an owner"))?))
}

const OWNED_BY_USER: u8 = 1;
const OWNED_BY_CONVERSATION: u8 = 2;

fn number(value: &[u8]) -> Result<u64, DamagedRow> {
    value.try_into().map(u64::from_be_bytes).map_err(|_| damaged("number"))
}

fn damaged(what: &str) -> DamagedRow {
    DamagedRow(format!("{what} of the wrong length"))
}
