#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use super::*;
use crate::terminal::{
    effects::Reply,
    fixture::{ALICE, BOB, Desk, TODAY_MS, XIAOMING, direct, entry, group, message, summary},
};
use godwit_client::{
    ConversationId, Event, Refusal, RequestError,
    v1::{
        ConversationSummary, Entry, ErrorCode, Expired, ExpiryChanged, Message, Undelivered, Withdrawn,
        WithdrawnReason, entry::Content,
    },
};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

fn says(desk: &mut Desk, conversation: ConversationId, entry: Entry) {
    desk.event(Event::Entry { conversation, entry, live: true });
}

/// A message that disappears so long after [`TODAY_MS`].
fn expiring(seq: u64, sender: u64, text: &str, after: Duration) -> Entry {
    let expires_ms = TODAY_MS + after.as_millis() as u64;
    let message = Message { body: text.to_owned().into(), expires_ms, ..Message::default() };
    entry(seq, sender, Content::Message(message))
}

/// The first entry of a log that is no message.
fn expired(seq: u64, seqs: &[u64]) -> Entry {
    Entry { ordinal: seq - 1, ..entry(seq, BOB, Content::Expired(Expired { seqs: seqs.to_vec() })) }
}

/// After messages with ordinals up to this one.
fn undelivered(seq: u64, ordinal: u64, sender: u64, missed: u64, member_ids: &[u64]) -> Entry {
    let content = Content::Undelivered(Undelivered { seq: missed, member_ids: member_ids.to_vec() });
    Entry { ordinal, ..entry(seq, sender, content) }
}

fn notice(desk: &Desk) -> &str {
    &desk.model.notice.as_ref().expect("nothing was said").text
}

#[test]
fn the_expiry_of_a_conversation_is_set_and_told() {
    let mut desk = Desk::connected();
    desk.enter("/expire 1h");
    assert_eq!(notice(&desk), "choose a conversation first: /to NAME");
    let bob = desk.open(BOB, "bob");
    desk.enter("/expire");
    assert_eq!(notice(&desk), "here messages stay");
    desk.enter("/expire 1h read");
    let expiry = Expiry::AfterRead(HOUR);
    assert_eq!(desk.effects.pop(), Some(Effect::SetExpiry { conversation: bob, expiry }));
    says(&mut desk, bob, entry(1, ALICE, Content::ExpiryChanged(ExpiryChanged { expiry: Some(expiry.into()) })));
    desk.enter("/expire");
    assert_eq!(notice(&desk), "here messages disappear 1h after they are read");
    let seen = desk.seen(120, 14);
    assert!(seen.contains("14:01 from here on messages disappear 1h after they are read (set by alice)"), "{seen}");
    let refusal = Refusal { code: ErrorCode::Forbidden, message: String::new(), retry_after: None };
    desk.reply(Reply::ExpirySet(Err(RequestError::Refused(refusal))));
    assert_eq!(notice(&desk), "only the owner of the group may do that");
}

#[test]
fn a_sync_tells_how_messages_disappear() {
    let mut desk = Desk::connected();
    let Event::Summary(described) = summary(direct(BOB), "", message(3, BOB, "hi"), 0) else { panic!() };
    let expiry = Some(Expiry::AfterSent(HOUR).into());
    desk.event(Event::Summary(Box::new(ConversationSummary { expiry, ..*described })));
    desk.open(BOB, "bob");
    desk.enter("/expire");
    assert_eq!(notice(&desk), "here messages disappear 1h after they are sent");
}

#[test]
fn one_message_is_sent_with_an_expiry_of_its_own() {
    let mut desk = Desk::connected();
    let bob = desk.open(BOB, "bob");
    desk.enter("/expire 10m: the code is 1234");
    let Some(Effect::Send { conversation, body, expiry, .. }) = desk.effects.pop() else { panic!("not sent") };
    assert_eq!((conversation, body.as_str()), (bob, "the code is 1234"));
    assert_eq!(expiry, Some(Expiry::AfterSent(Duration::from_secs(600))));
    desk.enter("plain");
    let Some(Effect::Send { expiry, .. }) = desk.effects.pop() else { panic!("not sent") };
    assert_eq!(expiry, None);
}

#[test]
fn a_message_that_disappears_shows_what_is_left_of_its_time() {
    let mut desk = Desk::connected();
    let bob = desk.open(BOB, "bob");
    says(&mut desk, bob, expiring(1, BOB, "the code is 1234", 2 * HOUR));
    let read = Message { body: "and more".into(), expires_after_read_ms: 90_000, ..Message::default() };
    says(&mut desk, bob, entry(2, BOB, Content::Message(read)));
    let seen = desk.seen(80, 14);
    assert!(seen.contains("the code is 1234  (2h left)\n"), "{seen}");
    assert!(seen.contains("and more  (1m30s after reading)\n"), "{seen}");
    desk.pass(HOUR);
    assert!(desk.seen(80, 14).contains("the code is 1234  (1h left)\n"));
    desk.pass(HOUR - Duration::from_millis(1_500));
    assert!(desk.seen(80, 14).contains("the code is 1234  (2s left)\n"));
    let next = desk.model.next_tick(desk.now).expect("the screen is to be drawn again");
    assert_eq!(next - desk.now.instant, Duration::from_millis(500));
}

