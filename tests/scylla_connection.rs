//! A session on a real ScyllaDB or Cassandra: statements of each kind, and what is said when it cannot be had.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/cql.rs"]
mod support;

use bytes::Bytes;
use godwit::store::scylla::{Cql, OpenError, ScyllaOptions, Text, WriteBatch, tables::Written};
use support::{Keyspace, run};

const ADD: Text = Text::write(
    "add",
    "INSERT INTO sends (conversation, bucket, segment, hashes) VALUES (?, ?, ?, ?) USING TIMESTAMP ?",
);
const FIND: Text = Text::read("find", "SELECT segment, hashes FROM sends WHERE conversation = ? AND bucket = ?");
const CLAIM: Text = Text::conditional("claim", "INSERT INTO users (user_id, name_key) VALUES (?, ?) IF NOT EXISTS");
const NAME: Text = Text::serial_read("name", "SELECT name_key FROM users WHERE user_id = ?");

#[test]
fn statements_of_every_kind_work() {
    let Some(keyspace) = Keyspace::shared() else { return };
    run(async {
        let cql = Cql::connect(&keyspace.options()).await.unwrap();
        let (add, find) = (cql.prepare(ADD).await.unwrap(), cql.prepare(FIND).await.unwrap());
        let row = |segment: i8, hashes: &'static str, timestamp_us: i64| {
            (Bytes::from_static(b"one"), 1_i64, segment, Bytes::from_static(hashes.as_bytes()), timestamp_us)
        };
        let mut batch = WriteBatch::new("adds");
        batch.push(&add, row(1, "first", 1_000));
        batch.push(&add, row(2, "second", 1_000));
        assert_eq!(cql.batch(&batch).await, Written::Done);
        assert_eq!(cql.batch(&batch).await, Written::Done, "a batch can be sent again");
        assert_eq!(cql.write(&add, row(2, "older", 999)).await, Written::Done);
        let rows: Vec<(i8, Bytes)> = cql.rows(&find, (b"one", 1_i64)).await.unwrap();
        assert_eq!(rows, [(1, "first".into()), (2, "second".into())], "the older write loses");
        assert_eq!(cql.rows_paged::<(i8, Bytes)>(&find, (b"one", 1_i64)).await.unwrap(), rows);
        assert_eq!(cql.row::<(i8, Bytes)>(&find, (b"one", 2_i64)).await.unwrap(), None);
    });
}

#[test]
fn a_lightweight_transaction_tells_what_it_found() {
    let Some(keyspace) = Keyspace::shared() else { return };
    run(async {
        let cql = Cql::connect(&keyspace.options()).await.unwrap();
        let (claim, name) = (cql.prepare(CLAIM).await.unwrap(), cql.prepare(NAME).await.unwrap());
        assert!(cql.conditional(&claim, (7_i64, "ada")).await.unwrap().applied);
        let second = cql.conditional(&claim, (7_i64, "bob")).await.unwrap();
        assert!(!second.applied);
        assert_eq!((second.bigint("user_id"), second.text("name_key")), (Some(7), Some("ada")));
        assert_eq!(cql.row::<(String,)>(&name, (7_i64,)).await.unwrap(), Some(("ada".to_owned(),)));
    });
}

#[test]
fn a_wrong_port_is_said() {
    let options = ScyllaOptions::from_url("scylla://127.0.0.1:1/chat").unwrap();
    let error = run(Cql::connect(&options)).err().unwrap();
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[test]
fn a_name_that_nobody_knows_is_said() {
    let options = ScyllaOptions::from_url("scylla://no-such-host.invalid/chat").unwrap();
    let error = run(Cql::connect(&options)).err().unwrap();
    assert!(matches!(error, OpenError::UnknownHosts { .. }), "{error}");
}
