//! `godwit chat`: a terminal client on top of the client SDK.
//!
//! What is shown and what a key does is decided in modules without I/O: `model` and what it is made of (`conversation`,
//! `timeline`, `people`, `input_line`, `commands`, `sanctions`, `when`, `every`, `expiry`, `typing`), `flow` and `wrap` (text into lines),
//! `sanitize` (text of strangers). `draw` puts the model on a screen. `screen`, `plain`, `worker`, `login` and `state_dir` talk
//! to the world.

mod commands;
mod conversation;
mod draw;
#[cfg(test)]
mod draw_tests;
mod effects;
mod every;
mod expiry;
#[cfg(test)]
mod fixture;
mod flow;
mod input_line;
mod keys;
mod local_time;
mod login;
mod model;
mod people;
mod plain;
mod planned;
mod reminders;
mod requests;
mod sanctions;
mod sanitize;
mod screen;
mod state_dir;
mod theme;
mod timeline;
mod typing;
mod when;
mod wording;
mod worker;
mod wrap;

pub use login::LoginError;

use clap::Args;
use godwit_client::{Client, Events};
use std::{
    fmt,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    time::Duration,
};
use thiserror::Error;

/// How long closing in order may take.
const SHUTDOWN_MAX: Duration = Duration::from_secs(3);

/// The command line of `godwit chat`.
#[derive(Debug, Clone, Args)]
#[command(after_help = commands::help())]
pub struct ChatArguments {
    /// Who you are: your username
    pub name: String,

    /// The server, as HOST:PORT
    #[arg(long, env = "GODWIT_SERVER", default_value = "127.0.0.1:4433")]
    pub server: String,

    /// The SHA-256 of the server's certificate, which the server prints when it starts
    #[arg(long, value_name = "HEX", env = "GODWIT_FINGERPRINT", conflicts_with = "trust_file")]
    pub fingerprint: Option<String>,

    /// Certificates to trust, as PEM; the server's must lead to one of them
    #[arg(long, value_name = "FILE")]
    pub trust_file: Option<PathBuf>,

    /// Where a server on this machine keeps its data; the fingerprint of its certificate is read from there
    #[arg(long, value_name = "DIR", default_value = "godwit-data")]
    pub data_dir: PathBuf,

    /// Read the password from this file instead of asking; GODWIT_PASSWORD works too
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,

    /// Make the account
    #[arg(long)]
    pub register: bool,

    /// What others read beside your username, for a new account
    #[arg(long, value_name = "TEXT")]
    pub display_name: Option<String>,

    /// The invitation, where the server registers by invitation
    #[arg(long, value_name = "CODE", env = "GODWIT_INVITATION", hide_env_values = true)]
    pub invitation: Option<String>,

    /// Where to keep the session [default: $XDG_STATE_HOME/godwit or ~/.local/state/godwit]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Line by line instead of a full screen, for scripts: messages and commands in, tab-separated events out
    #[arg(long)]
    pub plain: bool,

    /// With --plain: go on printing what happens after the end of the input
    #[arg(long, requires = "plain")]
    pub follow: bool,
}

/// Why chatting ended other than by the user's wish.
#[derive(Debug, Error)]
pub enum ChatError {
    /// There is no client.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// The terminal or a pipe broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// There is no terminal to draw on.
    #[error("the input and the output must be a terminal; --plain reads and writes lines")]
    NoTerminal,
    /// Line mode: something could not be sent or done. The output says what, so the exit status 1 is enough.
    #[error("not everything could be done")]
    Incomplete,
}

/// Logs in and chats until the user quits. Logs nothing: the terminal is the user's.
pub async fn run(arguments: ChatArguments) -> Result<(), ChatError> {
    let has_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    if !arguments.plain && !has_terminal {
        return Err(ChatError::NoTerminal);
    }
    let (client, events, state) = login::log_in(&arguments).await?;
    let ended = chat(&arguments, &client, events).await;
    // Without an answer in time, the server notices by itself that the client is gone.
    let _ = tokio::time::timeout(SHUTDOWN_MAX, client.shutdown()).await;
    if ended? == Ending::LoggedOut {
        state.forget_token().map_err(LoginError::from)?;
        say(&"logged out");
    }
    Ok(())
}

/// Writes to the standard error, if it is still there.
fn say(text: &dyn fmt::Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// How chatting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// The session goes on next time.
    Left,
    /// The token is revoked.
    LoggedOut,
}

async fn chat(arguments: &ChatArguments, client: &Client, events: Events) -> Result<Ending, ChatError> {
    if arguments.plain {
        return plain::run(client, events, arguments.follow).await;
    }
    let session = screen::session(client, &arguments.server)?;
    Ok(screen::run(client, events, session).await?)
}
