//! What a user sees.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use super::{
    effects::{Effect, Reply},
    fixture::{ALICE, BOB, Desk, XIAOMING, created, direct, entry, group, message, profile, summary},
    model::Action,
};
use godwit_client::{
    ConnectionState, Event, Refusal, SendError, Sent, Seq,
    v1::{ErrorCode, Member, MemberRemoved, Role, entry::Content},
};
use std::time::Duration;

/// Alice talks to bob; there is something unread from 小明, and a group.
fn desk() -> Desk {
    let mut desk = Desk::connected();
    desk.event(summary(direct(XIAOMING), "", message(5, XIAOMING, "明天见！"), 2));
    desk.event(Event::Entry { conversation: group(1), entry: created("Lunch crew", &[ALICE]), live: true });
    let bob = desk.open(BOB, "bob");
    desk.says(bob, 1, BOB, "hello alice");
    desk.says(bob, 2, BOB, "are you there?");
    desk.says(bob, 3, ALICE, "yes");
    desk
}

fn reconnecting(reason: &str) -> Event {
    let retry_in = Duration::from_millis(2_400);
    Event::State(ConnectionState::Reconnecting { attempt: 1, retry_in, reason: reason.into() })
}

#[test]
fn the_list_the_messages_and_the_line_being_typed_share_the_screen() {
    let mut desk = desk();
    desk.act(Action::Insert("see you".into()));
    let rows = desk.screen(72, 14);
    let expected = [
        "● connected as alice                                      127.0.0.1:4433",
        "小明           14:05 │ bob",
        "明天见！           2 │",
        "bob            14:03 │",
        "you: yes             │",
        "#Lunch crew    14:01 │",
        "bob: made the group  │",
        "                     │ ────────── Saturday, 21 November 2026 ───────────",
        "                     │ 14:01 bob    hello alice",
        "                     │ 14:02        are you there?",
        "                     │ 14:03 alice  yes",
        "────────────────────────────────────────────────────────────────────────",
        "> see you",
        "↑↓ conversations  ·  PgUp PgDn scroll  ·  Tab unread  ·  /help",
    ];
    assert_eq!(rows, expected, "\n{}", rows.join("\n"));
}

#[test]
fn chinese_japanese_and_emoji_take_the_cells_that_they_need() {
    let mut desk = Desk::connected();
    let xiaoming = desk.open(XIAOMING, "小明");
    desk.says(xiaoming, 1, XIAOMING, "今天天气很好，我们去公园散步吧。下午三点在门口见面，好吗？");
    desk.says(xiaoming, 2, ALICE, "👩‍👩‍👧‍👦 家族で行きます 🏳️‍🌈 e\u{301}te\u{301}");
    desk.act(Action::Insert("好👍🏽".into()));
    let rows = desk.screen(72, 11);
    let expected = [
        "● connected as alice                                      127.0.0.1:4433",
        "小明                 │ 小明",
        "                     │",
        "                     │",
        "                     │ ────────── Saturday, 21 November 2026 ───────────",
        "                     │ 14:01 小明   今天天气很好，我们去公园散步吧。下午",
        "                     │              三点在门口见面，好吗？",
        "                     │ 14:02 alice  👩‍👩‍👧‍👦 家族で行きます 🏳️‍🌈 e\u{301}te\u{301}",
        "────────────────────────────────────────────────────────────────────────",
        "> 好👍🏽",
        "↑↓ conversations  ·  PgUp PgDn scroll  ·  Tab unread  ·  /help",
    ];
    assert_eq!(rows, expected, "\n{}", rows.join("\n"));
}

