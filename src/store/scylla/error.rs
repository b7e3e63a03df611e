//! Why a store could not be opened, and what to do about it.

use std::{io, path::PathBuf};
use thiserror::Error;

/// Why a store on ScyllaDB or Cassandra could not be opened. Nothing is served.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The address of the store cannot be understood.
    #[error("{url} is not the address of a store: {reason}. Write scylla://HOST[:PORT][,HOST[:PORT]…]/KEYSPACE")]
    Url {
        /// As it was given, without any password.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// No node's name leads to an address.
    #[error("no name server knows {nodes}. Correct the names in `store`, or write IP addresses")]
    UnknownHosts {
        /// As configured.
        nodes: String,
    },
    /// No node answers.
    #[error(
        "no node of {nodes} answers: {reason}. Check that the cluster is up, that the addresses and ports in `store` are \
         those where it speaks CQL (9042 as a rule), that no firewall is in between, and that `scylla.ca_file` is set if, \
         and only if, it wants TLS there"
    )]
    Unreachable {
        /// As configured.
        nodes: String,
        /// What the last attempt died of.
        reason: String,
    },
    /// The cluster wants to know who this is.
    #[error("the cluster asks for a user and a password. Set scylla.user and scylla.password_file")]
    LoginMissing,
    /// The password cannot be read.
    #[error("cannot read a password from {}: {reason}. scylla.password_file has the password of scylla.user and nothing else", .path.display())]
    PasswordFile {
        /// As configured.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The cluster does not let this user in.
    #[error("the cluster refuses the user {user}: {reason}. Check scylla.user and what is in scylla.password_file")]
    LoginRefused {
        /// Who.
        user: String,
        /// In the cluster's words.
        reason: String,
    },
    /// The user may not do what has to be done.
    #[error(
        "the cluster does not allow the user {user} to {what}: {reason}. Let an administrator grant it (GRANT ALL PERMISSIONS ON KEYSPACE \
         {keyspace} TO {user}), or run `godwit store init` as a user who may"
    )]
    NotAllowed {
        /// Who.
        user: String,
        /// What was tried.
        what: String,
        /// Where.
        keyspace: String,
        /// In the cluster's words.
        reason: String,
    },
    /// A file for TLS cannot be used.
    #[error("cannot use {}: {reason}. It has to be {expected} in PEM", .path.display())]
    TlsFile {
        /// Which one.
        path: PathBuf,
        /// Why not.
        reason: String,
        /// What it should be.
        expected: &'static str,
    },
    /// Both ends speak TLS and do not agree.
    #[error(
        "no node of {nodes} agrees on TLS: {reason}. The nodes' certificates must be signed by who is in scylla.ca_file and \
         name the nodes' IP addresses; if the cluster wants to see a certificate, set scylla.cert_file and scylla.key_file; if it \
         speaks no TLS at all, do not set scylla.ca_file"
    )]
    Tls {
        /// As configured.
        nodes: String,
        /// What went wrong.
        reason: String,
    },
    /// The server is too old.
    #[error("the cluster is {found}. Godwit needs ScyllaDB 2025.4 or newer, or Apache Cassandra 5: upgrade it first")]
    Version {
        /// What it says.
        found: String,
    },
    /// There is no such data centre.
    #[error("the cluster has no data centre {datacenter}. Set scylla.datacenter to one of: {known}")]
    Datacenter {
        /// As configured.
        datacenter: String,
        /// What there is.
        known: String,
    },
    /// Nobody said which data centre, and there are several.
    #[error("the cluster has several data centres. Set scylla.datacenter to the one that this server is in: {known}")]
    DatacenterUnset {
        /// What there is.
        known: String,
    },
    /// The keyspace is not there.
    #[error(
        "the cluster has no keyspace {keyspace}. Correct `store` if that is a slip; else run `godwit store init`, which creates it"
    )]
    KeyspaceMissing {
        /// As configured.
        keyspace: String,
    },
    /// The keyspace is not for programs.
    #[error(
        "the keyspace {keyspace} is the database's own, as are all whose names begin with system_. Name another one in `store`, as \
         in scylla://node1,node2/godwit"
    )]
    KeyspaceReserved {
        /// As configured.
        keyspace: String,
    },
    /// A copy into it was begun and not completed.
    #[error(
        "a copy into the keyspace {keyspace} is not complete. Begin it again: it goes on where it was; or drop the keyspace"
    )]
    CopyIncomplete {
        /// As configured.
        keyspace: String,
    },
    /// Everything was to be copied into a keyspace that has something.
    #[error(
        "the keyspace {keyspace} has accounts or conversations already. If a copy into it was finished, it is ready: set `store` to \
         it; else copy into a keyspace that has none"
    )]
    NotEmpty {
        /// As configured.
        keyspace: String,
    },
    /// The keyspace has no rows in the data centre where requests go.
    #[error(
        "the keyspace {keyspace} has no replicas in the data centre {datacenter} ({replication}). Set scylla.datacenter \
         to one that has, or give it some: ALTER KEYSPACE {keyspace} WITH replication = \
         {{'class': 'NetworkTopologyStrategy', '{datacenter}': 3}}, and repair"
    )]
    NoReplicas {
        /// As configured.
        keyspace: String,
        /// Where requests go.
        datacenter: String,
        /// What there is.
        replication: String,
    },
    /// More replicas than nodes: nothing could be written.
    #[error(
        "the data centre {datacenter} has {nodes} node(s), too few for {factor} replicas. Set scylla.replication to \
         what it has, or add nodes first"
    )]
    TooFewNodes {
        /// Where requests go.
        datacenter: String,
        /// As configured.
        factor: usize,
        /// What there is.
        nodes: usize,
    },
    /// A statement is not what the tables look like.
    #[error(
        "the statement {statement} does not fit the tables: {reason}. Run `godwit store check`; it says what is missing in the \
         keyspace"
    )]
    Statement {
        /// Its name.
        statement: &'static str,
        /// In the cluster's words.
        reason: String,
    },
    /// The tables are not there, or not as they should be.
    #[error(
        "the keyspace {keyspace} has schema {found}, and this version of godwit needs {known}. Run `godwit store migrate`"
    )]
    SchemaOld {
        /// As configured.
        keyspace: String,
        /// What is there; 0: nothing.
        found: i32,
        /// What is needed.
        known: i32,
    },
    /// A newer version of godwit has migrated the keyspace.
    #[error(
        "the keyspace {keyspace} has schema {found}, and this version of godwit knows {known} at most. Run the version of \
         godwit that migrated it, or a newer one; a schema never goes back"
    )]
    SchemaNewer {
        /// As configured.
        keyspace: String,
        /// What is there.
        found: i32,
        /// What is understood.
        known: i32,
    },
    /// Another server migrates, and does not come to an end.
    #[error(
        "{holder} has been migrating the keyspace {keyspace} for {waited_s} s without an end. See what it says; if it is gone, \
         try again in a minute, and the migration goes on where it stopped"
    )]
    MigrationBusy {
        /// As configured.
        keyspace: String,
        /// Who.
        holder: String,
        /// How long this server has watched.
        waited_s: u64,
    },
    /// The cluster did not do something that opening needs.
    #[error("the cluster cannot {what}: {reason}. Look into its log; when it is well again, try again")]
    Failed {
        /// What was tried.
        what: String,
        /// In the cluster's or the driver's words.
        reason: String,
    },
    /// The threads of the store could not be started.
    #[error("the store's threads cannot be started: {0}. The machine is short of memory or processes")]
    Threads(#[from] io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_over_several_lines_of_source_has_no_gap() {
        let text = |text: &str| text.to_owned();
        let (keyspace, datacenter, replication) = (text("chat"), text("moon"), text("earth: 3"));
        let error = OpenError::NoReplicas { keyspace, datacenter, replication }.to_string();
        assert!(error.contains("Set scylla.datacenter to one that has") && !error.contains("  "), "{error}");
    }
}
