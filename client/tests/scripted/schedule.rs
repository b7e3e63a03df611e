//! Messages are scheduled once, however often it is asked for, and what other devices do to them is told.

use crate::server::{Peer, Server, conversation, soon};
use godwit_client::{
    ClientMsgId, Event, Repeat, RequestError, ScheduleChange, ScheduleOptions, ScheduledFilter, Seq,
    v1::{self, ErrorCode, ScheduledMessage, ScheduledPush, client_frame, scheduled_push::Change, server_frame::Body},
};

const DUE_MS: u64 = 1_795_269_600_000;

fn scheduled(id: u8) -> ScheduledMessage {
    ScheduledMessage {
        schedule_id: ClientMsgId([id; 16]).to_bytes(),
        conversation_id: conversation().to_bytes(),
        due_ms: DUE_MS,
        revision: 1,
        ..ScheduledMessage::default()
    }
}

async fn next_schedule(peer: &mut Peer) -> (u64, v1::ScheduleRequest) {
    let frame = peer.session.next().await;
    let Some(client_frame::Body::Schedule(request)) = frame.body else { panic!("{frame:?}") };
    (frame.request_id, request)
}

#[tokio::test]
async fn a_message_is_scheduled_with_one_id_across_refusals_and_connections() {
    let server = Server::start();
    let (client, _events, mut peer) = server.connect(server.config()).await;
    let scheduling = tokio::spawn(async move { client.schedule(conversation(), "later", DUE_MS).await });
    let (request_id, first) = next_schedule(&mut peer).await;
    assert_eq!((first.conversation_id.clone(), first.due_ms), (conversation().to_bytes(), DUE_MS));
    assert_eq!((first.schedule_id.len(), &first.body[..]), (16, &b"later"[..]));
    peer.refuse(request_id, ErrorCode::Overloaded, 10).await;
    let (_, again) = next_schedule(&mut peer).await;
    assert_eq!(again, first, "refused for now");
    peer.close(ErrorCode::ShuttingDown);
    let mut peer = server.accept_logged_in().await;
    let (request_id, again) = next_schedule(&mut peer).await;
    assert_eq!(again, first, "the answer was lost");
    let answer = ScheduledMessage { schedule_id: first.schedule_id, ..scheduled(0) };
    let reply = v1::ScheduleResponse { scheduled: Some(answer.clone()) };
    peer.session.reply(request_id, Body::Schedule(reply)).await;
    assert_eq!(soon(scheduling).await.unwrap(), Ok(answer));
}

#[tokio::test]
async fn two_messages_get_two_ids() {
    let server = Server::start();
    let (client, _events, mut peer) = server.connect(server.config()).await;
    tokio::spawn(async move {
        tokio::join!(client.schedule(conversation(), "x", DUE_MS), client.schedule(conversation(), "x", DUE_MS))
    });
    let (_, one) = next_schedule(&mut peer).await;
    let (_, other) = next_schedule(&mut peer).await;
    assert_ne!(one.schedule_id, other.schedule_id);
}

#[tokio::test]
async fn what_the_server_would_not_take_is_refused_before_it_is_sent() {
    let server = Server::start();
    let (client, _events, _peer) = server.connect(server.config()).await;
    let body = vec![b'x'; 32_769];
    let refused = soon(client.schedule(conversation(), body.clone(), DUE_MS)).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::MessageTooLarge));
    let change = ScheduleChange { body: Some(body.into()), ..ScheduleChange::default() };
    let refused = soon(client.change_scheduled(ClientMsgId([1; 16]), change)).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::MessageTooLarge));
}

#[tokio::test]
async fn a_change_names_only_what_changes() {
    let server = Server::start();
    let (client, _events, mut peer) = server.connect(server.config()).await;
    let change = ScheduleChange { due_ms: Some(DUE_MS + 1), ..ScheduleChange::default() };
    let changing = tokio::spawn(async move { client.change_scheduled(ClientMsgId([3; 16]), change).await });
    let frame = peer.session.next().await;
    let Some(client_frame::Body::ChangeScheduled(request)) = frame.body else { panic!("{frame:?}") };
    assert_eq!((request.schedule_id, request.due_ms), (ClientMsgId([3; 16]).to_bytes(), Some(DUE_MS + 1)));
    assert_eq!((request.body, request.content_type), (None, None));
    let reply = v1::ScheduleResponse { scheduled: Some(ScheduledMessage { revision: 2, ..scheduled(3) }) };
    peer.session.reply(frame.request_id, Body::Schedule(reply)).await;
    assert_eq!(soon(changing).await.unwrap().unwrap().revision, 2);
}

#[tokio::test]
async fn one_that_is_sent_now_answers_as_a_send_and_one_that_is_gone_says_so() {
    let server = Server::start();
    let (client, _events, mut peer) = server.connect(server.config()).await;
    let sending = tokio::spawn(async move {
        let sent = client.send_scheduled(ClientMsgId([3; 16])).await;
        (sent, client.send_scheduled(ClientMsgId([4; 16])).await, client.cancel_scheduled(ClientMsgId([4; 16])).await)
    });
    let frame = peer.session.next().await;
    assert!(matches!(frame.body, Some(client_frame::Body::SendScheduled(_))), "{frame:?}");
    peer.accept_send(frame.request_id, 8).await;
    let frame = peer.session.next().await;
    peer.refuse(frame.request_id, ErrorCode::ScheduleNotFound, 0).await;
    let frame = peer.session.next().await;
    let Some(client_frame::Body::CancelScheduled(cancel)) = frame.body else { panic!("{frame:?}") };
    assert_eq!(cancel.schedule_id, ClientMsgId([4; 16]).to_bytes());
    peer.session.reply(frame.request_id, Body::CancelScheduled(v1::CancelScheduledResponse {})).await;
    let (sent, gone, cancelled) = soon(sending).await.unwrap();
    assert_eq!((sent.unwrap().seq, cancelled), (Seq(8), Ok(())));
    let code = |error: RequestError| error.code();
    assert_eq!(gone.map_err(code), Err(Some(ErrorCode::ScheduleNotFound)));
}

