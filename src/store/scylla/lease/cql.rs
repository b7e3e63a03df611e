//! The tables of ownership on a cluster.

use super::{Beat, LeaseRow, LeaseState, LeaseTables, NODE_ID, OwnerRow, PART_VSHARDS, Swapped, statements};
use crate::store::{
    StoreError,
    scylla::{Conditional, Cql, Failed, OpenError, Statement, WriteBatch},
};
use futures_util::future::BoxFuture;
use std::{sync::Arc, time::Duration};

/// [`LeaseTables`] through the session that everything else goes through. Its futures need a tokio runtime around them.
#[derive(Clone)]
pub struct CqlLease(Arc<Inner>);

struct Inner {
    cql: Arc<Cql>,
    lease: Statement,
    lease_first: Statement,
    lease_swap: Statement,
    owners: Statement,
    owner_first: Statement,
    owner_swap: Statement,
}

impl CqlLease {
    /// Prepares its statements.
    pub async fn prepare(cql: Arc<Cql>) -> Result<Self, OpenError> {
        let inner = Inner {
            lease: cql.prepare(statements::LEASE).await?,
            lease_first: cql.prepare(statements::LEASE_FIRST).await?,
            lease_swap: cql.prepare(statements::LEASE_SWAP).await?,
            owners: cql.prepare(statements::OWNERS).await?,
            owner_first: cql.prepare(statements::OWNER_FIRST).await?,
            owner_swap: cql.prepare(statements::OWNER_SWAP).await?,
            cql,
        };
        Ok(Self(Arc::new(inner)))
    }
}

impl LeaseTables for CqlLease {
    fn lease(&self) -> BoxFuture<'static, Result<Option<LeaseRow>, StoreError>> {
        let inner = self.0.clone();
        Box::pin(async move { Ok(inner.cql.row::<Columns>(&inner.lease, (NODE_ID,)).await?.map(lease_row)) })
    }

    fn swap_lease(&self, before: Option<Beat>, row: LeaseRow) -> BoxFuture<'static, Swapped> {
        let inner = self.0.clone();
        Box::pin(async move {
            let (incarnation, number) = (row.beat.incarnation, row.beat.number);
            let (lease_ms, state) = (i64::try_from(row.lease.as_millis()).unwrap_or(i64::MAX), row.state as i8);
            let outcome = match before {
                None => {
                    let values = (incarnation, number, row.until_us, lease_ms, row.address, state, NODE_ID);
                    inner.cql.conditional(&inner.lease_first, values).await
                }
                Some(Beat { incarnation: was, number: beat }) => {
                    let values = (incarnation, number, row.until_us, lease_ms, row.address, state, NODE_ID, was, beat);
                    inner.cql.conditional(&inner.lease_swap, values).await
                }
            };
            swapped(outcome)
        })
    }

    fn owners(&self, part: u16) -> BoxFuture<'static, Result<Vec<OwnerRow>, StoreError>> {
        let inner = self.0.clone();
        Box::pin(async move {
            let rows = inner.cql.rows::<(i16, i64, i64, i64)>(&inner.owners, (as_column(part),)).await?;
            let row = |(vshard, incarnation, epoch, ts_floor_us): (i16, i64, i64, i64)| {
                Some(OwnerRow { vshard: u16::try_from(vshard).ok()?, incarnation, epoch, ts_floor_us })
            };
            Ok(rows.into_iter().filter_map(row).collect())
        })
    }

    fn swap_owners(&self, part: u16, rows: Vec<(Option<i64>, OwnerRow)>) -> BoxFuture<'static, Swapped> {
        let inner = self.0.clone();
        Box::pin(async move {
            assert!(rows.len() <= usize::from(PART_VSHARDS), "a part has no more vshards than that");
            let mut batch = WriteBatch::new("owners_swap");
            for (before, row) in rows {
                let (part, vshard) = (as_column(part), as_column(row.vshard));
                let values = (NODE_ID, row.incarnation, row.epoch, row.ts_floor_us, part, vshard);
                match before {
                    None => batch.push(&inner.owner_first, values),
                    Some(epoch) => {
                        let (node, incarnation, next, floor, part, vshard) = values;
                        batch.push(&inner.owner_swap, (node, incarnation, next, floor, part, vshard, epoch));
                    }
                }
            }
            swapped(inner.cql.conditional_batch(&batch).await)
        })
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(time))
    }
}

type Columns = (i64, i64, i64, i64, String, i8);

fn lease_row((incarnation, number, until_us, lease_ms, address, state): Columns) -> LeaseRow {
    LeaseRow {
        beat: Beat { incarnation, number },
        until_us,
        lease: Duration::from_millis(lease_ms.max(0).unsigned_abs()),
        address,
        state: if state == LeaseState::Released as i8 { LeaseState::Released } else { LeaseState::Held },
    }
}

fn swapped(outcome: Result<Conditional, Failed>) -> Swapped {
    match outcome {
        Ok(Conditional { applied: true, .. }) => Swapped::Done,
        Ok(_) => Swapped::Refused,
        Err(Failed::Unknown) => Swapped::Unknown("the database did not say whether it was done".to_owned()),
        Err(Failed::NotWritten(error)) => Swapped::Unknown(error.to_string()),
    }
}

/// Of a part or a vshard: there are fewer of both than the column has numbers.
fn as_column(number: u16) -> i16 {
    i16::try_from(number).unwrap_or(i16::MAX)
}
