//! Names: the rows that decide which accounts there are.

use super::{Inner, statements::Statements};
use crate::store::{
    InvitationId, StoreError, UserRecord,
    rows::{DamagedRow, UserRow},
    scylla::owned::{Owned, at_once},
};
use bytes::Bytes;
use godwit_proto::UserId;
use prost::Message;

/// Rows of different partitions that are asked for at once.
const READS_AT_ONCE: usize = 32;

/// An account, and what it was made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) user: UserRecord,
    pub(super) invitation: Option<InvitationId>,
}

/// What a name's row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    /// There is none.
    Free,
    /// As free. Whoever began to register before the mark was made cannot end it: its condition does not hold any more.
    Marked(Mark),
    /// For good.
    Taken(Account),
}

/// Random, so that no two are the same.
pub(super) type Mark = [u8; 8];

impl Inner {
    pub(super) async fn user_by_name(&self, name_key: &str) -> Result<Option<UserRecord>, StoreError> {
        let row = self.owned.row::<NameColumns>(&self.statements.name, (name_key,)).await?;
        match row.map(Name::read).transpose()? {
            Some(Name::Taken(account)) => Ok(Some(account.user)),
            Some(Name::Free | Name::Marked(_)) | None => Ok(None),
        }
    }

    pub(super) async fn users(&self, ids: Vec<UserId>) -> Result<Vec<UserRecord>, StoreError> {
        let users = at_once(READS_AT_ONCE, ids.into_iter().map(|id| self.user(id)).collect()).await;
        users.into_iter().filter_map(Result::transpose).collect()
    }

    /// An id is somebody's when the name that it leads to says so.
    async fn user(&self, id: UserId) -> Result<Option<UserRecord>, StoreError> {
        let row = self.owned.row::<(String,)>(&self.statements.id, (id.as_u64().cast_signed(),)).await?;
        let Some((name_key,)) = row else { return Ok(None) };
        Ok(self.user_by_name(&name_key).await?.filter(|user| user.id == id))
    }
}

/// Names as registrations see and change them.
pub(super) struct Names<'a> {
    pub(super) owned: &'a Owned,
    pub(super) statements: &'a Statements,
}

impl Names<'_> {
    pub(super) async fn find(&self, name_key: &str) -> Result<Name, StoreError> {
        let row = self.row(name_key).await?;
        Ok(row.map(Name::read).transpose()?.unwrap_or(Name::Free))
    }

    /// Gives a name to an account, if it still is as it was found.
    pub(super) async fn take(&self, name_key: &str, was: &Name, account: &Account) -> Result<bool, StoreError> {
        self.change(name_key, was, account.user.id.as_u64().cast_signed(), &account.to_record()).await
    }

    /// Makes sure that nobody gets a name who began before, if it still is as it was found.
    pub(super) async fn mark(&self, name_key: &str, was: &Name) -> Result<Option<Name>, StoreError> {
        let mark = random()?;
        Ok(self.change(name_key, was, NOBODY, &mark).await?.then_some(Name::Marked(mark)))
    }

    async fn change(&self, name_key: &str, was: &Name, user: i64, record: &[u8]) -> Result<bool, StoreError> {
        let outcome = match was {
            Name::Free => self.owned.conditional(&self.statements.add_name, (name_key, user, record)).await?,
            Name::Marked(mark) => {
                let values = (user, record, name_key, mark.as_slice());
                self.owned.conditional(&self.statements.change_name, values).await?
            }
            Name::Taken(_) => return Ok(false),
        };
        match outcome {
            Some(outcome) => Ok(outcome.applied),
            // Reading ends what is half done. Records are all different, for ids and marks are random.
            None => Ok(self.row(name_key).await?.is_some_and(|there| there == (user, record.to_vec()))),
        }
    }

    async fn row(&self, name_key: &str) -> Result<Option<NameColumns>, StoreError> {
        self.owned.row(&self.statements.name_serially, (name_key,)).await
    }
}

/// `user_id` and `record`.
type NameColumns = (i64, Vec<u8>);

/// The `user_id` of a row that is a mark.
const NOBODY: i64 = 0;

impl Name {
    fn read((user, record): NameColumns) -> Result<Self, DamagedRow> {
        if user == NOBODY {
            let mark = record.try_into().map_err(|_| DamagedRow("a mark of the wrong length".to_owned()))?;
            return Ok(Self::Marked(mark));
        }
        let account = Account::read(&record)?;
        if account.user.id.as_u64().cast_signed() != user {
            return Err(DamagedRow("a name of another user".to_owned()));
        }
        Ok(Self::Taken(account))
    }
}

/// Bytes that nobody has drawn before.
pub(super) fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut random = [0; N];
    aws_lc_rs::rand::fill(&mut random)
        .map_err(|_| StoreError::Unavailable("the system gives no random numbers".to_owned()))?;
    Ok(random)
}

/// What follows the account in the column `record`. Whoever reads an account alone passes over it.
#[derive(Clone, PartialEq, Message)]
struct MadeWithRow {
    /// Empty: nothing.
    #[prost(bytes = "bytes", tag = "15")]
    invitation: Bytes,
}

impl Account {
    fn to_record(&self) -> Vec<u8> {
        let invitation = self.invitation.map(|invitation| Bytes::copy_from_slice(&invitation.0)).unwrap_or_default();
        let mut record = UserRow::from(&self.user).encode_to_vec();
        record.extend(MadeWithRow { invitation }.encode_to_vec());
        record
    }

    fn read(record: &[u8]) -> Result<Self, DamagedRow> {
        let user = UserRow::read(record)?;
        let invitation = match MadeWithRow::decode(record)?.invitation.as_ref() {
            [] => None,
            invitation => {
                let id = invitation.try_into().map_err(|_| DamagedRow("an invitation of the wrong length".to_owned()));
                Some(InvitationId(id?))
            }
        };
        Ok(Self { user, invitation })
    }
}
