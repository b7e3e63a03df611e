//! Groups are made, changed and left.

use crate::{
    next_seq,
    server::{Server, soon},
};
use godwit_client::{
    ConversationId, Event, UserId,
    v1::{self, ErrorCode, client_frame, server_frame::Body},
};

fn group() -> ConversationId {
    ConversationId::group([4; 16])
}

fn users(raw: std::ops::RangeInclusive<u64>) -> Vec<UserId> {
    raw.map(|raw| UserId::new(raw).unwrap()).collect()
}

fn log() -> Vec<v1::Entry> {
    let created = v1::entry::Content::GroupCreated(v1::GroupCreated { title: "all".into(), member_ids: vec![10, 11] });
    let added = v1::entry::Content::MembersAdded(v1::MembersAdded { member_ids: vec![12] });
    let entry = |seq, content| v1::Entry { seq, sender_id: 7, content: Some(content), ..Default::default() };
    vec![entry(1, created), entry(2, added)]
}

#[tokio::test]
async fn a_group_with_more_members_than_a_request_takes_is_filled_by_further_ones() {
    let server = Server::start();
    let (client, mut events, mut peer) = server.connect(server.config()).await;
    let making = tokio::spawn(async move { client.create_group("all", &users(10..=12)).await.map(|id| (client, id)) });
    let frame = peer.session.next().await;
    let Some(client_frame::Body::CreateGroup(create)) = frame.body else { panic!("{frame:?}") };
    assert_eq!((create.title.as_str(), create.member_ids), ("all", vec![10, 11]));
    let conversation_id = group().to_bytes();
    let created = v1::CreateGroupResponse { conversation_id, seq: 1, sent_ms: 1 };
    peer.session.reply(frame.request_id, Body::CreateGroup(created)).await;
    let frame = peer.session.next().await;
    let Some(client_frame::Body::AddMembers(add)) = frame.body else { panic!("{frame:?}") };
    assert_eq!((add.conversation_id, add.user_ids), (group().to_bytes(), vec![12]));
    peer.session.reply(frame.request_id, Body::ChangeMembers(v1::ChangeMembersResponse { seq: 2 })).await;
    let (_client, made) = soon(making).await.unwrap().unwrap();
    assert_eq!(made, group());

    // The one who asked gets no push: the entries come from the log.
    peer.answer_history(&log()).await;
    assert_eq!((next_seq(&mut events).await, next_seq(&mut events).await), (1, 2));
}

#[tokio::test]
async fn members_are_listed_page_by_page() {
    let server = Server::start();
    let (client, _events, mut peer) = server.connect(server.config()).await;
    let listing = tokio::spawn(async move { client.list_members(group()).await });
    for (after, ids, more) in [(0, [10, 11], true), (11, [12, 13], false)] {
        let frame = peer.session.next().await;
        let Some(client_frame::Body::ListMembers(list)) = frame.body else { panic!("{frame:?}") };
        assert_eq!(list.after_user_id, after);
        let members = ids.map(|user_id| v1::Member { user_id, role: 1, joined_seq: 1, muted_until_ms: 0 }).to_vec();
        peer.session.reply(frame.request_id, Body::ListMembers(v1::ListMembersResponse { members, more })).await;
    }
    assert_eq!(soon(listing).await.unwrap().unwrap().len(), 4);
}

#[tokio::test]
async fn leaving_succeeds_although_the_first_answer_got_lost() {
    let server = Server::start();
    let (client, mut events, mut peer) = server.connect(server.config()).await;
    peer.lane().await.push(group(), log()).await;
    assert_eq!(next_seq(&mut events).await, 1);
    let leaving = tokio::spawn(async move { client.leave(group()).await });
    while !matches!(peer.session.next().await.body, Some(client_frame::Body::Leave(_))) {}
    peer.close(ErrorCode::ShuttingDown);
    let mut peer = server.accept().await;
    peer.log_in().await;
    let removed = vec![group().to_bytes()];
    peer.answer_sync(v1::SyncResponse { removed, ..Default::default() }).await;
    let frame = peer.session.next().await;
    assert!(matches!(frame.body, Some(client_frame::Body::Leave(_))), "{frame:?}");
    peer.refuse(frame.request_id, ErrorCode::NotAMember, 0).await;
    assert_eq!(soon(leaving).await.unwrap(), Ok(()));
    while soon(events.next()).await.unwrap() != (Event::Removed { conversation: group() }) {}
}
