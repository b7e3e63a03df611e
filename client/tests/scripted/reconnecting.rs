//! A lost connection is replaced, and an ended session is not.

use crate::{
    next_seq, next_state,
    server::{Server, authenticated, conversation, entries, limits, soon},
};
use godwit_client::{
    ConnectionState, Credentials, Logout, RequestError, SharedEndpoint,
    v1::{self, ErrorCode, client_frame, server_frame::Body},
};
use godwit_proto::Vshard;
use std::time::{Duration, Instant};

#[tokio::test]
async fn the_next_connection_resumes_with_the_token() {
    let server = Server::start();
    let (_client, mut events, peer) = server.connect(server.config()).await;
    assert_eq!(next_state(&mut events).await, ConnectionState::Connected);
    peer.close(ErrorCode::ShuttingDown);
    let mut peer = server.accept().await;
    peer.greet().await;
    let resume = peer.session.next().await;
    let Some(client_frame::Body::Resume(resume_request)) = resume.body else { panic!("{resume:?}") };
    assert_eq!(resume_request.token, vec![5; 32]);
    peer.session.reply(resume.request_id, authenticated()).await;
    assert!(matches!(next_state(&mut events).await, ConnectionState::Reconnecting { attempt: 1, .. }));
    assert_eq!(next_state(&mut events).await, ConnectionState::Connected);
}

#[tokio::test]
async fn attempts_are_counted_and_spaced_until_one_succeeds() {
    let server = Server::start();
    let (_client, mut events, peer) = server.connect(server.config()).await;
    assert_eq!(next_state(&mut events).await, ConnectionState::Connected);
    peer.close(ErrorCode::ShuttingDown);
    for _ in 0..3 {
        soon(server.endpoint.accept()).await.unwrap().refuse();
    }
    for expected in 1..=3 {
        let state = next_state(&mut events).await;
        assert!(matches!(state, ConnectionState::Reconnecting { attempt, .. } if attempt == expected), "{state:?}");
    }
    let (state, _peer) = tokio::join!(
        async {
            assert!(matches!(next_state(&mut events).await, ConnectionState::Reconnecting { attempt: 4, .. }));
            next_state(&mut events).await
        },
        server.accept_logged_in()
    );
    assert_eq!(state, ConnectionState::Connected);
}

#[tokio::test]
async fn a_server_that_dies_in_the_middle_of_a_login_does_not_hold_up_the_next_attempt() {
    let server = Server::start();
    let (_client, mut events, peer) = server.connect(server.config()).await;
    assert_eq!(next_state(&mut events).await, ConnectionState::Connected);
    peer.close(ErrorCode::ShuttingDown);
    let started = Instant::now();
    // It answers nothing, and its connection stays as it is.
    let _silent = server.accept().await;
    let _peer = server.accept_logged_in().await;
    assert!(started.elapsed() < server.config().connect_timeout / 2);
}

#[tokio::test]
async fn a_session_that_was_ended_is_not_taken_up_again() {
    let server = Server::start();
    let (client, mut events, peer) = server.connect(server.config()).await;
    peer.close(ErrorCode::SessionEnded);
    loop {
        if let ConnectionState::Closed { code, .. } = next_state(&mut events).await {
            assert_eq!(code, Some(ErrorCode::SessionEnded));
            break;
        }
    }
    assert_eq!(soon(events.next()).await, None);
    assert_eq!(client.heartbeat().await, Err(RequestError::Closed));
}

#[tokio::test]
async fn a_revoked_token_is_replaced_by_the_password_where_it_is_known() {
    let server = Server::start();
    let (_client, _events, peer) = server.connect(server.config()).await;
    peer.close(ErrorCode::ShuttingDown);
    let mut peer = server.accept().await;
    peer.greet().await;
    let resume = peer.session.next().await;
    peer.refuse(resume.request_id, ErrorCode::InvalidToken, 0).await;
    let mut peer = server.accept().await;
    peer.greet().await;
    let login = peer.session.next().await;
    assert!(matches!(login.body, Some(client_frame::Body::Login(_))), "{login:?}");
}

#[tokio::test]
async fn a_revoked_token_without_a_password_ends_the_client() {
    let server = Server::start();
    let credentials = Credentials::Token { token: vec![5; 32].into() };
    let (_client, mut events, peer) = server.connect(server.config_with(credentials)).await;
    peer.close(ErrorCode::ShuttingDown);
    let mut peer = server.accept().await;
    peer.greet().await;
    let resume = peer.session.next().await;
    peer.refuse(resume.request_id, ErrorCode::InvalidToken, 0).await;
    loop {
        if let ConnectionState::Closed { code, .. } = next_state(&mut events).await {
            assert_eq!(code, Some(ErrorCode::InvalidToken));
            break;
        }
    }
}

