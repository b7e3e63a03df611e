//! Reminders are set, listed and dismissed, and what is due is told.

use crate::server::{Server, conversation, soon};
use godwit_client::{
    Event, Seq,
    v1::{
        self, ErrorCode, Reminder, ReminderPlace, ReminderPush, client_frame, reminder_push::Change, server_frame::Body,
    },
};

const DUE_MS: u64 = 1_795_269_600_000;

fn reminder(is_due: bool) -> Reminder {
    let conversation_id = conversation().to_bytes();
    Reminder { conversation_id, seq: 7, due_ms: DUE_MS, note: "call".into(), is_due, ..Reminder::default() }
}

#[tokio::test]
async fn a_reminder_is_set_listed_and_dismissed() {
    let server = Server::start();
    let (client, _events, mut peer) = server.connect(server.config()).await;
    let asking = client.clone();
    let asked = tokio::spawn(async move {
        let set = asking.set_reminder(conversation(), Seq(7), DUE_MS, "call").await;
        (set, asking.dismiss_reminder(conversation(), Seq(7)).await)
    });
    let frame = peer.session.next().await;
    let Some(client_frame::Body::SetReminder(set)) = frame.body else { panic!("{frame:?}") };
    assert_eq!((set.conversation_id, set.seq, set.due_ms), (conversation().to_bytes(), 7, DUE_MS));
    assert_eq!(set.note, "call");
    let reply = v1::SetReminderResponse { reminder: Some(reminder(false)) };
    peer.session.reply(frame.request_id, Body::SetReminder(reply)).await;
    let frame = peer.session.next().await;
    peer.refuse(frame.request_id, ErrorCode::Overloaded, 10).await;
    let frame = peer.session.next().await;
    let Some(client_frame::Body::DismissReminder(dismiss)) = frame.body else { panic!("{frame:?}") };
    assert_eq!((dismiss.conversation_id, dismiss.seq), (conversation().to_bytes(), 7));
    peer.session.reply(frame.request_id, Body::DismissReminder(v1::DismissReminderResponse {})).await;
    assert_eq!(soon(asked).await.unwrap(), (Ok(reminder(false)), Ok(())));

    let listing = tokio::spawn(async move { client.reminders().await });
    let (mut stream, request) = peer.bulk().await;
    assert!(matches!(request.body, Some(client_frame::Body::ListReminders(_))), "{request:?}");
    let reply = v1::ListRemindersResponse { reminders: vec![reminder(true)] };
    stream.reply(request.request_id, Body::ListReminders(reply)).await;
    assert_eq!(soon(listing).await.unwrap(), Ok(vec![reminder(true)]));
}

#[tokio::test]
async fn what_is_due_or_dismissed_elsewhere_is_told() {
    let server = Server::start();
    let (_client, mut events, peer) = server.connect(server.config()).await;
    let mut lane = peer.lane().await;
    let place = ReminderPlace { conversation_id: conversation().to_bytes(), seq: 7 };
    for change in [Some(Change::Saved(reminder(true))), None, Some(Change::Dismissed(place))] {
        lane.write(Body::Reminder(ReminderPush { change })).await;
    }
    let mut told = Vec::new();
    while told.len() < 2 {
        let event = soon(events.next()).await.unwrap();
        if matches!(event, Event::Reminder(_) | Event::ReminderDismissed { .. }) {
            told.push(event);
        }
    }
    let dismissed = Event::ReminderDismissed { conversation: conversation(), seq: Seq(7) };
    assert_eq!(told, [Event::Reminder(Box::new(reminder(true))), dismissed]);
}
