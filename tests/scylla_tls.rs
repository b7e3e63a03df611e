//! A cluster that speaks TLS alone, wants to see a certificate and asks for a user and a password: used when everything is right,
//! and what is said at the start when something is not.
//!
//! It is a Cassandra of this test's own, which takes 0.8 GB of memory and some 15 s to start, and so there is one test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::large_futures, missing_docs)]

#[path = "support/certificates.rs"]
mod certificates;
#[path = "support/guarded_cluster.rs"]
mod guarded_cluster;
#[path = "support/server.rs"]
mod server;

use certificates::Authority;
use godwit::{
    config::Config,
    server::{Server, StartError},
    store::scylla::OpenError,
};
use godwit_client::{Client, ClientConfig, Credentials, Trust};
use guarded_cluster::GuardedCluster;
use server::TestServer;
use std::path::PathBuf;

#[test]
fn a_cluster_with_tls_and_users_is_used_and_what_is_wrong_with_either_is_said() {
    let Some(cluster) = GuardedCluster::start() else { return };
    // As docs/OPERATIONS.md says.
    cluster.execute("CREATE ROLE godwit WITH LOGIN = true AND PASSWORD = 'secret'");
    cluster.execute("GRANT CREATE ON ALL KEYSPACES TO godwit");
    let started = TestServer::start_with(|config| configure(config, &cluster));
    register(&started);
    let config = started.config.clone();
    drop(started);
    Server::start(&config).expect("it starts on what is there").stop();

    a_cluster_that_is_not_trusted_is_said(&cluster, &config);
    a_certificate_that_the_cluster_does_not_trust_is_said(&cluster, &config);
    a_wrong_password_is_said(&cluster, &config);
    rights_that_are_missing_are_said(&cluster, &config);
}

fn configure(config: &mut Config, cluster: &GuardedCluster) {
    config.store = format!("scylla://{}/godwit", cluster.address).parse().unwrap();
    let scylla = &mut config.scylla;
    (scylla.ca_file, scylla.replication) = (Some(cluster.ca.clone()), 1);
    (scylla.cert_file, scylla.key_file) = (Some(cluster.client.0.clone()), Some(cluster.client.1.clone()));
    scylla.user = Some("godwit".to_owned());
    scylla.password_file = Some(cluster.file("password", "secret\n"));
    // A node that has just started and a machine that has much else to do.
    (scylla.connect_timeout_ms, scylla.request_timeout_ms) = (10_000, 10_000);
}

fn register(server: &TestServer) {
    let credentials = Credentials::Register {
        username: "ada".to_owned(),
        password: "password of ada".to_owned(),
        display_name: String::new(),
        invitation: String::new(),
    };
    let trust = Trust::fingerprint_from_hex(&server.fingerprint()).unwrap();
    let config = ClientConfig::new(server.address().to_string(), trust, credentials);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(Client::connect(config)).unwrap();
}

fn a_cluster_that_is_not_trusted_is_said(cluster: &GuardedCluster, config: &Config) {
    let trusting = |ca: Option<PathBuf>| refused(config, |config| config.scylla.ca_file = ca);
    let another = cluster.file("another.pem", &Authority::new("another").pem);
    let error = trusting(Some(another));
    assert!(matches!(error, OpenError::Tls { .. }), "{error:?}");
    says(&error, &["UnknownIssuer", "scylla.ca_file"]);

    let elsewhere = cluster.elsewhere();
    let error = refused(config, |config| config.store = format!("scylla://{elsewhere}/godwit").parse().unwrap());
    assert!(matches!(error, OpenError::Tls { .. }), "{error:?}");
    says(&error, &["127.0.0.2", "name the nodes' IP addresses"]);

    let error = trusting(Some(cluster.file("nothing.pem", "nothing")));
    assert!(matches!(error, OpenError::TlsFile { .. }), "{error:?}");
    says(&error, &["nothing.pem", "holds no certificate"]);
    let error = trusting(Some("/nowhere/ca.pem".into()));
    assert!(matches!(error, OpenError::TlsFile { .. }), "{error:?}");

    let error = refused(config, |config| {
        let scylla = &mut config.scylla;
        (scylla.ca_file, scylla.cert_file, scylla.key_file) = (None, None, None);
    });
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error:?}");
    says(&error, &["scylla.ca_file"]);
}

fn a_certificate_that_the_cluster_does_not_trust_is_said(cluster: &GuardedCluster, config: &Config) {
    let showing = |identity: Option<(PathBuf, PathBuf)>| {
        refused(config, |config| (config.scylla.cert_file, config.scylla.key_file) = identity.unzip())
    };
    let strange = Authority::new("another").certify(&["godwit"]).write(cluster.directory(), "strange");
    for identity in [None, Some(strange.clone())] {
        let error = showing(identity);
        assert!(matches!(error, OpenError::Tls { .. }), "{error:?}");
        says(&error, &["scylla.cert_file"]);
    }
    let error = showing(Some((cluster.client.0.clone(), strange.1)));
    assert!(matches!(error, OpenError::TlsFile { .. }), "{error:?}");
    says(&error, &["scylla.key_file"]);
}

fn a_wrong_password_is_said(cluster: &GuardedCluster, config: &Config) {
    let log_in = |user: &str, password: &str| {
        let file = cluster.file("another-password", password);
        refused(config, |config| {
            (config.scylla.user, config.scylla.password_file) = (Some(user.to_owned()), Some(file));
        })
    };
    for (user, password) in [("godwit", "wrong"), ("nobody", "secret")] {
        let error = log_in(user, password);
        assert!(matches!(error, OpenError::LoginRefused { .. }), "{error:?}");
        says(&error, &[user, "scylla.user", "scylla.password_file"]);
    }
    let error = log_in("godwit", "\n");
    assert!(matches!(error, OpenError::PasswordFile { .. }), "{error:?}");
    let error = refused(config, |config| (config.scylla.user, config.scylla.password_file) = (None, None));
    assert!(matches!(error, OpenError::LoginMissing), "{error:?}");
    says(&error, &["scylla.user", "scylla.password_file"]);
}

fn rights_that_are_missing_are_said(cluster: &GuardedCluster, config: &Config) {
    cluster.execute("CREATE ROLE visitor WITH LOGIN = true AND PASSWORD = 'secret'");
    let as_visitor = |store: &str| {
        let store = format!("scylla://{}/{store}", cluster.address).parse().unwrap();
        refused(config, |config| (config.store, config.scylla.user) = (store, Some("visitor".to_owned())))
    };
    for store in ["godwit", "not_there_yet"] {
        let error = as_visitor(store);
        assert!(matches!(error, OpenError::NotAllowed { .. }), "{error:?}");
        says(&error, &["visitor", &format!("GRANT ALL PERMISSIONS ON KEYSPACE {store} TO visitor")]);
    }
}

#[track_caller]
fn refused(config: &Config, change: impl FnOnce(&mut Config)) -> OpenError {
    let mut config = config.clone();
    change(&mut config);
    match Server::start(&config) {
        Err(StartError::Cluster(error)) => error,
        Err(other) => panic!("it fails otherwise: {other}"),
        Ok(server) => {
            server.stop();
            panic!("it must not start")
        }
    }
}

#[track_caller]
fn says(error: &OpenError, what: &[&str]) {
    let said = error.to_string();
    for part in what {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
}
