#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use super::{Action, Link, OPEN_MAX, Overlay, PENDING_MAX, READ_DELAY};
use crate::terminal::{
    effects::{Effect, MemberChange, Reply},
    fixture::{ALICE, BOB, Desk, XIAOMING, created, direct, entry, group, message, profile, summary},
};
use godwit_client::{
    Event, Refusal, RequestError, SendError, Sent, Seq,
    v1::{Direction, Entry, ErrorCode, MarkReadResponse, MembersAdded, entry::Content},
};
use std::time::Duration;

fn refused(code: ErrorCode) -> Refusal {
    Refusal { code, message: String::new(), retry_after: None }
}

fn marks(desk: &Desk) -> Vec<Seq> {
    let mark = |effect: &Effect| match effect {
        Effect::MarkRead { seq, .. } => Some(*seq),
        _ => None,
    };
    desk.effects.iter().filter_map(mark).collect()
}

#[test]
fn what_is_on_the_screen_for_a_moment_is_marked_as_read_once() {
    let mut desk = Desk::connected();
    let bob = desk.open(BOB, "bob");
    desk.says(bob, 1, BOB, "hi");
    desk.screen(80, 20);
    desk.pass(READ_DELAY / 2);
    assert_eq!(marks(&desk), []);
    desk.says(bob, 2, BOB, "there?");
    desk.screen(80, 20);
    desk.pass(READ_DELAY);
    desk.screen(80, 20);
    desk.pass(READ_DELAY);
    assert_eq!(marks(&desk), [Seq(2)], "one request, while its answer is awaited");
    let read = MarkReadResponse { read_seq: 2, read_ordinal: 2, unread: 0 };
    desk.reply(Reply::Read { conversation: bob, result: Ok(read) });
    assert_eq!(desk.model.selected().unwrap().unread_count(), Some(0));
    desk.screen(80, 20);
    desk.pass(READ_DELAY);
    assert_eq!(marks(&desk).len(), 1);
}

#[test]
fn what_cannot_be_seen_is_not_marked_as_read() {
    let mut desk = Desk::connected();
    let bob = desk.open(BOB, "bob");
    (1..=60).for_each(|seq| desk.says(bob, seq, BOB, "line"));
    desk.screen(80, 20);
    desk.act(Action::Page { up: true });
    desk.screen(80, 20);
    desk.pass(READ_DELAY);
    assert_eq!(marks(&desk), [], "scrolled away from the end");
    desk.act(Action::ScrollToEnd);
    desk.model.on_focus(false);
    desk.screen(80, 20);
    desk.pass(READ_DELAY);
    assert_eq!(marks(&desk), [], "the window is in the back");
    desk.model.on_focus(true);
    desk.act(Action::Help);
    desk.screen(80, 20);
    desk.pass(READ_DELAY);
    assert_eq!(marks(&desk), [], "the help covers it");
    desk.act(Action::Escape);
    desk.screen(80, 20);
    desk.pass(READ_DELAY);
    assert_eq!(marks(&desk), [Seq(60)]);
}

#[test]
fn moving_through_the_list_reads_nothing() {
    let mut desk = Desk::connected();
    for peer in 10..14 {
        desk.event(summary(direct(peer), "", message(5, peer, "x"), 3));
    }
    for _ in 0..4 {
        desk.act(Action::Move(1));
        desk.screen(80, 20);
        desk.pass(READ_DELAY / 2);
    }
    assert_eq!(marks(&desk), []);
}

#[test]
fn a_refused_read_position_is_not_asked_for_in_a_loop() {
    let mut desk = Desk::connected();
    let bob = desk.open(BOB, "bob");
    desk.says(bob, 1, BOB, "hi");
    for _ in 0..5 {
        desk.screen(80, 20);
        desk.pass(READ_DELAY);
        let result = Err(RequestError::Refused(refused(ErrorCode::Internal)));
        if !marks(&desk).is_empty() {
            desk.reply(Reply::Read { conversation: bob, result });
        }
    }
    assert_eq!(marks(&desk).len(), 1);
}

#[test]
fn the_list_is_in_order_of_activity_and_the_selection_stays_on_its_conversation() {
    let mut desk = Desk::connected();
    desk.event(summary(direct(BOB), "", message(1, BOB, "old"), 0));
    desk.event(summary(direct(XIAOMING), "", message(2, XIAOMING, "new"), 0));
    let names = |desk: &Desk| -> Vec<u64> {
        desk.model.list().map(|one| one.id.peer_of(desk.model.session.me).unwrap().as_u64()).collect()
    };
    assert_eq!(names(&desk), [XIAOMING, BOB]);
    desk.act(Action::Move(1));
    assert_eq!(desk.model.selected_index(), Some(0));
    desk.says(direct(BOB), 3, BOB, "newest");
    assert_eq!(names(&desk), [BOB, XIAOMING]);
    assert_eq!(desk.model.selected().unwrap().id, direct(XIAOMING));
    assert_eq!(desk.model.selected_index(), Some(1));
}

