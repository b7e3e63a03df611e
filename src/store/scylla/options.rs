//! What a store on ScyllaDB or Cassandra is opened with.

use super::error::OpenError;
use std::{
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};
use zeroize::Zeroizing;

const KIB: usize = 1024;

/// Where the cluster is, how to get in, and every limit that the store keeps.
#[derive(Clone)]
pub struct ScyllaOptions {
    /// Nodes to begin with, as `host:port`; the others are found through them.
    pub nodes: Vec<String>,
    /// Everything is in it: one owner at a time.
    pub keyspace: String,
    /// Whom to log in as. `None`: the cluster asks nobody.
    pub user: Option<String>,
    /// Their password.
    pub password: Option<Zeroizing<String>>,
    /// `None`: plain TCP, for a network that nobody else is on.
    pub tls: Option<TlsOptions>,
    /// Requests go to nodes of this data centre, and a quorum is one of its replicas. `None`: there is only one.
    pub datacenter: Option<String>,
    /// How many nodes of the data centre have each row, when the keyspace is created. `None`: three, or all there are.
    pub replication_factor: Option<NonZeroUsize>,
    /// Everything is to be copied into it: it must be empty, or have been begun to be copied into before. Nobody else opens it
    /// until [`super::Scylla::copy_complete`] was called.
    pub receives_copy: bool,
    /// Whether opening creates what is missing. Without it, a missing or old schema is an error that names the command.
    pub migrate: bool,
    /// How long a server that migrates may be silent before another one goes on in its place.
    pub migration_silence_max: Duration,
    /// How long one request may take. What a write did is unknown after that.
    pub request_timeout: Duration,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// Connections to each node of Cassandra. ScyllaDB gets one for each of its shards.
    pub connections_per_host: NonZeroUsize,
    /// How long the lease on the keyspace holds: what a crash costs before another server may take over.
    pub lease_ms: u64,
    /// What others call this server, in the lease and in messages about it.
    pub address: String,
    /// Writes on their way to the cluster at once. More of them wait.
    pub writes_in_flight_max: usize,
    /// Reads on their way to the cluster at once. More of them wait.
    pub reads_in_flight_max: usize,
    /// Bytes of entries in one batch. Servers warn about batches that are larger than a few times that.
    pub batch_bytes_max: usize,
    /// Entries in one batch.
    pub batch_entries_max: usize,
    /// Conversations whose head is remembered, so that a commit need not read it.
    pub conversations_cached_max: usize,
}

/// Files in PEM.
#[derive(Debug, Clone)]
pub struct TlsOptions {
    /// Who may sign the nodes' certificates, which have to name the nodes' IP addresses.
    pub ca_file: PathBuf,
    /// The certificate that the cluster knows this server by, and its private key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl ScyllaOptions {
    /// The defaults, for a cluster and a keyspace. Nodes are named as in [`ScyllaOptions::from_url`].
    pub fn new(nodes: Vec<String>, keyspace: impl Into<String>) -> Self {
        Self {
            nodes: nodes.into_iter().map(|node| with_port(&node).unwrap_or(node)).collect(),
            keyspace: keyspace.into(),
            user: None,
            password: None,
            tls: None,
            datacenter: None,
            replication_factor: None,
            receives_copy: false,
            migrate: true,
            migration_silence_max: Duration::from_secs(15),
            request_timeout: Duration::from_secs(3),
            connect_timeout: Duration::from_secs(5),
            connections_per_host: NonZeroUsize::MIN.saturating_add(2),
            lease_ms: 10_000,
            address: format!("process {}", std::process::id()),
            writes_in_flight_max: 256,
            reads_in_flight_max: 256,
            batch_bytes_max: 32 * KIB,
            batch_entries_max: 64,
            conversations_cached_max: 64 * KIB,
        }
    }

