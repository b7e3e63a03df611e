//! Redis over TLS, with users: used when everything is right, and what is said at the start when something is not.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/certificates.rs"]
mod certificates;
mod redis_suite;
#[path = "support/server.rs"]
mod server;
mod store_suite;

use certificates::{Authority, Certified};
use godwit::{
    config::{Config, Redis},
    server::Server,
    store::redis::{Epoch, OpenError, RedisOptions, Summarised},
};
use redis_suite::{RUNTIME, chat::Chat, embedded, open, server as redis_server, until};
use server::TestServer;
use std::{path::Path, time::Duration};
use tempfile::TempDir;

/// A server that asks for a certificate, and for a user.
struct Tls {
    server: redis_server::Server,
    authority: Authority,
    client: Certified,
    files: TempDir,
}

impl Tls {
    /// `None`: there is no Redis, and need not be.
    fn start(names: &[&str], asks_for_certificate: bool) -> Option<Self> {
        let (authority, files) = (Authority::new("the authority"), tempfile::tempdir().unwrap());
        let at = |path: &Path| path.to_str().unwrap().to_owned();
        let ca = certificates::write(files.path(), "ca.pem", &authority.pem);
        let (certificate, key) = authority.certify(names).write(files.path(), "server");
        let server = redis_server::Server::start_tls(&[
            "--tls-ca-cert-file",
            &at(&ca),
            "--tls-cert-file",
            &at(&certificate),
            "--tls-key-file",
            &at(&key),
            "--tls-auth-clients",
            if asks_for_certificate { "yes" } else { "no" },
            "--requirepass",
            "of everybody",
            "--user",
            "godwit",
            "on",
            ">secret",
            "~godwit:*",
            "+@read",
            "+@write",
            "+@scripting",
            "+info",
            "+ping",
            "+cluster",
        ])?;
        let client = authority.certify(&["godwit"]);
        Some(Self { server, authority, client, files })
    }

    fn url(&self, host: &str) -> String {
        format!("rediss://{host}:{}", self.server.port)
    }

    /// With all that is needed.
    fn options(&self) -> RedisOptions {
        RedisOptions {
            user: Some("godwit".to_owned()),
            password: Some("secret".to_owned()),
            ca_pem: Some(self.authority.pem.clone().into_bytes()),
            client_pem: Some(pem(&self.client)),
            // A handshake takes a while on a machine that has much else to do.
            connect_timeout: Duration::from_secs(10),
            ..RedisOptions::from_url(&self.url("127.0.0.1")).unwrap()
        }
    }
}

fn pem(certified: &Certified) -> (Vec<u8>, Vec<u8>) {
    (certified.certificate.clone().into_bytes(), certified.key.clone().into_bytes())
}

#[track_caller]
fn refused(options: RedisOptions) -> OpenError {
    let (store, _dir) = embedded();
    let opened = RUNTIME.block_on(Summarised::open(store, options, Epoch::Sole(1), RUNTIME.handle().clone()));
    opened.err().expect("it must be refused")
}

/// It is about TLS, says what is wrong, and where that is corrected.
#[track_caller]
fn tls_fails(options: RedisOptions, reason: &str, key: &str) {
    let error = refused(options);
    assert!(matches!(error, OpenError::Certificates(_)), "{error:?}");
    let said = error.to_string();
    assert!(said.contains(reason) && said.contains(key), "{said}");
}

#[test]
fn a_redis_with_tls_that_asks_for_a_certificate_and_a_password_is_used() {
    let Some(tls) = Tls::start(&["127.0.0.1"], true) else { return };
    let chat = Chat::new(4, |truth| open(truth, tls.options(), 1));
    assert!(chat.lists.is_up());
    chat.warm();
}

#[test]
fn a_redis_that_asks_for_no_certificate_is_used_without_one() {
    let Some(tls) = Tls::start(&["localhost"], false) else { return };
    let nodes = vec![format!("localhost:{}", tls.server.port)];
    let chat = Chat::new(4, |truth| open(truth, RedisOptions { nodes, client_pem: None, ..tls.options() }, 1));
    chat.warm();
}

