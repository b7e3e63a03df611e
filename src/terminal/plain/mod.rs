//! The line mode: one line in is one message or command, one line out is one event. For scripts.
//!
//! Input: `/to NAME` chooses the current conversation; any other line is a message to it. The commands of the screen work
//! too. A message that begins with `/` is written `//`.
//!
//! Output: a leading word, then fields separated by tabs; in a field `\\`, `\n`, `\t`, `\r` and `\u{hex}` stand for what
//! would break the line. A conversation is named by the peer's username, or by `#` and the group's title; its id can be
//! used everywhere as `/to id:ID`. `TIME` is as in `2026-12-24T18:30:00+01:00`. `LINE` is the number of the line of input.
//!
//! ```text
//! state         connecting | connected | reconnecting MS REASON | closed CODE REASON
//! conversation  NAME ID LAST_SEQ UNREAD        at the start, and when it is new or changed while away
//! synced                                       everything above is what was; from here on things happen
//! message       NAME SEQ SENDER TEXT           from others, and from the user's other devices; TEXT is followed by
//!                                              `scheduled` if a schedule sent it, and `expires TIME` or
//!                                              `expires-after-read MS` if it disappears
//! created       NAME SEQ SENDER MEMBERS        with commas between them
//! added         NAME SEQ SENDER MEMBERS
//! removed       NAME SEQ SENDER MEMBER         who left removed themself
//! expired       NAME SEQ SENDER SEQS           these messages have disappeared: drop them; with commas between them
//! undelivered   NAME SEQ SENDER MESSAGE_SEQ MEMBERS
//!                                              the delivery of SENDER's message ended before these had it
//! withdrawn     NAME SEQ SENDER WHY            instead of a message that is gone: expired | undelivered
//! expiry        NAME SEQ SENDER MS sent|read   how messages disappear from here on: MS after they were sent, or were read;
//!                                              0: never. The answer to /expire too, without SEQ and SENDER
//! opened        NAME ID                        the answer to /to and /group
//! sent          NAME SEQ LINE                  durable
//! failed        NAME LINE CODE TEXT            not sent
//! done          LINE                           the answer to /add, /remove, /leave, /sendnow, /expire; the end of that to /scheduled
//! member        NAME USERNAME owner|member     the answer to /members
//! unread        NAME COUNT                     the answer to /read, and when another device read
//! scheduled     NAME ID TIME LINE              the answer to /schedule and /reschedule; without LINE: changed
//!                                              on another device, or one that repeats has moved on
//! listed        NUMBER NAME ID TIME TEXT       the answer to /scheduled; CODE TEXT follow if it could not be sent
//! cancelled     ID LINE                        the answer to /cancel; on another device if there is no LINE
//! repeats       ID RULE ZONE MISSED            the scheduled one before is sent again and again; MISSED: how often it was
//!                                              not, because the server was away
//! ended         ID                             the last one of those was sent
//! reminder      NAME SEQ TIME NOTE LINE        the answer to /remind, or set on another device; for /reminders LINE counts
//! due           NAME SEQ TIME NOTE LINE        the same, of one that is due: to be dismissed
//! dismissed     NAME SEQ                       that reminder is gone: dismissed on another device, or no member any more
//! unsent        NAME ID CODE TEXT              a scheduled message that was due and could not be sent
//! left          NAME                           the user is in it no more
//! help          COMMAND MEANING
//! note          TEXT LINE                      how a line was understood
//! error         CODE TEXT LINE                 a line that could not be done
//! ```
//!
//! The input is read once `synced` is printed. At its end everything written is waited for; then the program ends, with
//! status 1 if anything was `failed` or `error`.

mod book;
mod expiry;
mod lines;
mod pipes;
mod reminder;
mod schedule;

use super::{
    ChatError, Ending,
    commands::{self, COMMANDS, Command, Line, Target},
    effects::MemberChange,
    expiry::Expire,
    requests::{self, ActionError, request_code},
    wording,
};
use book::Book;
use godwit_client::{
    Client, ClientMsgId, ConversationId, ConversationKind, Event, Events, Expiry, Logout, SendError, SendOptions,
    UserId,
    v1::{self, Role},
};
use jiff::tz::TimeZone;
use lines::field;
use pipes::{Input, Output};
use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    pin::pin,
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

