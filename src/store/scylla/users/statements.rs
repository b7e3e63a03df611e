//! What accounts, tokens and acked positions say to the cluster.

use crate::store::scylla::{
    connection::Cql,
    error::OpenError,
    statement::{Statement, Text},
};

/// All of them, prepared.
pub(super) struct Statements {
    pub(super) name: Statement,
    pub(super) name_serially: Statement,
    pub(super) add_name: Statement,
    pub(super) change_name: Statement,
    pub(super) id: Statement,
    pub(super) id_serially: Statement,
    pub(super) add_id: Statement,
    pub(super) change_id: Statement,
    pub(super) invitation_serially: Statement,
    pub(super) add_invitation: Statement,
    pub(super) change_invitation: Statement,
    pub(super) devices: Statement,
    pub(super) device: Statement,
    pub(super) put_device: Statement,
    pub(super) token: Statement,
    pub(super) put_token: Statement,
    pub(super) acked: Statement,
    pub(super) put_acked: Statement,
}

impl Statements {
    pub(super) async fn prepare(cql: &Cql) -> Result<Self, OpenError> {
        Ok(Self {
            name: cql.prepare(NAME).await?,
            name_serially: cql.prepare(NAME_SERIALLY).await?,
            add_name: cql.prepare(ADD_NAME).await?,
            change_name: cql.prepare(CHANGE_NAME).await?,
            id: cql.prepare(ID).await?,
            id_serially: cql.prepare(ID_SERIALLY).await?,
            add_id: cql.prepare(ADD_ID).await?,
            change_id: cql.prepare(CHANGE_ID).await?,
            invitation_serially: cql.prepare(INVITATION_SERIALLY).await?,
            add_invitation: cql.prepare(ADD_INVITATION).await?,
            change_invitation: cql.prepare(CHANGE_INVITATION).await?,
            devices: cql.prepare(DEVICES).await?,
            device: cql.prepare(DEVICE).await?,
            put_device: cql.prepare(PUT_DEVICE).await?,
            token: cql.prepare(TOKEN).await?,
            put_token: cql.prepare(PUT_TOKEN).await?,
            acked: cql.prepare(ACKED).await?,
            put_acked: cql.prepare(PUT_ACKED).await?,
        })
    }
}

const NAME: Text = Text::read("user_name", "SELECT user_id, record FROM user_names WHERE name_key = ?");
const NAME_SERIALLY: Text =
    Text::serial_read("user_name_serially", "SELECT user_id, record FROM user_names WHERE name_key = ?");
const ADD_NAME: Text = Text::conditional(
    "add_user_name",
    "INSERT INTO user_names (name_key, user_id, record) VALUES (?, ?, ?) IF NOT EXISTS",
);
const CHANGE_NAME: Text = Text::conditional(
    "change_user_name",
    "UPDATE user_names SET user_id = ?, record = ? WHERE name_key = ? IF record = ?",
);
const ID: Text = Text::read("user", "SELECT name_key FROM users WHERE user_id = ?");
const ID_SERIALLY: Text = Text::serial_read("user_serially", "SELECT name_key, claim FROM users WHERE user_id = ?");
const ADD_ID: Text =
    Text::conditional("add_user", "INSERT INTO users (user_id, name_key, claim) VALUES (?, ?, ?) IF NOT EXISTS");
const CHANGE_ID: Text =
    Text::conditional("change_user", "UPDATE users SET name_key = ?, claim = ? WHERE user_id = ? IF claim = ?");
const INVITATION_SERIALLY: Text =
    Text::serial_read("invitation_serially", "SELECT name_key, claim FROM invitations WHERE invitation = ?");
const ADD_INVITATION: Text = Text::conditional(
    "add_invitation",
    "INSERT INTO invitations (invitation, user_id, name_key, claim) VALUES (?, ?, ?, ?) IF NOT EXISTS",
);
const CHANGE_INVITATION: Text = Text::conditional(
    "change_invitation",
    "UPDATE invitations SET user_id = ?, name_key = ?, claim = ? WHERE invitation = ? IF claim = ?",
);
const DEVICES: Text = Text::read("devices", "SELECT device, hash, expires_ms FROM devices WHERE user_id = ?");
const DEVICE: Text =
    Text::read("device", "SELECT hash, name, expires_ms FROM devices WHERE user_id = ? AND device = ?");
const PUT_DEVICE: Text = Text::write(
    "put_device",
    "INSERT INTO devices (user_id, device, hash, name, expires_ms) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?",
);
const TOKEN: Text = Text::read("token", "SELECT user_id, device FROM tokens WHERE hash = ?");
const PUT_TOKEN: Text =
    Text::write("put_token", "INSERT INTO tokens (hash, user_id, device) VALUES (?, ?, ?) USING TIMESTAMP ? AND TTL ?");
const ACKED: Text =
    Text::read("acked", "SELECT conversation, seq FROM acked WHERE user_id = ? AND device = ? AND conversation IN ?");
const PUT_ACKED: Text = Text::write(
    "put_acked",
    "INSERT INTO acked (user_id, device, conversation, seq) VALUES (?, ?, ?, ?) USING TIMESTAMP ?",
);
