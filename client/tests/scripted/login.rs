//! Who the server is, and who the user is.

use crate::{
    next_state,
    server::{ME, Server, authenticated, soon},
};
use godwit_client::{
    Client, ClientConfig, ConnectError, ConnectionState, Credentials, Trust, UserId,
    v1::{ErrorCode, client_frame::Body},
};
use std::time::Duration;

#[tokio::test]
async fn a_login_gives_the_user_the_token_and_the_limits() {
    let server = Server::start();
    let (client, mut events, _peer) = server.connect(server.config()).await;
    assert_eq!(client.user_id(), UserId::new(ME).unwrap());
    assert_eq!((client.username(), client.token().len()), ("me".into(), 32));
    assert_eq!(client.limits().history_entries_max, 200);
    assert_eq!(next_state(&mut events).await, ConnectionState::Connected);
}

#[tokio::test]
async fn another_certificate_than_the_pinned_one_is_refused_at_once() {
    let server = Server::start();
    let config = ClientConfig { trust: Trust::Fingerprint([1; 32]), wait_for_server: true, ..server.config() };
    let (result, _) = tokio::join!(soon(Client::connect(config)), async {
        // The handshake is the server's to run; it fails on the other side.
        soon(server.endpoint.accept()).await.unwrap().await
    });
    let error = result.unwrap_err();
    assert!(matches!(error, ConnectError::FingerprintMismatch { seen } if seen == server.fingerprint), "{error}");
}

#[tokio::test]
async fn a_wrong_password_is_reported_with_its_code_and_not_tried_again() {
    let server = Server::start();
    let config = ClientConfig { wait_for_server: true, ..server.config() };
    let (result, ()) = tokio::join!(soon(Client::connect(config)), async {
        let mut peer = server.accept().await;
        peer.greet().await;
        let login = peer.session.next().await;
        peer.refuse(login.request_id, ErrorCode::InvalidCredentials, 0).await;
        soon(peer.connection.closed()).await;
    });
    assert_eq!(result.unwrap_err().code(), Some(ErrorCode::InvalidCredentials));
}

#[tokio::test]
async fn a_server_that_is_overloaded_is_asked_again_even_by_a_client_that_does_not_wait_for_servers() {
    let server = Server::start();
    let (result, _peer) = tokio::join!(soon(Client::connect(server.config())), async {
        let mut peer = server.accept().await;
        peer.greet().await;
        let login = peer.session.next().await;
        peer.refuse(login.request_id, ErrorCode::Overloaded, 20).await;
        server.accept_logged_in().await
    });
    assert!(result.is_ok());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_reported_unless_it_is_to_be_waited_for() {
    let server = Server::start();
    let config = ClientConfig { connect_timeout: Duration::from_millis(200), ..server.config() };
    server.endpoint.close(0u32.into(), b"");
    server.endpoint.wait_idle().await;
    drop(server);
    let error = soon(Client::connect(config)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn a_registration_whose_answer_got_lost_is_found_out_about_by_logging_in() {
    let server = Server::start();
    let credentials = Credentials::Register {
        username: "me".into(),
        password: "secret".into(),
        display_name: String::new(),
        invitation: String::new(),
    };
    let config = ClientConfig { wait_for_server: true, ..server.config_with(credentials) };
    let (result, ()) = tokio::join!(soon(Client::connect(config)), async {
        let mut peer = server.accept().await;
        peer.greet().await;
        let register = peer.session.next().await;
        assert!(matches!(register.body, Some(Body::Register(_))), "{register:?}");
        peer.close(ErrorCode::ShuttingDown);

        let mut peer = server.accept().await;
        peer.greet().await;
        let register = peer.session.next().await;
        assert!(matches!(register.body, Some(Body::Register(_))), "{register:?}");
        peer.refuse(register.request_id, ErrorCode::UsernameTaken, 0).await;

        let mut peer = server.accept().await;
        peer.greet().await;
        let login = peer.session.next().await;
        assert!(matches!(login.body, Some(Body::Login(_))), "{login:?}");
        peer.session.reply(login.request_id, authenticated()).await;
        soon(peer.connection.accept_bi()).await.unwrap();
    });
    assert!(result.is_ok());
}

#[tokio::test]
async fn a_name_that_somebody_else_has_is_reported_as_taken() {
    let server = Server::start();
    let credentials = Credentials::Register {
        username: "me".into(),
        password: "secret".into(),
        display_name: String::new(),
        invitation: String::new(),
    };
    let (result, ()) = tokio::join!(soon(Client::connect(server.config_with(credentials))), async {
        let mut peer = server.accept().await;
        peer.greet().await;
        let register = peer.session.next().await;
        peer.refuse(register.request_id, ErrorCode::UsernameTaken, 0).await;
        soon(peer.connection.closed()).await;
    });
    assert_eq!(result.unwrap_err().code(), Some(ErrorCode::UsernameTaken));
}