#[test]
fn the_number_of_unread_messages_stands_beside_its_conversation() {
    let mut desk = desk();
    let row = |desk: &mut Desk, name: &str| {
        let rows = desk.screen(80, 20);
        let at = rows.iter().position(|row| row.starts_with(name)).unwrap();
        rows[at + 1].split('│').next().unwrap().trim_end().to_owned()
    };
    assert!(row(&mut desk, "小明").ends_with(" 2"));
    desk.says(direct(XIAOMING), 6, XIAOMING, "在吗");
    assert_eq!(row(&mut desk, "小明"), "在吗                  3");
    desk.event(Event::Read { conversation: direct(XIAOMING), read_seq: Seq(6), read_ordinal: 6 });
    assert_eq!(row(&mut desk, "小明"), "在吗", "read on another device");
}

#[test]
fn what_was_new_when_the_conversation_was_opened_is_marked() {
    let mut desk = desk();
    desk.act(Action::NextUnread);
    desk.screen(80, 20);
    let log: Vec<_> = (1..=5).map(|seq| message(seq, XIAOMING, &format!("第{seq}条"))).collect();
    desk.serve(&log, 50);
    let rows = desk.screen(80, 20);
    let at = |text: &str| rows.iter().position(|row| row.contains(text)).unwrap_or_else(|| panic!("{text}: {rows:#?}"));
    assert!(at("第3条") < at(" new ") && at(" new ") < at("第4条"));
}

#[test]
fn the_connection_can_be_seen() {
    let mut desk = Desk::new();
    assert!(desk.screen(80, 20)[0].starts_with("◌ connecting…"));
    desk.event(Event::State(ConnectionState::Connected));
    assert!(desk.screen(80, 20)[0].starts_with("● connected as alice, catching up…"));
    desk.event(Event::Synced);
    assert!(desk.screen(80, 20)[0].starts_with("● connected as alice  "));
    desk.event(reconnecting("timed\u{1b} out"));
    assert!(desk.screen(80, 20)[0].starts_with("◌ reconnecting in 3 s (timed␛ out)"));
    desk.pass(Duration::from_millis(1_500));
    assert!(desk.screen(80, 20)[0].starts_with("◌ reconnecting in 1 s (timed␛ out)"));
    desk.pass(Duration::from_secs(5));
    assert!(desk.screen(80, 20)[0].starts_with("◌ reconnecting… (timed␛ out)"));
    let code = Some(ErrorCode::SessionEnded);
    desk.event(Event::State(ConnectionState::Closed { code, reason: "logged out elsewhere".into() }));
    assert!(desk.screen(80, 20)[0].starts_with("✗ closed: logged out elsewhere (SESSION_ENDED)"));
}

#[test]
fn an_own_message_is_marked_until_it_is_durable_and_when_it_was_refused() {
    let mut desk = desk();
    desk.event(reconnecting("timed out"));
    desk.enter("can you read this?");
    desk.enter("and this?");
    let sends: Vec<_> = desk.effects.drain(..).filter(|effect| matches!(effect, Effect::Send { .. })).collect();
    let seen = desk.seen(80, 20);
    assert!(seen.contains("  …          can you read this?\n") && seen.contains("  …          and this?\n"), "{seen}");
    let ids: Vec<_> = sends
        .iter()
        .map(|effect| match effect {
            Effect::Send { client_msg_id, .. } => *client_msg_id,
            other => panic!("{other:?}"),
        })
        .collect();
    let sent = Sent { seq: Seq(4), ordinal: 4, sent_ms: 0 };
    desk.reply(Reply::Sent { conversation: direct(BOB), client_msg_id: ids[0], result: Ok(sent) });
    let refusal = Refusal { code: ErrorCode::StoreFull, message: "disk full".into(), retry_after: None };
    let result = Err(SendError::Refused(refusal));
    desk.reply(Reply::Sent { conversation: direct(BOB), client_msg_id: ids[1], result });
    let seen = desk.seen(80, 20);
    assert!(!seen.contains("  …   "), "{seen}");
    assert!(seen.contains("  ✗          and this?\n"), "{seen}");
    assert!(seen.contains("not sent: disk full (STORE_FULL)"), "{seen}");
}

