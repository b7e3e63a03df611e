//! Tokens: a device's row has the hash of the one it holds, and that counts; `tokens` only leads there.

use super::{Inner, turns::Turns};
use crate::store::{
    NewToken, Revoke, StoreError, TokenHash, TokenRecord,
    rows::{DamagedRow, user_id},
    scylla::{owned::unavailable, statement::WriteBatch},
};
use godwit_proto::{DeviceId, UserId};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long after its end a token is still found, for whoever wants to say that it has expired rather than that it is unknown.
const FOUND_AFTER_END: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a device's row says that its token has ended. Longer than anything that a former owner wrote can be on its way.
const ENDED_FOR: Duration = Duration::from_secs(3 * 24 * 3600);
/// A token that lives longer has rows that stay until it ends otherwise: servers know no later times than 2038.
const TTL_MAX: Duration = Duration::from_secs(5 * 365 * 24 * 3600);
/// `USING TTL 0`
const FOR_EVER: i32 = 0;

/// A device with a token, and until when it lives.
struct Held {
    device: DeviceId,
    expires_ms: u64,
}

impl Inner {
    pub(super) async fn put_token(&self, new: &NewToken) -> Result<bool, StoreError> {
        let record = &new.record;
        let _turn = self.changing.take([Turns::place(&record.user)]).await;
        let devices = self.devices(record.user).await?;
        let others = devices.into_iter().filter(|held| held.device != record.device);
        let (living, expired): (Vec<_>, Vec<_>) = others.partition(|held| held.expires_ms > new.now_ms);
        if living.len() >= new.devices_max {
            return Ok(false);
        }
        let timestamp_us = self.owned.timestamp().await?;
        self.put_index(record, timestamp_us).await?;
        let mut rows = WriteBatch::new("put_device");
        self.push_device(&mut rows, record, timestamp_us);
        expired.iter().for_each(|held| self.push_ended(&mut rows, record.user, held.device, timestamp_us));
        self.owned.batch(rows).await.map_err(unavailable)?;
        Ok(true)
    }

    pub(super) async fn token(&self, hash: TokenHash) -> Result<Option<TokenRecord>, StoreError> {
        let Some((user, device)) = self.holder(hash).await? else { return Ok(None) };
        let place = (user.as_u64().cast_signed(), device.0);
        let row: Option<(Vec<u8>, String, i64)> = self.owned.row(&self.statements.device, place).await?;
        let Some((_, device_name, expires_ms)) = row.filter(|row| row.0 == hash.0) else { return Ok(None) };
        Ok(Some(TokenRecord { hash, user, device, device_name, expires_ms: expires_ms.cast_unsigned() }))
    }

    pub(super) async fn extend_token(&self, hash: TokenHash, expires_ms: u64) -> Result<(), StoreError> {
        let Some((user, _)) = self.holder(hash).await? else { return Ok(()) };
        let _turn = self.changing.take([Turns::place(&user)]).await;
        // It may have ended while this waited for its turn.
        let Some(record) = self.token(hash).await? else { return Ok(()) };
        let timestamp_us = self.owned.timestamp().await?;
        let is_later = expires_ms > record.expires_ms;
        let record = TokenRecord { expires_ms, ..record };
        // An index that stays longer than its token harms nobody; one that goes earlier would end the token.
        if is_later {
            self.put_index(&record, timestamp_us).await?;
        }
        let mut rows = WriteBatch::new("put_device");
        self.push_device(&mut rows, &record, timestamp_us);
        self.owned.batch(rows).await.map_err(unavailable)
    }

    pub(super) async fn revoke(&self, user: UserId, what: Revoke) -> Result<Vec<DeviceId>, StoreError> {
        let _turn = self.changing.take([Turns::place(&user)]).await;
        let mut devices = self.devices(user).await?;
        if let Revoke::Device(only) = what {
            devices.retain(|held| held.device == only);
        }
        if devices.is_empty() {
            return Ok(Vec::new());
        }
        let timestamp_us = self.owned.timestamp().await?;
        let mut rows = WriteBatch::new("put_device");
        devices.iter().for_each(|held| self.push_ended(&mut rows, user, held.device, timestamp_us));
        self.owned.batch(rows).await.map_err(unavailable)?;
        Ok(devices.into_iter().map(|held| held.device).collect())
    }

    /// Whose token it is, or was.
    async fn holder(&self, hash: TokenHash) -> Result<Option<(UserId, DeviceId)>, StoreError> {
        let row: Option<(i64, Vec<u8>)> = self.owned.row(&self.statements.token, (hash.0,)).await?;
        Ok(row
            .map(|(user, device)| Ok::<_, DamagedRow>((user_id(user.cast_unsigned())?, device_id(&device)?)))
            .transpose()?)
    }

    /// The tokens of a user's devices, expired or not.
    async fn devices(&self, user: UserId) -> Result<Vec<Held>, StoreError> {
        let rows: Vec<(Vec<u8>, Vec<u8>, i64)> =
            self.owned.rows(&self.statements.devices, (user.as_u64().cast_signed(),)).await?;
        // An empty hash: the token has ended.
        let held = rows.into_iter().filter(|(_, hash, _)| !hash.is_empty());
        held.map(|(device, _, expires_ms)| {
            Ok(Held { device: device_id(&device)?, expires_ms: expires_ms.cast_unsigned() })
        })
        .collect()
    }

    async fn put_index(&self, record: &TokenRecord, timestamp_us: i64) -> Result<(), StoreError> {
        let user = record.user.as_u64().cast_signed();
        let values = (record.hash.0, user, record.device.0, timestamp_us, ttl_s(record.expires_ms));
        self.owned.write(&self.statements.put_token, &values).await.map_err(unavailable)
    }

    fn push_device(&self, rows: &mut WriteBatch, record: &TokenRecord, timestamp_us: i64) {
        let values = (
            record.user.as_u64().cast_signed(),
            record.device.0,
            record.hash.0.to_vec(),
            record.device_name.clone(),
            record.expires_ms.cast_signed(),
            timestamp_us,
            ttl_s(record.expires_ms),
        );
        rows.push(&self.statements.put_device, values);
    }

    fn push_ended(&self, rows: &mut WriteBatch, user: UserId, device: DeviceId, timestamp_us: i64) {
        let user = user.as_u64().cast_signed();
        let values = (user, device.0, Vec::<u8>::new(), String::new(), 0_i64, timestamp_us, seconds(ENDED_FOR));
        rows.push(&self.statements.put_device, values);
    }
}

/// How long the rows of a token stay that ends then.
fn ttl_s(expires_ms: u64) -> i32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let stays = Duration::from_millis(expires_ms).saturating_sub(now).saturating_add(FOUND_AFTER_END);
    if stays > TTL_MAX { FOR_EVER } else { seconds(stays) }
}

fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(FOR_EVER)
}

fn device_id(bytes: &[u8]) -> Result<DeviceId, DamagedRow> {
    DeviceId::from_slice(bytes).map_err(|error| DamagedRow(error.to_string()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_token_stay_a_month_after_it_and_those_of_one_without_an_end_for_ever() {
        let now_ms = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
        let month_s = seconds(FOUND_AFTER_END);
        assert_eq!(ttl_s(0), month_s);
        assert!((month_s + 95..=month_s + 100).contains(&ttl_s(now_ms + 100_000)));
        assert_eq!(ttl_s(now_ms + 6 * 365 * 24 * 3_600_000), FOR_EVER);
        assert_eq!(ttl_s(u64::MAX), FOR_EVER);
    }
}