#[test]
fn tab_goes_to_the_next_conversation_with_something_unread() {
    let mut desk = Desk::connected();
    desk.event(summary(direct(BOB), "", message(1, BOB, "a"), 0));
    desk.event(summary(direct(XIAOMING), "", message(1, XIAOMING, "b"), 1));
    desk.act(Action::NextUnread);
    assert_eq!(desk.model.selected().unwrap().id, direct(XIAOMING));
    desk.act(Action::NextUnread);
    assert!(desk.model.notice.as_ref().is_some_and(|notice| !notice.is_error));
}

#[test]
fn messages_get_different_ids_and_are_sent_in_order() {
    let mut desk = Desk::connected();
    let bob = desk.open(BOB, "bob");
    desk.enter("one");
    desk.enter("//two");
    let sent: Vec<_> = desk
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send { conversation, client_msg_id, body, .. } => {
                Some((*conversation, *client_msg_id, body.clone()))
            }
            _ => None,
        })
        .collect();
    assert_eq!((sent[0].0, sent[0].2.as_str(), sent[1].2.as_str()), (bob, "one", "/two"));
    assert_ne!(sent[0].1, sent[1].1);
    assert!(desk.model.input.is_empty());
}

#[test]
fn a_message_that_the_server_would_not_take_stays_in_the_input_line() {
    let mut desk = Desk::connected();
    desk.open(BOB, "bob");
    let long = "x".repeat(desk.model.session.message_bytes_max + 1);
    desk.enter(&long);
    assert_eq!(desk.model.input.text(), long);
    assert!(desk.model.notice.as_ref().unwrap().text.contains("1001 bytes"));
    assert!(!desk.effects.iter().any(|effect| matches!(effect, Effect::Send { .. })));
}

#[test]
fn without_a_conversation_a_message_is_kept_and_the_user_is_told_what_to_do() {
    let mut desk = Desk::connected();
    desk.enter("hello?");
    assert_eq!(desk.model.input.text(), "hello?");
    assert!(desk.model.notice.as_ref().unwrap().text.contains("/to NAME"));
}

#[test]
fn a_message_never_goes_to_the_conversation_before_the_one_asked_for() {
    let mut desk = Desk::connected();
    desk.open(BOB, "bob");
    desk.enter("/to carol");
    desk.effects.clear();
    desk.enter("dear carol");
    assert!(desk.effects.is_empty() && desk.model.notice.as_ref().unwrap().text.contains("waiting for carol"));
    let result = Ok((direct(7), profile(7, "carol")));
    desk.reply(Reply::Opened { name: "carol".into(), result });
    desk.act(Action::Enter);
    let Some(Effect::Send { conversation, body, .. }) = desk.effects.pop() else { panic!("not sent") };
    assert_eq!((conversation, body.as_str()), (direct(7), "dear carol"));
}

#[test]
fn a_conversation_that_is_no_longer_waited_for_does_not_come_up() {
    let mut desk = Desk::connected();
    let bob = desk.open(BOB, "bob");
    desk.enter("/to carol");
    desk.act(Action::Escape);
    desk.enter("hi bob");
    let result = Ok((direct(7), profile(7, "carol")));
    desk.reply(Reply::Opened { name: "carol".into(), result });
    assert_eq!(desk.model.selected().unwrap().id, bob);
    assert!(desk.effects.iter().any(|effect| matches!(effect, Effect::Send { .. })));
}

#[test]
fn somebody_one_talks_to_already_is_found_without_the_server() {
    let mut desk = Desk::connected();
    desk.event(summary(direct(BOB), "", message(1, BOB, "a"), 0));
    desk.enter("/to BOB");
    assert_eq!(desk.model.selected().unwrap().id, direct(BOB));
    assert!(!desk.effects.iter().any(|effect| matches!(effect, Effect::Open(_))));
}

#[test]
fn a_draft_stays_with_its_conversation() {
    let mut desk = Desk::connected();
    desk.event(summary(direct(BOB), "", message(2, BOB, "a"), 0));
    desk.event(summary(direct(XIAOMING), "", message(1, XIAOMING, "b"), 0));
    desk.act(Action::Move(1));
    desk.act(Action::Insert("for bob".into()));
    desk.act(Action::Move(1));
    assert_eq!(desk.model.input.text(), "");
    desk.act(Action::Insert("for 小明".into()));
    desk.act(Action::Move(-1));
    assert_eq!(desk.model.input.text(), "for bob");
    desk.act(Action::Move(1));
    assert_eq!(desk.model.input.text(), "for 小明");
}

