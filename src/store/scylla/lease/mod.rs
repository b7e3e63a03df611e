//! Who owns the keyspace: one server at a time, by a lease that it renews and by epochs of the vshards. docs/STORAGE.md,
//! "Ownership", has the protocol and why it holds.
//!
//! [`acquire`](acquire()) waits for the lease and takes the vshards; [`Lease::keep`] renews it until it is lost or given back. Both are
//! plain futures over [`LeaseTables`]: below that seam is a cluster, or a test that loses answers.

mod acquire;
mod clock;
mod cql;
mod statements;
mod term;
#[cfg(test)]
mod tests;
mod vshards;
mod watch;

pub use acquire::{Lease, LeaseSettings, acquire};
pub use clock::SystemClock;
pub use cql::CqlLease;
pub use term::Lost;

use crate::store::StoreError;
use futures_util::future::BoxFuture;
use godwit_proto::VSHARDS;
use std::time::Duration;

/// The one server of a keyspace. Many at once will have numbers of their own.
pub const NODE_ID: i32 = 1;

/// Vshards of one partition of their table, which one conditional batch takes.
pub const PART_VSHARDS: u16 = 256;

/// How many such partitions there are.
pub const PARTS: u16 = VSHARDS / PART_VSHARDS;

/// The tables of ownership. All of it is lightweight transactions.
pub trait LeaseTables: Send + Sync + 'static {
    /// The row of [`NODE_ID`], as the last transaction left it.
    fn lease(&self) -> BoxFuture<'static, Result<Option<LeaseRow>, StoreError>>;

    /// Writes that row if it is still `before`; `None`: if there is none.
    fn swap_lease(&self, before: Option<Beat>, row: LeaseRow) -> BoxFuture<'static, Swapped>;

    /// The rows of a part's vshards, as the last transaction left them. No row: nobody has owned the vshard yet.
    fn owners(&self, part: u16) -> BoxFuture<'static, Result<Vec<OwnerRow>, StoreError>>;

    /// Writes rows of one part, all of them or none, if each vshard's epoch still is what stands beside its row; `None`: if it
    /// has no row.
    fn swap_owners(&self, part: u16, rows: Vec<(Option<i64>, OwnerRow)>) -> BoxFuture<'static, Swapped>;

    /// Comes back after that time.
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()>;
}

/// The row of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRow {
    /// Who holds or held it, and how often that one has renewed it.
    pub beat: Beat,
    /// The highest timestamp that the holder may use, in microseconds.
    pub until_us: i64,
    /// How long it holds after a renewal: what the holder reckons with, whatever others are configured with.
    pub lease: Duration,
    /// What people call the holder.
    pub address: String,
    /// Whether it is held.
    pub state: LeaseState,
}

/// What a transaction on a lease is conditional on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// Random at every start of a server.
    pub incarnation: i64,
    /// One more with every renewal.
    pub number: i64,
}

/// Whether a lease is held. The numbers are those of the column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum LeaseState {
    /// It is, or its holder is gone without a word.
    Held = 1,
    /// Its holder has given it back.
    Released = 2,
}

/// The row of a vshard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerRow {
    /// Which one.
    pub vshard: u16,
    /// Who owns it.
    pub incarnation: i64,
    /// One more with every owner.
    pub epoch: i64,
    /// The lowest timestamp that the owner may use, in microseconds.
    pub ts_floor_us: i64,
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swapped {
    /// The condition held; it is written.
    Done,
    /// The condition did not hold.
    Refused,
    /// Nobody knows, and why. It can be read.
    Unknown(String),
}