#[tokio::test]
async fn a_series_is_asked_for_and_dropped_and_one_of_it_sent_under_an_id_of_its_own() {
    let server = Server::start();
    let (client, _events, mut peer) = server.connect(server.config()).await;
    let repeat = Repeat { rrule: "FREQ=DAILY".into(), time_zone: "Europe/Berlin".into() };
    let asking = tokio::spawn(async move {
        let options = ScheduleOptions { repeat: Some(repeat), ..ScheduleOptions::default() };
        drop(client.schedule_with(conversation(), "later", DUE_MS, options).await);
        let once = ScheduleChange { repeat: Some(None), ..ScheduleChange::default() };
        drop(client.change_scheduled(ClientMsgId([3; 16]), once).await);
        drop(client.send_scheduled(ClientMsgId([3; 16])).await);
    });
    let (request_id, asked) = next_schedule(&mut peer).await;
    assert_eq!(asked.recurrence.unwrap().rrule, "FREQ=DAILY");
    peer.refuse(request_id, ErrorCode::InvalidRecurrence, 0).await;
    let frame = peer.session.next().await;
    let Some(client_frame::Body::ChangeScheduled(change)) = frame.body else { panic!("{frame:?}") };
    assert_eq!(change.recurrence, Some(v1::Recurrence::default()));
    peer.refuse(frame.request_id, ErrorCode::Overloaded, 10).await;
    let frame = peer.session.next().await;
    assert!(matches!(frame.body, Some(client_frame::Body::ChangeScheduled(_))), "{frame:?}");
    peer.refuse(frame.request_id, ErrorCode::ScheduleNotFound, 0).await;
    let frame = peer.session.next().await;
    let Some(client_frame::Body::SendScheduled(first)) = frame.body else { panic!("{frame:?}") };
    peer.refuse(frame.request_id, ErrorCode::Overloaded, 10).await;
    let frame = peer.session.next().await;
    let Some(client_frame::Body::SendScheduled(again)) = frame.body else { panic!("{frame:?}") };
    assert_eq!((again.client_msg_id.len(), &again), (16, &first));
    peer.accept_send(frame.request_id, 8).await;
    soon(asking).await.unwrap();
}

#[tokio::test]
async fn a_list_goes_on_after_its_last_one() {
    let server = Server::start();
    let (client, _events, peer) = server.connect(server.config()).await;
    let listing = tokio::spawn(async move {
        let filter = ScheduledFilter { conversation: Some(conversation()), failed: true };
        client.list_scheduled(filter, 20, Some(&scheduled(5))).await
    });
    let (mut stream, request) = peer.bulk().await;
    let Some(client_frame::Body::ListScheduled(list)) = request.body else { panic!("{request:?}") };
    let expected = v1::ListScheduledRequest {
        conversation_id: conversation().to_bytes(),
        failed: true,
        after_due_ms: DUE_MS,
        after_schedule_id: ClientMsgId([5; 16]).to_bytes(),
        limit: 20,
    };
    assert_eq!(list, expected);
    let page = v1::ListScheduledResponse { scheduled: vec![scheduled(6)], more: true };
    stream.reply(request.request_id, Body::ListScheduled(page.clone())).await;
    assert_eq!(soon(listing).await.unwrap(), Ok(page));
}

#[tokio::test]
async fn what_other_devices_and_the_server_do_to_scheduled_messages_is_told() {
    let server = Server::start();
    let (_client, mut events, peer) = server.connect(server.config()).await;
    let mut lane = peer.lane().await;
    let failure = v1::Error { code: ErrorCode::NotAMember.into(), ..v1::Error::default() };
    let failed = ScheduledMessage { failure: Some(failure), ..scheduled(2) };
    for change in [
        Some(Change::Saved(scheduled(1))),
        None,
        Some(Change::Cancelled(ClientMsgId([1; 16]).to_bytes())),
        Some(Change::Cancelled(vec![1].into())),
        Some(Change::Ended(ClientMsgId([4; 16]).to_bytes())),
        Some(Change::Saved(failed.clone())),
    ] {
        lane.write(Body::Scheduled(ScheduledPush { change })).await;
    }
    let mut told = Vec::new();
    while told.len() < 4 {
        let event = soon(events.next()).await.unwrap();
        if matches!(event, Event::Scheduled(_) | Event::ScheduleCancelled { .. } | Event::ScheduleEnded { .. }) {
            told.push(event);
        }
    }
    let schedule_id = ClientMsgId([1; 16]);
    let expected = [
        Event::Scheduled(Box::new(scheduled(1))),
        Event::ScheduleCancelled { schedule_id },
        Event::ScheduleEnded { schedule_id: ClientMsgId([4; 16]) },
        Event::Scheduled(Box::new(failed)),
    ];
    assert_eq!(told, expected);
}
