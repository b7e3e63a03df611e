use super::*;

fn add(id: u128, who: &[u64]) -> Action {
    Action::AddMembers { client_msg_id: msg(id), members: who.iter().map(|raw| user(*raw)).collect() }
}

fn remove(id: u128, who: u64) -> Action {
    Action::RemoveMember { client_msg_id: msg(id), member: user(who) }
}

#[test]
fn a_group_begins_with_its_creator_as_owner_and_a_row_for_everybody() {
    let mut talk = Talk::with_window(ConversationId::group([1; 16]), 128);
    let create = Action::CreateGroup { client_msg_id: msg(1), title: "crew".into(), members: vec![user(BOB)] };
    talk.ask(ALICE, create);
    let change = &talk.commits[0];
    let rows: Vec<_> = change
        .members
        .iter()
        .map(|change| match change {
            MemberChange::Put(member) | MemberChange::Update(member) => {
                (member.user.as_u64(), member.role, member.joined.seq)
            }
            MemberChange::Remove(user) => panic!("{user:?} was removed"),
        })
        .collect();
    assert_eq!(rows, [(ALICE, Role::Owner, Seq(1)), (BOB, Role::Member, Seq(1))]);
    assert_eq!(change.details, Some(ConversationDetails { title: "crew".into(), ..ConversationDetails::default() }));
}

#[test]
fn the_first_message_of_a_direct_conversation_makes_the_rows_of_both() {
    let mut talk = Talk::direct();
    talk.send(ALICE, 1);
    talk.send(ALICE, 2);
    assert_eq!((talk.commits[0].members.len(), talk.commits[1].members.len()), (2, 1));
}

#[test]
fn a_group_is_created_once() {
    let mut talk = Talk::group(&[BOB]);
    let create = |id| Action::CreateGroup { client_msg_id: msg(id), title: "crew".into(), members: Vec::new() };
    let again = talk.ask(ALICE, create(1_000));
    assert_eq!(talk.seq_of(again), Some(1));
    let forged = talk.ask(CAROL, create(2));
    assert_eq!(talk.refusal_of(forged), Some(ErrorCode::NotAMember));
}

#[test]
fn only_the_owner_adds_and_removes() {
    let mut talk = Talk::group(&[BOB]);
    let (adding, removing) = (talk.ask(BOB, add(2, &[CAROL])), talk.ask(BOB, remove(3, ALICE)));
    assert_eq!(talk.refusal_of(adding), Some(ErrorCode::Forbidden));
    assert_eq!(talk.refusal_of(removing), Some(ErrorCode::Forbidden));
    let stranger = talk.ask(CAROL, add(4, &[CAROL]));
    assert_eq!(talk.refusal_of(stranger), Some(ErrorCode::NotAMember));
}

#[test]
fn a_group_has_a_limit() {
    // Four at most.
    let mut talk = Talk::group(&[BOB, CAROL]);
    let full = talk.ask(ALICE, add(2, &[4, 5]));
    assert_eq!(talk.refusal_of(full), Some(ErrorCode::GroupFull));
    talk.ask(ALICE, add(3, &[4, 4, BOB, ALICE]));
    talk.commit();
    assert_eq!(talk.log[1].to_proto().content.map(added), Some(vec![4]));
}

#[test]
fn adding_whoever_is_in_changes_nothing() {
    let mut talk = Talk::group(&[BOB]);
    let ticket = talk.ask(ALICE, add(2, &[BOB, ALICE]));
    assert_eq!(talk.reply(ticket), Some(&Reply::Unchanged));
    let ticket = talk.ask(ALICE, remove(3, CAROL));
    assert_eq!(talk.reply(ticket), Some(&Reply::Unchanged));
}

#[test]
fn nothing_has_to_change_is_told_only_once_that_is_durable() {
    let mut talk = Talk::group(&[BOB]);
    talk.ask(ALICE, add(2, &[CAROL]));
    let ticket = talk.ask(ALICE, add(3, &[CAROL]));
    assert_eq!(talk.reply(ticket), None);
    talk.commit();
    assert_eq!(talk.reply(ticket), Some(&Reply::Unchanged));
}

