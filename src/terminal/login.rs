//! From the command line to a client that is logged in.

use super::{
    ChatArguments, say,
    state_dir::{SavedSession, StateDir, StateDirError},
    wording,
};
use data_encoding::HEXLOWER_PERMISSIVE;
use godwit_client::{
    Client, ClientConfig, ConnectError, Credentials, DeviceId, Events, InvalidTrust, Trust, UserId, v1::ErrorCode,
};
use std::{
    env, fs,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    time::Duration,
};
use thiserror::Error;

/// The environment variable that may hold the password.
pub const PASSWORD_VARIABLE: &str = "GODWIT_PASSWORD";

/// Why there is no client. The text says what to do.
#[derive(Debug, Error)]
pub enum LoginError {
    /// Nothing says how the server proves who it is. Nobody is trusted just for being the first to answer.
    #[error(
        "nothing says which certificate the server {server} has, and {} does not exist\n\
         pass --fingerprint HEX (the server prints it when it starts), --data-dir DIR (where the server on this machine \
         keeps its data) or --trust-file PEM (certificates to trust)",
        .looked.display()
    )]
    NoTrust {
        /// The server.
        server: String,
        /// Where a server on this machine would have left it.
        looked: PathBuf,
    },
    /// The fingerprint or the file cannot be used.
    #[error("{source_of_trust}: {error}")]
    InvalidTrust {
        /// Where it is from.
        source_of_trust: String,
        /// What is wrong.
        error: InvalidTrust,
    },
    /// The server has another certificate.
    #[error("{error}\nthe pinned one is from {source_of_trust}")]
    Mismatch {
        /// Where the pinned one is from.
        source_of_trust: String,
        /// The client's message.
        error: ConnectError,
    },
    /// A file cannot be read.
    #[error("{}: {error}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Nobody is there to ask.
    #[error("no password: set {PASSWORD_VARIABLE}, pass --password-file FILE, or run this in a terminal ({0})")]
    NoPassword(io::Error),
    /// The server refused the name and password.
    #[error("there is no account {0} with this password\nto make the account, pass --register")]
    WrongPassword(String),
    /// Somebody has the name.
    #[error("the account {0} exists already; if it is yours, leave out --register and check the password")]
    NameTaken(String),
    /// The two passwords were not the same.
    #[error("the passwords differ; no account was made")]
    PasswordsDiffer,
    /// The server refused for another reason.
    #[error("the server refused: {0}")]
    Refused(String),
    /// The session cannot be kept.
    #[error(transparent)]
    State(#[from] StateDirError),
    /// No connection.
    #[error(transparent)]
    Connect(ConnectError),
}

/// Logs in with what is at hand, in this order: the token of an earlier run, the password, a new account.
pub async fn log_in(arguments: &ChatArguments) -> Result<(Client, Events, StateDir), LoginError> {
    let (trust, source_of_trust) = trust(arguments)?;
    let state = StateDir::open(arguments.state_dir.clone(), &arguments.server, &arguments.name)?;
    let saved = match state.load() {
        Ok(saved) => saved.unwrap_or_default(),
        Err(error @ StateDirError::Damaged { .. }) => {
            say(&error);
            SavedSession::default()
        }
        Err(error) => return Err(error.into()),
    };
    let mut login = Login { arguments, trust, source_of_trust, device_id: device_id(&saved), user_id: None };

    if let (Some(token), false) = (saved.token.as_deref().and_then(decode), arguments.register) {
        login.user_id = saved.user_id.and_then(|id| UserId::new(id).ok());
        match login.connect(Credentials::Token { token: token.into() }).await {
            Err(LoginError::Connect(error)) if error.code() == Some(ErrorCode::InvalidToken) => {
                state.forget_token()?;
                say(&"the session has expired; log in again");
                login.user_id = None;
            }
            result => return keep(result?, state, login.device_id),
        }
    }
    let password = login.password()?;
    let connected = if arguments.register {
        login.register(password.text).await?
    } else {
        let username = arguments.name.clone();
        match login.connect(Credentials::Login { username, password: password.text.clone() }).await {
            Err(LoginError::Connect(error)) if error.code() == Some(ErrorCode::InvalidCredentials) => {
                login.offer_account(password).await?
            }
            result => result?,
        }
    };
    keep(connected, state, login.device_id)
}

struct Login<'a> {
    arguments: &'a ChatArguments,
    trust: Trust,
    source_of_trust: String,
    device_id: DeviceId,
    user_id: Option<UserId>,
}