#[test]
fn messages_that_wait_are_bounded() {
    let mut desk = Desk::connected();
    desk.open(BOB, "bob");
    (0..PENDING_MAX).for_each(|_| desk.enter("x"));
    desk.enter("one too many");
    assert_eq!(desk.model.input.text(), "one too many");
    assert_eq!(desk.model.selected().unwrap().pending(), PENDING_MAX);
}

#[test]
fn quitting_with_messages_on_their_way_asks_first() {
    let mut desk = Desk::connected();
    let bob = desk.open(BOB, "bob");
    desk.enter("hi");
    desk.act(Action::Quit);
    assert!(!desk.model.is_over && desk.model.notice.as_ref().unwrap().is_error);
    let Some(Effect::Send { client_msg_id, .. }) = desk.effects.pop() else { panic!("not sent") };
    let result = Ok(Sent { seq: Seq(1), ordinal: 1, sent_ms: 0 });
    desk.reply(Reply::Sent { conversation: bob, client_msg_id, result });
    desk.act(Action::Quit);
    assert!(desk.model.is_over);
}

#[test]
fn quitting_twice_gives_up_what_is_on_its_way() {
    let mut desk = Desk::connected();
    desk.open(BOB, "bob");
    desk.enter("hi");
    desk.act(Action::Quit);
    desk.act(Action::Insert("x".into()));
    desk.act(Action::Quit);
    assert!(!desk.model.is_over, "something was done in between");
    desk.act(Action::Quit);
    assert!(desk.model.is_over);
}

#[test]
fn a_message_that_was_refused_is_no_longer_waited_for() {
    let mut desk = Desk::connected();
    let bob = desk.open(BOB, "bob");
    desk.enter("hi");
    let Some(Effect::Send { client_msg_id, .. }) = desk.effects.pop() else { panic!("not sent") };
    let result = Err(SendError::Refused(refused(ErrorCode::NotAMember)));
    desk.reply(Reply::Sent { conversation: bob, client_msg_id, result });
    assert_eq!(desk.model.selected().unwrap().pending(), 0);
    assert!(desk.seen(80, 20).contains("not sent: you are not in this"));
}

#[test]
fn commands_ask_for_what_they_say() {
    let mut desk = Desk::connected();
    let lunch = group(1);
    desk.event(Event::Entry { conversation: lunch, entry: created("Lunch crew", &[ALICE]), live: true });
    desk.enter("/to bob");
    assert_eq!(desk.effects.pop(), Some(Effect::Open("bob".into())));
    desk.enter("/to #lunch CREW");
    assert_eq!(desk.model.selected().unwrap().id, lunch);
    desk.enter("/add bob");
    let change = MemberChange::Add(vec!["bob".into()]);
    assert_eq!(desk.effects.pop(), Some(Effect::ChangeMembers { group: lunch, change }));
    desk.enter("/leave");
    assert_eq!(desk.effects.pop(), Some(Effect::ChangeMembers { group: lunch, change: MemberChange::Leave }));
    desk.enter("/members");
    assert_eq!(desk.effects.pop(), Some(Effect::ListMembers(lunch)));
    desk.enter("/group tea bob");
    let names = vec!["bob".into()];
    assert_eq!(desk.effects.pop(), Some(Effect::CreateGroup { title: "tea".into(), names }));
    desk.enter("/to #nobody");
    assert!(desk.model.notice.as_ref().unwrap().is_error);
    desk.enter("/help");
    assert_eq!(desk.model.overlay, Some(Overlay::Help));
}

#[test]
fn a_wrong_command_stays_to_be_corrected_and_is_not_sent() {
    let mut desk = Desk::connected();
    desk.open(BOB, "bob");
    desk.enter("/frobnicate");
    assert_eq!(desk.model.input.text(), "/frobnicate");
    assert!(desk.model.notice.as_ref().unwrap().text.contains("there is no command /frobnicate"));
    assert!(desk.effects.is_empty());
}

#[test]
fn a_group_command_in_a_direct_conversation_says_so() {
    let mut desk = Desk::connected();
    desk.open(BOB, "bob");
    desk.enter("/add 小明");
    assert!(desk.effects.is_empty());
    assert!(desk.model.notice.as_ref().unwrap().text.contains("group"));
}

