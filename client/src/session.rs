//! One connection, from login to loss: the turn that reads, decides and writes.

use crate::{
    ConnectError, Event, Refusal, SendError, Sent,
    close::Verdict,
    command::{Answer, Command, Link},
    connector::Established,
    driver::{Claim, Driver, Stop},
    expiry,
    fetches::{Fetched, Fetches},
    frames::{FrameFault, FrameReader, encode_request},
    lanes::Lanes,
    outbox::{Pending, Refused},
    typing,
};
use bytes::{Buf, Bytes, BytesMut};
use godwit_proto::{
    ClientMsgId, ConversationId, Seq,
    v1::{
        AckRequest, Entry, ErrorCode, HeartbeatRequest, Message, ReminderPush, ScheduledPush, SendRequest,
        SendResponse, ServerFrame, client_frame::Body, entry::Content, reminder_push, scheduled_push::Change,
        server_frame::Body as Reply,
    },
};
use quinn::{Connection, ReadError, SendStream, VarInt, WriteError};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};
use tokio::{
    sync::oneshot,
    time::{sleep_until, timeout},
};

/// A connection that is logged in.
///
/// One turn takes everything that is there (commands, frames, pages, deadlines), then writes once: frames that leave
/// together share packets.
pub(crate) struct Session {
    link: Link,
    writer: SendStream,
    reader: FrameReader,
    lanes: Lanes,
    /// Encoded and not taken by QUIC yet.
    out: BytesMut,
    requests: HashMap<u64, Request>,
    fetches: Fetches,
    heartbeat: Option<Heartbeat>,
}

/// A request without an answer.
enum Request {
    Send { conversation: ConversationId, client_msg_id: ClientMsgId },
    Ask { reply: oneshot::Sender<Answer>, effect: Effect },
}

/// What a positive answer changes besides telling the one who asked.
enum Effect {
    None,
    /// There is a group.
    Created,
    /// The conversation has a new entry.
    Changed(ConversationId),
    Left(ConversationId),
    Read(ConversationId),
}

/// Frames that keep the connection up where the server wants packets more often than QUIC was told to send them.
struct Heartbeat {
    every: Duration,
    next: Instant,
}

/// How a connection ended.
pub(crate) enum End {
    /// The application wants no more; the connection is closed.
    Stop(Stop),
    /// The connection is gone.
    Lost(Verdict),
}

/// What woke the session.
enum Step {
    Command(Command),
    Stop(Stop),
    Frame(ServerFrame),
    Push(Reply),
    Datagram(Bytes),
    Fetched(Fetched),
    /// A deadline passed or the application made room: the turn looks for itself.
    Look,
}

/// With this much encoded, nothing is added but acknowledgements.
const OUT_BYTES_MAX: usize = 64 * 1024;

/// Requests without an answer, sends included. Beyond them, commands wait.
const REQUESTS_MAX: usize = 1024;

/// The id of a frame that wants no answer.
const NO_REPLY: u64 = 0;

/// How long the close of a connection may come after the end of its session stream.
const CLOSE_WAIT: Duration = Duration::from_secs(3);

/// How long the last bytes of a connection may take.
const FLUSH_WAIT: Duration = Duration::from_millis(500);

impl Session {
    pub(crate) fn new(established: Established) -> Self {
        let Established { link, writer, reader, identity, heartbeat, .. } = established;
        Self {
            fetches: Fetches::new(link.clone(), &identity.limits),
            link,
            writer,
            reader,
            lanes: Lanes::default(),
            out: BytesMut::new(),
            requests: HashMap::new(),
            heartbeat: heartbeat.map(|every| Heartbeat { every, next: now() + every }),
        }
    }

    /// Whether the connection came as far as a sync: one that did not is no reason to start the backoff anew.
    pub(crate) fn was_synced(&self) -> bool {
        self.fetches.was_synced()
    }

    /// Runs until the connection is lost or the application stops.
    pub(crate) async fn run(&mut self, driver: &mut Driver) -> End {
        loop {
            self.prepare(driver);
            // A busy connection must not keep the other tasks of its thread waiting.
            tokio::task::consume_budget().await;
            let taken = match self.wait(driver).await {
                Ok(Step::Stop(stop)) => {
                    self.flush(driver).await;
                    self.link.connection.close(VarInt::from_u32(0), b"");
                    return End::Stop(stop);
                }
                Ok(step) => self.take(step, driver),
                Err(FrameFault::Ended) => Err(why_closed(&self.link.connection).await),
                Err(fault) => Err(Verdict::from(&fault)),
            };
            if let Err(verdict) = taken {
                let fault = matches!(verdict, Verdict::Fatal(ConnectError::Protocol(_)));
                let code = if fault { ErrorCode::InvalidFrame as u32 } else { 0 };
                self.link.connection.close(VarInt::from_u32(code), b"");
                return End::Lost(verdict);
            }
        }
    }

