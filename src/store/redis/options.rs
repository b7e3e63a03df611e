//! Where Redis is and how it is used.

use super::error::OpenError;
use redis::{
    ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, RedisResult,
    TlsCertificates, io::tcp::TcpSettings,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use std::{fmt, time::Duration};
use thiserror::Error;

const DEFAULT_PORT: u16 = 6379;

/// Where Redis is and how it is used.
#[derive(Clone)]
pub struct RedisOptions {
    /// `host` or `host:port`, one at least; `[address]:port` for IPv6. Several are nodes of one cluster.
    pub nodes: Vec<String>,
    /// Whether to speak TLS.
    pub tls: bool,
    /// Which database. A cluster has only the first, 0.
    pub database: u32,
    /// Who to log in as. `None`: the server's default user.
    pub user: Option<String>,
    /// `None`: without logging in.
    pub password: Option<String>,
    /// What the server's certificate is checked against, PEM. `None`: the roots of this system.
    pub ca_pem: Option<Vec<u8>>,
    /// The certificate to show, and its private key, both PEM.
    pub client_pem: Option<(Vec<u8>, Vec<u8>)>,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long an answer may take. What has none by then is read from the store, and Redis is left alone for a moment.
    pub response_timeout: Duration,
    /// What all keys begin with. Two servers with stores of their own need different ones if they share a database.
    pub prefix: String,
    /// How long a summary that is not written is kept. A shorter time costs a read of the store the next time that
    /// somebody asks, a longer one costs memory in Redis.
    pub keep: Duration,
    /// How many summaries a second are compared with the store, of those that were read from Redis lately. 0: none.
    pub audits_per_second: u32,
    /// How often a node says that it lives. After three times as long without it, nobody believes that its users are online.
    pub beat: Duration,
}

/// An address that is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UrlError {
    /// Neither scheme.
    #[error("{0:?} does not begin with redis:// or rediss:// (TLS)")]
    Scheme(String),
    /// Not `host` or `host:port`.
    #[error("{0:?} is no address of a Redis server; write host or host:port, several separated by commas")]
    Node(String),
    /// Not a number.
    #[error("{0:?} is no database; write its number after the host, as in redis://host/1, or nothing for 0")]
    Database(String),
    /// Clusters have one database.
    #[error("a Redis Cluster has only database 0, not {0}; leave it out")]
    DatabaseOfCluster(u32),
}

impl RedisOptions {
    /// With all limits as they are by default.
    pub fn new(nodes: Vec<String>) -> Self {
        Self {
            nodes,
            tls: false,
            database: 0,
            user: None,
            password: None,
            ca_pem: None,
            client_pem: None,
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_millis(500),
            prefix: "godwit".to_owned(),
            keep: Duration::from_secs(7 * 24 * 3600),
            audits_per_second: 10,
            beat: Duration::from_secs(10),
        }
    }

    /// From `redis://host:port/database`, with TLS `rediss://…`; several hosts, separated by commas, are a cluster.
    pub fn from_url(url: &str) -> Result<Self, UrlError> {
        let (tls, rest) = match (url.strip_prefix("redis://"), url.strip_prefix("rediss://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(UrlError::Scheme(url.to_owned())),
        };
        let (nodes, database) = rest.split_once('/').unwrap_or((rest, ""));
        let nodes: Vec<String> = nodes.split(',').map(str::to_owned).collect();
        let database = match database {
            "" => 0,
            number => number.parse().map_err(|_| UrlError::Database(number.to_owned()))?,
        };
        if nodes.len() > 1 && database > 0 {
            return Err(UrlError::DatabaseOfCluster(database));
        }
        let options = Self { tls, database, ..Self::new(nodes) };
        options.addresses()?;
        Ok(options)
    }

    /// Host and port of each node.
    pub(super) fn addresses(&self) -> Result<Vec<(String, u16)>, UrlError> {
        if self.nodes.is_empty() {
            return Err(UrlError::Node(String::new()));
        }
        self.nodes.iter().map(|node| address(node).ok_or_else(|| UrlError::Node(node.clone()))).collect()
    }

    /// How the client reaches each node.
    pub(super) fn connections(&self, addresses: &[(String, u16)]) -> RedisResult<Vec<ConnectionInfo>> {
        let each = addresses.iter().map(|(host, port)| {
            let mut login = RedisConnectionInfo::default().set_db(i64::from(self.database));
            if let Some(user) = &self.user {
                login = login.set_username(user);
            }
            if let Some(password) = &self.password {
                login = login.set_password(password);
            }
            let mut info = (host.clone(), *port).into_connection_info()?;
            if self.tls {
                let (host, port) = (host.clone(), *port);
                info = info.set_addr(ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None });
            }
            // The client does not ask for it, and a pipeline would wait for the acknowledgement of the one before.
            Ok(info.set_redis_settings(login).set_tcp_settings(TcpSettings::default().set_nodelay(true)))
        });
        each.collect()
    }

