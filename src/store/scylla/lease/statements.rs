//! What is read and written of the tables of ownership.

use crate::store::scylla::Text;

pub(super) const LEASE: Text = Text::serial_read(
    "lease_read",
    "SELECT incarnation, beat, until_us, lease_ms, address, state FROM node_leases WHERE node_id = ?",
);

pub(super) const LEASE_FIRST: Text = Text::conditional(
    "lease_first",
    "INSERT INTO node_leases (incarnation, beat, until_us, lease_ms, address, state, node_id) VALUES (?, ?, ?, ?, ?, ?, ?) \
     IF NOT EXISTS",
);

pub(super) const LEASE_SWAP: Text = Text::conditional(
    "lease_swap",
    "UPDATE node_leases SET incarnation = ?, beat = ?, until_us = ?, lease_ms = ?, address = ?, state = ? WHERE node_id = ? \
     IF incarnation = ? AND beat = ?",
);

pub(super) const OWNERS: Text = Text::serial_read(
    "owners_read",
    "SELECT vshard, incarnation, epoch, ts_floor_us FROM vshard_owners WHERE part = ?",
);

pub(super) const OWNER_FIRST: Text = Text::conditional(
    "owner_first",
    "INSERT INTO vshard_owners (node_id, incarnation, epoch, ts_floor_us, part, vshard) VALUES (?, ?, ?, ?, ?, ?) IF NOT EXISTS",
);

pub(super) const OWNER_SWAP: Text = Text::conditional(
    "owner_swap",
    "UPDATE vshard_owners SET node_id = ?, incarnation = ?, epoch = ?, ts_floor_us = ? WHERE part = ? AND vshard = ? \
     IF epoch = ?",
);
