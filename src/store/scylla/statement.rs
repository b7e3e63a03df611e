//! Statements: their texts, and what the cluster has prepared.

use crate::telemetry::metric;
use metrics::Histogram;
use scylla::{
    client::execution_profile::ExecutionProfileHandle,
    serialize::row::SerializeRow,
    statement::{
        batch::{Batch, BatchType},
        prepared::PreparedStatement,
    },
};

/// A statement as it stands in a file named `statements.rs`.
#[derive(Debug, Clone, Copy)]
pub struct Text {
    /// What metrics and errors call it.
    pub name: &'static str,
    /// How it is executed.
    pub kind: StatementKind,
    /// With a bind marker for every value; all columns of the partition key are among them.
    pub cql: &'static str,
}

/// How a statement is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatementKind {
    /// Reads at a local quorum; a second node is asked when the first is slow, another one when it fails.
    Read,
    /// Reads what lightweight transactions write: at LOCAL_SERIAL, which ends those that were left half done.
    SerialRead,
    /// Writes at a local quorum, with `USING TIMESTAMP ?`. Sent once: who gets an unknown outcome sends it again.
    Write,
    /// A lightweight transaction at LOCAL_SERIAL. Sent once: who gets an unknown outcome reads what is there.
    Conditional,
}

impl Text {
    /// See [`StatementKind::Read`].
    pub const fn read(name: &'static str, cql: &'static str) -> Self {
        Self { name, kind: StatementKind::Read, cql }
    }

    /// See [`StatementKind::SerialRead`].
    pub const fn serial_read(name: &'static str, cql: &'static str) -> Self {
        Self { name, kind: StatementKind::SerialRead, cql }
    }

    /// See [`StatementKind::Write`].
    pub const fn write(name: &'static str, cql: &'static str) -> Self {
        Self { name, kind: StatementKind::Write, cql }
    }

    /// See [`StatementKind::Conditional`].
    pub const fn conditional(name: &'static str, cql: &'static str) -> Self {
        Self { name, kind: StatementKind::Conditional, cql }
    }
}

/// A statement that the cluster knows. Clones share it.
#[derive(Clone)]
pub struct Statement {
    pub(super) text: Text,
    pub(super) prepared: PreparedStatement,
    pub(super) seconds: Histogram,
}

impl Statement {
    pub(super) fn new(text: Text, prepared: PreparedStatement) -> Self {
        Self { text, prepared, seconds: seconds_of(text.name) }
    }

    /// What metrics call it.
    pub fn name(&self) -> &'static str {
        self.text.name
    }
}

impl std::fmt::Debug for Statement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Statement").field(&self.text).finish()
    }
}

/// Writes of **one partition** that are done whole or not at all: an unlogged batch, or the one statement that is in it. It can
/// be sent again as it is.
pub struct WriteBatch {
    pub(super) name: &'static str,
    pub(super) seconds: Histogram,
    pub(super) statements: Vec<PreparedStatement>,
    pub(super) values: Vec<Box<dyn SerializeRow + Send + Sync>>,
}

impl WriteBatch {
    /// An empty one.
    pub fn new(name: &'static str) -> Self {
        Self { name, seconds: seconds_of(name), statements: Vec::new(), values: Vec::new() }
    }

    /// Adds a statement of the same partition as those before.
    pub fn push(&mut self, statement: &Statement, values: impl SerializeRow + Send + Sync + 'static) {
        self.statements.push(statement.prepared.clone());
        self.values.push(Box::new(values));
    }

    /// As the driver wants it.
    pub(super) fn unlogged(&self) -> Batch {
        let statements = self.statements.iter().cloned().map(Into::into).collect();
        Batch::new_with_statements(BatchType::Unlogged, statements)
    }

    /// What metrics call it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How many statements are in it.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// A [`WriteBatch`] without its values, put together once for all that look like it.
pub struct BatchShape {
    pub(super) name: &'static str,
    pub(super) seconds: Histogram,
    pub(super) batch: Batch,
}

impl BatchShape {
    pub(super) fn new<'a>(
        name: &'static str,
        profile: ExecutionProfileHandle,
        statements: impl Iterator<Item = &'a Statement>,
    ) -> Self {
        let statements = statements.map(|statement| statement.prepared.clone().into()).collect();
        let mut batch = Batch::new_with_statements(BatchType::Unlogged, statements);
        batch.set_execution_profile_handle(Some(profile));
        Self { name, seconds: seconds_of(name), batch }
    }
}

fn seconds_of(name: &'static str) -> Histogram {
    metrics::histogram!(metric::STORE_STATEMENT_SECONDS, metric::STATEMENT => name)
}
