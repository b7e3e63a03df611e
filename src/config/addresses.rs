//! Where the history and the summaries are kept, each as one line: `embedded:DIR`, `scylla://…`, `memory`, `redis://…`.

use serde::{Deserialize, Serialize};
use std::{fmt, path::PathBuf, str::FromStr};
use thiserror::Error;

/// The history, and everything else that must last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum StoreAddress {
    /// `embedded`: in the directory `store` of data_dir.
    #[default]
    Embedded,
    /// `embedded:DIR`: in another directory.
    EmbeddedIn(PathBuf),
    /// `scylla://node1,node2:9042/keyspace`.
    Scylla {
        /// Host or host:port, one at least. The others are learnt from whichever answers first.
        nodes: Vec<String>,
        /// A name of CQL that needs no quotes.
        keyspace: String,
    },
}

/// What can be made again from the history.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum SummariesAddress {
    /// `memory`: in this process.
    #[default]
    Memory,
    /// `redis://host:6379/0`, with TLS `rediss://…`. Several hosts are nodes of one cluster.
    Redis {
        /// Whether to speak TLS.
        tls: bool,
        /// Host or host:port, one at least.
        nodes: Vec<String>,
        /// Which of the server's databases. A cluster has only the first, 0.
        database: u32,
    },
}

impl FromStr for StoreAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text == "embedded" {
            return Ok(Self::Embedded);
        }
        if let Some(dir) = text.strip_prefix("embedded:") {
            return if dir.is_empty() { Err(AddressError::NoDirectory) } else { Ok(Self::EmbeddedIn(dir.into())) };
        }
        let Some(rest) = text.strip_prefix("scylla://") else { return Err(AddressError::UnknownStore(text.into())) };
        let (nodes, keyspace) = rest.split_once('/').unwrap_or((rest, ""));
        Ok(Self::Scylla { nodes: parse_nodes(nodes, "scylla")?, keyspace: parse_keyspace(keyspace)? })
    }
}

impl FromStr for SummariesAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text == "memory" {
            return Ok(Self::Memory);
        }
        let (tls, rest) = match (text.strip_prefix("redis://"), text.strip_prefix("rediss://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(AddressError::UnknownSummaries(text.into())),
        };
        let (nodes, database) = rest.split_once('/').unwrap_or((rest, ""));
        let nodes = parse_nodes(nodes, "redis")?;
        let database = match database {
            "" => 0,
            number => number.parse().map_err(|_| AddressError::Database(number.into()))?,
        };
        if nodes.len() > 1 && database > 0 {
            return Err(AddressError::DatabaseOfCluster(database));
        }
        Ok(Self::Redis { tls, nodes, database })
    }
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => write!(f, "embedded"),
            Self::EmbeddedIn(dir) => write!(f, "embedded:{}", dir.display()),
            Self::Scylla { nodes, keyspace } => write!(f, "scylla://{}/{keyspace}", nodes.join(",")),
        }
    }
}

impl fmt::Display for SummariesAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => write!(f, "memory"),
            Self::Redis { tls, nodes, database } => {
                write!(f, "redis{}://{}", if *tls { "s" } else { "" }, nodes.join(","))?;
                if *database > 0 { write!(f, "/{database}") } else { Ok(()) }
            }
        }
    }
}

macro_rules! as_text {
    ($type:ty) => {
        impl From<$type> for String {
            fn from(address: $type) -> Self {
                address.to_string()
            }
        }

        impl TryFrom<String> for $type {
            type Error = AddressError;

            fn try_from(text: String) -> Result<Self, AddressError> {
                text.parse()
            }
        }
    };
}

as_text!(StoreAddress);
as_text!(SummariesAddress);

