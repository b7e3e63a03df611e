//! One typed configuration: defaults < `godwit.toml` < `GODWIT_*` environment variables < flags.
//!
//! A key of a section is named `section.key` on the command line, and `GODWIT_SECTION__KEY` in the environment (two
//! underscores, because keys have single ones): `limits.idle_timeout_ms`, `GODWIT_LIMITS__IDLE_TIMEOUT_MS`. Values in
//! both are written as in TOML, quotes around a string being optional. `godwit config` prints every key with its
//! documentation and the value in force.
//!
//! Only `server.rs` and the command line know this type; every other part is handed the few numbers that it needs.

mod addresses;
mod check;
mod load;
mod print;
mod section;
mod sections;

pub use addresses::{AddressError, StoreAddress, SummariesAddress};
pub use load::{ConfigError, Loaded, Overrides};
pub use sections::{
    Delivery, Embedded, Limits, Log, LogFormat, Metrics, Password, Redis, Registration, RegistrationMode, Schedule,
    Scylla, Tls, Token, Transport,
};

use section::{Section, section};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

section! {
    /// Everything an operator can decide.
    Config {
        /// The UDP address for clients. The default is reached from this machine only; 0.0.0.0:4433 opens it to others.
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 4433));
        /// How many cores to serve with, one pinned thread each. 0: all.
        cores: usize = 0, in 0..=1024;
        /// Where everything is kept that store does not say otherwise of. One server at a time.
        data_dir: PathBuf = PathBuf::from("godwit-data");
        /// Where history, accounts and timers are kept: "embedded", in data_dir; "embedded:DIR"; or
        /// "scylla://node1,node2/keyspace", for ScyllaDB or Apache Cassandra.
        store: StoreAddress = StoreAddress::default();
        /// Where summaries are kept, which can be made again from the store: "memory"; "redis://host", with TLS
        /// "rediss://host"; several hosts, separated by commas, are a cluster.
        summaries: SummariesAddress = SummariesAddress::default();
        /// The server's certificate.
        tls: Tls = Tls::default();
        /// Who may make an account.
        registration: Registration = Registration::default();
        /// What a peer can make the server keep, and for how long. "Per core" limits count on each core by itself.
        limits: Limits = Limits::default();
        /// QUIC: windows, packets and sockets.
        transport: Transport = Transport::default();
        /// The embedded store.
        embedded: Embedded = Embedded::default();
        /// The store on ScyllaDB or Apache Cassandra.
        scylla: Scylla = Scylla::default();
        /// Summaries in Redis.
        redis: Redis = Redis::default();
        /// How passwords are hashed: Argon2id. A hash remembers its own parameters, so a change is for new passwords.
        password: Password = Password::default();
        /// What a device logs in with after the first time.
        token: Token = Token::default();
        /// Entries that clients do not acknowledge.
        delivery: Delivery = Delivery::default();
        /// Messages that are sent later.
        schedule: Schedule = Schedule::default();
        /// Metrics and health for the operator, over HTTP.
        metrics: Metrics = Metrics::default();
        /// What the server writes to standard error.
        log: Log = Log::default();
    }
}

impl Config {
    /// Who may register: what the operator said, else everybody on a loopback address and nobody elsewhere.
    pub fn registration_mode(&self) -> RegistrationMode {
        let by_address = if self.listen.ip().is_loopback() { RegistrationMode::Open } else { RegistrationMode::Closed };
        self.registration.mode.unwrap_or(by_address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registration_is_open_by_default_on_loopback_only() {
        let mut config = Config::default();
        assert_eq!(config.registration_mode(), RegistrationMode::Open);
        config.listen = "0.0.0.0:4433".parse().unwrap();
        assert_eq!(config.registration_mode(), RegistrationMode::Closed);
        config.listen = "[::1]:4433".parse().unwrap();
        assert_eq!(config.registration_mode(), RegistrationMode::Open);
    }

    #[test]
    fn what_the_operator_says_about_registration_counts_everywhere() {
        let mut config = Config { listen: "0.0.0.0:4433".parse().unwrap(), ..Config::default() };
        config.registration.mode = Some(RegistrationMode::Invitation);
        assert_eq!(config.registration_mode(), RegistrationMode::Invitation);
    }
}
