//! Mutes and bans: in force to the millisecond, told of once.

use super::*;
use godwit_proto::v1::entry::Content;

const HOUR_MS: u64 = 3_600_000;
const LATER_MS: u64 = NOW_MS + HOUR_MS;

fn sanction(id: u128, sanction: Sanction, who: u64, until_ms: u64) -> Action {
    Action::Sanction { client_msg_id: msg(id), sanction, user: user(who), until_ms }
}

fn mute(id: u128, who: u64, until_ms: u64) -> Action {
    sanction(id, Sanction::Mute, who, until_ms)
}

fn ban(id: u128, who: u64, until_ms: u64) -> Action {
    sanction(id, Sanction::Ban, who, until_ms)
}

fn add(id: u128, who: u64) -> Action {
    Action::AddMembers { client_msg_id: msg(id), members: vec![user(who)] }
}

impl Talk {
    /// Does it, and makes it durable.
    fn done(&mut self, who: u64, action: Action) -> Ticket {
        let ticket = self.ask(who, action);
        if !self.commits.is_empty() {
            self.commit();
        }
        ticket
    }

    /// The server finds that the timer of this wait is due.
    fn fire(&mut self, wait: &Wait) -> Ticket {
        let WaitFor::SanctionEnd { sanction, user, since } = wait.event else { panic!("{wait:?}") };
        let until_ms = wait.due_ms;
        self.done(user.as_u64(), Action::EndSanction { sanction, user, since, until_ms })
    }

    fn last(&self) -> (u64, Content) {
        let entry = self.log.last().unwrap().to_proto();
        (entry.sender_id, entry.content.unwrap())
    }

    fn is_unchanged(&self, ticket: Ticket) -> bool {
        self.reply(ticket) == Some(&Reply::Unchanged)
    }
}

#[test]
fn a_muted_member_reads_and_does_not_write_until_the_millisecond_in_which_it_ends() {
    let mut talk = Talk::group(&[BOB]);
    talk.done(ALICE, mute(2, BOB, LATER_MS));
    assert_eq!(talk.last(), (ALICE, Content::MemberMuted(v1::MemberMuted { member_id: BOB, until_ms: LATER_MS })));
    assert_eq!(talk.pushed.last().unwrap().1, [ALICE, BOB]);
    talk.now_ms = LATER_MS - 1;
    for by in [SentBy::Hand, SentBy::Schedule] {
        let refused = talk.ask(BOB, text(3, by));
        let Some(Reply::Refused(refusal)) = talk.reply(refused) else { panic!() };
        assert_eq!((refusal.code, refusal.retry_after_ms), (ErrorCode::Muted, 0));
        assert!(refusal.message.contains(&LATER_MS.to_string()), "{refusal:?}");
    }
    let read = talk.done(BOB, Action::MarkRead(Seq(2)));
    assert!(matches!(talk.reply(read), Some(Reply::Read { .. })));
    // Whether or not the timer has done its work.
    talk.now_ms = LATER_MS;
    let sent = talk.done(BOB, text(3, SentBy::Hand));
    assert_eq!(talk.seq_of(sent), Some(3));
}

#[test]
fn what_was_accepted_before_the_mute_stays_accepted() {
    let mut talk = Talk::group(&[BOB]);
    talk.done(BOB, message(7, true, None));
    talk.done(ALICE, mute(2, BOB, LATER_MS));
    let again = talk.ask(BOB, message(7, false, None));
    assert_eq!(talk.seq_of(again), Some(2));
}

#[test]
fn the_end_is_told_once_and_by_nobody_but_the_one_whose_it_is() {
    let mut talk = Talk::group(&[BOB]);
    talk.done(ALICE, mute(2, BOB, LATER_MS));
    let wait = talk.waits[0];
    assert_eq!((wait.due_ms, talk.waits.len()), (LATER_MS, 1));
    talk.now_ms = LATER_MS;
    talk.fire(&wait);
    assert_eq!(talk.last(), (BOB, Content::MemberUnmuted(v1::MemberUnmuted { member_id: BOB })));
    let (_, to, except) = talk.pushed.last().unwrap();
    assert_eq!((&to[..], *except), (&[ALICE, BOB][..], None), "no session has it from an answer");
    // The process died before the timer was removed.
    talk.reload();
    let again = talk.fire(&wait);
    assert!(talk.is_unchanged(again));
    assert_eq!(talk.log.len(), 3);
}

