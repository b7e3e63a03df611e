//! What clients get that break the rules: a clear error or a close, at a bounded cost, while everybody else goes on.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/raw_client.rs"]
mod raw_client;
#[path = "support/server.rs"]
mod server;

use bytes::Bytes;
use godwit_proto::{
    ConversationId, UserId,
    v1::{self, ErrorCode, client_frame::Body as Request, server_frame::Body},
};
use raw_client::{RawClient, error_code, hello, register, send};
use server::TestServer;

/// The error frame that comes unasked before a close, and the code of the close itself.
async fn error_and_close(client: &mut RawClient) -> (ErrorCode, u64) {
    let frame = client.next().await.expect("an error frame before the close");
    assert_eq!(frame.request_id, 0);
    (error_code(&frame.body.unwrap()), client.closed().await)
}

async fn still_serves(server: &TestServer) {
    let (mut client, user) = RawClient::new_user(server.address(), "witness").await;
    let user = UserId::new(user.user_id).unwrap();
    let notes = ConversationId::direct(user, user);
    let reply = client.request(send(notes.as_bytes(), 1, "all is well")).await;
    assert!(matches!(reply, Body::Send(v1::SendResponse { seq: 1, .. })), "{reply:?}");
}

#[tokio::test]
async fn bytes_that_are_no_frame_close_the_connection() {
    let server = TestServer::start();
    let mut client = RawClient::connect(server.address()).await;
    // A length of 5, then a field of an unknown wire type.
    client.write(&[5, 0xff, 0xff, 0xff, 0xff, 0xff]).await;
    assert_eq!(error_and_close(&mut client).await, (ErrorCode::InvalidFrame, 100));
    still_serves(&server).await;
}

#[tokio::test]
async fn a_length_of_four_gigabytes_closes_the_connection() {
    let server = TestServer::start();
    let mut client = RawClient::connect(server.address()).await;
    client.write(&[0xff, 0xff, 0xff, 0xff, 0x0f]).await;
    assert_eq!(error_and_close(&mut client).await, (ErrorCode::FrameTooLarge, 101));
    still_serves(&server).await;
}

#[tokio::test]
async fn nothing_but_hello_is_taken_first() {
    let server = TestServer::start();
    let mut client = RawClient::connect(server.address()).await;
    client.write_frame(&v1::ClientFrame { request_id: 1, body: Some(register("early")) }).await;
    assert_eq!(error_and_close(&mut client).await, (ErrorCode::HelloRequired, 102));
}

#[tokio::test]
async fn a_second_hello_closes_the_connection() {
    let server = TestServer::start();
    let (mut client, _) = RawClient::new_user(server.address(), "twice").await;
    client.write_frame(&v1::ClientFrame { request_id: 9, body: Some(hello(1)) }).await;
    assert_eq!(error_and_close(&mut client).await, (ErrorCode::AlreadyGreeted, 104));
}

#[tokio::test]
async fn nothing_but_authentication_is_taken_before_it() {
    let server = TestServer::start();
    let mut client = RawClient::connect(server.address()).await;
    client.hello(1).await;
    let someone = ConversationId::direct(UserId::new(1).unwrap(), UserId::new(2).unwrap());
    let requests = [
        send(someone.as_bytes(), 1, "hello?"),
        Request::Heartbeat(v1::HeartbeatRequest { client_time_ms: 1 }),
        Request::FindUsers(v1::FindUsersRequest { usernames: vec!["witness".into()], user_ids: vec![] }),
        Request::Logout(v1::LogoutRequest::default()),
        Request::MarkRead(v1::MarkReadRequest { conversation_id: someone.to_bytes(), seq: 1 }),
        Request::CreateGroup(v1::CreateGroupRequest::default()),
        Request::History(v1::HistoryRequest::default()),
        Request::Sync(v1::SyncRequest::default()),
    ];
    for request in requests {
        let reply = client.request(request.clone()).await;
        assert_eq!(error_code(&reply), ErrorCode::Unauthenticated, "{request:?}");
    }
}

