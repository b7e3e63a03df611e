//! Messages that a schedule sends: their author did not look.

use super::*;

/// What schedules sent for somebody after their position.
fn ahead(talk: &Talk, who: u64) -> Vec<u64> {
    talk.conversation.members[&user(who)].scheduled.seqs().iter().map(|seq| seq.as_u64()).collect()
}

fn says_scheduled(entry: &LogEntry) -> bool {
    matches!(entry.to_proto().content, Some(v1::entry::Content::Message(message)) if message.scheduled)
}

#[test]
fn a_scheduled_message_is_unread_for_others_and_not_for_its_author() {
    let mut talk = Talk::group(&[BOB, CAROL]);
    talk.schedule(ALICE, 1);
    talk.commit();
    assert_eq!((talk.unread(ALICE), talk.unread(BOB), talk.unread(CAROL)), (0, 1, 1));
}

#[test]
fn a_scheduled_message_is_no_sign_that_its_author_has_read_what_came_before() {
    let mut talk = Talk::direct();
    talk.send(BOB, 1);
    talk.schedule(ALICE, 2);
    talk.send(BOB, 3);
    (0..3).for_each(|_| talk.commit());
    assert_eq!((talk.unread(ALICE), talk.conversation.position_of(user(ALICE))), (2, Some(Position::START)));
    assert_eq!(talk.unread(BOB), 0, "Bob wrote last, by hand");
    assert!(talk.read_pushed.is_empty());
}