#[test]
fn scrolling_back_fetches_older_pages_down_to_the_first_entry() {
    let log: Vec<Entry> = (1..=100).map(|seq| message(seq, BOB, &format!("line {seq}"))).collect();
    let mut desk = Desk::connected();
    desk.event(summary(direct(BOB), "", log[99].clone(), 0));
    desk.act(Action::Move(1));
    for _ in 0..40 {
        desk.screen(80, 20);
        desk.serve(&log, 30);
        desk.act(Action::Page { up: true });
    }
    let seen = desk.seen(80, 20);
    assert!(seen.contains("line 1\n"), "{seen}");
    desk.effects.clear();
    desk.screen(80, 20);
    assert!(desk.effects.is_empty(), "nothing is left to fetch");
    desk.act(Action::Escape);
    assert!(desk.seen(80, 20).contains("line 100"));
}

#[test]
fn only_the_conversations_looked_at_last_are_held_in_memory() {
    let mut desk = Desk::connected();
    for peer in 10..=10 + OPEN_MAX as u64 {
        let conversation = desk.open(peer, &format!("x{peer}"));
        desk.says(conversation, 1, peer, "hi");
    }
    let held = |desk: &Desk| desk.model.list().filter(|one| one.timeline.items().next().is_some()).count();
    assert_eq!(held(&desk), OPEN_MAX);
    desk.says(direct(99), 1, 99, "hi");
    assert_eq!(held(&desk), OPEN_MAX);
}

#[test]
fn a_group_that_somebody_added_the_user_to_is_looked_up_once() {
    let mut desk = Desk::connected();
    let added = |seq| entry(seq, BOB, Content::MembersAdded(MembersAdded { member_ids: vec![ALICE] }));
    desk.event(Event::Entry { conversation: group(4), entry: added(50), live: true });
    desk.event(Event::Entry { conversation: group(4), entry: message(51, BOB, "welcome"), live: true });
    let describes = desk.effects.iter().filter(|effect| **effect == Effect::Describe).count();
    assert_eq!(describes, 1);
    let Event::Summary(found) = summary(group(4), "tea", message(51, BOB, "welcome"), 1) else { unreachable!() };
    desk.reply(Reply::Described(Ok(vec![*found])));
    let tea = desk.model.list().next().unwrap();
    assert_eq!((tea.title.as_deref(), tea.unread_count()), (Some("tea"), Some(1)));
}

#[test]
fn leaving_a_conversation_removes_it_and_says_so() {
    let mut desk = Desk::connected();
    desk.event(Event::Entry { conversation: group(4), entry: created("tea", &[ALICE]), live: true });
    desk.act(Action::Move(1));
    desk.event(Event::Removed { conversation: group(4) });
    assert!(desk.model.selected().is_none() && desk.model.list_len() == 0);
    assert_eq!(desk.model.notice.as_ref().unwrap().text, "you are no longer in #tea");
}

#[test]
fn an_answer_that_comes_after_leaving_changes_nothing() {
    let mut desk = Desk::connected();
    let read = MarkReadResponse { read_seq: 2, read_ordinal: 2, unread: 0 };
    desk.reply(Reply::Read { conversation: group(4), result: Ok(read) });
    let page = godwit_client::v1::HistoryResponse::default();
    desk.reply(Reply::Page { conversation: group(4), direction: Direction::Backward, result: Ok(page) });
    assert_eq!(desk.model.list_len(), 0);
}

#[test]
fn a_notice_goes_away_by_itself() {
    let mut desk = Desk::connected();
    let result = Err(RequestError::Refused(refused(ErrorCode::UserNotFound)));
    desk.reply(Reply::Opened { name: "nobody".into(), result });
    assert!(desk.model.notice.is_some());
    let at = desk.model.next_tick(desk.now).unwrap();
    desk.pass(at - desk.now.instant);
    assert!(desk.model.notice.is_none());
    assert_eq!(desk.model.next_tick(desk.now), None, "an idle screen wakes up for nothing");
}

#[test]
fn while_the_server_is_away_nothing_is_marked_as_read_and_the_screen_counts_down() {
    let mut desk = Desk::connected();
    let bob = desk.open(BOB, "bob");
    desk.says(bob, 1, BOB, "hi");
    desk.screen(80, 20);
    let retry_in = Duration::from_secs(3);
    let reason = "timed out".to_owned();
    desk.event(Event::State(godwit_client::ConnectionState::Reconnecting { attempt: 1, retry_in, reason }));
    desk.pass(READ_DELAY);
    assert_eq!(marks(&desk), []);
    assert!(desk.model.next_tick(desk.now).is_some_and(|at| at - desk.now.instant <= Duration::from_secs(1)));
    desk.event(Event::State(godwit_client::ConnectionState::Connected));
    assert_eq!(desk.model.link, Link::CatchingUp);
    desk.pass(Duration::ZERO);
    assert_eq!(marks(&desk), [Seq(1)]);
}