#[test]
fn an_end_that_comes_early_because_the_clock_was_set_back_is_looked_at_again() {
    let mut talk = Talk::group(&[BOB]);
    talk.done(ALICE, ban(2, BOB, LATER_MS));
    talk.now_ms = LATER_MS - 1;
    let early = talk.fire(&talk.waits[0].clone());
    let Some(Reply::Refused(refusal)) = talk.reply(early) else { panic!() };
    assert!(refusal.retry_after_ms > 0);
}

#[test]
fn what_was_changed_or_lifted_is_not_ended_by_the_timer_of_what_was_before() {
    for kind in [Sanction::Mute, Sanction::Ban] {
        let mut talk = Talk::group(&[BOB]);
        talk.done(ALICE, sanction(2, kind, BOB, LATER_MS));
        talk.done(ALICE, sanction(3, kind, BOB, LATER_MS + 5));
        let (first, second) = (talk.waits[0], talk.waits[1]);
        assert_ne!(first.event, second.event, "they have timers of their own");
        talk.now_ms = LATER_MS;
        let late = talk.fire(&first);
        assert!(talk.is_unchanged(late));
        // Lifted, and begun once more for good.
        talk.done(ALICE, sanction(4, kind, BOB, 0));
        talk.done(ALICE, sanction(5, kind, BOB, NEVER_MS));
        assert_eq!((talk.waits.len(), talk.log.len()), (2, 5), "what is for good has no timer");
        talk.now_ms = LATER_MS + 5;
        let late = talk.fire(&second);
        assert!(talk.is_unchanged(late), "{kind:?}");
    }
}

#[test]
fn a_lift_is_told_and_lifting_nothing_changes_nothing() {
    let mut talk = Talk::group(&[BOB]);
    talk.done(ALICE, mute(2, BOB, NEVER_MS));
    talk.now_ms = u64::MAX - 1;
    let refused = talk.send(BOB, 9);
    assert_eq!(talk.refusal_of(refused), Some(ErrorCode::Muted));
    talk.now_ms = NOW_MS;
    talk.done(ALICE, mute(3, BOB, 0));
    assert_eq!(talk.last(), (ALICE, Content::MemberUnmuted(v1::MemberUnmuted { member_id: BOB })));
    for action in [mute(4, BOB, 0), ban(5, BOB, 0), mute(6, CAROL, 0)] {
        let ticket = talk.ask(ALICE, action);
        assert!(talk.is_unchanged(ticket));
    }
    let repeated = talk.ask(ALICE, mute(3, BOB, 0));
    assert_eq!(talk.seq_of(repeated), Some(3));
}

#[test]
fn a_ban_takes_out_and_keeps_out_until_it_ends() {
    let mut talk = Talk::group(&[BOB, CAROL]);
    talk.done(ALICE, ban(2, BOB, LATER_MS));
    let banned = v1::MemberBanned { member_id: BOB, until_ms: LATER_MS, removed: true };
    assert_eq!(talk.last(), (ALICE, Content::MemberBanned(banned)));
    assert_eq!(talk.pushed.last().unwrap().1, [ALICE, CAROL, BOB], "the banned one is told, as the last thing");
    let gone = talk.send(BOB, 3);
    assert_eq!(talk.refusal_of(gone), Some(ErrorCode::NotAMember));
    talk.reload();
    talk.now_ms = LATER_MS - 1;
    let refused = talk.ask(ALICE, add(4, BOB));
    assert_eq!(talk.refusal_of(refused), Some(ErrorCode::Banned));
    talk.now_ms = LATER_MS;
    let added = talk.done(ALICE, add(4, BOB));
    assert_eq!(talk.seq_of(added), Some(3));
    // Only now does the timer come.
    talk.fire(&talk.waits[0].clone());
    assert_eq!(talk.last(), (BOB, Content::MemberUnbanned(v1::MemberUnbanned { member_id: BOB })));
    assert!(talk.details.bans.all().is_empty() && talk.rows.contains_key(&user(BOB)));
}

