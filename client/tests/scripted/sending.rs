//! Messages reach the log once and in order, whatever happens on the way.

use crate::{
    next_seq,
    server::{Server, conversation, soon},
};
use godwit_client::{ClientMsgId, Event, RequestError, SendError, SendOptions, Seq, v1::ErrorCode};

#[tokio::test]
async fn a_message_without_an_answer_is_sent_again_on_the_next_connection_with_the_same_id() {
    let server = Server::start();
    let (client, _events, mut peer) = server.connect(server.config()).await;
    let first = client.send(conversation(), "one").await.unwrap();
    let second = client.send(conversation(), "two").await.unwrap();
    let (_, one) = peer.next_send().await;
    let (_, two) = peer.next_send().await;
    assert!(one.first_attempt && two.first_attempt);
    assert_eq!(two.after_client_msg_id, one.client_msg_id);
    peer.close(ErrorCode::ShuttingDown);

    let mut peer = server.accept_logged_in().await;
    let (one_id, one_again) = peer.next_send().await;
    let (two_id, two_again) = peer.next_send().await;
    assert!(!one_again.first_attempt && !two_again.first_attempt);
    assert_eq!((&one_again.client_msg_id, &one_again.body), (&one.client_msg_id, &one.body));
    assert_eq!(two_again.client_msg_id, two.client_msg_id);
    peer.accept_send(one_id, 1).await;
    peer.accept_send(two_id, 2).await;
    assert_eq!(soon(first).await.unwrap().seq, Seq(1));
    assert_eq!(soon(second).await.unwrap().seq, Seq(2));
}

#[tokio::test]
async fn a_message_refused_for_now_keeps_its_place() {
    let server = Server::start();
    let (client, _events, mut peer) = server.connect(server.config()).await;
    let first = client.send(conversation(), "one").await.unwrap();
    let second = client.send(conversation(), "two").await.unwrap();
    let (one_id, one) = peer.next_send().await;
    let (two_id, _) = peer.next_send().await;
    peer.refuse(one_id, ErrorCode::StoreFull, 30).await;
    peer.refuse(two_id, ErrorCode::OutOfOrder, 0).await;

    let (one_id, one_again) = peer.next_send().await;
    assert_eq!(one_again.client_msg_id, one.client_msg_id);
    assert!(!one_again.first_attempt);
    let (two_id, two_again) = peer.next_send().await;
    assert_eq!(two_again.after_client_msg_id, one.client_msg_id);
    peer.accept_send(one_id, 1).await;
    peer.accept_send(two_id, 2).await;
    assert_eq!(soon(first).await.unwrap().seq, Seq(1));
    assert_eq!(soon(second).await.unwrap().seq, Seq(2));
}

#[tokio::test]
async fn a_message_refused_for_good_fails_alone() {
    let server = Server::start();
    let (client, _events, mut peer) = server.connect(server.config()).await;
    let sending = client.send(conversation(), "one").await.unwrap();
    let (id, _) = peer.next_send().await;
    peer.refuse(id, ErrorCode::NotAMember, 0).await;
    let error = soon(sending).await.unwrap_err();
    assert!(matches!(&error, SendError::Refused(refusal) if refusal.code == ErrorCode::NotAMember), "{error}");
}

#[tokio::test]
async fn a_body_above_the_servers_limit_is_refused_without_asking() {
    let server = Server::start();
    let (client, _events, _peer) = server.connect(server.config()).await;
    let error = client.send(conversation(), vec![0; 32_769]).await.unwrap_err();
    assert!(matches!(&error, SendError::Refused(refusal) if refusal.code == ErrorCode::MessageTooLarge), "{error}");
}

#[tokio::test]
async fn a_message_of_an_earlier_run_keeps_its_id_and_promises_nothing() {
    let server = Server::start();
    let (client, _events, mut peer) = server.connect(server.config()).await;
    let id = ClientMsgId([3; 16]);
    let content_type = "image/png".to_owned();
    let options = SendOptions { client_msg_id: Some(id), repeated: true, content_type, ..SendOptions::default() };
    client.send_with(conversation(), "again", options).await.unwrap();
    let (_, send) = peer.next_send().await;
    assert_eq!((send.client_msg_id, send.content_type.as_str()), (id.to_bytes(), "image/png"));
    assert!(!send.first_attempt);
}

#[tokio::test]
async fn an_own_message_appears_among_the_entries_at_its_seq() {
    let server = Server::start();
    let (client, mut events, mut peer) = server.connect(server.config()).await;
    client.send(conversation(), "mine").await.unwrap();
    let (id, _) = peer.next_send().await;
    peer.accept_send(id, 1).await;
    loop {
        if let Event::Entry { entry, live, .. } = soon(events.next()).await.unwrap() {
            assert_eq!((entry.seq, entry.sender_id, live), (1, client.user_id().as_u64(), true));
            break;
        }
    }
}

#[tokio::test]
async fn a_full_outbox_makes_the_sender_wait_and_an_answer_makes_room() {
    let server = Server::start();
    let mut config = server.config();
    config.limits.outbox_messages_max = 1;
    let (client, _events, mut peer) = server.connect(config).await;
    client.send(conversation(), "one").await.unwrap();
    let mut second = Box::pin(client.send(conversation(), "two"));
    let (id, _) = peer.next_send().await;
    assert!(tokio::time::timeout(std::time::Duration::from_millis(50), &mut second).await.is_err());
    peer.accept_send(id, 1).await;
    soon(second).await.unwrap();
    let (_, two) = peer.next_send().await;
    assert_eq!(two.body, "two");
}

#[tokio::test]
async fn a_shutdown_answers_everybody_who_waits() {
    let server = Server::start();
    let (client, mut events, mut peer) = server.connect(server.config()).await;
    let sending = client.send(conversation(), "one").await.unwrap();
    peer.next_send().await;
    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.heartbeat().await }
    });
    peer.session.next().await;
    soon(client.shutdown()).await;
    assert_eq!(soon(sending).await, Err(SendError::Closed));
    assert_eq!(soon(asking).await.unwrap(), Err(RequestError::Closed));
    while soon(events.next()).await.is_some() {}
    assert_eq!(client.send(conversation(), "late").await.unwrap_err(), SendError::Closed);
}

#[tokio::test]
async fn sends_go_on_while_the_application_does_not_take_its_events() {
    let server = Server::start();
    let mut config = server.config();
    config.limits.events_max = 1;
    let (client, mut events, mut peer) = server.connect(config).await;
    const COUNT: u64 = 600;
    for seq in 1..=COUNT {
        let sending = client.send(conversation(), "one").await.unwrap();
        let (id, _) = peer.next_send().await;
        peer.accept_send(id, seq).await;
        assert_eq!(soon(sending).await.unwrap().seq, Seq(seq));
    }
    // What did not fit is fetched from the log once the application looks.
    let log = crate::server::entries(1..=COUNT);
    let (mut seen, mut served) = (Vec::new(), 0);
    while seen.len() < COUNT as usize {
        tokio::select! {
            seq = next_seq(&mut events) => seen.push(seq),
            _ = peer.answer_history(&log) => served += 1,
        }
    }
    assert_eq!(seen, (1..=COUNT).collect::<Vec<_>>());
    assert!(served > 0);
}