#[test]
fn the_entry_says_whether_a_schedule_sent_it() {
    let mut talk = Talk::direct();
    talk.send(ALICE, 1);
    talk.schedule(ALICE, 2);
    (0..2).for_each(|_| talk.commit());
    assert_eq!(talk.log.iter().map(says_scheduled).collect::<Vec<_>>(), [false, true]);
    assert_eq!(talk.log.iter().map(|entry| entry.ordinal).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn reading_into_the_middle_of_ones_scheduled_messages_leaves_those_behind_out_of_unread() {
    let mut talk = Talk::direct();
    for id in (0..6).step_by(2) {
        talk.schedule(ALICE, id);
        talk.send(BOB, id + 1);
    }
    (0..6).for_each(|_| talk.commit());
    assert_eq!((talk.unread(ALICE), ahead(&talk, ALICE)), (3, vec![1, 3, 5]));
    for (read, unread, left) in [(1, 3, vec![3, 5]), (4, 1, vec![5]), (6, 0, vec![])] {
        let ticket = talk.ask(ALICE, Action::MarkRead(Seq(read)));
        talk.commit();
        let position = Position { seq: Seq(read), ordinal: read };
        assert_eq!(talk.reply(ticket), Some(&Reply::Read { position, unread }));
        assert_eq!((talk.unread(ALICE), ahead(&talk, ALICE)), (unread, left));
    }
}

#[test]
fn a_message_by_hand_reads_what_schedules_sent_before_it() {
    let mut talk = Talk::direct();
    talk.schedule(ALICE, 1);
    talk.send(BOB, 2);
    talk.send(ALICE, 3);
    talk.schedule(ALICE, 4);
    talk.send(BOB, 5);
    (0..5).for_each(|_| talk.commit());
    assert_eq!((talk.unread(ALICE), ahead(&talk, ALICE)), (1, vec![4]));
}

#[test]
fn a_scheduled_message_on_its_way_to_the_store_takes_nothing_off_unread() {
    let mut talk = Talk::direct();
    talk.send(BOB, 1);
    talk.commit();
    talk.schedule(ALICE, 2);
    assert_eq!(talk.unread(ALICE), 1);
    talk.commit();
    assert_eq!(talk.unread(ALICE), 1);
}

#[test]
fn what_is_left_unread_leaves_out_scheduled_messages_that_became_durable_while_the_answer_waited() {
    let mut talk = Talk::direct();
    talk.send(BOB, 1);
    talk.commit();
    talk.schedule(ALICE, 2);
    talk.send(BOB, 3);
    let ticket = talk.ask(ALICE, Action::MarkRead(Seq(1)));
    let again = talk.ask(ALICE, Action::MarkRead(Seq(1)));
    // What comes behind the mark is not durable when it is answered, and takes nothing away from the answer.
    talk.schedule(ALICE, 4);
    talk.send(ALICE, 5);
    (0..3).for_each(|_| talk.commit());
    let expected = Reply::Read { position: Position { seq: Seq(1), ordinal: 1 }, unread: 1 };
    assert_eq!((talk.reply(ticket), talk.reply(again)), (Some(&expected), Some(&expected)));
}

#[test]
fn a_schedule_that_fires_again_sends_nothing_again() {
    let mut talk = Talk::direct();
    let first = talk.schedule(ALICE, 1);
    let pending = talk.schedule(ALICE, 1);
    talk.commit();
    let durable = talk.schedule(ALICE, 1);
    assert_eq!([first, pending, durable].map(|ticket| talk.seq_of(ticket)), [Some(1); 3]);
    assert_eq!((talk.log.len(), talk.commits.len(), ahead(&talk, ALICE)), (1, 0, vec![1]));
}

#[test]
fn a_scheduled_message_that_failed_is_not_remembered() {
    let mut talk = Talk::direct();
    talk.send(BOB, 1);
    talk.commit();
    let failed = talk.schedule(ALICE, 2);
    talk.fail();
    assert_eq!(talk.refusal_of(failed), Some(ErrorCode::StoreUnavailable));
    talk.reload();
    assert_eq!((talk.unread(ALICE), ahead(&talk, ALICE)), (1, vec![]));
    talk.schedule(ALICE, 2);
    talk.commit();
    assert_eq!((talk.unread(ALICE), ahead(&talk, ALICE)), (1, vec![2]));
}

#[test]
fn the_first_message_of_a_conversation_may_be_scheduled_and_survives_a_reload() {
    let mut talk = Talk::direct();
    talk.schedule(ALICE, 1);
    assert_eq!(talk.commits[0].members.len(), 2, "both list the conversation");
    talk.commit();
    talk.reload();
    talk.send(BOB, 2);
    talk.commit();
    assert_eq!((talk.unread(ALICE), ahead(&talk, ALICE)), (1, vec![1]));
}

#[test]
fn every_session_of_the_author_is_told_of_a_scheduled_message() {
    let mut talk = Talk::direct();
    talk.schedule(ALICE, 1);
    talk.commit();
    assert_eq!(talk.pushed, [(1, vec![ALICE, BOB], None)]);
}

#[test]
fn a_schedule_of_somebody_who_has_left_is_refused() {
    let mut talk = Talk::group(&[BOB]);
    talk.ask(BOB, Action::RemoveMember { client_msg_id: msg(7), member: user(BOB) });
    talk.commit();
    let ticket = talk.schedule(BOB, 1);
    assert_eq!(talk.refusal_of(ticket), Some(ErrorCode::NotAMember));
}

#[test]
fn who_comes_back_has_no_scheduled_messages_of_an_earlier_membership() {
    let mut talk = Talk::group(&[BOB]);
    talk.schedule(BOB, 1);
    talk.ask(ALICE, Action::RemoveMember { client_msg_id: msg(7), member: user(BOB) });
    talk.ask(ALICE, Action::AddMembers { client_msg_id: msg(8), members: vec![user(BOB)] });
    talk.send(ALICE, 2);
    talk.schedule(BOB, 3);
    talk.send(ALICE, 4);
    (0..6).for_each(|_| talk.commit());
    assert_eq!((talk.unread(BOB), ahead(&talk, BOB)), (2, vec![6]));
}

#[test]
fn an_author_who_never_looks_is_refused_more_scheduled_messages_until_they_do() {
    let mut talk = Talk::with_window(ConversationId::direct(user(ALICE), user(BOB)), 1_000);
    let texts = || (0_u128..).map(|id| (id, SentBy::Schedule));
    for (id, by) in texts().take(SCHEDULED_UNREAD_MAX) {
        talk.ask(ALICE, text(id, by));
        talk.commit();
    }
    let refused = talk.ask(ALICE, text(1_000, SentBy::Schedule));
    assert_eq!(talk.refusal_of(refused), Some(ErrorCode::ScheduledUnreadLimit));
    // What was accepted stays accepted, and others have a limit of their own.
    let again = talk.ask(ALICE, text(0, SentBy::Schedule));
    assert_eq!(talk.seq_of(again), Some(1));
    let bobs = talk.ask(BOB, text(1_000, SentBy::Schedule));
    talk.ask(ALICE, Action::MarkRead(Seq(2)));
    let roomy = [1_001, 1_002, 1_003].map(|id| talk.ask(ALICE, text(id, SentBy::Schedule)));
    while !talk.commits.is_empty() {
        talk.commit();
    }
    assert!(talk.seq_of(bobs).is_some() && talk.seq_of(roomy[0]).is_some() && talk.seq_of(roomy[1]).is_some());
    assert_eq!(talk.refusal_of(roomy[2]), Some(ErrorCode::ScheduledUnreadLimit));
    // By hand there is no such limit, and it makes room.
    talk.ask(ALICE, text(1_004, SentBy::Hand));
    let last = talk.ask(ALICE, text(1_005, SentBy::Schedule));
    (0..2).for_each(|_| talk.commit());
    assert_eq!((talk.seq_of(last), ahead(&talk, ALICE).len()), (Some(261), 1));
}