#[tokio::test]
async fn an_unknown_frame_is_skipped_with_an_error() {
    let server = TestServer::start();
    let (mut client, _) = RawClient::new_user(server.address(), "futurist").await;
    // request_id 7, and field 900 as a newer client might send it.
    client.write(&[6, 0x08, 7, 0xa2, 0x38, 1, b'x']).await;
    let frame = client.next().await.unwrap();
    assert_eq!((frame.request_id, error_code(&frame.body.unwrap())), (7, ErrorCode::UnknownRequest));
    let reply = client.request(Request::Heartbeat(v1::HeartbeatRequest { client_time_ms: 3 })).await;
    assert!(matches!(reply, Body::Heartbeat(v1::HeartbeatResponse { client_time_ms: 3, .. })));
}

#[tokio::test]
async fn a_token_is_good_on_its_own_device_only_and_until_it_is_revoked() {
    let server = TestServer::start();
    let (mut owner, user) = RawClient::new_user(server.address(), "owner").await;
    let resume = |token: Bytes| Request::Resume(v1::ResumeRequest { token });

    let mut thief = RawClient::connect(server.address()).await;
    thief.hello(2).await;
    assert_eq!(error_code(&thief.request(resume(user.token.clone())).await), ErrorCode::InvalidToken);
    assert_eq!(error_code(&thief.request(resume(Bytes::from_static(&[9; 32]))).await), ErrorCode::InvalidToken);
    assert_eq!(error_code(&thief.request(resume(Bytes::new())).await), ErrorCode::InvalidToken);

    let reply = owner.request(Request::Logout(v1::LogoutRequest::default())).await;
    assert!(matches!(reply, Body::Logout(_)));
    assert_eq!(owner.closed().await, 210);
    let mut again = RawClient::connect(server.address()).await;
    again.hello(1).await;
    assert_eq!(error_code(&again.request(resume(user.token)).await), ErrorCode::InvalidToken);
}

#[tokio::test]
async fn guessing_passwords_ends_the_connection() {
    let server = TestServer::start();
    RawClient::new_user(server.address(), "target").await;
    let mut client = RawClient::connect(server.address()).await;
    client.hello(2).await;
    for attempt in 0..5 {
        let login = v1::LoginRequest { username: "target".into(), password: format!("guess number {attempt}") };
        let reply = client.request(Request::Login(login)).await;
        assert_eq!(error_code(&reply), ErrorCode::InvalidCredentials);
    }
    assert_eq!(client.closed().await, 201);
}

#[tokio::test]
async fn a_conversation_of_others_takes_nothing_and_tells_nothing() {
    let server = TestServer::start();
    let (_a, a) = RawClient::new_user(server.address(), "anna").await;
    let (_b, b) = RawClient::new_user(server.address(), "bela").await;
    let (mut c, _) = RawClient::new_user(server.address(), "carl").await;
    let theirs = ConversationId::direct(UserId::new(a.user_id).unwrap(), UserId::new(b.user_id).unwrap());
    let group = ConversationId::group([3; 16]);
    for conversation in [theirs, group] {
        let id = conversation.to_bytes();
        assert_eq!(error_code(&c.request(send(&id, 1, "let me in")).await), ErrorCode::NotAMember);
        let read = v1::MarkReadRequest { conversation_id: id.clone(), seq: 1 };
        assert_eq!(error_code(&c.request(Request::MarkRead(read)).await), ErrorCode::NotAMember);
        let history = v1::HistoryRequest { conversation_id: id, from_seq: 1, direction: 1, limit: 10 };
        assert_eq!(error_code(&c.bulk(Request::History(history)).await), ErrorCode::NotAMember);
    }
    let nobody = ConversationId::direct(UserId::new(b.user_id).unwrap(), UserId::new(12_345).unwrap());
    assert_eq!(error_code(&c.request(send(nobody.as_bytes(), 2, "?")).await), ErrorCode::NotAMember);
}

