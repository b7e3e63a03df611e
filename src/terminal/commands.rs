//! What a line of input means.

use super::{
    expiry::Expire,
    planned::Which,
    sanctions::{BAN, MUTE, Sanction, SanctionChange},
    sanitize,
    when::{When, WhenError},
};
use data_encoding::HEXLOWER_PERMISSIVE;
use godwit_client::{ConversationId, Seq};
use thiserror::Error;

/// A line, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// Nothing, or only spaces.
    Empty,
    /// A message to the current conversation.
    Text(String),
    /// Something to do.
    Command(Command),
}

/// What a line that begins with `/` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Make this the current conversation.
    To(Target),
    /// Make a group with these users.
    Group {
        /// What it is called.
        title: String,
        /// Its members besides the user.
        names: Vec<String>,
    },
    /// Add users to the current group.
    Add(Vec<String>),
    /// Remove users from the current group.
    Remove(Vec<String>),
    /// Leave the current group.
    Leave,
    /// Mute or ban somebody in the current group, or no more.
    Sanction(SanctionChange),
    /// Show who is in the current conversation.
    Members,
    /// Mark the current conversation as read.
    Read,
    /// Have the server send a message to the current conversation later.
    Schedule {
        /// When.
        when: When,
        /// What it says.
        text: String,
    },
    /// Show what is scheduled, and what could not be sent.
    Scheduled,
    /// Take a scheduled message back.
    Cancel(Which),
    /// Send a scheduled message at another time.
    Reschedule {
        /// Which.
        which: Which,
        /// When.
        when: When,
        /// What it says then; `None`: as it is.
        text: Option<String>,
    },
    /// Send a scheduled message now.
    SendNow(Which),
    /// Be reminded of a message of the current conversation.
    Remind {
        /// When.
        when: When,
        /// Which; `None`: the newest.
        seq: Option<Seq>,
        /// What to be told then; `None`: how the message begins.
        note: Option<String>,
    },
    /// Show the reminders.
    Reminders,
    /// Take the reminder with this number of the last list back.
    Dismiss(usize),
    /// Show or set how messages disappear, or send one that does.
    Expire(Expire),
    /// Revoke this device's token and end.
    Logout,
    /// Show the commands.
    Help,
    /// End.
    Quit,
}

/// A conversation, as a person names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The direct conversation with this user.
    User(String),
    /// The group with this title; of several, the one that was active last.
    Title(String),
    /// The conversation with this id.
    Id(ConversationId),
}

