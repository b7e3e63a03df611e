//! Taking all vshards, each with an epoch above those of all owners before.

use super::{LeaseTables, OwnerRow, PART_VSHARDS, PARTS, Swapped};
use crate::store::scylla::fence::{Fence, Lapsed};
use std::{collections::BTreeMap, time::Duration};

/// Takes every part, again and again until it has them, as long as the lease holds: drop it when that is lost. Returns the epochs of
/// all vshards, in order.
///
/// Somebody who has lost the lease and does not know it yet may take a part in between; then it is taken from them.
pub(super) async fn take_all(tables: &dyn LeaseTables, fence: &Fence, incarnation: i64, ts_floor_us: i64) -> Vec<u64> {
    let parts = (0..PARTS).map(|part| take(tables, fence, part, incarnation, ts_floor_us));
    futures_util::future::join_all(parts).await.concat()
}

async fn take(tables: &dyn LeaseTables, fence: &Fence, part: u16, incarnation: i64, ts_floor_us: i64) -> Vec<u64> {
    loop {
        let reason = match tables.owners(part).await {
            _ if !fence.holds() => Lapsed.to_string(),
            Err(error) => error.to_string(),
            Ok(found) => {
                if let Some(epochs) = taken(&found, incarnation) {
                    return epochs;
                }
                let rows = succession(part, &found, incarnation, ts_floor_us);
                let epochs = rows.iter().map(|(_, row)| row.epoch.unsigned_abs()).collect();
                match tables.swap_owners(part, rows).await {
                    Swapped::Done => return epochs,
                    Swapped::Refused => continue,
                    Swapped::Unknown(reason) => reason,
                }
            }
        };
        tracing::warn!(part, reason, "vshards could not be taken; trying again");
        tables.sleep(PAUSE).await;
    }
}

/// The epochs of a part that this incarnation has taken, by a batch whose answer got lost.
fn taken(found: &[OwnerRow], incarnation: i64) -> Option<Vec<u64>> {
    let all = found.len() == usize::from(PART_VSHARDS) && found.iter().all(|row| row.incarnation == incarnation);
    all.then(|| {
        let epochs: BTreeMap<u16, u64> = found.iter().map(|row| (row.vshard, row.epoch.unsigned_abs())).collect();
        epochs.into_values().collect()
    })
}

/// A part's rows under the next owner, each with the epoch that is there.
fn succession(part: u16, found: &[OwnerRow], incarnation: i64, ts_floor_us: i64) -> Vec<(Option<i64>, OwnerRow)> {
    let before: BTreeMap<u16, i64> = found.iter().map(|row| (row.vshard, row.epoch)).collect();
    let first = part * PART_VSHARDS;
    (first..first + PART_VSHARDS)
        .map(|vshard| {
            let before = before.get(&vshard).copied();
            (before, OwnerRow { vshard, incarnation, epoch: before.unwrap_or(0) + 1, ts_floor_us })
        })
        .collect()
}

/// Between two attempts, so that a database that is down is not asked without end.
const PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(vshard: u16, incarnation: i64, epoch: i64) -> OwnerRow {
        OwnerRow { vshard, incarnation, epoch, ts_floor_us: 7 }
    }

    #[test]
    fn every_vshard_of_a_part_gets_the_epoch_after_the_one_it_has() {
        let rows = succession(2, &[owner(512, 1, 4), owner(767, 1, 9)], 5, 70);
        assert_eq!(rows.len(), 256);
        assert_eq!(rows[0], (Some(4), OwnerRow { vshard: 512, incarnation: 5, epoch: 5, ts_floor_us: 70 }));
        assert_eq!(rows[1], (None, OwnerRow { vshard: 513, incarnation: 5, epoch: 1, ts_floor_us: 70 }));
        assert_eq!((rows[255].0, rows[255].1.epoch), (Some(9), 10));
    }

    #[test]
    fn a_part_is_taken_when_every_row_of_it_says_so() {
        let mut rows: Vec<OwnerRow> = (256..512).map(|vshard| owner(vshard, 5, i64::from(vshard))).collect();
        assert_eq!(taken(&rows, 5), Some((256..512).collect()));
        assert_eq!(taken(&rows[1..], 5), None);
        rows[9].incarnation = 4;
        assert_eq!(taken(&rows, 5), None);
    }
}
