//! Members who may not write for a time, and users who may not come back for a time.
//!
//! What counts is the time: a sanction is over when its end has come, whether or not the log says so already. The entry that
//! says so is made when the server finds that a timer is due, once.

use super::{
    BANS_PER_GROUP_MAX, Conversation, Effect, Input, LogEntry, Member, MemberChange, NEVER_MS, Refusal, Reply, Wait,
    WaitFor,
    conversation::{Draft, Stop},
    expiry::note_id,
};
use godwit_proto::{
    ClientMsgId, Seq, UserId,
    v1::{self, ErrorCode, entry::Content},
};

/// How far ahead the end of a sanction may be: ten years. One that is meant to last longer is for good.
pub const SANCTION_AHEAD_MS_MAX: u64 = 10 * 366 * 24 * 3_600_000;

/// How long the server waits before it looks again at one whose end it saw coming before the clock was set back.
const EARLY_RETRY_MS: u32 = 100;

/// What the owner of a group may do to others for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sanction {
    /// They read and may not write.
    Mute,
    /// They are out and may not be added.
    Ban,
}

impl<R: Clone + PartialEq> Conversation<R> {
    /// The owner begins a sanction, says anew when it ends, or lifts it.
    pub(super) fn on_sanction(
        &mut self,
        now_ms: u64,
        input: &Input<R>,
        client_msg_id: ClientMsgId,
        (sanction, user, until_ms): (Sanction, UserId, u64),
        effects: &mut Vec<Effect<R>>,
    ) -> Result<(), Stop> {
        if self.is_repeated(input, client_msg_id, false, effects)? {
            return Ok(());
        }
        self.require_owner(input.user)?;
        if user == input.user {
            return Err(Refusal::new(ErrorCode::Forbidden, "the owner is neither muted nor banned").into());
        }
        check_end(now_ms, until_ms)?;
        let before_ms = self.sanctioned_until_ms(sanction, user);
        if until_ms == before_ms {
            self.answer(input, Reply::Unchanged, effects);
            return Ok(());
        }
        match sanction {
            Sanction::Mute if !self.members.contains_key(&user) => {
                return Err(Refusal::new(ErrorCode::UserNotFound, "there is no such member to be muted").into());
            }
            Sanction::Ban if before_ms == 0 && self.details.bans.all().len() >= BANS_PER_GROUP_MAX => {
                let refusal = format!("a group has at most {BANS_PER_GROUP_MAX} bans");
                return Err(Refusal::new(ErrorCode::TooManyBans, refusal).into());
            }
            Sanction::Mute | Sanction::Ban => {}
        }
        let member_id = user.as_u64();
        let removed = sanction == Sanction::Ban && self.members.contains_key(&user);
        let content = match sanction {
            _ if until_ms == 0 => end_of(sanction, user),
            Sanction::Mute => Content::MemberMuted(v1::MemberMuted { member_id, until_ms }),
            Sanction::Ban => Content::MemberBanned(v1::MemberBanned { member_id, until_ms, removed }),
        };
        let entry = self.next_entry(now_ms, input.user, client_msg_id, content);
        let mut draft = self.sanctioned(sanction, user, until_ms);
        if removed {
            self.members.remove(&user);
            self.members_changed();
            draft.members.push(MemberChange::Remove(user));
        }
        if !matches!(until_ms, 0 | NEVER_MS) {
            let event = WaitFor::SanctionEnd { sanction, user, since: entry.seq };
            draft.waits.push(Wait { due_ms: until_ms, event });
        }
        self.append(input, entry, draft, effects);
        Ok(())
    }

