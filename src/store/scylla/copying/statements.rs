//! What the word of an incomplete copy says to the cluster.

use crate::store::scylla::statement::Text;

pub(super) const MARK: Text = Text::serial_read("copy_mark", "SELECT state FROM node_leases WHERE node_id = ?");

pub(super) const MARK_FIRST: Text = Text::conditional(
    "copy_mark_first",
    "INSERT INTO node_leases (incarnation, beat, until_us, lease_ms, address, state, node_id) VALUES (?, ?, ?, ?, ?, ?, ?) \
     IF NOT EXISTS",
);

pub(super) const MARK_SWAP: Text = Text::conditional(
    "copy_mark_swap",
    "UPDATE node_leases SET incarnation = ?, beat = ?, until_us = ?, lease_ms = ?, address = ?, state = ? WHERE node_id = ? \
     IF state = ?",
);