#[test]
fn an_outsider_can_be_banned_and_is_not_told() {
    let mut talk = Talk::group(&[BOB]);
    talk.done(ALICE, ban(2, CAROL, NEVER_MS));
    let banned = v1::MemberBanned { member_id: CAROL, until_ms: NEVER_MS, removed: false };
    assert_eq!(talk.last(), (ALICE, Content::MemberBanned(banned)));
    assert_eq!(talk.pushed.last().unwrap().1, [ALICE, BOB]);
    let refused = talk.ask(ALICE, add(3, CAROL));
    assert_eq!(talk.refusal_of(refused), Some(ErrorCode::Banned));
}

#[test]
fn memberships_are_read_back_off_bans_too() {
    let mut talk = Talk::group(&[BOB]);
    talk.done(ALICE, ban(2, CAROL, NEVER_MS));
    talk.done(ALICE, ban(3, BOB, NEVER_MS));
    talk.send(ALICE, 4);
    talk.commit();
    let to = recipients_of(&talk.log, talk.conversation.recipients());
    let to: Vec<Vec<u64>> = to.iter().map(|users| users.iter().map(|user| user.as_u64()).collect()).collect();
    assert_eq!(to, [vec![ALICE, BOB], vec![ALICE, BOB], vec![ALICE, BOB], vec![ALICE]]);
}

#[test]
fn only_the_owner_of_a_group_does_it_to_others_and_for_a_time_that_makes_sense() {
    let mut talk = Talk::group(&[BOB]);
    for (who, action, code) in [
        (BOB, mute(2, ALICE, LATER_MS), ErrorCode::Forbidden),
        (CAROL, ban(3, BOB, LATER_MS), ErrorCode::NotAMember),
        (ALICE, mute(4, ALICE, LATER_MS), ErrorCode::Forbidden),
        (ALICE, ban(5, ALICE, LATER_MS), ErrorCode::Forbidden),
        (ALICE, mute(6, CAROL, LATER_MS), ErrorCode::UserNotFound),
        (ALICE, mute(7, BOB, NOW_MS), ErrorCode::DueOutOfRange),
        (ALICE, ban(8, BOB, NOW_MS + SANCTION_AHEAD_MS_MAX + 1), ErrorCode::DueOutOfRange),
    ] {
        let ticket = talk.ask(who, action);
        assert_eq!(talk.refusal_of(ticket), Some(code));
    }
    let mut direct = Talk::direct();
    let ticket = direct.ask(ALICE, mute(1, BOB, LATER_MS));
    assert_eq!(direct.refusal_of(ticket), Some(ErrorCode::Forbidden));
}

#[test]
fn whoever_becomes_the_owner_or_comes_back_is_not_muted() {
    let mut talk = Talk::group(&[BOB, CAROL]);
    talk.done(ALICE, mute(2, BOB, NEVER_MS));
    talk.done(ALICE, mute(3, CAROL, NEVER_MS));
    talk.done(ALICE, Action::RemoveMember { client_msg_id: msg(4), member: user(CAROL) });
    talk.done(ALICE, add(5, CAROL));
    talk.done(ALICE, Action::RemoveMember { client_msg_id: msg(6), member: user(ALICE) });
    talk.reload();
    for (who, id) in [(BOB, 7), (CAROL, 8)] {
        let sent = talk.send(who, id);
        talk.commit();
        assert!(talk.seq_of(sent).is_some(), "{who}");
    }
}

#[test]
fn a_group_has_so_many_bans_and_room_again_when_one_ends() {
    let mut talk = Talk::group(&[BOB]);
    let others = (101..100 + BANS_PER_GROUP_MAX as u64).map(|raw| Ban { user: user(raw), until_ms: NEVER_MS });
    talk.details.bans = others.collect();
    talk.reload();
    talk.done(ALICE, ban(9, 100, LATER_MS));
    let refused = talk.ask(ALICE, ban(2, BOB, LATER_MS));
    assert_eq!(talk.refusal_of(refused), Some(ErrorCode::TooManyBans));
    let longer = talk.done(ALICE, ban(3, 101, LATER_MS + 1));
    assert!(talk.seq_of(longer).is_some(), "one that is there can be changed");
    talk.now_ms = LATER_MS;
    talk.fire(&talk.waits[0].clone());
    let banned = talk.done(ALICE, ban(4, BOB, LATER_MS + HOUR_MS));
    assert!(talk.seq_of(banned).is_some());
}
