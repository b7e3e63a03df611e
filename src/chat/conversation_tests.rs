//! Marks of reading on their way to the store.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
use super::*;
use crate::chat::MessageBody;

const LIMITS: ConversationLimits = ConversationLimits { dedupe_entries: 16, group_members_max: 16 };

fn user(raw: u64) -> UserId {
    UserId::new(raw).unwrap()
}

fn ask(conversation: &mut Conversation<u32>, reply_to: u32, user: UserId, action: Action) -> Vec<Effect<u32>> {
    let mut effects = Vec::new();
    conversation.handle(1, &Input { reply_to, user, action }, &mut effects).unwrap();
    effects
}

fn committed(conversation: &mut Conversation<u32>) -> Vec<Effect<u32>> {
    let mut effects = Vec::new();
    conversation.on_committed(None, &mut effects);
    effects
}

fn message(id: u8) -> Action {
    let content = MessageBody { body: "hello".into(), content_type: String::new() };
    let client_msg_id = ClientMsgId([id; 16]);
    Action::Send(NewMessage {
        client_msg_id,
        content,
        first_attempt: true,
        after: None,
        by: SentBy::Hand,
        expiry: None,
        deliver_by_ms: 0,
    })
}

fn refused(effects: &[Effect<u32>]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Reply(_, Reply::Refused(_))))
}

fn read(effects: &[Effect<u32>]) -> Option<u64> {
    effects.iter().find_map(|effect| match effect {
        Effect::Reply(_, Reply::Read { position, .. }) => Some(position.seq.as_u64()),
        _ => None,
    })
}

#[test]
fn what_is_on_its_way_to_the_store_can_be_marked_as_read_and_is_answered_behind_it() {
    let (alice, bob) = (user(1), user(2));
    let mut conversation = Conversation::new(ConversationId::direct(alice, bob), LIMITS);
    ask(&mut conversation, 1, alice, message(1));
    let effects = ask(&mut conversation, 2, bob, Action::MarkRead(Seq(1)));
    assert!(!refused(&effects) && read(&effects).is_none(), "{effects:?}");
    assert_eq!(read(&committed(&mut conversation)), None, "the message, not the mark");
    assert_eq!(read(&committed(&mut conversation)), Some(1));
    assert!(refused(&ask(&mut conversation, 3, bob, Action::MarkRead(Seq(2)))));
}

#[test]
fn a_repeated_mark_is_not_confirmed_when_the_first_one_failed_and_what_followed_it_did_not() {
    let (alice, bob) = (user(1), user(2));
    let mut conversation = Conversation::new(ConversationId::direct(alice, bob), LIMITS);
    ask(&mut conversation, 1, alice, message(1));
    committed(&mut conversation);
    ask(&mut conversation, 2, bob, Action::MarkRead(Seq(1)));
    ask(&mut conversation, 3, alice, message(2));
    ask(&mut conversation, 4, bob, Action::MarkRead(Seq(1)));
    let mut effects = Vec::new();
    conversation.on_committed(Some(&Refusal::retry(ErrorCode::StoreUnavailable, "", 1)), &mut effects);
    let effects = committed(&mut conversation);
    assert_eq!((read(&effects), refused(&effects)), (None, true), "{effects:?}");
}

#[test]
fn a_mark_behind_an_own_message_is_answered_when_that_is_durable() {
    let (alice, bob) = (user(1), user(2));
    let mut conversation = Conversation::new(ConversationId::direct(alice, bob), LIMITS);
    ask(&mut conversation, 1, alice, message(1));
    committed(&mut conversation);
    ask(&mut conversation, 2, bob, message(2));
    let effects = ask(&mut conversation, 3, bob, Action::MarkRead(Seq(1)));
    assert_eq!(read(&effects), None, "the position is not durable");
    assert_eq!(read(&committed(&mut conversation)), Some(2));
    assert_eq!(read(&ask(&mut conversation, 4, bob, Action::MarkRead(Seq(1)))), Some(2));
}