#[tokio::test]
async fn a_request_without_an_answer_is_asked_again_on_the_next_connection() {
    let server = Server::start();
    let (client, _events, mut peer) = server.connect(server.config()).await;
    let asking = tokio::spawn(async move { client.find_users(["ann", "bob", "cid"]).await });
    let asked = peer.session.next().await;
    peer.close(ErrorCode::ShuttingDown);
    let mut peer = server.accept_logged_in().await;
    let again = peer.session.next().await;
    assert_eq!(asked.body, again.body);
    let user = |user_id| v1::UserProfile { user_id, ..Default::default() };
    let found = v1::FindUsersResponse { users: vec![user(1), user(2)] };
    peer.session.reply(again.request_id, Body::FindUsers(found)).await;
    // The server takes two names a request.
    let rest = peer.session.next().await;
    let found = v1::FindUsersResponse { users: vec![user(3)] };
    peer.session.reply(rest.request_id, Body::FindUsers(found)).await;
    assert_eq!(soon(asking).await.unwrap().unwrap().len(), 3);
}

#[tokio::test]
async fn a_page_of_history_survives_a_lost_connection() {
    let server = Server::start();
    let (client, _events, peer) = server.connect(server.config()).await;
    let asking =
        tokio::spawn(
            async move { client.history(conversation(), godwit_client::Seq(1), v1::Direction::Forward, 2).await },
        );
    let (_stream, _request) = peer.bulk().await;
    peer.close(ErrorCode::ShuttingDown);
    let mut peer = server.accept().await;
    peer.log_in().await;
    loop {
        let (mut stream, request) = peer.bulk().await;
        if let Some(client_frame::Body::History(_)) = request.body {
            let page = v1::HistoryResponse { entries: entries(1..=2), more: true, ..Default::default() };
            stream.reply(request.request_id, Body::History(page)).await;
            break;
        }
        stream.reply(request.request_id, Body::Sync(v1::SyncResponse::default())).await;
    }
    assert_eq!(soon(asking).await.unwrap().unwrap().entries.len(), 2);
}

#[tokio::test]
async fn logging_out_succeeds_even_if_the_close_overtakes_the_answer() {
    let server = Server::start();
    let (client, _events, mut peer) = server.connect(server.config()).await;
    let leaving = tokio::spawn(async move { client.logout(Logout::ThisDevice).await });
    let logout = peer.session.next().await;
    assert!(matches!(logout.body, Some(client_frame::Body::Logout(_))), "{logout:?}");
    peer.close(ErrorCode::SessionEnded);
    assert_eq!(soon(leaving).await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_client_that_moves_to_another_port_keeps_its_connection() {
    let server = Server::start();
    let (client, mut events, peer) = server.connect(server.config()).await;
    let mut lane = peer.lane().await;
    lane.push(conversation(), entries(1..=1)).await;
    assert_eq!(next_seq(&mut events).await, 1);
    let before = peer.connection.remote_address();
    client.rebind().unwrap();
    let _asking = tokio::spawn(async move { client.heartbeat().await });
    while peer.connection.remote_address() == before {
        tokio::task::yield_now().await;
    }
    lane.push(conversation(), entries(2..=2)).await;
    assert_eq!(next_seq(&mut events).await, 2);
}

#[tokio::test]
async fn clients_share_a_socket() {
    let server = Server::start();
    let shared = SharedEndpoint::bind(std::net::SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let config = || godwit_client::ClientConfig { endpoint: Some(shared.clone()), ..server.config() };
    let (_a, _events_a, peer_a) = server.connect(config()).await;
    let (_b, _events_b, peer_b) = server.connect(config()).await;
    assert_eq!(peer_a.connection.remote_address(), peer_b.connection.remote_address());
    assert_eq!(peer_a.connection.remote_address(), shared.local_addr().unwrap());
}

#[tokio::test]
async fn a_connection_of_a_known_user_starts_on_the_users_own_core() {
    let server = Server::start();
    let (client, _events, peer) = server.connect(server.config()).await;
    peer.close(ErrorCode::ShuttingDown);
    let incoming = soon(server.endpoint.accept()).await.unwrap();
    let first_id = incoming.orig_dst_cid();
    assert_eq!(first_id.len(), 20);
    assert_eq!(first_id[..2], Vshard::of_user(client.user_id()).index().to_be_bytes());
}

#[tokio::test]
async fn a_server_with_little_patience_hears_from_an_idle_client_in_time() {
    let server = Server::start();
    let client = tokio::spawn(godwit_client::Client::connect(server.config()));
    let mut peer = server.accept().await;
    peer.greet_with(v1::Limits { idle_timeout_ms: 300, ..limits() }).await;
    let login = peer.session.next().await;
    peer.session.reply(login.request_id, authenticated()).await;
    let (_client, _events) = soon(client).await.unwrap().unwrap();
    let since = Instant::now();
    let frame = peer.session.next().await;
    assert!(matches!(frame.body, Some(client_frame::Body::Heartbeat(_))), "{frame:?}");
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
}