    /// From `scylla://HOST[:PORT][,HOST[:PORT]…]/KEYSPACE`. An IPv6 address stands in brackets.
    pub fn from_url(url: &str) -> Result<Self, OpenError> {
        let wrong = |reason: &str| OpenError::Url { url: without_login(url), reason: reason.to_owned() };
        let rest = url.strip_prefix("scylla://").ok_or_else(|| wrong("it does not begin with scylla://"))?;
        let (hosts, keyspace) = rest.split_once('/').ok_or_else(|| wrong("it names no keyspace"))?;
        if hosts.contains('@') {
            return Err(wrong("user and password have no place in it; set scylla.user and scylla.password_file"));
        }
        let keyspace = keyspace.trim_end_matches('/');
        if !is_keyspace(keyspace) {
            return Err(wrong(
                "a keyspace begins with a lower-case letter, then come lower-case letters, digits and _, 48 in all at most",
            ));
        }
        let nodes = hosts.split(',').map(|host| {
            with_port(host).ok_or_else(|| wrong("a node is HOST or HOST:PORT, an IPv6 address in brackets"))
        });
        Ok(Self::new(nodes.collect::<Result<_, _>>()?, keyspace))
    }

    /// Takes the password of the user from a file, a line break at its end aside.
    pub fn read_password(&mut self, path: &Path) -> Result<(), OpenError> {
        let wrong = |reason: String| OpenError::PasswordFile { path: path.to_owned(), reason };
        let text = Zeroizing::new(fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?);
        let password = text.trim_end_matches(['\r', '\n']);
        if password.is_empty() {
            return Err(wrong("it is empty".to_owned()));
        }
        self.password = Some(Zeroizing::new(password.to_owned()));
        Ok(())
    }
}

impl std::fmt::Debug for ScyllaOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScyllaOptions")
            .field("nodes", &self.nodes)
            .field("keyspace", &self.keyspace)
            .finish_non_exhaustive()
    }
}

/// Where CQL is spoken unless somebody says otherwise.
const PORT: u16 = 9042;

const KEYSPACE_CHARS_MAX: usize = 48;

/// Names in CQL that need no quotes, so that nothing depends on their case.
fn is_keyspace(name: &str) -> bool {
    name.len() <= KEYSPACE_CHARS_MAX
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn with_port(host: &str) -> Option<String> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            (&host[..address.len() + 2], port)
        }
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|port| *port != 0)?,
        None if port.is_empty() => PORT,
        None => return None,
    };
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':');
    (!name.is_empty() && name.chars().all(valid)).then(|| format!("{name}:{port}"))
}

/// A password that somebody wrote into the address must not end up in a log.
fn without_login(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(start), Some(at)) if at > start => format!("{}://…{}", &url[..start], &url[at..]),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_nodes_and_a_keyspace() {
        let options = ScyllaOptions::from_url("scylla://one,two.example:9043,[::1],[fe80::2]:19042/chat_1").unwrap();
        assert_eq!(options.nodes, ["one:9042", "two.example:9043", "[::1]:9042", "[fe80::2]:19042"]);
        assert_eq!(options.keyspace, "chat_1");
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said() {
        for (url, reason) in [
            ("cassandra://one/chat", "begin"),
            ("scylla://one", "no keyspace"),
            ("scylla://one/", "a keyspace begins"),
            ("scylla://one/Chat", "a keyspace begins"),
            ("scylla://one/chat/more", "a keyspace begins"),
            ("scylla:///chat", "a node is"),
            ("scylla://one,,two/chat", "a node is"),
            ("scylla://one:0/chat", "a node is"),
            ("scylla://one:port/chat", "a node is"),
            ("scylla://[::1/chat", "a node is"),
            ("scylla://::1/chat", "a node is"),
        ] {
            let error = ScyllaOptions::from_url(url).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains(url), "{url}: {error}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_not_repeated() {
        let error = ScyllaOptions::from_url("scylla://me:secret@one/chat").unwrap_err().to_string();
        assert!(!error.contains("secret") && error.contains("scylla.password_file"), "{error}");
    }
}
