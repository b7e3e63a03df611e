//! The one task of a client: from connection to connection, until told to stop.

use crate::{
    ClientConfig, ConnectError, ConnectionState, Event, Events, SendError, Sent,
    backoff::{self, Backoff},
    clock::ServerClock,
    close::Verdict,
    command::{Command, LinkState, NewMessage},
    connector::{Connector, Established, Identity},
    conversations::Conversations,
    outbox::{Outbox, Pending},
    session::{End, Session},
    typing::{self, Typists},
};
use godwit_proto::{UserId, v1::ErrorCode};
use quinn::Endpoint;
use std::{
    pin::pin,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot, watch},
    time::{sleep, timeout},
};

/// What a handle needs of a driver that runs.
pub(crate) struct Parts {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) shutdown: mpsc::Sender<oneshot::Sender<()>>,
    pub(crate) link: watch::Receiver<LinkState>,
    pub(crate) identity: Arc<RwLock<Identity>>,
    pub(crate) events: Events,
    pub(crate) endpoint: Endpoint,
    pub(crate) outbox_messages_max: usize,
    pub(crate) clock: ServerClock,
}

/// Connects, logs in and starts the task.
pub(crate) async fn start(config: ClientConfig) -> Result<Parts, ConnectError> {
    let (limits, backoff, wait_for_server) = (config.limits, config.backoff, config.wait_for_server);
    let (catch_up, known) = (config.catch_up, config.known.clone());
    let mut connector = Connector::new(config)?;
    let first = connect_first(&mut connector, backoff, wait_for_server).await?;
    let endpoint = connector.endpoint().ok_or_else(|| ConnectError::Unreachable("no socket".into()))?.clone();

    let clock = connector.clock();
    let (commands, command_receiver) = mpsc::channel(COMMANDS_MAX);
    let (shutdown, shutdown_receiver) = mpsc::channel(1);
    let (event_sender, events) = mpsc::channel(limits.events_max.max(1));
    let (link_sender, link) = watch::channel(LinkState::Up(first.link.clone()));
    let identity = Arc::new(RwLock::new(first.identity.clone()));
    let driver = Driver {
        commands: command_receiver,
        shutdown: shutdown_receiver,
        events: event_sender,
        link: link_sender,
        identity: identity.clone(),
        clock: clock.clone(),
        conversations: Conversations::new(first.identity.user_id, catch_up, limits, &known),
        typists: Typists::default(),
        outbox: Outbox::new(limits.sends_in_flight_max, limits.sends_in_flight_per_conversation_max, backoff::REFUSED),
    };
    tokio::spawn(driver.run(connector, backoff, first));
    let outbox_messages_max = limits.outbox_messages_max.max(1);
    let events = Events::new(events, clock.clone());
    Ok(Parts { commands, shutdown, link, identity, events, endpoint, outbox_messages_max, clock })
}

/// The state of one client that outlives its connections.
pub(crate) struct Driver {
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) shutdown: mpsc::Receiver<oneshot::Sender<()>>,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) link: watch::Sender<LinkState>,
    pub(crate) identity: Arc<RwLock<Identity>>,
    pub(crate) clock: ServerClock,
    pub(crate) conversations: Conversations,
    pub(crate) typists: Typists,
    pub(crate) outbox: Outbox<Claim>,
}

/// What a message in the outbox holds for its sender.
pub(crate) struct Claim {
    pub(crate) reply: oneshot::Sender<Result<Sent, SendError>>,
    /// Its place in the outbox, free again when this is dropped.
    pub(crate) _room: OwnedSemaphorePermit,
}

/// The application wants no more.
pub(crate) struct Stop {
    /// Told when the connection is closed; `None` when all handles are gone.
    pub(crate) done: Option<oneshot::Sender<()>>,
}

/// Commands that wait for the driver: few, because the driver takes all there are in every turn.
const COMMANDS_MAX: usize = 32;

/// How long a shutdown waits for its last bytes to arrive.
const SHUTDOWN_WAIT: Duration = Duration::from_millis(500);