struct Password {
    text: String,
    /// Somebody sits at the keyboard.
    was_typed: bool,
}

impl Login<'_> {
    async fn connect(&self, credentials: Credentials) -> Result<(Client, Events), LoginError> {
        let config = ClientConfig {
            device_id: self.device_id,
            device_name: device_name(),
            client_name: concat!("godwit-chat/", env!("CARGO_PKG_VERSION")).into(),
            user_id: self.user_id,
            keep_alive: Some(KEEP_ALIVE),
            idle_timeout: IDLE_TIMEOUT,
            ..ClientConfig::new(&self.arguments.server, self.trust.clone(), credentials)
        };
        // The future holds a handshake and a login, too much for the stack of whoever calls.
        Box::pin(Client::connect(config)).await.map_err(|error| match error {
            ConnectError::FingerprintMismatch { .. } => {
                LoginError::Mismatch { source_of_trust: self.source_of_trust.clone(), error }
            }
            other => LoginError::Connect(other),
        })
    }

    async fn register(&self, password: String) -> Result<(Client, Events), LoginError> {
        let credentials = Credentials::Register {
            username: self.arguments.name.clone(),
            password,
            display_name: self.arguments.display_name.clone().unwrap_or_default(),
            invitation: self.arguments.invitation.clone().unwrap_or_default(),
        };
        self.connect(credentials).await.map_err(|error| match error {
            LoginError::Connect(ConnectError::Refused(refusal)) => match refusal.code {
                ErrorCode::UsernameTaken => LoginError::NameTaken(self.arguments.name.clone()),
                _ => LoginError::Refused(wording::refusal(&refusal)),
            },
            other => other,
        })
    }

    /// The server does not say whether the name or the password is wrong, so the account may be there or not.
    async fn offer_account(&self, password: Password) -> Result<(Client, Events), LoginError> {
        let name = &self.arguments.name;
        let wrong = || LoginError::WrongPassword(name.clone());
        if !password.was_typed || self.arguments.plain || !io::stdin().is_terminal() {
            return Err(wrong());
        }
        say(&format!("There is no account {name} with this password."));
        if !ask(&format!("Make a new account {name}? [y/N] ")) {
            return Err(wrong());
        }
        if prompt("The same password again: ")? != password.text {
            return Err(LoginError::PasswordsDiffer);
        }
        match self.register(password.text).await {
            // The account is there after all.
            Err(LoginError::NameTaken(_)) => Err(wrong()),
            result => result,
        }
    }

    fn password(&self) -> Result<Password, LoginError> {
        if let Some(path) = &self.arguments.password_file {
            let text = read(path)?;
            // Editors end a file with a line break, and a password holds none.
            return Ok(Password { text: text.trim_end_matches(['\r', '\n']).to_owned(), was_typed: false });
        }
        if let Some(text) = env::var_os(PASSWORD_VARIABLE) {
            return Ok(Password { text: text.to_string_lossy().into_owned(), was_typed: false });
        }
        let text = prompt(&format!("Password for {}: ", self.arguments.name))?;
        if self.arguments.register && prompt("The same password again: ")? != text {
            return Err(LoginError::PasswordsDiffer);
        }
        Ok(Password { text, was_typed: true })
    }
}

/// How the server proves who it is, and where that was learnt.
fn trust(arguments: &ChatArguments) -> Result<(Trust, String), LoginError> {
    let invalid = |source_of_trust: &str| {
        let source_of_trust = source_of_trust.to_owned();
        move |error| LoginError::InvalidTrust { source_of_trust, error }
    };
    if let Some(hex) = &arguments.fingerprint {
        let trust = Trust::fingerprint_from_hex(hex.trim()).map_err(invalid("--fingerprint"))?;
        return Ok((trust, "--fingerprint".to_owned()));
    }
    if let Some(path) = &arguments.trust_file {
        let name = path.display().to_string();
        return Ok((Trust::roots_from_pem_file(path).map_err(invalid(&name))?, name));
    }
    let path = arguments.data_dir.join(FINGERPRINT_FILE);
    let name = path.display().to_string();
    if !path.try_exists().unwrap_or(false) {
        return Err(LoginError::NoTrust { server: arguments.server.clone(), looked: path });
    }
    Ok((Trust::fingerprint_from_hex(read(&path)?.trim()).map_err(invalid(&name))?, name))
}