    /// A timer is due that was made for a sanction that was to end then. Another one may stand by now.
    pub(super) fn on_end_sanction(
        &mut self,
        now_ms: u64,
        input: &Input<R>,
        since: Seq,
        (sanction, user, until_ms): (Sanction, UserId, u64),
        effects: &mut Vec<Effect<R>>,
    ) -> Result<(), Stop> {
        if until_ms == 0 || self.sanctioned_until_ms(sanction, user) != until_ms {
            self.answer(input, Reply::Unchanged, effects);
            return Ok(());
        }
        if now_ms < until_ms {
            let refusal = "the clock was set back, and it has not ended yet";
            return Err(Refusal::retry(ErrorCode::Overloaded, refusal, EARLY_RETRY_MS).into());
        }
        let entry = self.next_entry(now_ms, user, note_id(*b"sanction", since), end_of(sanction, user));
        let draft = self.sanctioned(sanction, user, 0);
        self.append(input, entry, draft, effects);
        Ok(())
    }

    /// Nobody who is to be added may be banned.
    pub(super) fn check_bans(&self, now_ms: u64, newcomers: &[UserId]) -> Result<(), Refusal> {
        let until_ms = |user: &UserId| self.details.bans.until_ms(*user);
        match newcomers.iter().find(|user| now_ms < until_ms(user)) {
            None => Ok(()),
            Some(user) => {
                let message = format!("user {} is banned {}", user.as_u64(), until(until_ms(user)));
                Err(Refusal::new(ErrorCode::Banned, message))
            }
        }
    }

    /// Until when; 0: not at all. The time may have passed.
    fn sanctioned_until_ms(&self, sanction: Sanction, user: UserId) -> u64 {
        match sanction {
            Sanction::Mute => self.members.get(&user).map_or(0, |member| member.muted_until_ms),
            Sanction::Ban => self.details.bans.until_ms(user),
        }
    }

    fn sanctioned(&mut self, sanction: Sanction, user: UserId, until_ms: u64) -> Draft {
        match (sanction, self.members.get_mut(&user)) {
            (Sanction::Mute, Some(member)) => {
                member.muted_until_ms = until_ms;
                Draft { members: vec![MemberChange::Update(member.clone())], ..Draft::default() }
            }
            (Sanction::Mute, None) => unreachable!("only a member is muted"),
            (Sanction::Ban, _) => {
                self.details.bans.set(user, until_ms);
                Draft { details: Some(self.details.clone()), ..Draft::default() }
            }
        }
    }
}

impl Member {
    /// They must be allowed to write.
    pub(super) fn check_mute(&self, now_ms: u64) -> Result<(), Refusal> {
        match now_ms < self.muted_until_ms {
            false => Ok(()),
            true => Err(Refusal::new(
                ErrorCode::Muted,
                format!("you are muted in this group {}", until(self.muted_until_ms)),
            )),
        }
    }
}

/// Who was taken out of the group by this entry.
pub(super) fn removed_by(entry: &LogEntry) -> Option<UserId> {
    match entry.to_proto().content {
        Some(Content::MemberRemoved(removed)) => UserId::new(removed.member_id).ok(),
        Some(Content::MemberBanned(banned)) if banned.removed => UserId::new(banned.member_id).ok(),
        _ => None,
    }
}

fn end_of(sanction: Sanction, user: UserId) -> Content {
    let member_id = user.as_u64();
    match sanction {
        Sanction::Mute => Content::MemberUnmuted(v1::MemberUnmuted { member_id }),
        Sanction::Ban => Content::MemberUnbanned(v1::MemberUnbanned { member_id }),
    }
}

fn check_end(now_ms: u64, until_ms: u64) -> Result<(), Refusal> {
    match until_ms {
        0 | NEVER_MS => Ok(()),
        _ if until_ms <= now_ms => Err(Refusal::new(ErrorCode::DueOutOfRange, "until_ms has passed")),
        _ if until_ms - now_ms > SANCTION_AHEAD_MS_MAX => {
            let message = format!("until_ms is at most {SANCTION_AHEAD_MS_MAX} ms ahead");
            Err(Refusal::new(ErrorCode::DueOutOfRange, message))
        }
        _ => Ok(()),
    }
}

fn until(until_ms: u64) -> String {
    match until_ms {
        NEVER_MS => "for good".to_owned(),
        _ => format!("until {until_ms} ms since the epoch"),
    }
}
