use super::*;

#[test]
fn ones_own_message_is_never_unread() {
    let mut talk = Talk::direct();
    talk.send(ALICE, 1);
    talk.commit();
    assert_eq!((talk.unread(ALICE), talk.unread(BOB)), (0, 1));
    talk.send(BOB, 2);
    talk.commit();
    // Bob wrote after Alice, so he has read what she wrote.
    assert_eq!((talk.unread(ALICE), talk.unread(BOB)), (1, 0));
}

#[test]
fn membership_changes_are_not_unread() {
    let mut talk = Talk::group(&[BOB]);
    talk.ask(ALICE, Action::AddMembers { client_msg_id: msg(7), members: vec![user(CAROL)] });
    talk.commit();
    assert_eq!((talk.unread(BOB), talk.unread(CAROL)), (0, 0));
}

#[test]
fn mark_read_is_durable_before_it_is_answered_and_told_to_other_devices() {
    let mut talk = Talk::direct();
    talk.send(ALICE, 1);
    talk.commit();
    let ticket = talk.ask(BOB, Action::MarkRead(Seq(1)));
    assert_eq!((talk.reply(ticket), talk.read_pushed.len()), (None, 0));
    talk.commit();
    let position = Position { seq: Seq(1), ordinal: 1 };
    assert_eq!(talk.reply(ticket), Some(&Reply::Read { position, unread: 0 }));
    assert_eq!(talk.read_pushed, [(BOB, 1)]);
}

#[test]
fn mark_read_never_moves_backwards() {
    let mut talk = Talk::direct();
    for id in 1..=3 {
        talk.send(ALICE, id);
        talk.commit();
    }
    talk.ask(BOB, Action::MarkRead(Seq(3)));
    talk.commit();
    let ticket = talk.ask(BOB, Action::MarkRead(Seq(1)));
    let position = Position { seq: Seq(3), ordinal: 3 };
    assert_eq!(talk.reply(ticket), Some(&Reply::Read { position, unread: 0 }));
    assert!(talk.commits.is_empty());
}

#[test]
fn a_read_position_that_rests_on_a_pending_message_is_not_told() {
    let mut talk = Talk::direct();
    talk.send(ALICE, 1);
    talk.commit();
    talk.send(BOB, 2);
    let ticket = talk.ask(BOB, Action::MarkRead(Seq(1)));
    assert_eq!(talk.reply(ticket), None);
    talk.commit();
    assert!(matches!(talk.reply(ticket), Some(Reply::Read { position: Position { seq: Seq(2), .. }, unread: 0 })));
}

#[test]
fn what_is_left_unread_is_counted_when_the_answer_leaves() {
    let mut talk = Talk::direct();
    talk.send(ALICE, 1);
    talk.commit();
    talk.send(ALICE, 2);
    let ticket = talk.ask(BOB, Action::MarkRead(Seq(1)));
    talk.commit();
    talk.commit();
    assert!(matches!(talk.reply(ticket), Some(Reply::Read { unread: 1, .. })));
}

#[test]
fn beyond_the_newest_entry_nothing_is_read() {
    let mut talk = Talk::direct();
    talk.send(ALICE, 1);
    talk.commit();
    let ticket = talk.ask(BOB, Action::MarkRead(Seq(2)));
    assert_eq!(talk.refusal_of(ticket), Some(ErrorCode::SeqOutOfRange));
}

#[test]
fn an_entry_whose_outcome_is_not_here_yet_can_be_marked_read() {
    let mut talk = Talk::direct();
    // It is durable already, and Bob has it from a page of history.
    talk.send(ALICE, 1);
    let ticket = talk.ask(BOB, Action::MarkRead(Seq(1)));
    assert_eq!(talk.reply(ticket), None);
    talk.commit();
    talk.commit();
    assert!(matches!(talk.reply(ticket), Some(Reply::Read { position: Position { seq: Seq(1), .. }, unread: 0 })));
}

#[test]
fn the_ordinal_of_an_old_entry_is_asked_of_the_store() {
    let mut talk = Talk::with_window(ConversationId::direct(user(ALICE), user(BOB)), 1);
    for id in 1..=3 {
        talk.send(ALICE, id);
        talk.commit();
    }
    assert_eq!(talk.try_ask(BOB, Action::MarkRead(Seq(2))), Err(Question::Ordinal(Seq(2))));
    talk.conversation.on_ordinal(Position { seq: Seq(2), ordinal: 2 });
    let ticket = talk.ask(BOB, Action::MarkRead(Seq(2)));
    talk.commit();
    assert!(matches!(talk.reply(ticket), Some(Reply::Read { unread: 1, .. })));
}

#[test]
fn a_stranger_reads_nothing() {
    let mut talk = Talk::direct();
    talk.send(ALICE, 1);
    talk.commit();
    let ticket = talk.ask(CAROL, Action::MarkRead(Seq(1)));
    assert_eq!(talk.refusal_of(ticket), Some(ErrorCode::NotAMember));
}