#[test]
fn a_new_member_is_pushed_the_entry_that_adds_them() {
    let mut talk = Talk::group(&[BOB]);
    let ticket = talk.ask(ALICE, add(2, &[CAROL]));
    talk.commit();
    assert_eq!(talk.pushed[1], (2, vec![ALICE, BOB, CAROL], Some(ticket)));
    assert_eq!(talk.conversation.members[&user(CAROL)].first_seq(), Seq(2));
}

#[test]
fn a_removed_member_is_told_of_it_and_of_nothing_after() {
    let mut talk = Talk::group(&[BOB, CAROL]);
    talk.ask(ALICE, remove(2, BOB));
    talk.send(ALICE, 3);
    let refused = talk.send(BOB, 4);
    talk.commit();
    talk.commit();
    assert_eq!(talk.pushed[1].1, [ALICE, CAROL, BOB]);
    assert_eq!(talk.pushed[2].1, [ALICE, CAROL]);
    assert_eq!(talk.refusal_of(refused), Some(ErrorCode::NotAMember));
}

#[test]
fn a_removed_members_accepted_message_stays_accepted() {
    let mut talk = Talk::group(&[BOB]);
    talk.send(BOB, 1);
    talk.ask(ALICE, remove(2, BOB));
    talk.commit();
    talk.commit();
    let again = talk.ask(BOB, message(1, false, None));
    assert_eq!(talk.seq_of(again), Some(2));
}

#[test]
fn a_member_who_comes_back_starts_anew() {
    let mut talk = Talk::group(&[BOB]);
    talk.send(BOB, 1);
    talk.ask(ALICE, remove(2, BOB));
    talk.send(ALICE, 3);
    talk.ask(ALICE, add(4, &[BOB]));
    talk.send(ALICE, 5);
    for _ in 0..5 {
        talk.commit();
    }
    let bob = &talk.conversation.members[&user(BOB)];
    assert_eq!((bob.first_seq(), bob.own, talk.unread(BOB)), (Seq(5), Position::START, 1));
}

#[test]
fn an_owner_who_leaves_passes_the_group_on_to_the_longest_standing() {
    let mut talk = Talk::group(&[CAROL]);
    talk.ask(ALICE, add(2, &[BOB]));
    talk.commit();
    talk.ask(ALICE, remove(3, ALICE));
    talk.commit();
    let removed = talk.log[2].to_proto().content;
    let expected = v1::MemberRemoved { member_id: ALICE, new_owner_id: CAROL };
    assert_eq!(removed, Some(v1::entry::Content::MemberRemoved(expected)));
    let ticket = talk.ask(CAROL, add(4, &[4]));
    talk.commit();
    assert_eq!(talk.seq_of(ticket), Some(4));
}

#[test]
fn the_last_one_out_leaves_a_group_without_members() {
    let mut talk = Talk::group(&[]);
    let ticket = talk.ask(ALICE, remove(2, ALICE));
    talk.commit();
    assert_eq!(talk.seq_of(ticket), Some(2));
    let after = talk.send(ALICE, 3);
    assert_eq!(talk.refusal_of(after), Some(ErrorCode::NotAMember));
}

#[test]
fn a_direct_conversation_keeps_its_two_members() {
    let mut talk = Talk::direct();
    for action in [add(1, &[CAROL]), remove(2, BOB), remove(3, ALICE)] {
        let ticket = talk.ask(ALICE, action);
        assert_eq!(talk.refusal_of(ticket), Some(ErrorCode::Forbidden));
    }
}

fn added(content: v1::entry::Content) -> Vec<u64> {
    match content {
        v1::entry::Content::MembersAdded(added) => added.member_ids,
        other => panic!("{other:?}"),
    }
}
