//! Faults that the simulator has found, each as the shortest case that shows it, played by hand on one core.

mod case;
mod expiries;
mod schedules;

use crate::store::Script;
use case::Case;
use godwit::router::{Channel, Limits};
use godwit_proto::{
    ClientMsgId, ConversationId,
    v1::{self, ErrorCode, client_frame::Body as Request, server_frame::Body},
};

#[test]
fn a_store_that_fails_at_the_end_of_a_login_does_not_make_a_token_invalid() {
    let mut case = Case::new(Limits::default());
    let (_, _, token) = case.register(1);
    let session = case.open(1);
    let resume = case.ask(session, Channel::Session, Request::Resume(v1::ResumeRequest { token }));
    // The token, the user, and the token once more when the session is registered.
    case.script(Script { fail_read: Some(3), ..Default::default() });
    case.turn();
    assert_eq!(case.refusal(session, resume), Some(ErrorCode::StoreUnavailable));
}

#[test]
fn a_message_of_unknown_outcome_is_pushed_although_the_first_reload_fails() {
    let mut case = Case::new(Limits::default());
    let ((from, alice, _), (to, bob, _)) = (case.register(1), case.register(2));
    let conversation = ConversationId::direct(alice, bob);
    case.send(from, conversation, 1);
    case.turn();
    assert_eq!(case.pushed(to), [1]);

    let unknown = case.send(from, conversation, 2);
    case.script(Script { unknown_changes: 1, fail_read: Some(1), ..Default::default() });
    case.turn();
    assert_eq!(case.refusal(from, unknown), Some(ErrorCode::StoreUnavailable));
    assert_eq!(case.pushed(to), [1]);
    case.now_ms += 1_000;
    case.turn();
    assert_eq!((case.pushed(to), case.pushed(from)), (vec![1, 2], vec![2]));
}

#[test]
fn a_page_of_history_ends_where_the_membership_was_checked() {
    let mut case = Case::new(Limits::default());
    let ((owner, _, _), (gone, bob, _)) = (case.register(1), case.register(2));
    let client_msg_id = ClientMsgId([9; 16]).to_bytes();
    let create = v1::CreateGroupRequest { client_msg_id, title: "crew".into(), member_ids: vec![bob.as_u64()] };
    let create = case.ask(owner, Channel::Session, Request::CreateGroup(create));
    case.turn();
    let Some(Body::CreateGroup(created)) = case.answer(owner, create) else { panic!("no group") };
    let group = ConversationId::from_slice(&created.conversation_id).unwrap();

    // The membership is looked up; the page waits.
    case.script(Script { answers: Some(1), ..Default::default() });
    let history = v1::HistoryRequest {
        conversation_id: group.to_bytes(),
        direction: v1::Direction::Forward.into(),
        ..Default::default()
    };
    let history = case.ask(gone, Channel::Bulk(1), Request::History(history));
    case.turn();
    let (conversation_id, client_msg_id) = (group.to_bytes(), ClientMsgId([8; 16]).to_bytes());
    let remove = v1::RemoveMemberRequest { conversation_id, client_msg_id, user_id: bob.as_u64() };
    case.ask(owner, Channel::Session, Request::RemoveMember(remove));
    case.send(owner, group, 1);
    case.turn();
    case.script(Script::default());
    case.turn();
    let Some(Body::History(page)) = case.answer(gone, history) else { panic!("no page") };
    assert_eq!((page.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), page.last_seq), (vec![1], 1));
    assert_eq!(case.pushed(gone), [1, 2]);
}

#[test]
fn no_more_conversations_are_loaded_than_the_limit_allows() {
    let mut case = Case::new(Limits { conversations_active_max: 1, ..Limits::default() });
    let (session, alice, _) = case.register(1);
    case.script(Script { answers: Some(0), ..Default::default() });
    case.send(session, ConversationId::direct(alice, alice), 1);
    let second = case.send(session, ConversationId::group([1; 16]), 1);
    case.turn();
    assert_eq!(case.refusal(session, second), Some(ErrorCode::Overloaded));
}
