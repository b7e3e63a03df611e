//! What is read and written of the tables of conversations.

use crate::store::scylla::{Cql, OpenError, Statement, Text};

const LOG_STATE: Text = Text::write(
    "log_state",
    "INSERT INTO log (conversation, bucket, head, epoch, pending) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?",
);
const LOG_ENTRY: Text = Text::write(
    "log_entry",
    "INSERT INTO log (conversation, bucket, seq, entry) VALUES (?, ?, ?, ?) USING TIMESTAMP ?",
);
const LOG_STATE_ENTRY: Text = Text::write(
    "log_state_entry",
    "INSERT INTO log (conversation, bucket, head, epoch, pending, seq, entry) VALUES (?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?",
);
const LOG_HEAD: Text = Text::read(
    "log_head",
    "SELECT head, epoch, pending, seq, entry FROM log WHERE conversation = ? AND bucket = ? LIMIT ?",
);
const LOG_FORWARD: Text = Text::read(
    "log_forward",
    "SELECT seq, entry FROM log WHERE conversation = ? AND bucket = ? AND seq >= ? AND seq <= ? ORDER BY seq ASC LIMIT ?",
);
const LOG_BACKWARD: Text = Text::read(
    "log_backward",
    "SELECT seq, entry FROM log WHERE conversation = ? AND bucket = ? AND seq >= ? AND seq <= ? ORDER BY seq DESC LIMIT ?",
);
const META_PUT: Text =
    Text::write("meta_put", "INSERT INTO conversations (conversation, meta) VALUES (?, ?) USING TIMESTAMP ?");
const META: Text = Text::read("meta", "SELECT meta FROM conversations WHERE conversation = ? LIMIT 1");
const MEMBER_PUT: Text = Text::write(
    "member_put",
    "INSERT INTO conversations (conversation, user_id, member) VALUES (?, ?, ?) USING TIMESTAMP ? AND TTL ?",
);
const MEMBERS: Text = Text::read("members", "SELECT user_id, member FROM conversations WHERE conversation = ?");
const MEMBER: Text = Text::read("member", "SELECT member FROM conversations WHERE conversation = ? AND user_id = ?");
const MEMBERSHIP_PUT: Text = Text::write(
    "membership_put",
    "INSERT INTO memberships (user_id, conversation, state) VALUES (?, ?, ?) USING TIMESTAMP ? AND TTL ?",
);
const MEMBERSHIPS: Text = Text::read(
    "memberships",
    "SELECT conversation, state FROM memberships WHERE user_id = ? AND conversation > ? LIMIT ?",
);
const SENDS_PUT: Text = Text::write(
    "sends_put",
    "INSERT INTO sends (conversation, bucket, segment, hashes) VALUES (?, ?, ?, ?) USING TIMESTAMP ?",
);
const SENDS: Text = Text::read("sends", "SELECT segment, hashes FROM sends WHERE conversation = ? AND bucket = ?");

/// Prepared, each once.
pub(super) struct Statements {
    pub log_state: Statement,
    pub log_entry: Statement,
    pub log_state_entry: Statement,
    pub log_head: Statement,
    pub log_forward: Statement,
    pub log_backward: Statement,
    pub meta_put: Statement,
    pub meta: Statement,
    pub member_put: Statement,
    pub members: Statement,
    pub member: Statement,
    pub membership_put: Statement,
    pub memberships: Statement,
    pub sends_put: Statement,
    pub sends: Statement,
}

impl Statements {
    pub(super) async fn prepare(cql: &Cql) -> Result<Self, OpenError> {
        Ok(Self {
            log_state: cql.prepare(LOG_STATE).await?,
            log_entry: cql.prepare(LOG_ENTRY).await?,
            log_state_entry: cql.prepare(LOG_STATE_ENTRY).await?,
            log_head: cql.prepare(LOG_HEAD).await?,
            log_forward: cql.prepare(LOG_FORWARD).await?,
            log_backward: cql.prepare(LOG_BACKWARD).await?,
            meta_put: cql.prepare(META_PUT).await?,
            meta: cql.prepare(META).await?,
            member_put: cql.prepare(MEMBER_PUT).await?,
            members: cql.prepare(MEMBERS).await?,
            member: cql.prepare(MEMBER).await?,
            membership_put: cql.prepare(MEMBERSHIP_PUT).await?,
            memberships: cql.prepare(MEMBERSHIPS).await?,
            sends_put: cql.prepare(SENDS_PUT).await?,
            sends: cql.prepare(SENDS).await?,
        })
    }
}