#[test]
fn a_redis_that_is_not_trusted_stops_the_start() {
    let Some(tls) = Tls::start(&["127.0.0.1"], true) else { return };
    let trusting = |ca: Option<String>| RedisOptions { ca_pem: ca.map(String::into_bytes), ..tls.options() };
    tls_fails(trusting(Some(Authority::new("another").pem)), "UnknownIssuer", "redis.ca_file");
    tls_fails(trusting(None), "UnknownIssuer", "redis.ca_file");
    tls_fails(trusting(Some("nothing".to_owned())), "holds no certificate", "redis.ca_file");
    let nodes = vec![format!("localhost:{}", tls.server.port)];
    tls_fails(RedisOptions { nodes, ..tls.options() }, "not valid for name \"localhost\"", "name the host");
}

#[test]
fn a_redis_that_does_not_trust_us_stops_the_start() {
    let Some(tls) = Tls::start(&["127.0.0.1"], true) else { return };
    let showing = |pem| RedisOptions { client_pem: pem, ..tls.options() };
    tls_fails(showing(None), "CertificateRequired", "redis.cert_file");
    let strange = Authority::new("another").certify(&["godwit"]);
    tls_fails(showing(Some(pem(&strange))), "UnknownCA", "redis.cert_file");
    let of_another_key = (pem(&tls.client).0, pem(&strange).1);
    tls_fails(showing(Some(of_another_key)), "KeyMismatch", "redis.key_file");
    tls_fails(showing(Some((b"nothing".to_vec(), pem(&tls.client).1))), "holds no certificate", "redis.cert_file");
}

#[test]
fn a_password_that_is_wrong_or_missing_stops_the_start() {
    let Some(tls) = Tls::start(&["127.0.0.1"], true) else { return };
    let log_in = |user: Option<&str>, password: Option<&str>| {
        let (user, password) = (user.map(str::to_owned), password.map(str::to_owned));
        let error = refused(RedisOptions { user, password, ..tls.options() });
        assert!(matches!(error, OpenError::Refused(_)), "{error:?}");
        let said = error.to_string();
        assert!(said.contains("redis.user") && said.contains("redis.password_file"), "{said}");
        said
    };
    assert!(log_in(None, None).contains("NOAUTH"));
    log_in(Some("godwit"), Some("wrong"));
    log_in(None, Some("secret"));
    log_in(Some("nobody"), Some("secret"));
}

#[test]
fn a_redis_with_tls_that_is_only_away_is_used_when_it_comes() {
    let Some(mut tls) = Tls::start(&["127.0.0.1"], true) else { return };
    tls.server.kill();
    let chat = Chat::new(4, |truth| open(truth, tls.options(), 1));
    assert!(!chat.lists.is_up());
    assert_eq!(chat.check(), 0, "the store answers");
    tls.server.restart();
    until("it is there", || chat.lists.is_up());
    chat.warm();
}

#[test]
fn a_server_takes_files_and_password_from_its_configuration() {
    let Some(tls) = Tls::start(&["127.0.0.1"], true) else { return };
    let files = tls.files.path();
    let (certificate, key) = tls.client.write(files, "client");
    let set = |config: &mut Config| {
        config.summaries = tls.url("127.0.0.1").parse().unwrap();
        config.redis = Redis {
            user: Some("godwit".to_owned()),
            password_file: Some(certificates::write(files, "password", "secret\n")),
            ca_file: Some(files.join("ca.pem")),
            cert_file: Some(certificate.clone()),
            key_file: Some(key.clone()),
            connect_timeout_ms: 10_000,
            ..Redis::default()
        };
    };
    let started = TestServer::start_with(set);
    let mut config = started.config.clone();
    drop(started);
    config.redis.ca_file = Some(certificates::write(files, "another.pem", &Authority::new("another").pem));
    let error = Server::start(&config).err().expect("it must not start");
    assert!(error.to_string().contains("redis.ca_file"), "{error}");
    config.redis.ca_file = Some(files.join("missing.pem"));
    let error = Server::start(&config).err().expect("it must not start");
    assert!(error.to_string().contains("missing.pem, which redis.ca_file names"), "{error}");
}
