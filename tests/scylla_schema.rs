//! How the schema of a keyspace comes about on a real ScyllaDB or Cassandra, whoever dies meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/cql.rs"]
mod support;

use godwit::store::scylla::{
    Cluster, Cql, OpenError, ScyllaOptions,
    schema::{self, Finding, KNOWN},
};
use std::{
    io::{Read, Seek},
    num::NonZeroUsize,
    process::Command,
    time::Duration,
};
use support::{Keyspace, run};

#[test]
fn two_servers_that_start_at_once_make_one_schema() {
    let Some(keyspace) = Keyspace::new() else { return };
    let start = || {
        let options = keyspace.options();
        move || run(async { Cql::connect(&options).await.map(drop) })
    };
    let (one, other) = (std::thread::spawn(start()), std::thread::spawn(start()));
    one.join().unwrap().unwrap();
    other.join().unwrap().unwrap();
    run(async {
        assert_eq!(position(&keyspace).await, Some((KNOWN, 0, 0)));
        let cluster = Cluster::reach(&keyspace.options()).await.unwrap();
        assert_eq!(ill(&schema::check(&cluster).await.unwrap()), [""; 0]);
    });
}

#[test]
fn a_migration_goes_on_where_a_server_died() {
    let Some(keyspace) = Keyspace::new() else { return };
    let options = ScyllaOptions { migration_silence_max: Duration::from_secs(1), ..keyspace.options() };
    run(async {
        let cluster = Cluster::reach(&options).await.unwrap();
        tokio::select! {
            result = schema::ready(&cluster) => panic!("it was to die before it is done: {result:?}"),
            () = until_step(&keyspace, 3) => (),
        }
        let (version, step, claim) = position(&keyspace).await.unwrap();
        assert!(version == 0 && step >= 3 && claim != 0, "it died at step {step} of {}", version + 1);
        let strict = Cluster::reach(&ScyllaOptions { migrate: false, ..options.clone() }).await.unwrap();
        let error = schema::ready(&strict).await.unwrap_err();
        assert!(matches!(error, OpenError::SchemaOld { found: 0, .. }), "{error}");
        assert!(error.to_string().contains("godwit store migrate"), "{error}");
        let findings = ill(&schema::check(&strict).await.unwrap());
        assert!(findings.iter().any(|finding| finding.contains("vshard_owners is not there")), "{findings:?}");
        let advice = "wait for it, or, if it is gone, run `godwit store migrate`";
        assert!(findings.iter().any(|finding| finding.contains(advice)), "{findings:?}");

        let mut log = tempfile::tempfile().unwrap();
        {
            let lines = tracing_subscriber::fmt().with_writer(log.try_clone().unwrap());
            let _logging = tracing::subscriber::set_default(lines.with_ansi(false).finish());
            schema::ready(&Cluster::reach(&options).await.unwrap()).await.unwrap();
        }
        let mut logged = String::new();
        log.rewind().and_then(|()| log.read_to_string(&mut logged)).unwrap();
        let waits =
            format!("waits for {}, which migrates the keyspace; goes on in its place after 1 s", options.address);
        assert_eq!(logged.matches(&waits).count(), 1, "{logged}");
        assert_eq!(position(&keyspace).await, Some((KNOWN, 0, 0)));
        assert_eq!(ill(&schema::check(&strict).await.unwrap()), [""; 0]);
    });
}

#[test]
fn a_keyspace_is_made_looked_at_and_refused_when_it_is_too_new() {
    let Some(keyspace) = Keyspace::new() else { return };
    let godwit = |command: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_godwit"))
            .args(["store", command, "--set", &format!("store={}", keyspace.url()), "--set", "scylla.replication=1"])
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (output.status.success(), said)
    };
    let (well, said) = godwit("check");
    assert!(!well && said.contains("godwit store init"), "{said}");
    let (well, said) = godwit("migrate");
    assert!(!well && said.contains("godwit store init"), "{said}");
    let (well, said) = godwit("init");
    assert!(well && said.contains(&keyspace.name), "{said}");
    assert!(said.contains("created the keyspace"), "it does not log: {said}");
    let (well, said) = godwit("check");
    assert!(well && said.contains("127.0.0.1") && said.contains("lease"), "{said}");
    let (well, said) = godwit("migrate");
    assert!(well, "there is nothing to do: {said}");

    let name = &keyspace.name;
    run(async {
        keyspace.execute(&format!("DROP TABLE {name}.sends")).await;
        keyspace.execute(&format!("ALTER TABLE {name}.log ADD later int")).await;
        keyspace.execute(&format!("ALTER TABLE {name}.log DROP entry")).await;
    });
    let (well, said) = godwit("check");
    assert!(!well && said.contains("sends is not there") && said.contains("log lacks or changes entry"), "{said}");
    let options = keyspace.options();
    let newer =
        format!("UPDATE {name}.schema_version SET version = 99 WHERE component = 'godwit' IF version = {KNOWN}");
    run(keyspace.execute(&newer));
    let error = run(Cql::connect(&options)).err().unwrap();
    assert!(matches!(error, OpenError::SchemaNewer { found: 99, known: KNOWN, .. }), "{error}");
    let (well, said) = godwit("migrate");
    assert!(!well && said.contains("99") && said.contains("never goes back"), "{said}");
    let (well, said) = godwit("check");
    assert!(!well && said.contains("99"), "{said}");
}

#[test]
fn what_cannot_be_opened_says_what_to_do() {
    let Some(keyspace) = Keyspace::new() else { return };
    let error = |change: fn(&mut ScyllaOptions)| {
        let mut options = ScyllaOptions { migrate: false, ..keyspace.options() };
        change(&mut options);
        run(Cql::connect(&options)).err().unwrap().to_string()
    };
    let missing = error(|_| ());
    assert!(missing.contains(&keyspace.name) && missing.contains("godwit store init"), "{missing}");
    let elsewhere = error(|options| options.datacenter = Some("moon".to_owned()));
    assert!(elsewhere.contains("moon") && elsewhere.contains("datacenter1"), "{elsewhere}");
    let too_few = error(|options| {
        options.migrate = true;
        options.replication_factor = NonZeroUsize::new(9);
    });
    assert!(too_few.contains("scylla.replication"), "{too_few}");
}

/// Version, step and claim in the table of versions.
async fn position(keyspace: &Keyspace) -> Option<(i32, i32, i64)> {
    let cql = format!("SELECT version, step, claim FROM {}.schema_version", keyspace.name);
    let result = keyspace.session().await.query_unpaged(cql, ()).await.ok()?;
    result.into_rows_result().unwrap().maybe_first_row().unwrap()
}

async fn until_step(keyspace: &Keyspace, step: i32) {
    while position(keyspace).await.is_none_or(|(_, done, _)| done < step) {
        tokio::task::yield_now().await;
    }
}

fn ill(findings: &[Finding]) -> Vec<String> {
    findings.iter().filter(|finding| !finding.well).map(|finding| finding.detail.clone()).collect()
}