#[test]
fn changes_of_members_are_shown_as_sentences() {
    let mut desk = desk();
    let left = entry(2, XIAOMING, Content::MemberRemoved(MemberRemoved { member_id: XIAOMING, new_owner_id: 0 }));
    desk.enter("/to #lunch crew");
    desk.event(Event::Entry { conversation: group(1), entry: left, live: true });
    desk.screen(80, 20);
    desk.serve(&[created("Lunch crew", &[ALICE])], 50);
    assert!(desk.seen(80, 20).contains("14:02 小明 left"));
}

#[test]
fn a_day_is_named_where_it_begins() {
    let mut desk = desk();
    desk.says(direct(BOB), 4, BOB, "late");
    let next_day = 24 * 60;
    desk.says(direct(BOB), 5, BOB, "still the same day");
    let mut entry = message(6, BOB, "good morning");
    entry.sent_ms += next_day * 60_000;
    desk.event(Event::Entry { conversation: direct(BOB), entry, live: true });
    let seen = desk.seen(80, 20);
    assert_eq!(seen.matches("21 November 2026").count(), 1);
    assert!(seen.contains("Sunday, 22 November 2026"));
}

#[test]
fn text_of_others_cannot_break_the_screen() {
    let mut desk = Desk::connected();
    desk.model.people.learn(&profile(BOB, "bob\u{1b}[31m\u{202e}"));
    let bob = direct(BOB);
    desk.event(summary(bob, "", message(1, BOB, "\u{1b}]0;owned\u{7}\u{202e}evil\r\n\u{9b}2J"), 1));
    let title = "g\u{1b}c\nroup";
    desk.event(Event::Entry { conversation: group(1), entry: created(title, &[ALICE]), live: true });
    desk.act(Action::Move(1));
    desk.act(Action::Move(1));
    desk.screen(80, 20);
    desk.serve(&[message(1, BOB, "\u{1b}]0;owned\u{7}\u{202e}evil\r\n\u{9b}2J")], 9);
    let seen = desk.seen(80, 20);
    assert!(seen.contains("␛]0;owned␇evil"), "{seen}");
    assert!(seen.contains("#g␛c roup"), "{seen}");
    assert!(!seen.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'));
}

#[test]
fn a_narrow_terminal_shows_the_list_or_the_messages() {
    let mut desk = Desk::connected();
    desk.event(summary(direct(XIAOMING), "", message(5, XIAOMING, "明天见！"), 2));
    desk.event(summary(direct(BOB), "", message(3, BOB, "a longer message that wraps"), 0));
    let rows = desk.screen(24, 9);
    assert_eq!(rows[1], "小明                   2");
    desk.act(Action::Move(1));
    desk.act(Action::Move(1));
    desk.screen(24, 9);
    desk.serve(&[message(3, BOB, "a longer message that wraps")], 9);
    let rows = desk.screen(24, 12);
    let expected = [
        "● connected as alice",
        "bob   2 unread elsewhere",
        "",
        "",
        "",
        "─ Saturday, 21 Novemb… ─",
        "14:03 bob",
        "a longer message that",
        "wraps",
        "────────────────────────",
        "> message to bob",
        "↑↓ conversations",
    ];
    assert_eq!(rows, expected, "\n{}", rows.join("\n"));
}

#[test]
fn every_size_down_to_a_single_cell_can_be_drawn() {
    let mut desk = desk();
    desk.enter("on its way");
    desk.act(Action::Insert("中文 e\u{301} 👩‍👩‍👧‍👦".into()));
    for overlay in [false, true] {
        for width in (1..=20).chain([30, 55, 56, 60]) {
            for height in 1..=12 {
                if overlay {
                    desk.act(Action::Escape);
                    desk.act(Action::Help);
                }
                let rows = desk.screen(width, height);
                assert_eq!(rows.len(), usize::from(height));
                desk.act(Action::Page { up: true });
            }
        }
    }
}

#[test]
fn scrolling_keeps_the_place_when_new_messages_arrive() {
    let mut desk = Desk::connected();
    let bob = desk.open(BOB, "bob");
    (1..=50).for_each(|seq| desk.says(bob, seq, BOB, &format!("line {seq}")));
    assert!(desk.seen(80, 20).contains("line 50"));
    desk.act(Action::Page { up: true });
    let before = desk.screen(80, 20);
    assert!(before[1].ends_with("↓ newer below (Esc)"), "{before:#?}");
    desk.says(bob, 51, BOB, "line 51");
    let messages = |rows: &[String]| {
        rows.iter().filter_map(|row| row.split_once('│')).map(|row| row.1.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(messages(&desk.screen(80, 20)), messages(&before));
    desk.act(Action::Page { up: false });
    desk.act(Action::Page { up: false });
    let rows = desk.screen(80, 20);
    assert!(rows.join("\n").contains("line 51") && !rows[1].contains("newer below"));
}

#[test]
fn a_page_up_shows_the_lines_above_and_one_that_was_there() {
    let mut desk = Desk::connected();
    let bob = desk.open(BOB, "bob");
    (1..=50).for_each(|seq| desk.says(bob, seq, BOB, &format!("line {seq}.")));
    let first = |rows: &[String]| {
        let line = rows.iter().find(|row| row.contains(" line ")).unwrap();
        line.split("line ").last().unwrap().trim_end_matches('.').parse::<u64>().unwrap()
    };
    let top = first(&desk.screen(80, 20));
    desk.act(Action::Page { up: true });
    let rows = desk.screen(80, 20);
    assert!(rows.iter().rev().any(|row| row.ends_with(&format!("line {top}."))), "{rows:#?}");
    assert!(!rows.iter().any(|row| row.ends_with(&format!("line {}.", top + 1))));
}

#[test]
fn the_help_lists_every_command_and_goes_away() {
    let mut desk = desk();
    desk.enter("/help");
    // A usual terminal has not room for all of it.
    let mut seen = desk.seen(150, 24);
    assert!(seen.contains("more: PgDn"), "{seen}");
    for _ in 0..9 {
        desk.act(Action::Page { up: false });
        seen += &desk.seen(150, 24);
    }
    assert!(!desk.seen(150, 24).contains("more: PgDn"));
    for (usage, meaning) in super::commands::COMMANDS {
        assert!(seen.contains(usage) && seen.contains(meaning), "{usage}\n{seen}");
    }
    (0..9).for_each(|_| desk.act(Action::Page { up: true }));
    assert!(desk.seen(150, 24).contains("/to NAME"));
    desk.act(Action::Escape);
    assert!(desk.seen(100, 30).contains("hello alice"));
}

#[test]
fn the_members_of_a_group_are_listed_with_their_owner() {
    let mut desk = desk();
    let members = [(ALICE, Role::Member), (BOB, Role::Owner)]
        .map(|(user_id, role)| Member { user_id, role: role.into(), joined_seq: 1, muted_until_ms: 0 })
        .to_vec();
    desk.reply(Reply::Members { group: group(1), result: Ok(members) });
    let seen = desk.seen(80, 20);
    assert!(seen.contains("2 members") && seen.contains("bob  owner"), "{seen}");
}

#[test]
fn an_error_replaces_the_hints_and_on_a_small_screen_the_state() {
    let mut desk = desk();
    desk.enter("/nonsense");
    assert!(desk.screen(80, 20)[19].starts_with("there is no command /nonsense"));
    assert!(desk.screen(80, 4)[0].starts_with("there is no command /nonsense"));
}

#[test]
fn a_newcomer_is_told_what_to_type() {
    let mut desk = Desk::connected();
    let seen = desk.seen(80, 20);
    assert!(seen.contains("/to NAME starts a conversation"), "{seen}");
}
