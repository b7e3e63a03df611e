//! What lists of everything say to the cluster: the only statements that read whole tables, page by page.

use crate::store::scylla::{
    connection::Cql,
    error::OpenError,
    statement::{Statement, Text},
};

/// All of them, prepared.
pub(super) struct Statements {
    pub(super) accounts: Statement,
    pub(super) invitations: Statement,
    pub(super) named: Statement,
    pub(super) tokens: Statement,
    pub(super) conversations: Statement,
    pub(super) acked: Statement,
}

impl Statements {
    pub(super) async fn prepare(cql: &Cql) -> Result<Self, OpenError> {
        Ok(Self {
            accounts: cql.prepare(ALL_ACCOUNTS).await?,
            invitations: cql.prepare(ALL_INVITATIONS).await?,
            named: cql.prepare(NAMED).await?,
            tokens: cql.prepare(ALL_TOKENS).await?,
            conversations: cql.prepare(ALL_CONVERSATIONS).await?,
            acked: cql.prepare(ALL_ACKED).await?,
        })
    }
}

const ALL_ACCOUNTS: Text = Text::read("all_accounts", "SELECT user_id, record FROM user_names");
const ALL_INVITATIONS: Text = Text::read("all_invitations", "SELECT invitation, user_id, name_key FROM invitations");
const NAMED: Text = Text::serial_read("named", "SELECT user_id FROM user_names WHERE name_key = ?");
const ALL_TOKENS: Text = Text::read("all_tokens", "SELECT user_id, device, hash, name, expires_ms FROM devices");
const ALL_CONVERSATIONS: Text = Text::read("all_conversations", "SELECT DISTINCT conversation, bucket FROM log");
const ALL_ACKED: Text = Text::read("all_acked", "SELECT user_id, device, conversation, seq FROM acked");