    /// Hands over, starts and encodes whatever can be.
    fn prepare(&mut self, driver: &mut Driver) {
        let now = now();
        typing::end_overdue(driver, Some(now));
        driver.hand_over_events();
        if driver.conversations.backlog.is_empty() {
            self.fetches.start(&mut driver.conversations, now);
            driver.hand_over_events();
        }
        while self.has_room_to_write()
            && let Some(request) = driver.outbox.next_send(now)
        {
            self.encode_send(request);
        }
        self.encode_heartbeat(now);
        if !self.out.is_empty() || driver.conversations.acks_due().is_some_and(|due| due <= now) {
            self.encode_acks(driver, now);
        }
    }

    async fn wait(&mut self, driver: &mut Driver) -> Result<Step, FrameFault> {
        let deadline = self.deadline(driver).map(Into::into);
        let takes_commands = self.has_room_to_write() && self.requests.len() < REQUESTS_MAX;
        // Room in the application's queue comes first: until then nothing is added to what waits for it.
        let is_behind = !driver.conversations.backlog.is_empty();
        tokio::select! {
            frame = self.reader.next() => frame.map(Step::Frame),
            push = self.lanes.next(&self.link.connection), if !is_behind => push.map(Step::Push),
            datagram = self.link.connection.read_datagram(), if !is_behind => {
                datagram.map(Step::Datagram).map_err(|error| ReadError::from(error).into())
            }
            fetched = self.fetches.next(), if !self.fetches.is_empty() => Ok(Step::Fetched(fetched)),
            written = self.writer.write(&self.out), if !self.out.is_empty() => match written {
                Ok(bytes) => {
                    self.out.advance(bytes);
                    Ok(Step::Look)
                }
                Err(WriteError::ConnectionLost(error)) => Err(ReadError::from(error).into()),
                // The server wants no more frames, and says why on the way back.
                Err(_) => self.reader.next().await.map(Step::Frame),
            },
            Some(done) = driver.shutdown.recv() => Ok(Step::Stop(Stop { done: Some(done) })),
            command = driver.commands.recv(), if takes_commands => Ok(match command {
                Some(command) => Step::Command(command),
                None => Step::Stop(Stop { done: None }),
            }),
            _ = driver.events.reserve(), if is_behind => Ok(Step::Look),
            () = async { sleep_until(deadline.unwrap_or_else(far_away)).await }, if deadline.is_some() => Ok(Step::Look),
        }
    }

    /// Takes one thing, and everything of its kind that is there already.
    fn take(&mut self, step: Step, driver: &mut Driver) -> Result<(), Verdict> {
        let now = now();
        match step {
            Step::Command(command) => {
                self.on_command(command, driver);
                while self.has_room_to_write()
                    && self.requests.len() < REQUESTS_MAX
                    && let Ok(command) = driver.commands.try_recv()
                {
                    self.on_command(command, driver);
                }
            }
            Step::Frame(frame) => {
                self.on_frame(frame, driver, now);
                while let Some(frame) = self.reader.next_buffered().map_err(|fault| Verdict::from(&fault))? {
                    self.on_frame(frame, driver, now);
                }
            }
            Step::Push(push) => {
                on_push(push, driver, now);
                while let Some(push) = self.lanes.next_buffered().map_err(|fault| Verdict::from(&fault))? {
                    on_push(push, driver, now);
                }
            }
            Step::Datagram(bytes) => typing::on_datagram(&bytes, driver, now),
            Step::Fetched(fetched) => self.fetches.on_fetched(fetched, &mut driver.conversations, now)?,
            Step::Stop(_) | Step::Look => {}
        }
        Ok(())
    }