#[tokio::test]
async fn bad_arguments_are_named_and_lose_nothing() {
    let server = TestServer::start();
    let (mut client, user) = RawClient::new_user(server.address(), "clumsy").await;
    let user = UserId::new(user.user_id).unwrap();
    let notes = ConversationId::direct(user, user);
    assert_eq!(error_code(&client.request(send(&[1; 15], 1, "x")).await), ErrorCode::InvalidArgument);
    let long = send(notes.as_bytes(), 2, vec![b'x'; 32 * 1024 + 1]);
    assert_eq!(error_code(&client.request(long).await), ErrorCode::MessageTooLarge);
    let unknown = ConversationId::direct(user, UserId::new(77).unwrap());
    assert_eq!(error_code(&client.request(send(unknown.as_bytes(), 3, "x")).await), ErrorCode::UserNotFound);
    let wrong_stream = Request::History(v1::HistoryRequest::default());
    assert_eq!(error_code(&client.request(wrong_stream).await), ErrorCode::WrongStream);
    assert_eq!(error_code(&client.bulk(send(notes.as_bytes(), 4, "x")).await), ErrorCode::WrongStream);
    let reply = client.request(send(notes.as_bytes(), 5, "after all that")).await;
    assert!(matches!(reply, Body::Send(v1::SendResponse { seq: 1, .. })), "{reply:?}");
}

#[tokio::test]
async fn a_newer_session_of_the_same_device_ends_the_older() {
    let server = TestServer::start();
    let (mut old, user) = RawClient::new_user(server.address(), "mover").await;
    let mut new = RawClient::connect(server.address()).await;
    new.hello(1).await;
    let reply = new.request(Request::Resume(v1::ResumeRequest { token: user.token })).await;
    assert!(matches!(reply, Body::Authenticate(_)), "{reply:?}");
    assert_eq!(error_and_close(&mut old).await, (ErrorCode::SessionEnded, 210));
    let reply = new.request(Request::Heartbeat(v1::HeartbeatRequest { client_time_ms: 3 })).await;
    assert!(matches!(reply, Body::Heartbeat(_)));
}

#[tokio::test]
async fn a_sync_that_names_strangers_beside_large_messages_still_fits_a_frame() {
    let server = TestServer::start();
    let (mut client, user) = RawClient::new_user(server.address(), "hoarder").await;
    let me = UserId::new(user.user_id).unwrap();
    for name in ["penpal-one", "penpal-two"] {
        let (_, other) = RawClient::new_user(server.address(), name).await;
        let conversation = ConversationId::direct(me, UserId::new(other.user_id).unwrap());
        let reply = client.request(send(conversation.as_bytes(), 1, vec![b'x'; 32_000])).await;
        assert!(matches!(reply, Body::Send(_)), "{reply:?}");
    }
    // Notes to self of users 1 to 190: ids below those of anybody, and this user is in none of them.
    let strangers = (1..=190).map(|id| UserId::new(id).unwrap()).map(|id| v1::KnownConversation {
        conversation_id: ConversationId::direct(id, id).to_bytes(),
        seq: 1,
        read_seq: 1,
    });
    let mut request = v1::SyncRequest { known: strangers.collect(), ..Default::default() };
    let (mut changed, mut removed) = (0, 0);
    loop {
        let Body::Sync(page) = client.bulk(Request::Sync(request)).await else { panic!("no page") };
        changed += page.changed.len();
        removed += page.removed.len();
        request = v1::SyncRequest { after: page.up_to, ..Default::default() };
        if !page.more {
            break;
        }
    }
    assert_eq!((changed, removed), (2, 190));
    still_serves(&server).await;
}

#[tokio::test]
async fn names_and_ids_are_limited_together_so_that_the_profiles_fit_a_frame() {
    let server = TestServer::start();
    let (mut client, user) = RawClient::new_user(server.address(), "collector").await;
    let find = |names: usize, ids: usize| {
        let usernames = vec!["collector".to_owned(); names];
        Request::FindUsers(v1::FindUsersRequest { usernames, user_ids: vec![user.user_id; ids] })
    };
    assert_eq!(error_code(&client.request(find(200, 201)).await), ErrorCode::InvalidArgument);
    let reply = client.request(find(200, 200)).await;
    assert!(matches!(&reply, Body::FindUsers(found) if found.users.len() == 1), "{reply:?}");
}
