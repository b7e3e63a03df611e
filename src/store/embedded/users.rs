//! Accounts and tokens: decided on the commit thread, one after another, and written as rows in the turn's synced batch.

use super::{error::RowError, keys, keyspaces::Keyspaces};
use crate::store::{
    CreateUserOutcome, InvitationId, NewToken, Revoke, StoreError, TokenHash, TokenRecord, UserRecord,
    rows::{DeviceRow, HeldToken, TokenRow, UserRow},
};
use fjall::{Keyspace, OwnedWriteBatch};
use godwit_proto::{DeviceId, UserId};
use prost::Message;
use std::collections::BTreeMap;
use tokio::sync::oneshot;

/// A change of accounts or tokens, with where its answer goes.
pub(super) enum UserWrite {
    Create(UserRecord, Option<InvitationId>, Answer<CreateUserOutcome>),
    PutToken(NewToken, Answer<bool>),
    ExtendToken(TokenHash, u64, Answer<()>),
    Revoke(UserId, Revoke, Answer<Vec<DeviceId>>),
}

pub(super) type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// An answer that waits for the turn's sync.
pub(super) type Answered = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

impl UserWrite {
    /// Decides what becomes of it, and puts its rows into the turn.
    pub(super) fn apply(self, turn: &mut UserTurn<'_>) -> Answered {
        match self {
            Self::Create(user, invitation, answer) => later(answer, turn.create(&user, invitation)),
            Self::PutToken(token, answer) => later(answer, turn.put_token(&token)),
            Self::ExtendToken(hash, expires_ms, answer) => later(answer, turn.extend_token(hash, expires_ms)),
            Self::Revoke(user, what, answer) => later(answer, turn.revoke(user, what)),
        }
    }

    pub(super) fn refuse(self, error: StoreError) {
        match self {
            Self::Create(_, _, answer) => drop(answer.send(Err(error))),
            Self::PutToken(_, answer) => drop(answer.send(Err(error))),
            Self::ExtendToken(_, _, answer) => drop(answer.send(Err(error))),
            Self::Revoke(_, _, answer) => drop(answer.send(Err(error))),
        }
    }
}

fn later<T: Send + 'static>(answer: Answer<T>, outcome: Result<T, RowError>) -> Answered {
    let outcome = outcome.map_err(StoreError::from);
    // Whoever asked may be gone; the write stands all the same.
    Box::new(move |synced| drop(answer.send(synced.and(outcome))))
}

/// Rows of accounts and tokens as this turn will leave them.
pub(super) struct UserTurn<'a> {
    keyspaces: &'a Keyspaces,
    accounts: Changed,
    tokens: Changed,
}

/// Rows by key; `None` for one that goes.
type Changed = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