/// Somebody is watching: a server that is gone is noticed within [`IDLE_TIMEOUT`], for a packet every few seconds. A phone
/// would choose longer ones.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a server leaves the fingerprint of its certificate, below its data directory.
const FINGERPRINT_FILE: &str = "tls/fingerprint";

fn keep(
    (client, events): (Client, Events),
    state: StateDir,
    device_id: DeviceId,
) -> Result<(Client, Events, StateDir), LoginError> {
    state.save(&SavedSession {
        device_id: HEXLOWER_PERMISSIVE.encode(&device_id.0),
        user_id: Some(client.user_id().as_u64()),
        token: Some(HEXLOWER_PERMISSIVE.encode(&client.token())),
    })?;
    Ok((client, events, state))
}

fn device_id(saved: &SavedSession) -> DeviceId {
    let kept = decode(&saved.device_id).and_then(|bytes| DeviceId::from_slice(&bytes).ok());
    // A configuration starts with a random one.
    let fresh = || {
        let nobody = Credentials::Token { token: Vec::new().into() };
        ClientConfig::new(String::new(), Trust::Fingerprint([0; 32]), nobody).device_id
    };
    kept.unwrap_or_else(fresh)
}

fn decode(hex: &str) -> Option<Vec<u8>> {
    HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok()
}

/// The most bytes of a device's name (`HelloRequest.device_name`).
const DEVICE_NAME_BYTES_MAX: usize = 64;

fn device_name() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| fs::read_to_string("/etc/hostname"));
    let mut name = match host.as_deref().map(str::trim) {
        Ok(host) if !host.is_empty() => format!("godwit chat on {host}"),
        _ => "godwit chat".to_owned(),
    };
    while name.len() > DEVICE_NAME_BYTES_MAX {
        name.pop();
    }
    name
}

fn read(path: &Path) -> Result<String, LoginError> {
    fs::read_to_string(path).map_err(|error| LoginError::Read { path: path.to_owned(), error })
}

fn prompt(question: &str) -> Result<String, LoginError> {
    rpassword::prompt_password(question).map_err(LoginError::NoPassword)
}

fn ask(question: &str) -> bool {
    let mut answer = String::new();
    let mut stderr = io::stderr();
    let asked = write!(stderr, "{question}").and_then(|()| stderr.flush());
    let asked = asked.and_then(|()| io::stdin().read_line(&mut answer));
    asked.is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        chat: ChatArguments,
    }

    fn arguments(line: &[&str]) -> ChatArguments {
        let line = ["chat", "alice"].iter().chain(line);
        Command::try_parse_from(line).unwrap_or_else(|error| panic!("{error}")).chat
    }

    #[test]
    fn without_a_source_of_trust_the_error_says_what_to_pass() {
        let empty = tempfile::tempdir().unwrap();
        let error = trust(&arguments(&["--data-dir", empty.path().to_str().unwrap()])).unwrap_err().to_string();
        for hint in ["--fingerprint", "--data-dir", "--trust-file", "127.0.0.1:4433"] {
            assert!(error.contains(hint), "{hint} is missing in: {error}");
        }
    }

    #[test]
    fn a_server_on_the_same_machine_is_trusted_by_the_file_that_it_wrote() {
        let data = tempfile::tempdir().unwrap();
        fs::create_dir(data.path().join("tls")).unwrap();
        fs::write(data.path().join(FINGERPRINT_FILE), "AB".repeat(32) + "\n").unwrap();
        let (found, source) = trust(&arguments(&["--data-dir", data.path().to_str().unwrap()])).unwrap();
        assert!(matches!(found, Trust::Fingerprint(bytes) if bytes == [0xab; 32]));
        assert!(source.ends_with(FINGERPRINT_FILE));
        let given = "cd".repeat(32);
        let (found, _) = trust(&arguments(&["--fingerprint", &given])).unwrap();
        assert!(matches!(found, Trust::Fingerprint(bytes) if bytes == [0xcd; 32]));
    }

    #[test]
    fn a_device_keeps_its_id_and_a_new_one_gets_a_random_one() {
        let saved = SavedSession { device_id: "07".repeat(16), ..SavedSession::default() };
        assert_eq!(device_id(&saved), DeviceId([7; 16]));
        let fresh = SavedSession::default();
        assert_ne!(device_id(&fresh), device_id(&fresh));
    }

    #[test]
    fn the_device_name_is_within_the_protocols_limit() {
        assert!(device_name().len() <= DEVICE_NAME_BYTES_MAX);
    }
}