    /// When to look again although nothing happened. Deadlines whose work cannot be done now are left out: what makes
    /// room for it wakes the session.
    fn deadline(&self, driver: &Driver) -> Option<Instant> {
        let fetches = driver.conversations.backlog.is_empty() && self.fetches.has_room();
        let writes = self.has_room_to_write();
        [
            driver.conversations.acks_due(),
            driver.conversations.fetch_due().filter(|_| fetches),
            driver.typists.due(),
            self.fetches.due().filter(|_| driver.conversations.backlog.is_empty()),
            driver.outbox.next_deadline().filter(|_| writes),
            self.heartbeat.as_ref().map(|heartbeat| heartbeat.next).filter(|_| writes),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn has_room_to_write(&self) -> bool {
        self.out.len() < OUT_BYTES_MAX
    }

    fn on_command(&mut self, command: Command, driver: &mut Driver) {
        match command {
            Command::Send(message) => driver.add(*message),
            // Its sender gave up waiting.
            Command::Request { reply, .. } if reply.is_closed() => {}
            Command::Request { body, reply } => {
                let request_id = self.link.next_request_id();
                let effect = Effect::of(&body);
                encode_request(request_id, *body, &mut self.out);
                self.requests.insert(request_id, Request::Ask { reply, effect });
            }
        }
    }

    fn encode_send(&mut self, request: SendRequest) {
        // Both were ids when the message was queued.
        let (Ok(conversation), Ok(client_msg_id)) =
            (ConversationId::from_slice(&request.conversation_id), ClientMsgId::from_slice(&request.client_msg_id))
        else {
            unreachable!("the outbox made a request without ids")
        };
        let request_id = self.link.next_request_id();
        encode_request(request_id, Body::Send(request), &mut self.out);
        self.requests.insert(request_id, Request::Send { conversation, client_msg_id });
    }

    fn encode_heartbeat(&mut self, now: Instant) {
        let writes = self.has_room_to_write();
        if let Some(heartbeat) = self.heartbeat.as_mut().filter(|heartbeat| writes && heartbeat.next <= now) {
            heartbeat.next = now + heartbeat.every;
            // Nobody waits for the answer: it is skipped as one to an unknown request.
            let request_id = self.link.next_request_id();
            encode_request(request_id, Body::Heartbeat(HeartbeatRequest::default()), &mut self.out);
        }
    }

    fn encode_acks(&mut self, driver: &mut Driver, now: Instant) {
        while driver.conversations.acks_due().is_some() {
            let positions = driver.conversations.take_acks(now);
            if !positions.is_empty() {
                encode_request(NO_REPLY, Body::Ack(AckRequest { positions }), &mut self.out);
            }
        }
    }

    fn on_frame(&mut self, frame: ServerFrame, driver: &mut Driver, now: Instant) {
        if let Some(Reply::Heartbeat(heartbeat)) = &frame.body {
            driver.clock.on_reading(heartbeat.server_time_ms);
        }
        match (frame.body, self.requests.remove(&frame.request_id)) {
            (Some(Reply::ResyncRequired(_)), _) => self.fetches.resync(),
            (body, Some(Request::Send { conversation, client_msg_id })) => {
                on_send_answered(conversation, client_msg_id, body, driver, now);
            }
            (Some(Reply::Error(error)), Some(Request::Ask { reply, .. })) => {
                let _ = reply.send(Answer::Refused(error.into()));
            }
            (Some(body), Some(Request::Ask { reply, effect })) => {
                effect.apply(&body, driver, now);
                // An error says that the asker gave up waiting.
                let _ = reply.send(Answer::Reply(Box::new(body)));
            }
            (None, Some(Request::Ask { reply, .. })) => {
                let refusal = Refusal::local(ErrorCode::Internal, "the answer is none that this client knows");
                let _ = reply.send(Answer::Refused(refusal));
            }
            (Some(Reply::Error(error)), None) => {
                tracing::warn!(error = %Refusal::from(error), "the server reports an error that answers no request");
            }
            // From a newer server.
            (_, None) => {}
        }
    }

    /// Writes what there is and waits until it arrived, for a moment.
    async fn flush(&mut self, driver: &mut Driver) {
        self.encode_acks(driver, now());
        let written = async {
            self.writer.write_all(&self.out).await.ok()?;
            self.writer.finish().ok()?;
            self.writer.stopped().await.ok()
        };
        // Whatever goes wrong here, the connection is over.
        let _ = timeout(FLUSH_WAIT, written).await;
    }
}

impl Effect {
    fn of(body: &Body) -> Self {
        let (id, effect): (_, fn(ConversationId) -> Self) = match body {
            Body::CreateGroup(_) => return Self::Created,
            Body::AddMembers(request) => (&request.conversation_id, Self::Changed),
            Body::RemoveMember(request) => (&request.conversation_id, Self::Changed),
            Body::MuteMember(request) => (&request.conversation_id, Self::Changed),
            Body::BanMember(request) => (&request.conversation_id, Self::Changed),
            Body::Leave(request) => (&request.conversation_id, Self::Left),
            Body::SetExpiry(request) => (&request.conversation_id, Self::Changed),
            Body::MarkRead(request) => (&request.conversation_id, Self::Read),
            _ => return Self::None,
        };
        ConversationId::from_slice(id).map_or(Self::None, effect)
    }

    fn apply(self, body: &Reply, driver: &mut Driver, now: Instant) {
        let conversations = &mut driver.conversations;
        match (self, body) {
            (Self::Created, Reply::CreateGroup(created)) => {
                if let Ok(id) = ConversationId::from_slice(&created.conversation_id) {
                    conversations.on_exists(id, Seq(created.seq), now);
                }
            }
            (Self::Changed(id), Reply::ChangeMembers(changed)) if changed.seq > 0 => {
                conversations.on_exists(id, Seq(changed.seq), now);
            }
            (Self::Changed(id), Reply::SetExpiry(set)) if set.seq > 0 => conversations.on_exists(id, Seq(set.seq), now),
            (Self::Left(id), Reply::ChangeMembers(_)) => conversations.on_removed(id),
            (Self::Read(id), Reply::MarkRead(read)) => {
                conversations.on_read(id, Seq(read.read_seq), read.read_ordinal, false);
            }
            _ => {}
        }
    }
}

/// The server ends the session stream before it closes the connection, and only the close says why.
async fn why_closed(connection: &Connection) -> Verdict {
    match timeout(CLOSE_WAIT, connection.closed()).await {
        Ok(error) => Verdict::from(&error),
        Err(_) => Verdict::from(&FrameFault::Ended),
    }
}

fn on_push(push: Reply, driver: &mut Driver, now: Instant) {
    let conversations = &mut driver.conversations;
    match push {
        Reply::Entries(push) => {
            // Otherwise from a newer server, of a kind that this client does not know.
            if let Ok(id) = ConversationId::from_slice(&push.conversation_id) {
                typing::on_entries(id, &push.entries, driver);
                driver.conversations.on_push(id, push.entries, now);
            }
        }
        Reply::Read(push) => {
            if let Ok(id) = ConversationId::from_slice(&push.conversation_id) {
                conversations.on_read(id, Seq(push.read_seq), push.read_ordinal, true);
            }
        }
        Reply::Scheduled(ScheduledPush { change: Some(Change::Saved(scheduled)) }) => {
            conversations.backlog.push(Event::Scheduled(Box::new(scheduled)));
        }
        Reply::Scheduled(ScheduledPush { change: Some(Change::Cancelled(id)) }) => {
            if let Ok(schedule_id) = ClientMsgId::from_slice(&id) {
                conversations.backlog.push(Event::ScheduleCancelled { schedule_id });
            }
        }
        Reply::Reminder(ReminderPush { change: Some(reminder_push::Change::Saved(reminder)) }) => {
            conversations.backlog.push(Event::Reminder(Box::new(reminder)));
        }
        Reply::Reminder(ReminderPush { change: Some(reminder_push::Change::Dismissed(place)) }) => {
            if let Ok(conversation) = ConversationId::from_slice(&place.conversation_id) {
                conversations.backlog.push(Event::ReminderDismissed { conversation, seq: Seq(place.seq) });
            }
        }
        Reply::Scheduled(ScheduledPush { change: Some(Change::Ended(id)) }) => {
            if let Ok(schedule_id) = ClientMsgId::from_slice(&id) {
                conversations.backlog.push(Event::ScheduleEnded { schedule_id });
            }
        }
        _ => {}
    }
}

fn on_send_answered(
    conversation: ConversationId,
    client_msg_id: ClientMsgId,
    body: Option<Reply>,
    driver: &mut Driver,
    now: Instant,
) {
    let refusal = match body {
        Some(Reply::Send(accepted)) => {
            if let Some(message) = driver.outbox.accepted(conversation, client_msg_id) {
                on_accepted(message, accepted, driver, now);
            }
            return;
        }
        Some(Reply::Error(error)) => Refusal::from(error),
        _ => Refusal::local(ErrorCode::Internal, "the answer is none that this client knows"),
    };
    if let Refused::ForGood(message) = driver.outbox.refused(conversation, client_msg_id, &refusal, now) {
        let _ = message.reply.reply.send(Err(SendError::Refused(refusal)));
    }
}

/// The sender's own device gets no push: the acknowledgement is how the entry comes to be here.
fn on_accepted(message: Pending<Claim>, accepted: SendResponse, driver: &mut Driver, now: Instant) {
    let SendResponse { seq, ordinal, sent_ms } = accepted;
    let mut content = Message {
        body: message.body,
        content_type: message.content_type,
        deliver_by_ms: message.deliver_by_ms,
        ..Message::default()
    };
    if let Some(expiry) = message.expiry {
        expiry::stamp(&mut content, expiry, message.conversation, sent_ms);
    }
    let entry = Entry {
        seq,
        ordinal,
        sent_ms,
        sender_id: driver.user_id().as_u64(),
        client_msg_id: message.client_msg_id.to_bytes(),
        content: Some(Content::Message(content)),
    };
    driver.conversations.on_own_entry(message.conversation, entry, message.expiry.is_none(), now);
    // An error says that the application dropped the handle.
    let _ = message.reply.reply.send(Ok(Sent { seq: Seq(seq), ordinal, sent_ms }));
}

/// Tokio's clock, which tests can stop.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Stands in for a deadline in a branch that is off.
fn far_away() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(3600)
}
