//! What an application decides before it connects.

use crate::{SharedEndpoint, backoff::Backoff};
use bytes::Bytes;
use godwit_proto::{ConversationId, DeviceId, Seq, UserId};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{fmt, path::Path, sync::Arc, time::Duration};
use thiserror::Error;

/// Everything [`Client::connect`](crate::Client::connect) needs. Start from [`ClientConfig::new`] and change fields.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// `host:port`. A name is looked up again at every attempt to connect.
    pub server: String,
    /// The name that the certificate must carry, and that is sent as SNI. The host of `server` when `None`.
    pub server_name: Option<String>,
    /// How the server proves who it is.
    pub trust: Trust,
    /// This installation: chosen at random once and kept.
    pub device_id: DeviceId,
    /// What the user reads in a list of devices: at most 64 bytes.
    pub device_name: String,
    /// Program and version, for the operator's log: at most 64 bytes.
    pub client_name: String,
    /// Who logs in, and how. After the first login the client resumes with the token that it got.
    pub credentials: Credentials,
    /// The user, where it is known before the login (from an earlier one): the connection then starts on the user's own
    /// core and saves the server a hop for every frame. Learnt at the first login otherwise.
    pub user_id: Option<UserId>,
    /// Where to begin in conversations that exist already and are not in `known`.
    pub catch_up: CatchUp,
    /// The newest seq that the application holds, per conversation, from an earlier run.
    pub known: Vec<(ConversationId, Seq)>,
    /// Goes on trying to reach the server at the first connect too, instead of returning
    /// [`ConnectError::Unreachable`](crate::ConnectError::Unreachable).
    pub wait_for_server: bool,
    /// How long one attempt to connect and log in may take. Attempts to reconnect begin with 2 s and get more if that is
    /// not enough.
    pub connect_timeout: Duration,
    /// A packet is sent after this long without one. `None`: 10 s on the first connection, from then on a third of the
    /// server's idle timeout and at most 20 s. A short one notices sooner that the server is gone, and costs battery.
    pub keep_alive: Option<Duration>,
    /// A connection on which nothing arrived for this long is given up. The server's own limit holds if it is shorter.
    pub idle_timeout: Duration,
    /// The wait between attempts to reconnect.
    pub backoff: Backoff,
    /// The bounds of queues and windows.
    pub limits: ClientLimits,
    /// A UDP socket that several clients share; `None` binds one for this client.
    pub endpoint: Option<SharedEndpoint>,
}

impl ClientConfig {
    /// A configuration with the defaults and a random device id. Keep the id if the installation is to stay one device.
    pub fn new(server: impl Into<String>, trust: Trust, credentials: Credentials) -> Self {
        Self {
            server: server.into(),
            server_name: None,
            trust,
            device_id: DeviceId(rand::random()),
            device_name: "godwit-client".into(),
            client_name: concat!("godwit-client/", env!("CARGO_PKG_VERSION")).into(),
            credentials,
            user_id: None,
            catch_up: CatchUp::FromNewest,
            known: Vec::new(),
            wait_for_server: false,
            connect_timeout: Duration::from_secs(10),
            keep_alive: None,
            idle_timeout: Duration::from_secs(30),
            backoff: Backoff::default(),
            limits: ClientLimits::default(),
            endpoint: None,
        }
    }

    /// The name for SNI and for the certificate: `server_name`, or the host of `server`.
    pub(crate) fn expected_name(&self) -> &str {
        if let Some(name) = &self.server_name {
            return name;
        }
        let host = self.server.rsplit_once(':').map_or(self.server.as_str(), |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }
}

/// How the server proves who it is. Every variant checks the handshake's signature; none trusts everybody.
#[derive(Clone)]
pub enum Trust {
    /// The SHA-256 of the server's own certificate (DER). For the self-signed one that a server makes at first start.
    Fingerprint([u8; 32]),
    /// A certificate chain to one of these roots, for the expected name.
    Roots(Arc<RootCertStore>),
}

impl Trust {
    /// The roots in a PEM file.
    pub fn roots_from_pem_file(path: impl AsRef<Path>) -> Result<Self, InvalidTrust> {
        let certificates = CertificateDer::pem_file_iter(path).map_err(InvalidTrust::read)?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate.map_err(InvalidTrust::read)?).map_err(InvalidTrust::read)?;
        }
        if roots.is_empty() {
            return Err(InvalidTrust("the file holds no certificate".into()));
        }
        Ok(Self::Roots(Arc::new(roots)))
    }

    /// A fingerprint as the server prints it: 64 hexadecimal digits, with or without colons, in either case.
    pub fn fingerprint_from_hex(text: &str) -> Result<Self, InvalidTrust> {
        let digits: Vec<u8> = text.bytes().filter(|&byte| byte != b':').collect();
        let mut fingerprint = [0; 32];
        if digits.len() != 2 * fingerprint.len() {
            return Err(InvalidTrust::fingerprint());
        }
        for (byte, pair) in fingerprint.iter_mut().zip(digits.chunks_exact(2)) {
            let nibble = |digit: u8| char::from(digit).to_digit(16).ok_or_else(InvalidTrust::fingerprint);
            *byte = (nibble(pair[0])? << 4 | nibble(pair[1])?) as u8;
        }
        Ok(Self::Fingerprint(fingerprint))
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fingerprint(fingerprint) => {
                f.write_str("Fingerprint(")?;
                fingerprint.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_str(")")
            }
            Self::Roots(roots) => write!(f, "Roots({})", roots.len()),
        }
    }
}

