use super::*;

#[test]
fn a_failed_commit_loses_the_conversation_and_a_reload_recovers() {
    let mut talk = Talk::direct();
    talk.send(ALICE, 1);
    talk.commit();
    let (second, third) = (talk.send(ALICE, 2), talk.send(BOB, 3));
    talk.fail();
    assert!(talk.conversation.is_lost() && !talk.conversation.is_idle());
    talk.fail();
    assert_eq!((talk.refusal_of(second), talk.refusal_of(third)).0, Some(ErrorCode::StoreUnavailable));
    talk.reload();
    let again = talk.ask(BOB, message(3, false, None));
    talk.commit();
    assert_eq!(talk.seq_of(again), Some(2));
}

#[test]
fn what_was_written_although_nobody_knew_is_found_after_a_reload() {
    let mut talk = Talk::direct();
    talk.send(ALICE, 1);
    let written = talk.commits[0].clone();
    talk.fail();
    talk.store(written);
    talk.reload();
    let again = talk.ask(ALICE, message(1, false, None));
    assert_eq!(talk.seq_of(again), Some(1));
    assert!(talk.commits.is_empty());
}

#[test]
fn what_is_durable_behind_a_failed_change_is_answered_as_durable() {
    let mut talk = Talk::direct();
    talk.send(ALICE, 1);
    talk.commit();
    // Marking read takes no place in the log, so what follows it does not fail with it.
    let marked = talk.ask(BOB, Action::MarkRead(Seq(1)));
    let sent = talk.send(ALICE, 2);
    talk.fail();
    talk.commit();
    assert_eq!(talk.refusal_of(marked), Some(ErrorCode::StoreUnavailable));
    assert_eq!(talk.seq_of(sent), Some(2));
    assert_eq!((talk.read_pushed.len(), talk.read_unknown.clone()), (0, vec![BOB]));
}

#[test]
fn who_is_told_of_an_old_entry_is_read_back_off_the_log() {
    let mut talk = Talk::group(&[BOB]);
    talk.send(BOB, 1);
    talk.ask(ALICE, Action::RemoveMember { client_msg_id: msg(7), member: user(BOB) });
    talk.send(ALICE, 2);
    talk.ask(ALICE, Action::AddMembers { client_msg_id: msg(8), members: vec![user(CAROL)] });
    talk.send(ALICE, 3);
    (0..5).for_each(|_| talk.commit());
    let recipients = recipients_of(&talk.log, talk.conversation.recipients());
    let recipients: Vec<Vec<u64>> =
        recipients.iter().map(|users| users.iter().map(|user| user.as_u64()).collect()).collect();
    // As they were pushed when they were made: the creation, and five more.
    let pushed: Vec<Vec<u64>> = talk.pushed.iter().map(|(_, to, _)| to.clone()).collect();
    assert_eq!(recipients, pushed);
    assert_eq!(recipients[2..4], [vec![ALICE, BOB], vec![ALICE]]);
}

#[test]
fn the_clock_of_a_reloaded_conversation_does_not_run_backwards() {
    let mut talk = Talk::direct();
    talk.send(ALICE, 1);
    talk.commit();
    talk.send(ALICE, 2);
    talk.fail();
    talk.reload();
    talk.now_ms -= 60_000;
    talk.send(ALICE, 2);
    assert_eq!(talk.commits[0].entries[0].sent_ms, NOW_MS);
}