#[test]
fn a_message_is_gone_from_the_screen_in_the_millisecond_in_which_it_expires() {
    let mut desk = Desk::connected();
    let bob = desk.open(BOB, "bob");
    says(&mut desk, bob, expiring(1, BOB, "the code is 1234", HOUR));
    says(&mut desk, direct(XIAOMING), expiring(1, XIAOMING, "hidden as well", HOUR));
    desk.pass(HOUR - Duration::from_millis(1));
    let seen = desk.seen(80, 14);
    assert!(seen.contains("the code") && seen.contains("hidden as"), "{seen}");
    desk.pass(Duration::from_millis(1));
    let seen = desk.seen(80, 14);
    assert!(seen.contains("14:01 a message expired"), "{seen}");
    assert!(!seen.contains("the code") && !seen.contains("1234") && !seen.contains("hidden"), "{seen}");
    desk.screen(80, 14);
    let read_at = desk.model.read_at;
    assert_eq!(desk.model.next_tick(desk.now), read_at, "there is nothing left to count down");
}

#[test]
fn the_servers_word_takes_the_text_of_a_message_away() {
    let mut desk = Desk::connected();
    let bob = desk.open(BOB, "bob");
    desk.says(bob, 1, BOB, "before");
    desk.says(bob, 2, BOB, "the code is 1234");
    says(&mut desk, bob, expired(3, &[2]));
    let rows = desk.screen(80, 14);
    let seen = rows.join("\n");
    assert!(seen.contains("14:02 a message expired") && !seen.contains("1234"), "{seen}");
    assert!(rows[2].starts_with("before "), "the one before stands in the list: {seen}");
    assert!(rows[rows.len() - 4].ends_with("a message expired"), "the note itself takes no line: {seen}");
    assert_eq!(desk.model.selected().unwrap().unread_count(), Some(1));
    assert_eq!(desk.model.selected().unwrap().active_ms, TODAY_MS + 120_000, "it did not become active by that");
}

#[test]
fn a_page_from_before_the_servers_word_does_not_bring_a_message_back() {
    let mut desk = Desk::connected();
    desk.event(summary(direct(BOB), "", message(2, BOB, "the code is 1234"), 2));
    let bob = desk.open(BOB, "bob");
    desk.screen(80, 14);
    desk.serve(&[message(1, BOB, "before"), message(2, BOB, "the code is 1234")], 1);
    says(&mut desk, bob, expired(3, &[1, 2]));
    desk.screen(80, 14);
    desk.serve(&[message(1, BOB, "before"), message(2, BOB, "the code is 1234"), expired(3, &[1, 2])], 1);
    let seen = desk.seen(80, 14);
    assert!(!seen.contains("before") && !seen.contains("1234"), "{seen}");
    assert_eq!(seen.matches("a message expired").count(), 2, "{seen}");
    assert_eq!(desk.model.selected().unwrap().unread_count(), Some(0));
}

#[test]
fn where_the_newest_message_of_a_closed_conversation_is_gone_the_list_is_asked_for() {
    let mut desk = Desk::connected();
    desk.event(summary(direct(BOB), "", message(2, BOB, "the code is 1234"), 2));
    says(&mut desk, direct(BOB), expired(3, &[2]));
    assert!(!desk.seen(80, 14).contains("1234"));
    assert_eq!(desk.effects.pop(), Some(Effect::Describe));
    let Event::Summary(described) = summary(direct(BOB), "", message(1, BOB, "before"), 1) else { panic!() };
    let described = ConversationSummary { last_seq: 3, last_ordinal: 2, read_seq: 0, read_ordinal: 0, ..*described };
    desk.reply(Reply::Described(Ok(vec![described])));
    assert!(desk.seen(80, 14).contains("before"));
    assert_eq!(desk.model.list().next().unwrap().unread_count(), Some(1));
}

#[test]
fn a_marker_stands_quietly_where_a_message_was() {
    let mut desk = Desk::connected();
    let bob = desk.open(BOB, "bob");
    let marker = |reason: WithdrawnReason| Content::Withdrawn(Withdrawn { reason: reason.into(), scheduled: false });
    says(&mut desk, bob, entry(1, BOB, marker(WithdrawnReason::Expired)));
    says(&mut desk, bob, entry(2, BOB, marker(WithdrawnReason::Undelivered)));
    let seen = desk.seen(80, 14);
    assert!(seen.contains("14:01 a message expired\n"), "{seen}");
    assert!(seen.contains("14:02 a message did not reach you in time\n"), "{seen}");
    assert_eq!(desk.model.selected().unwrap().unread_count(), Some(0));
}

#[test]
fn the_sender_learns_who_did_not_get_a_message() {
    let mut desk = Desk::connected();
    desk.event(summary(group(1), "Lunch", message(1, BOB, "hi"), 0));
    desk.enter("/to #Lunch");
    let lunch = group(1);
    desk.screen(90, 14);
    desk.serve(&[message(1, BOB, "hi")], 50);
    desk.says(lunch, 2, ALICE, "leaving now");
    says(&mut desk, lunch, undelivered(3, 2, ALICE, 2, &[BOB, XIAOMING]));
    let seen = desk.seen(90, 14);
    assert!(seen.contains("leaving now"), "{seen}");
    assert!(seen.contains("14:03 not delivered to bob and 小明: your message of 14:02"), "{seen}");
    assert!(desk.seen(40, 14).contains("not delivered to bob"));
}

#[test]
fn who_did_not_get_a_message_in_time_drops_it_and_others_hear_nothing() {
    let mut desk = Desk::connected();
    let bob = desk.open(BOB, "bob");
    desk.says(bob, 1, BOB, "leaving now");
    desk.says(bob, 2, BOB, "running");
    says(&mut desk, bob, undelivered(3, 2, BOB, 1, &[ALICE]));
    says(&mut desk, bob, undelivered(4, 2, BOB, 2, &[XIAOMING]));
    let seen = desk.seen(80, 14);
    assert!(!seen.contains("leaving now") && seen.contains("a message did not reach you in time"), "{seen}");
    assert!(seen.contains("running") && !seen.contains("not delivered"), "{seen}");
    assert_eq!(desk.model.selected().unwrap().unread_count(), Some(1));
}