/// How long an event waits for the names in it. After that it is printed with ids, so that what comes next is not held up
/// by a server that is away.
const NAMES_WAIT: Duration = Duration::from_secs(5);

/// Reads lines and prints events until the input ends, or for ever if `follow` says so.
pub async fn run(client: &Client, events: Events, follow: bool) -> Result<Ending, ChatError> {
    let input = pipes::read_stdin()?;
    let (output, written) = pipes::write_stdout()?;
    let (synced, _) = watch::channel(false);
    let plain = Plain {
        client,
        output,
        synced,
        book: RefCell::new(Book::new(client.user_id(), client.username())),
        own: RefCell::default(),
        listed: RefCell::default(),
        reminders: RefCell::default(),
        zone: TimeZone::system(),
        current: Cell::new(None),
        has_failed: Cell::new(false),
    };
    let mut ending = Ending::Left;
    {
        let mut printing = pin!(plain.print_events(events));
        let mut reading = pin!(plain.read_input(input));
        tokio::select! {
            read = &mut reading => {
                ending = read;
                if follow && ending == Ending::Left {
                    tokio::select! {
                        () = &mut printing => plain.has_failed.set(true),
                        () = plain.output.closed() => {}
                    }
                }
            }
            () = &mut printing => {
                // The client is closed for good: what is under way fails at once, and the rest of the input is not read.
                plain.has_failed.set(true);
            }
        }
    }
    let has_failed = plain.has_failed.get();
    drop(plain);
    // The writer ends when it has written everything, or when nobody reads it.
    let _ = written.await;
    if has_failed { Err(ChatError::Incomplete) } else { Ok(ending) }
}

struct Plain<'a> {
    client: &'a Client,
    output: Output,
    synced: watch::Sender<bool>,
    book: RefCell<Book>,
    /// Own messages whose entries have not arrived; their `sent` line says everything. No more than the outbox holds and
    /// the server has not pushed yet.
    own: RefCell<HashSet<ClientMsgId>>,
    /// The last list of scheduled messages, which `/cancel` counts in.
    listed: RefCell<Vec<ClientMsgId>>,
    /// The last list of reminders, which `/dismiss` counts in.
    reminders: RefCell<Vec<v1::Reminder>>,
    zone: TimeZone,
    current: Cell<Option<ConversationId>>,
    has_failed: Cell<bool>,
}

/// Whether a message became durable, and if not, its id, if it ever had one.
type SentOrNot = Result<(), Option<ClientMsgId>>;

/// Goes on with the next line, or stops.
enum Next {
    Line,
    Stop,
    Logout,
}

