use super::*;

/// The conversation as the store would give it back.
fn reload(talk: &mut Talk) {
    assert!(talk.conversation.is_lost() && talk.conversation.is_idle());
    let members = match talk.conversation.id.kind() {
        godwit_proto::ConversationKind::Direct(low, high) => vec![low, high],
        godwit_proto::ConversationKind::Group => unimplemented!("not needed yet"),
    };
    let members = members.into_iter().map(|user| Member::new(user, Role::Member, Position::START)).collect();
    let tail = &talk.log[talk.log.len().saturating_sub(talk.limits.dedupe_entries)..];
    let details = ConversationDetails::default();
    talk.conversation = Conversation::load(talk.conversation.id, talk.limits, details, members, tail);
}

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
    reload(&mut talk);
    let again = talk.ask(BOB, message(3, false, None));
    talk.commit();
    assert_eq!(talk.seq_of(again), Some(2));
}

#[test]
fn what_was_written_although_nobody_knew_is_found_after_a_reload() {
    let mut talk = Talk::direct();
    talk.send(ALICE, 1);
    let written = talk.commits[0].entries[0].clone();
    talk.fail();
    talk.log.push(written);
    reload(&mut talk);
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
}

#[test]
fn the_clock_of_a_reloaded_conversation_does_not_run_backwards() {
    let mut talk = Talk::direct();
    talk.send(ALICE, 1);
    talk.commit();
    talk.send(ALICE, 2);
    talk.fail();
    reload(&mut talk);
    talk.now_ms -= 60_000;
    talk.send(ALICE, 2);
    assert_eq!(talk.commits[0].entries[0].sent_ms, NOW_MS);
}