    pub(super) fn certificates(&self) -> Result<TlsCertificates, OpenError> {
        let holds_one = |pem: &Vec<u8>| CertificateDer::pem_slice_iter(pem).next().is_some();
        let certificate = self.client_pem.as_ref().map(|(certificate, _)| certificate);
        for (key, pem) in [("ca_file", self.ca_pem.as_ref()), ("cert_file", certificate)] {
            // The client takes such a file for one that trusts nobody.
            if pem.is_some_and(|pem| !holds_one(pem)) {
                return Err(OpenError::Certificates(format!("redis.{key} holds no certificate in PEM")));
            }
        }
        let client_tls =
            self.client_pem.clone().map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        Ok(TlsCertificates { client_tls, root_cert: self.ca_pem.clone() })
    }
}

impl fmt::Debug for RedisOptions {
    /// Without the password and the private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("nodes", &self.nodes)
            .field("tls", &self.tls)
            .field("database", &self.database)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

fn address(node: &str) -> Option<(String, u16)> {
    let (host, port) = match node.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':').or(rest.is_empty().then_some(""))?)
        }
        None => node.split_once(':').unwrap_or((node, "")),
    };
    let is_name = !host.is_empty() && !host.contains(['@', '/', ' ']);
    let port = if port.is_empty() { Some(DEFAULT_PORT) } else { port.parse().ok().filter(|port| *port > 0) };
    port.filter(|_| is_name).map(|port| (host.to_owned(), port))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_hosts_ports_and_a_database() {
        let options = RedisOptions::from_url("redis://localhost/3").unwrap();
        assert_eq!((options.tls, options.database), (false, 3));
        assert_eq!(options.addresses().unwrap(), [("localhost".to_owned(), 6379)]);
        let options = RedisOptions::from_url("rediss://a:7000,[::1]:7001").unwrap();
        assert!(options.tls);
        assert_eq!(options.addresses().unwrap(), [("a".to_owned(), 7000), ("::1".to_owned(), 7001)]);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let refused = |url: &str| RedisOptions::from_url(url).unwrap_err();
        assert_eq!(refused("http://a"), UrlError::Scheme("http://a".into()));
        assert_eq!(refused("redis://"), UrlError::Node(String::new()));
        assert_eq!(refused("redis://a:x"), UrlError::Node("a:x".into()));
        assert_eq!(refused("redis://a:0"), UrlError::Node("a:0".into()));
        assert_eq!(refused("redis://a,,b"), UrlError::Node(String::new()));
        assert_eq!(refused("redis://a/b"), UrlError::Database("b".into()));
        assert_eq!(refused("redis://a,b/1"), UrlError::DatabaseOfCluster(1));
    }

    #[test]
    fn the_password_is_not_printed() {
        let options = RedisOptions { password: Some("secret".into()), ..RedisOptions::new(vec!["a".into()]) };
        assert!(!format!("{options:?}").contains("secret"));
    }
}