impl<'a> UserTurn<'a> {
    pub(super) fn new(keyspaces: &'a Keyspaces) -> Self {
        Self { keyspaces, accounts: Changed::new(), tokens: Changed::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.accounts.is_empty() && self.tokens.is_empty()
    }

    pub(super) fn write(self, batch: &mut OwnedWriteBatch) {
        for (keyspace, changed) in [(&self.keyspaces.accounts, self.accounts), (&self.keyspaces.tokens, self.tokens)] {
            // Backwards, so that whoever reads meanwhile never finds a name (`n`) whose user (`u`) is not there yet.
            for (key, value) in changed.into_iter().rev() {
                match value {
                    Some(value) => batch.insert(keyspace, key, value),
                    None => batch.remove(keyspace, key),
                }
            }
        }
    }

    fn create(&mut self, user: &UserRecord, invitation: Option<InvitationId>) -> Result<CreateUserOutcome, RowError> {
        let name = keys::name(&user.name_key);
        let account = keys::account(user.id);
        let invitation = invitation.map(keys::invitation);
        if self.find_account(&name)?.is_some() {
            return Ok(CreateUserOutcome::NameTaken);
        }
        if self.find_account(&account)?.is_some() {
            return Ok(CreateUserOutcome::IdTaken);
        }
        if let Some(invitation) = &invitation
            && self.find_account(invitation)?.is_some()
        {
            return Ok(CreateUserOutcome::InvitationUsed);
        }
        let id = user.id.as_u64().to_be_bytes().to_vec();
        self.accounts.insert(account, Some(UserRow::from(user).encode_to_vec()));
        self.accounts.insert(name, Some(id.clone()));
        if let Some(invitation) = invitation {
            self.accounts.insert(invitation, Some(id));
        }
        Ok(CreateUserOutcome::Created)
    }

    fn put_token(&mut self, new: &NewToken) -> Result<bool, RowError> {
        let record = &new.record;
        let devices = self.devices(record.user)?;
        let others = devices.iter().filter(|(device, _)| **device != record.device);
        let (living, expired): (Vec<_>, Vec<_>) = others.partition(|(_, token)| token.expires_ms > new.now_ms);
        if living.len() >= new.devices_max {
            return Ok(false);
        }
        let replaced = devices.get_key_value(&record.device);
        for (device, held) in expired.into_iter().chain(replaced) {
            self.remove_token(record.user, *device, held);
        }
        self.put_rows(record);
        Ok(true)
    }

    fn extend_token(&mut self, hash: TokenHash, expires_ms: u64) -> Result<(), RowError> {
        if let Some(value) = find(&self.keyspaces.tokens, &self.tokens, &keys::token(hash))? {
            let record = TokenRow::read(hash, &value)?;
            self.put_rows(&TokenRecord { expires_ms, ..record });
        }
        Ok(())
    }

    fn revoke(&mut self, user: UserId, what: Revoke) -> Result<Vec<DeviceId>, RowError> {
        let mut devices = self.devices(user)?;
        if let Revoke::Device(only) = what {
            devices.retain(|device, _| *device == only);
        }
        for (device, held) in &devices {
            self.remove_token(user, *device, held);
        }
        Ok(devices.into_keys().collect())
    }

    fn put_rows(&mut self, record: &TokenRecord) {
        let device = keys::device(record.user, record.device);
        self.tokens.insert(keys::token(record.hash), Some(TokenRow::from(record).encode_to_vec()));
        self.tokens.insert(device, Some(DeviceRow::from(record).encode_to_vec()));
    }

    fn remove_token(&mut self, user: UserId, device: DeviceId, held: &HeldToken) {
        self.tokens.insert(keys::token(held.hash), None);
        self.tokens.insert(keys::device(user, device), None);
    }

    /// The token of each of a user's devices. Fails before anything is changed, if a row is damaged.
    fn devices(&self, user: UserId) -> Result<BTreeMap<DeviceId, HeldToken>, RowError> {
        let prefix = keys::devices(user);
        let mut rows = BTreeMap::new();
        for row in self.keyspaces.tokens.prefix(&prefix) {
            let (key, value) = row.into_inner()?;
            rows.insert(key.to_vec(), Some(value.to_vec()));
        }
        let changed = self.tokens.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix));
        rows.extend(changed.map(|(key, value)| (key.clone(), value.clone())));
        let living = rows.into_iter().filter_map(|(key, value)| Some((key, value?)));
        living.map(|(key, value)| Ok((keys::device_id(&key)?, DeviceRow::read(&value)?))).collect()
    }

    fn find_account(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RowError> {
        find(&self.keyspaces.accounts, &self.accounts, key)
    }
}

fn find(keyspace: &Keyspace, changed: &Changed, key: &[u8]) -> Result<Option<Vec<u8>>, RowError> {
    match changed.get(key) {
        Some(value) => Ok(value.clone()),
        None => Ok(keyspace.get(key)?.map(|value| value.to_vec())),
    }
}

/// Reads of accounts and tokens, which are rows from the start.
impl Keyspaces {
    pub(super) fn user_by_name(&self, name_key: &str) -> Result<Option<UserRecord>, RowError> {
        let Some(id) = self.accounts.get(keys::name(name_key))? else { return Ok(None) };
        let id = UserId::new(keys::number(&id)?).map_err(|error| RowError::Damaged(error.to_string()))?;
        match self.user(id)? {
            Some(user) => Ok(Some(user)),
            None => Err(RowError::Damaged(format!("{id:?} has a name and no account"))),
        }
    }

    pub(super) fn user(&self, id: UserId) -> Result<Option<UserRecord>, RowError> {
        Ok(self.accounts.get(keys::account(id))?.map(|value| UserRow::read(&value)).transpose()?)
    }

    pub(super) fn token(&self, hash: TokenHash) -> Result<Option<TokenRecord>, RowError> {
        Ok(self.tokens.get(keys::token(hash))?.map(|value| TokenRow::read(hash, &value)).transpose()?)
    }
}