impl Plain<'_> {
    async fn read_input(&self, mut input: mpsc::Receiver<Input>) -> Ending {
        // An error says that the client ended first.
        let _ = self.synced.subscribe().wait_for(|&synced| synced).await;
        let mut sends = JoinSet::new();
        let mut number = 0;
        let mut next = Next::Stop;
        while let Some(line) = input.recv().await {
            number += 1;
            while let Some(sent) = sends.try_join_next() {
                self.note_sent(sent.unwrap_or(Err(None)));
            }
            next = match line {
                Input::Line(line) => self.on_line(&line, number, &mut sends).await,
                Input::Unusable(why) => {
                    self.error("INVALID_INPUT", why, number).await;
                    Next::Line
                }
            };
            if !matches!(next, Next::Line) {
                break;
            }
        }
        while let Some(sent) = sends.join_next().await {
            self.note_sent(sent.unwrap_or(Err(None)));
        }
        if !matches!(next, Next::Logout) {
            return Ending::Left;
        }
        match self.client.logout(Logout::ThisDevice).await {
            Ok(()) => Ending::LoggedOut,
            Err(error) => {
                self.request_failed(&error.into(), number).await;
                Ending::Left
            }
        }
    }

    async fn on_line(&self, line: &str, number: u64, sends: &mut JoinSet<SentOrNot>) -> Next {
        match commands::parse(line) {
            Ok(Line::Empty) => {}
            Ok(Line::Text(text)) => self.send(text, None, number, sends).await,
            Ok(Line::Command(Command::Expire(Expire::Send { expiry, text }))) => {
                self.send(text, Some(expiry), number, sends).await;
            }
            Ok(Line::Command(Command::Quit)) => return Next::Stop,
            Ok(Line::Command(Command::Logout)) => return Next::Logout,
            Ok(Line::Command(command)) => self.on_command(command, number).await,
            Err(error) => self.error("INVALID_COMMAND", &error.to_string(), number).await,
        }
        Next::Line
    }

    async fn send(&self, text: String, expiry: Option<Expiry>, number: u64, sends: &mut JoinSet<SentOrNot>) {
        let Some(conversation) = self.current.get() else {
            self.has_failed.set(true);
            let why = "no conversation is chosen: /to NAME";
            return self.output.print(lines::failed("", number, "NO_CONVERSATION", why)).await;
        };
        let name = self.name(conversation);
        let options = SendOptions { expiry, ..SendOptions::default() };
        let sending = self.client.send_with(conversation, text, options).await;
        let id = sending.as_ref().ok().map(|sending| sending.client_msg_id());
        self.own.borrow_mut().extend(id);
        let output = self.output.clone();
        sends.spawn(async move {
            let sent = match sending {
                Ok(sending) => sending.await,
                Err(error) => Err(error),
            };
            let line = match &sent {
                Ok(sent) => lines::sent(&name, sent.seq, number),
                Err(error) => lines::failed(&name, number, &send_code(error), &wording::send_error(error)),
            };
            output.print(line).await;
            sent.map(drop).map_err(|_| id)
        });
    }

    async fn on_command(&self, command: Command, number: u64) {
        let done = match command {
            Command::To(target) => {
                // After a failed /to no message must go to the conversation before.
                self.current.set(None);
                match self.find(target).await {
                    Ok(Some(conversation)) => self.choose(conversation).await,
                    Ok(None) => self.error("NO_CONVERSATION", "you are in no such conversation", number).await,
                    Err(error) => self.request_failed(&error, number).await,
                }
                return;
            }
            Command::Group { title, names } => {
                self.current.set(None);
                match requests::create_group(self.client, &title, &names).await {
                    Ok(group) => {
                        self.book.borrow_mut().set_title(group, &title);
                        self.choose(group).await;
                    }
                    Err(error) => self.request_failed(&error, number).await,
                }
                return;
            }
            Command::Help => {
                for (command, meaning) in COMMANDS {
                    self.output.print(format!("help\t{command}\t{meaning}")).await;
                }
                return;
            }
            Command::Schedule { when, text } => return self.schedule(when, text, number).await,
            Command::Scheduled => return self.list_scheduled(number).await,
            Command::Cancel(which) => return self.cancel(&which, number).await,
            Command::Reschedule { which, when, text } => return self.reschedule(&which, when, text, number).await,
            Command::SendNow(which) => return self.send_now(&which, number).await,
            Command::Remind { when, seq, note } => return self.remind(when, seq, note, number).await,
            Command::Reminders => return self.list_reminders(number).await,
            Command::Dismiss(which) => return self.dismiss(which, number).await,
            Command::Expire(expire) => return self.expire(expire, number).await,
            Command::Add(names) => self.change_members(MemberChange::Add(names)).await,
            Command::Remove(names) => self.change_members(MemberChange::Remove(names)).await,
            Command::Leave => self.change_members(MemberChange::Leave).await,
            Command::Sanction(change) => self.change_members(MemberChange::Sanction(change)).await,
            Command::Members => self.print_members().await,
            Command::Read => self.mark_read().await,
            // Handled by the caller, which has the sends to wait for.
            Command::Logout | Command::Quit => return,
        };
        match done {
            None => self.error("NO_CONVERSATION", "no conversation is chosen: /to NAME", number).await,
            Some(Ok(answer)) => {
                if answer == Answer::Done {
                    self.output.print(format!("done\t{number}")).await;
                }
            }
            Some(Err(error)) => self.request_failed(&error, number).await,
        }
    }

    async fn find(&self, target: Target) -> Result<Option<ConversationId>, ActionError> {
        match target {
            Target::User(name) => {
                let (conversation, profile) = self.client.open_direct(&name).await?;
                self.book.borrow_mut().people.learn(&profile);
                Ok(Some(conversation))
            }
            Target::Title(title) => Ok(self.book.borrow().find_title(&title)),
            Target::Id(id) => Ok(self.book.borrow().has(id).then_some(id)),
        }
    }

    async fn choose(&self, conversation: ConversationId) {
        self.book.borrow_mut().add(conversation);
        self.current.set(Some(conversation));
        self.output.print(lines::opened(&self.name(conversation), conversation)).await;
    }

    async fn change_members(&self, change: MemberChange) -> Option<Result<Answer, ActionError>> {
        let group = self.current.get()?;
        if group.kind() != ConversationKind::Group {
            return Some(Err(ActionError::NoGroup));
        }
        Some(requests::change_members(self.client, group, &change).await.map(|()| Answer::Done))
    }

    async fn mark_read(&self) -> Option<Result<Answer, ActionError>> {
        let conversation = self.current.get()?;
        let last_seq = self.book.borrow().last_seq(conversation);
        let read = match self.client.mark_read(conversation, last_seq).await {
            Ok(read) => read,
            Err(error) => return Some(Err(error.into())),
        };
        self.book.borrow_mut().on_read(conversation, read.read_seq, read.read_ordinal);
        self.output.print(lines::unread(&self.name(conversation), read.unread)).await;
        Some(Ok(Answer::Printed))
    }

    async fn print_members(&self) -> Option<Result<Answer, ActionError>> {
        let conversation = self.current.get()?;
        let members = match conversation.peer_of(self.client.user_id()) {
            Some(peer) => {
                let both = [self.client.user_id(), peer].map(|user| (user.as_u64(), Role::Member));
                both[..if both[0] == both[1] { 1 } else { 2 }].to_vec()
            }
            None => match self.client.list_members(conversation).await {
                Ok(members) => members.iter().map(|member| (member.user_id, member.role())).collect(),
                Err(error) => return Some(Err(error.into())),
            },
        };
        self.learn(members.iter().map(|&(id, _)| id)).await;
        let name = self.name(conversation);
        for (id, role) in members {
            let member = self.book.borrow().people.name(id);
            self.output.print(lines::member(&name, &member, role)).await;
        }
        Some(Ok(Answer::Printed))
    }

    async fn print_events(&self, mut events: Events) {
        while let Some(event) = events.next().await {
            self.on_event(event).await;
        }
    }

    async fn on_event(&self, event: Event) {
        match event {
            Event::State(state) => self.output.print(lines::state(&state)).await,
            Event::Summary(summary) => self.on_summary(&summary).await,
            Event::Entry { conversation, entry, .. } => self.on_entry(conversation, &entry).await,
            Event::Read { conversation, read_seq, read_ordinal } => {
                let unread = self.book.borrow_mut().on_read(conversation, read_seq.as_u64(), read_ordinal);
                if let Some(unread) = unread {
                    self.output.print(lines::unread(&self.name(conversation), unread)).await;
                }
            }
            Event::Scheduled(scheduled) => self.print_saved(*scheduled, None).await,
            Event::ScheduleCancelled { schedule_id } => self.print_cancelled(schedule_id, None).await,
            Event::Reminder(reminder) => self.print_reminder(&reminder, None).await,
            Event::ReminderDismissed { conversation, seq } => {
                self.output.print(lines::dismissed(&self.name(conversation), seq)).await;
            }
            Event::ScheduleEnded { schedule_id } => self.output.print(lines::ended(schedule_id)).await,
            // Over before a program could make anything of it.
            Event::Typing { .. } => {}
            Event::Removed { conversation } => {
                let name = self.name(conversation);
                self.book.borrow_mut().remove(conversation);
                if self.current.get() == Some(conversation) {
                    self.current.set(None);
                }
                self.output.print(format!("left\t{}", field(&name))).await;
            }
            Event::Synced => {
                if !self.synced.send_replace(true) {
                    self.output.print("synced".to_owned()).await;
                }
                self.print_due().await;
            }
        }
    }

    async fn on_summary(&self, summary: &v1::ConversationSummary) {
        let Ok(id) = ConversationId::from_slice(&summary.conversation_id) else { return };
        self.book.borrow_mut().on_summary(id, summary);
        self.learn(id.peer_of(self.client.user_id()).map(UserId::as_u64)).await;
        self.print_conversation(id).await;
    }

    async fn print_conversation(&self, id: ConversationId) {
        let (last_seq, unread) = self.book.borrow().position(id);
        self.output.print(lines::conversation(&self.name(id), id, last_seq, unread)).await;
    }

    async fn on_entry(&self, conversation: ConversationId, entry: &v1::Entry) {
        let is_new = self.book.borrow_mut().on_entry(conversation, entry);
        let is_own = ClientMsgId::from_slice(&entry.client_msg_id).is_ok_and(|id| self.own.borrow_mut().remove(&id));
        let peer = conversation.peer_of(self.client.user_id()).map(UserId::as_u64);
        self.learn(lines::people(entry).chain(peer)).await;
        if self.book.borrow().lacks_title(conversation) {
            self.describe().await;
        }
        if is_new {
            self.print_conversation(conversation).await;
        }
        if !is_own {
            let line = lines::entry(&self.name(conversation), entry, &self.book.borrow().people, &self.zone);
            if let Some(line) = line {
                self.output.print(line).await;
            }
        }
    }

    /// Finds the title of a group that somebody added the user to. It was active just now, so it is on the first page.
    async fn describe(&self) {
        let page = tokio::time::timeout(NAMES_WAIT, self.client.conversations(0, None)).await;
        let Ok(Ok(page)) = page else { return };
        let mut book = self.book.borrow_mut();
        for summary in &page.conversations {
            if let Ok(id) = ConversationId::from_slice(&summary.conversation_id) {
                book.on_summary(id, summary);
            }
        }
    }

    /// Looks up the names that are about to be printed.
    async fn learn(&self, ids: impl IntoIterator<Item = u64>) {
        let wanted = {
            let people = &mut self.book.borrow_mut().people;
            people.want(ids);
            people.take_wanted()
        };
        if wanted.is_empty() {
            return;
        }
        let found = tokio::time::timeout(NAMES_WAIT, self.client.find_users_by_id(&wanted)).await;
        let people = &mut self.book.borrow_mut().people;
        match found {
            Ok(Ok(profiles)) => profiles.iter().for_each(|profile| people.learn(profile)),
            Ok(Err(_)) | Err(_) => people.forget_asked(&wanted),
        }
    }

    fn name(&self, conversation: ConversationId) -> String {
        self.book.borrow().name(conversation)
    }

    fn note_sent(&self, sent: SentOrNot) {
        if let Err(id) = sent {
            self.has_failed.set(true);
            // No entry of it will come.
            id.map(|id| self.own.borrow_mut().remove(&id));
        }
    }

    async fn request_failed(&self, error: &ActionError, number: u64) {
        self.error(&error.code(), &error.to_string(), number).await;
    }

    async fn error(&self, code: &str, text: &str, number: u64) {
        self.has_failed.set(true);
        self.output.print(lines::error(code, text, number)).await;
    }
}

/// What became of a command.
#[derive(PartialEq, Eq)]
enum Answer {
    /// It was printed already.
    Printed,
    /// Nothing to tell but that.
    Done,
}

fn send_code(error: &SendError) -> String {
    match error {
        SendError::Refused(refusal) => wording::code_name(refusal.code),
        SendError::Closed => request_code(&godwit_client::RequestError::Closed),
    }
}