impl Driver {
    async fn run(mut self, mut connector: Connector, backoff: Backoff, first: Established) {
        let mut established = first;
        // Attempts since a connection last proved to be of use.
        let mut failures = 0;
        let stop = 'connected: loop {
            let (end, was_synced) = self.serve(established).await;
            let mut verdict = match end {
                End::Stop(stop) => break 'connected Ok(stop),
                // The same bytes may come again: as any other loss, but without starting the backoff anew.
                End::Lost(Verdict::Fatal(error)) if is_fault_of_frames(&error) => Verdict::unreachable(error),
                End::Lost(verdict) => {
                    failures = if was_synced { 0 } else { failures };
                    verdict
                }
            };
            established = loop {
                let (reason, after) = match verdict {
                    Verdict::Fatal(error) => break 'connected Err(error),
                    Verdict::Retry { reason, after, .. } => (reason, after),
                };
                let retry_in = backoff.wait(failures, after);
                failures = failures.saturating_add(1);
                tracing::debug!(attempt = failures, ?retry_in, %reason, "reconnecting");
                let state = ConnectionState::Reconnecting { attempt: failures, retry_in, reason };
                self.conversations.backlog.push(Event::State(state));
                let attempt = async {
                    sleep(retry_in).await;
                    connector.attempt().await
                };
                match self.meanwhile(Box::pin(attempt)).await {
                    Ok(Ok(established)) => break established,
                    Ok(Err(next)) => verdict = next,
                    Err(stop) => break 'connected Ok(stop),
                }
            };
        };
        let own_endpoint = connector.endpoint().filter(|_| connector.owns_endpoint());
        self.close(stop, own_endpoint).await;
    }

    /// Runs one connection to its end.
    async fn serve(&mut self, established: Established) -> (End, bool) {
        *self.identity.write().unwrap_or_else(PoisonError::into_inner) = established.identity.clone();
        self.conversations.backlog.push(Event::State(ConnectionState::Connected));
        self.link.send_replace(LinkState::Up(established.link.clone()));
        let mut session = Session::new(established);
        let end = session.run(self).await;
        // Before the session is dropped with the requests that it did not answer: whoever asks again must wait.
        self.link.send_replace(LinkState::Down);
        self.outbox.on_connection_lost();
        self.conversations.on_connection_lost();
        typing::end_overdue(self, None);
        (end, session.was_synced())
    }

    /// Takes commands and hands over events while there is no connection, until `future` is done.
    async fn meanwhile<T>(&mut self, future: impl Future<Output = T>) -> Result<T, Stop> {
        let mut future = pin!(future);
        loop {
            self.hand_over_events();
            let command = tokio::select! {
                output = &mut future => return Ok(output),
                Some(done) = self.shutdown.recv() => return Err(Stop { done: Some(done) }),
                command = self.commands.recv() => command,
                // Room in the queue, or nobody there to take events: the next turn finds out.
                _ = self.events.reserve(), if !self.conversations.backlog.is_empty() => continue,
            };
            match command {
                Some(Command::Send(message)) => self.add(*message),
                // Dropping it tells the handle to ask again on the next connection.
                Some(Command::Request { .. }) => {}
                None => return Err(Stop { done: None }),
            }
        }
    }

    /// Who is logged in.
    pub(crate) fn user_id(&self) -> UserId {
        self.conversations.me()
    }

    /// Queues a message.
    pub(crate) fn add(&mut self, message: NewMessage) {
        self.outbox.push(Pending {
            conversation: message.conversation,
            client_msg_id: message.client_msg_id,
            body: message.body,
            content_type: message.content_type,
            repeated: message.repeated,
            expiry: message.expiry,
            deliver_by_ms: message.deliver_by_ms,
            reply: Claim { reply: message.reply, _room: message.room },
        });
    }

    /// Moves events to the application for as long as it has room.
    pub(crate) fn hand_over_events(&mut self) {
        let backlog = &mut self.conversations.backlog;
        while !backlog.is_empty() {
            match self.events.try_reserve() {
                Ok(room) => {
                    if let Some(event) = backlog.pop() {
                        room.send(event);
                    }
                }
                Err(mpsc::error::TrySendError::Full(())) => return,
                // The application dropped its `Events`: it wants none.
                Err(mpsc::error::TrySendError::Closed(())) => while backlog.pop().is_some() {},
            }
        }
    }

    /// Ends the client: nobody waits for anything afterwards.
    async fn close(mut self, stop: Result<Stop, ConnectError>, own_endpoint: Option<&Endpoint>) {
        self.link.send_replace(LinkState::Closed);
        self.commands.close();
        self.shutdown.close();
        while let Some(command) = self.commands.recv().await {
            if let Command::Send(message) = command {
                self.add(*message);
            }
        }
        for message in self.outbox.drain() {
            // An error says that nobody waits for it.
            let _ = message.reply.reply.send(Err(SendError::Closed));
        }
        let (code, reason, done) = match stop {
            Ok(stop) => (None, "closed by the application".to_owned(), stop.done),
            Err(error) => (error.code(), error.to_string(), None),
        };
        if let Some(endpoint) = own_endpoint {
            // The socket goes with the client; the server should hear of the close first.
            let _ = timeout(SHUTDOWN_WAIT, endpoint.wait_idle()).await;
        }
        let waiting: Vec<_> = done.into_iter().chain(std::iter::from_fn(|| self.shutdown.try_recv().ok())).collect();
        for done in waiting {
            let _ = done.send(());
        }
        self.conversations.backlog.push(Event::State(ConnectionState::Closed { code, reason }));
        while let Some(event) = self.conversations.backlog.pop() {
            if self.events.send(event).await.is_err() {
                return;
            }
        }
    }
}

/// One side found that the other does not keep the protocol.
fn is_fault_of_frames(error: &ConnectError) -> bool {
    matches!(error, ConnectError::Protocol(_))
        || matches!(error.code(), Some(ErrorCode::InvalidFrame | ErrorCode::FrameTooLarge))
}

/// Connects for the first time.
async fn connect_first(
    connector: &mut Connector,
    backoff: Backoff,
    wait_for_server: bool,
) -> Result<Established, ConnectError> {
    for failures in 0.. {
        match Box::pin(connector.attempt()).await {
            Ok(established) => return Ok(established),
            Err(Verdict::Fatal(error)) => return Err(error),
            Err(Verdict::Retry { reason, asked: false, .. }) if !wait_for_server => {
                return Err(ConnectError::Unreachable(reason));
            }
            Err(Verdict::Retry { reason, after, .. }) => {
                let retry_in = backoff.wait(failures, after);
                tracing::debug!(attempt = failures + 1, ?retry_in, %reason, "connecting");
                sleep(retry_in).await;
            }
        }
    }
    unreachable!("the range of attempts has no end")
}