/// A line that means nothing. The text says what would.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CommandError {
    /// There is no such command.
    #[error("there is no command /{0}; /help lists them, and //{0} sends it as a message")]
    Unknown(String),
    /// Something is missing, or too much.
    #[error("this is written {0}")]
    Usage(&'static str),
    /// Not an id.
    #[error("a conversation's id is 32 hexadecimal digits")]
    Id,
    /// A quotation mark without its other half.
    #[error("a quotation mark is missing its other half")]
    UnclosedQuote,
    /// Not a time.
    #[error(transparent)]
    When(#[from] WhenError),
}

/// Every command, and what it does.
pub const COMMANDS: [(&str, &str); 23] = [
    (TO, "open a conversation: bob, or #title for a group"),
    (GROUP, "make a group; a title of several words goes in quotes"),
    (ADD, "add people to this group"),
    (REMOVE, "remove people from this group"),
    ("/leave", "leave this group"),
    (MUTE, "somebody may only read here, so long or for good"),
    (UNMUTE, "let them write again"),
    (BAN, "somebody is out and stays out, so long or for good"),
    (UNBAN, "let them be added again"),
    ("/members", "show who is here"),
    ("/read", "mark this conversation as read"),
    (SCHEDULE, "at 18:30, 2026-12-24 18:30, in 20m, every monday 9:00"),
    ("/scheduled", "list what will be sent later, and what could not be"),
    (CANCEL, "take it back: its number there, or how its id begins"),
    (RESCHEDULE, "send it at another time, with another text if one follows"),
    (SEND_NOW, "send it now; what is sent again and again goes on"),
    (REMIND, "in 2h, at 18:30; of the newest message or #SEQ, with NOTE"),
    ("/reminders", "list them; those that are due stay until dismissed"),
    (DISMISS, "take a reminder back: its number in that list"),
    (EXPIRE, "messages disappear: 1h, 1h read, off; 1h: TEXT for one"),
    ("/logout", "log this device out and quit"),
    ("/help", "show this"),
    ("/quit", "quit; so does Ctrl-C"),
];

const TO: &str = "/to NAME";
const GROUP: &str = "/group TITLE NAME…";
const ADD: &str = "/add NAME…";
const REMOVE: &str = "/remove NAME…";
const UNMUTE: &str = "/unmute NAME…";
const UNBAN: &str = "/unban NAME…";
const SCHEDULE: &str = "/schedule TIME TEXT";
const EXPIRE: &str = "/expire [TIME]";
const CANCEL: &str = "/cancel NUMBER";
const RESCHEDULE: &str = "/reschedule NUMBER TIME";
const SEND_NOW: &str = "/sendnow NUMBER";
const REMIND: &str = "/remind TIME";
const DISMISS: &str = "/dismiss NUMBER";

/// How it is written, at length.
const EXPIRE_HOW: &str = "/expire 1h, /expire 1h read, /expire off, or /expire 10m: TEXT";

/// The commands, for the help of the command line.
pub fn help() -> String {
    let width = COMMANDS.iter().map(|(command, _)| command.chars().count()).max().unwrap_or(0);
    let lines = COMMANDS.iter().map(|(command, meaning)| format!("\n  {command:width$}  {meaning}"));
    lines.fold("Commands while chatting:".to_owned(), |help, line| help + &line)
}

/// Reads a line. One that begins with `//` is a message that begins with `/`.
pub fn parse(line: &str) -> Result<Line, CommandError> {
    let trimmed = line.trim();
    if trimmed.is_empty() {
        return Ok(Line::Empty);
    }
    let Some(command) = trimmed.strip_prefix('/') else { return Ok(Line::Text(line.to_owned())) };
    if command.starts_with('/') {
        return Ok(Line::Text(trimmed[1..].to_owned()));
    }
    let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let rest = rest.trim();
    let command = match name.to_lowercase().as_str() {
        "to" => Command::To(target(rest)?),
        "group" => {
            let mut words = words(rest)?.into_iter();
            let title = words.next().filter(|title| !title.is_empty()).ok_or(CommandError::Usage(GROUP))?;
            Command::Group { title, names: words.map(|word| bare(&word)).collect() }
        }
        "add" => Command::Add(names(rest, ADD)?),
        "remove" => Command::Remove(names(rest, REMOVE)?),
        "mute" => Command::Sanction(SanctionChange::parse(Sanction::Mute, names(rest, MUTE)?, MUTE)?),
        "unmute" => Command::Sanction(SanctionChange::lift(Sanction::Mute, names(rest, UNMUTE)?)),
        "ban" => Command::Sanction(SanctionChange::parse(Sanction::Ban, names(rest, BAN)?, BAN)?),
        "unban" => Command::Sanction(SanctionChange::lift(Sanction::Ban, names(rest, UNBAN)?)),
        "leave" => alone(rest, "/leave", Command::Leave)?,
        "members" => alone(rest, "/members", Command::Members)?,
        "read" => alone(rest, "/read", Command::Read)?,
        "schedule" => {
            let (when, text) = match rest.is_empty() {
                true => return Err(CommandError::Usage(SCHEDULE)),
                false => When::split(rest)?,
            };
            if text.is_empty() {
                return Err(CommandError::Usage(SCHEDULE));
            }
            Command::Schedule { when, text: text.to_owned() }
        }
        "scheduled" => alone(rest, "/scheduled", Command::Scheduled)?,
        "cancel" => Command::Cancel(Which::parse(rest).ok_or(CommandError::Usage(CANCEL))?),
        "reschedule" => {
            let (which, rest) = rest.split_once(char::is_whitespace).ok_or(CommandError::Usage(RESCHEDULE))?;
            let which = Which::parse(which).ok_or(CommandError::Usage(RESCHEDULE))?;
            let (when, text) = When::split(rest)?;
            Command::Reschedule { which, when, text: Some(text.to_owned()).filter(|text| !text.is_empty()) }
        }
        "sendnow" => Command::SendNow(Which::parse(rest).ok_or(CommandError::Usage(SEND_NOW))?),
        "remind" => remind(rest)?,
        "reminders" => alone(rest, "/reminders", Command::Reminders)?,
        "dismiss" => Command::Dismiss(rest.parse().map_err(|_| CommandError::Usage(DISMISS))?),
        "expire" => Command::Expire(Expire::parse(rest).ok_or(CommandError::Usage(EXPIRE_HOW))?),
        "logout" => alone(rest, "/logout", Command::Logout)?,
        "help" => Command::Help,
        "quit" => alone(rest, "/quit", Command::Quit)?,
        _ => return Err(CommandError::Unknown(sanitize::line(name))),
    };
    Ok(Line::Command(command))
}

/// A time, then perhaps `#41`, then perhaps a note.
fn remind(rest: &str) -> Result<Command, CommandError> {
    if rest.is_empty() {
        return Err(CommandError::Usage(REMIND));
    }
    let (when, rest) = When::split_soon(rest)?;
    if matches!(when, When::Every(..)) {
        return Err(CommandError::Usage(REMIND));
    }
    let (first, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let seq = first.strip_prefix('#').and_then(|digits| digits.parse().ok()).map(Seq);
    let note = if seq.is_some() { after.trim_start() } else { rest };
    Ok(Command::Remind { when, seq, note: Some(note.to_owned()).filter(|note| !note.is_empty()) })
}

fn target(rest: &str) -> Result<Target, CommandError> {
    if let Some(title) = rest.strip_prefix('#') {
        let title = words(title).map(|words| words.join(" ")).unwrap_or_else(|_| title.to_owned());
        return if title.is_empty() { Err(CommandError::Usage(TO)) } else { Ok(Target::Title(title)) };
    }
    // A username holds no colon.
    if let Some(hex) = rest.strip_prefix("id:") {
        let bytes = HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).map_err(|_| CommandError::Id)?;
        return ConversationId::from_slice(&bytes).map(Target::Id).map_err(|_| CommandError::Id);
    }
    let mut names = names(rest, TO)?;
    match names.pop() {
        Some(name) if names.is_empty() => Ok(Target::User(name)),
        _ => Err(CommandError::Usage(TO)),
    }
}

fn names(rest: &str, usage: &'static str) -> Result<Vec<String>, CommandError> {
    let names: Vec<String> = words(rest)?.iter().map(|word| bare(word)).collect();
    if names.is_empty() || names.iter().any(String::is_empty) {
        return Err(CommandError::Usage(usage));
    }
    Ok(names)
}

/// People write `@bob` out of habit; no username begins with `@`.
fn bare(word: &str) -> String {
    word.strip_prefix('@').unwrap_or(word).to_owned()
}

fn alone(rest: &str, usage: &'static str, command: Command) -> Result<Command, CommandError> {
    if rest.is_empty() { Ok(command) } else { Err(CommandError::Usage(usage)) }
}

/// Splits at spaces, except between quotation marks.
fn words(text: &str) -> Result<Vec<String>, CommandError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' | '“' | '”' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            c if c.is_whitespace() && !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    if quoted {
        return Err(CommandError::UnclosedQuote);
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use godwit_client::UserId;

    fn command(line: &str) -> Command {
        match parse(line) {
            Ok(Line::Command(command)) => command,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn user(name: &str) -> Command {
        Command::To(Target::User(name.into()))
    }

    #[test]
    fn what_does_not_begin_with_a_slash_is_a_message() {
        assert_eq!(parse("  hi there "), Ok(Line::Text("  hi there ".into())));
        assert_eq!(parse("//shrug"), Ok(Line::Text("/shrug".into())));
        assert_eq!(parse(" \n "), Ok(Line::Empty));
    }

    #[test]
    fn a_conversation_is_named_by_user_title_or_id() {
        assert_eq!(command("/to bob"), user("bob"));
        assert_eq!(command(" /TO  @小明 "), user("小明"));
        assert_eq!(command("/to #Lunch crew"), Command::To(Target::Title("Lunch crew".into())));
        assert_eq!(command("/to #\"Lunch crew\""), Command::To(Target::Title("Lunch crew".into())));
        let id = ConversationId::direct(UserId::new(3).unwrap(), UserId::new(7).unwrap());
        let hex = data_encoding::HEXLOWER.encode(id.as_bytes());
        assert_eq!(command(&format!("/to id:{hex}")), Command::To(Target::Id(id)));
        assert_eq!(parse("/to id:12"), Err(CommandError::Id));
    }

    #[test]
    fn a_group_has_a_title_that_quotes_keep_together() {
        let group = |title: &str, names: &[&str]| Command::Group {
            title: title.into(),
            names: names.iter().map(|&name| name.into()).collect(),
        };
        assert_eq!(command("/group lunch bob @carol"), group("lunch", &["bob", "carol"]));
        assert_eq!(command("/group \"Lunch crew\" bob"), group("Lunch crew", &["bob"]));
        assert_eq!(command("/group solo"), group("solo", &[]));
        assert_eq!(parse("/group \"Lunch bob"), Err(CommandError::UnclosedQuote));
    }

    #[test]
    fn a_command_with_something_missing_or_too_much_says_how_it_is_written() {
        for (line, usage) in [
            ("/to", TO),
            ("/to a b", TO),
            ("/to #", TO),
            ("/group", GROUP),
            ("/add", ADD),
            ("/remove @", REMOVE),
            ("/leave now", "/leave"),
            ("/mute bob soon", MUTE),
            ("/unmute", UNMUTE),
            ("/ban", BAN),
            ("/quit it", "/quit"),
            ("/schedule", SCHEDULE),
            ("/schedule 18:30", SCHEDULE),
            ("/schedule in 20m ", SCHEDULE),
            ("/scheduled all", "/scheduled"),
            ("/cancel", CANCEL),
            ("/expire soon", EXPIRE_HOW),
            ("/expire 1h:", EXPIRE_HOW),
            ("/cancel 1 2", CANCEL),
            ("/reschedule 1", RESCHEDULE),
            ("/reschedule x 18:30", RESCHEDULE),
            ("/sendnow", SEND_NOW),
            ("/remind", REMIND),
            ("/remind every day 9:00", REMIND),
            ("/dismiss all", DISMISS),
            ("/reminders 1", "/reminders"),
        ] {
            assert_eq!(parse(line), Err(CommandError::Usage(usage)), "{line}");
        }
    }

    #[test]
    fn what_is_scheduled_is_sent_as_it_was_written() {
        let Command::Schedule { when: When::In(1200), text } = command("/schedule in 20m /to  \"bob\" 18:30 ") else {
            panic!("not understood")
        };
        assert_eq!(text, "/to  \"bob\" 18:30");
        let error = parse("/schedule soon hi").unwrap_err().to_string();
        assert!(error.contains("“soon” is no time"), "{error}");
    }

    #[test]
    fn what_is_scheduled_can_be_moved_with_its_text_or_without() {
        let Command::Reschedule { which, when: When::In(60), text: None } = command("/reschedule 2 in 1m") else {
            panic!("not understood")
        };
        assert_eq!(which, Which::Number(2));
        let Command::Reschedule { when: When::Every(..), text, .. } =
            command("/reschedule abcd every day 9:00 hi  all")
        else {
            panic!("not understood")
        };
        assert_eq!(text.as_deref(), Some("hi  all"));
        assert_eq!(command("/sendnow 3"), Command::SendNow(Which::Number(3)));
    }

    #[test]
    fn an_unknown_command_is_not_sent_as_a_message() {
        let error = parse("/frobnicate bob").unwrap_err();
        assert_eq!(error, CommandError::Unknown("frobnicate".into()));
        assert!(error.to_string().contains("/help"));
    }

    #[test]
    fn every_command_of_the_help_is_understood() {
        for (usage, _) in COMMANDS {
            let line = usage.replace("TITLE", "t").replace("NAME…", "a b").replace("NAME", "a");
            let line =
                line.replace("[TIME]", "1h").replace("TIME", "18:30").replace("TEXT", "hi").replace("NUMBER", "1");
            assert!(matches!(parse(&line), Ok(Line::Command(_))), "{line}");
        }
    }
}