/// A fingerprint or a file of roots that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct InvalidTrust(String);

impl InvalidTrust {
    fn fingerprint() -> Self {
        Self("a fingerprint is 64 hexadecimal digits".into())
    }

    fn read(error: impl fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// Who logs in, and how.
#[derive(Clone)]
pub enum Credentials {
    /// Makes an account. If the connection breaks off before the answer, the next attempt finds out whether it was made.
    Register {
        /// The name to register.
        username: String,
        /// Its password.
        password: String,
        /// What others read; the username when empty.
        display_name: String,
        /// Needed where the server registers by invitation; otherwise empty.
        invitation: String,
    },
    /// Logs in with the password.
    Login {
        /// The name, without regard to case.
        username: String,
        /// Its password.
        password: String,
    },
    /// Logs in with the token of an earlier login of the same device.
    Token {
        /// What [`Client::token`](crate::Client::token) returned then.
        token: Bytes,
    },
}

impl fmt::Debug for Credentials {
    /// Without passwords and tokens: a configuration ends up in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register { username, .. } => write!(f, "Register({username:?})"),
            Self::Login { username, .. } => write!(f, "Login({username:?})"),
            Self::Token { .. } => f.write_str("Token"),
        }
    }
}

/// Where the stream of entries begins in conversations that exist before the first connect and are not in
/// [`ClientConfig::known`]. A conversation that comes into being later always begins at its first entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CatchUp {
    /// With the first entry that the user may read: everything is fetched.
    FromStart,
    /// After the newest entry. Older ones are there for [`Client::history`](crate::Client::history).
    #[default]
    FromNewest,
}

/// The bounds of what one client holds in memory and has under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientLimits {
    /// Events that wait for the application. Beyond them the client stops reading pushes.
    pub events_max: usize,
    /// Messages that were given to `send` and are not durable yet. Beyond them `send` waits.
    pub outbox_messages_max: usize,
    /// Messages sent and not acknowledged, in all conversations.
    pub sends_in_flight_max: usize,
    /// Messages sent and not acknowledged, in one conversation.
    pub sends_in_flight_per_conversation_max: usize,
    /// Entries that arrived before one that precedes them. Beyond them entries are dropped and fetched from the log.
    pub early_entries_max: usize,
    /// Bytes that may arrive on one stream before the client read them.
    pub stream_window_bytes: u32,
    /// How long an acknowledgement of entries may wait for another frame to travel with.
    pub ack_delay: Duration,
    /// The least time between two acknowledgements that travel alone, while entries keep coming.
    pub ack_interval: Duration,
    /// How long a gap between entries may wait for the missing ones to arrive by themselves before they are fetched.
    pub gap_delay: Duration,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            events_max: 256,
            outbox_messages_max: 256,
            sends_in_flight_max: 128,
            sends_in_flight_per_conversation_max: 32,
            early_entries_max: 256,
            stream_window_bytes: 128 * 1024,
            ack_delay: Duration::from_millis(25),
            ack_interval: Duration::from_millis(250),
            gap_delay: Duration::from_millis(100),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    fn config(server: &str) -> ClientConfig {
        let credentials = Credentials::Login { username: "a".into(), password: "secret".into() };
        ClientConfig::new(server, Trust::Fingerprint([0; 32]), credentials)
    }

    #[test]
    fn the_expected_name_is_the_host_unless_one_is_given() {
        assert_eq!(config("chat.example:4433").expected_name(), "chat.example");
        assert_eq!(config("[::1]:4433").expected_name(), "::1");
        let named = ClientConfig { server_name: Some("other".into()), ..config("127.0.0.1:1") };
        assert_eq!(named.expected_name(), "other");
    }

    #[test]
    fn a_fingerprint_is_read_with_and_without_colons() {
        let plain = "0123456789abcdef".repeat(4);
        let colons = plain.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap()).collect::<Vec<_>>();
        let Ok(Trust::Fingerprint(a)) = Trust::fingerprint_from_hex(&plain) else { panic!("{plain}") };
        let Ok(Trust::Fingerprint(b)) = Trust::fingerprint_from_hex(&colons.join(":").to_uppercase()) else { panic!() };
        assert_eq!((a, a[1]), (b, 0x23));
        assert!(Trust::fingerprint_from_hex(&plain[1..]).is_err());
        assert!(Trust::fingerprint_from_hex(&plain.replace('a', "g")).is_err());
    }

    #[test]
    fn a_password_does_not_show_in_debug_output() {
        assert!(!format!("{:?}", config("a:1")).contains("secret"));
    }
}