fn parse_nodes(text: &str, section: &'static str) -> Result<Vec<String>, AddressError> {
    if text.contains('@') {
        return Err(AddressError::Credentials(section));
    }
    text.split(',')
        .map(|node| if is_node(node) { Ok(node.to_owned()) } else { Err(AddressError::Node(node.into())) })
        .collect()
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`; whether there is such a host is found out when it is connected to.
fn is_node(node: &str) -> bool {
    let (host, rest) = match node.strip_prefix('[') {
        Some(v6) => match v6.split_once(']') {
            Some((host, rest)) if host.parse::<std::net::Ipv6Addr>().is_ok() => (host, rest),
            _ => return false,
        },
        None => {
            let (host, rest) = node.split_at(node.find(':').unwrap_or(node.len()));
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            if !host.chars().all(plain) {
                return false;
            }
            (host, rest)
        }
    };
    let port = rest.strip_prefix(':').map(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    !host.is_empty() && (rest.is_empty() || port == Some(true))
}

fn parse_keyspace(name: &str) -> Result<String, AddressError> {
    let named = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= KEYSPACE_NAME_MAX
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if named { Ok(name.to_owned()) } else { Err(AddressError::Keyspace(name.into())) }
}

/// What both databases allow.
const KEYSPACE_NAME_MAX: usize = 48;

/// An address that is none. The text says what one looks like.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    /// None of the stores.
    #[error("{0:?} is no store; write \"embedded\", \"embedded:DIR\" or \"scylla://node1,node2/keyspace\"")]
    UnknownStore(String),
    /// Nothing after the colon.
    #[error("name a directory after embedded:, or write \"embedded\" alone for the one in data_dir")]
    NoDirectory,
    /// None of the places for summaries.
    #[error("{0:?} is no place for summaries; write \"memory\", \"redis://host\" or \"rediss://host\" (TLS)")]
    UnknownSummaries(String),
    /// Not a host.
    #[error("{0:?} is no host; write host or host:port, several separated by commas")]
    Node(String),
    /// A name or password where everybody can read it.
    #[error("no user or password belongs into an address; set {0}.user and {0}.password_file")]
    Credentials(&'static str),
    /// Not a name of a keyspace.
    #[error(
        "{0:?} is no keyspace; name one after the hosts, as in scylla://node1,node2/godwit: at most {KEYSPACE_NAME_MAX} small \
         letters, digits and _, a letter first"
    )]
    Keyspace(String),
    /// Not a number.
    #[error("{0:?} is no database; write its number after the host, as in redis://host/1, or nothing for 0")]
    Database(String),
    /// A cluster has one.
    #[error("several hosts are a cluster, and a cluster has no database {0}; leave the number out")]
    DatabaseOfCluster(u32),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(text: &str) -> Result<StoreAddress, AddressError> {
        text.parse()
    }

    fn summaries(text: &str) -> Result<SummariesAddress, AddressError> {
        text.parse()
    }

    #[test]
    fn an_address_is_printed_as_it_was_written() {
        for text in
            ["embedded", "embedded:/var/lib/a b", "scylla://db/godwit", "scylla://a:9042,[::1]:9043,10.0.0.1/g_1"]
        {
            assert_eq!(store(text).unwrap().to_string(), text);
        }
        for text in ["memory", "redis://localhost", "rediss://a:7000,b:7001", "redis://127.0.0.1:6379/3"] {
            assert_eq!(summaries(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn the_parts_of_an_address_are_found() {
        let (nodes, keyspace) = (vec!["a".to_owned(), "b:9043".to_owned()], "chat".to_owned());
        assert_eq!(store("scylla://a,b:9043/chat"), Ok(StoreAddress::Scylla { nodes, keyspace }));
        let nodes = vec!["a".to_owned()];
        assert_eq!(summaries("rediss://a/2"), Ok(SummariesAddress::Redis { tls: true, nodes, database: 2 }));
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_one_looks_like() {
        assert_eq!(store("postgres://db"), Err(AddressError::UnknownStore("postgres://db".into())));
        assert_eq!(store("embedded:"), Err(AddressError::NoDirectory));
        for nodes in ["", ":9042", "a,,b", "a:0", "a:99999", "a b", "::1", "[::1", "[x]:1", "a?x=1"] {
            assert!(matches!(store(&format!("scylla://{nodes}/k")), Err(AddressError::Node(_))), "{nodes}");
        }
        for keyspace in ["", "/", "/Chat", "/1a", "/a-b", "/a/b", &format!("/{}", "a".repeat(49))] {
            assert!(matches!(store(&format!("scylla://a{keyspace}")), Err(AddressError::Keyspace(_))), "{keyspace}");
        }
        assert_eq!(summaries("redis"), Err(AddressError::UnknownSummaries("redis".into())));
        assert_eq!(summaries("redis://a/x"), Err(AddressError::Database("x".into())));
        assert_eq!(summaries("redis://a,b/1"), Err(AddressError::DatabaseOfCluster(1)));
    }

    #[test]
    fn a_password_does_not_belong_into_an_address() {
        assert_eq!(store("scylla://me:secret@a/k"), Err(AddressError::Credentials("scylla")));
        assert_eq!(summaries("redis://:secret@a"), Err(AddressError::Credentials("redis")));
        assert!(!AddressError::Credentials("redis").to_string().contains("secret"));
    }
}
