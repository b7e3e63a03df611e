//! The full-screen client: keys and events in, drawings out.

use super::{
    Ending,
    draw::draw,
    keys,
    model::{Action, Drawn, Link, Model, Now, Session},
    worker::Worker,
};
use crossterm::{
    event::{
        DisableBracketedPaste, DisableFocusChange, EnableBracketedPaste, EnableFocusChange, Event as TerminalEvent,
        EventStream,
    },
    execute,
};
use futures_util::StreamExt;
use godwit_client::{Client, Events};
use jiff::tz::TimeZone;
use ratatui::DefaultTerminal;
use std::{
    io,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The shortest time between two drawings: a flood of messages must not keep the terminal busy.
const FRAME: Duration = Duration::from_millis(16);

/// The most events that are taken in before the keyboard has its turn.
const BATCH_MAX: usize = 64;

/// Shows the client until the user quits or a signal asks to end. The terminal is as before afterwards, whatever happens.
pub async fn run(client: &Client, events: Events, session: Session) -> io::Result<Ending> {
    let mut signals = Signals::new()?;
    let mut terminal = Terminal::take()?;
    show(client, events, session, &mut terminal.terminal, &mut signals).await
}

/// The session, as far as the client knows it.
pub fn session(client: &Client, server: &str) -> io::Result<Session> {
    let mut msg_id_prefix = [0; 12];
    aws_lc_rs::rand::fill(&mut msg_id_prefix).map_err(|_| io::Error::other("the system gives no random numbers"))?;
    Ok(Session {
        me: client.user_id(),
        username: super::sanitize::line(&client.username()),
        server: super::sanitize::line(server),
        message_bytes_max: client.limits().message_bytes_max as usize,
        msg_id_prefix,
        zone: TimeZone::system(),
    })
}

async fn show(
    client: &Client,
    mut events: Events,
    session: Session,
    terminal: &mut DefaultTerminal,
    signals: &mut Signals,
) -> io::Result<Ending> {
    let mut model = Model::new(session);
    if client.is_connected() {
        model.link = Link::CatchingUp;
    }
    let (mut worker, mut replies) = Worker::new(client.clone());
    let mut keyboard = EventStream::new();
    let mut drawn_at: Option<Instant> = None;
    let mut is_stale = true;
    let mut events_ended = false;
    loop {
        let frame_at = drawn_at.map_or_else(Instant::now, |at| at + FRAME);
        let now = now_by(client);
        if is_stale && frame_at <= now.instant {
            let mut drawn = Drawn::default();
            terminal.draw(|frame| drawn = draw(frame, &model, now))?;
            model.on_drawn(drawn, now);
            drawn_at = Some(now.instant);
            is_stale = false;
        }
        if let Some((conversation, goes_on)) = model.typing.take_own() {
            match goes_on {
                true => client.typing(conversation),
                false => client.stopped_typing(conversation),
            }
        }
        for effect in model.take_effects() {
            worker.perform(effect);
        }
        for reply in worker.take_at_once() {
            model.on_reply(reply, now);
            is_stale = true;
        }
        if model.is_over {
            return Ok(if model.is_logged_out { Ending::LoggedOut } else { Ending::Left });
        }
        let wake = [is_stale.then_some(frame_at), model.next_tick(now)].into_iter().flatten().min();
        tokio::select! {
            event = events.next(), if !events_ended => {
                match event {
                    Some(event) => model.on_event(event, now_by(client)),
                    None => events_ended = true,
                }
                for _ in 1..BATCH_MAX {
                    let Some(event) = events.try_next() else { break };
                    model.on_event(event, now_by(client));
                }
            }
            Some(reply) = replies.recv() => model.on_reply(reply, now_by(client)),
            event = keyboard.next() => match event {
                Some(event) => on_terminal_event(&mut model, event?, now_by(client)),
                // The terminal is gone.
                None => return Ok(Ending::Left),
            },
            () = signals.next() => return Ok(Ending::Left),
            () = sleep_until(wake) => model.on_tick(now_by(client)),
        }
        is_stale = true;
    }
}

fn on_terminal_event(model: &mut Model, event: TerminalEvent, now: Now) {
    match event {
        TerminalEvent::Key(key) => {
            if let Some(action) = keys::action(key) {
                model.on_action(action, now);
            }
        }
        TerminalEvent::Paste(text) => model.on_action(Action::Insert(text), now),
        TerminalEvent::FocusGained => model.on_focus(true),
        TerminalEvent::FocusLost => model.on_focus(false),
        TerminalEvent::Resize(..) | TerminalEvent::Mouse(_) => {}
    }
}

fn now_by(client: &Client) -> Now {
    let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    Now { instant: Instant::now(), unix_ms, server_ms: client.server_time_ms().unwrap_or(unix_ms) }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// The terminal in its full-screen state, put back when this is dropped.
struct Terminal {
    terminal: DefaultTerminal,
}

impl Terminal {
    fn take() -> io::Result<Self> {
        // Its panic hook puts back the screen and the line mode; this one puts back what else was changed, and comes first.
        let terminal = ratatui::try_init()?;
        let restore_screen = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            leave_modes();
            restore_screen(info);
        }));
        let taken = Self { terminal };
        // Terminals that do not know these ignore them.
        execute!(io::stdout(), EnableBracketedPaste, EnableFocusChange)?;
        Ok(taken)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        leave_modes();
        ratatui::restore();
        // A panic on the way out already restored everything; elsewhere the cursor may still be hidden.
        let _ = self.terminal.show_cursor();
    }
}

fn leave_modes() {
    // Nothing can be done for a terminal that takes nothing any more.
    let _ = execute!(io::stdout(), DisableBracketedPaste, DisableFocusChange);
}

/// Those that ask a program to end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
