//! Registering: an id and an invitation are claimed, and then the name is taken, which is when the account exists.
//!
//! A claim whose name never came is void, and whoever needs the same id or invitation takes it over. It may be that the claim's
//! owner is only slow, in this process or in one that has lost its lease: a lightweight transaction knows no lease. So the name is
//! marked before, which ends all that began to register it: what they found the name to be, it is no more. Every claim has a
//! random number, so that one that is claimed again, perhaps by the same registration, is another claim.

use super::{
    Inner,
    names::{Account, Name, Names, random},
    turns::Turns,
};
use crate::store::{CreateUserOutcome, InvitationId, StoreError, UserRecord};
use godwit_proto::UserId;

/// How often it is begun again because somebody else changed what was found. In this process nobody does.
const PASSES_MAX: usize = 8;

impl Inner {
    pub(super) async fn create(
        &self,
        user: &UserRecord,
        invitation: Option<InvitationId>,
    ) -> Result<CreateUserOutcome, StoreError> {
        let (name, id) = (Turns::place(&user.name_key), Turns::place(&user.id));
        let _turns = self.registering.take([name, id, invitation.as_ref().map_or(name, Turns::place)]).await;
        let account = Account { user: user.clone(), invitation };
        for pass in 0..PASSES_MAX {
            if let Some(outcome) = self.register(&account, pass > 0).await? {
                return Ok(outcome);
            }
        }
        Err(StoreError::Unavailable("others are registering the same".to_owned()))
    }

    /// `None`: something has changed meanwhile.
    async fn register(&self, account: &Account, again: bool) -> Result<Option<CreateUserOutcome>, StoreError> {
        let user = &account.user;
        let names = Names { owned: &self.owned, statements: &self.statements };
        // Found before anything is claimed: a claim that is lost later, or was before, has its name marked in between.
        let mut name = names.find(&user.name_key).await?;
        if let Name::Taken(there) = &name {
            let ours = again && there == account;
            return Ok(Some(if ours { CreateUserOutcome::Created } else { CreateUserOutcome::NameTaken }));
        }
        let claims = [
            (Some(Claimable::Id(user.id)), CreateUserOutcome::IdTaken),
            (account.invitation.map(Claimable::Invitation), CreateUserOutcome::InvitationUsed),
        ];
        for (claimable, refusal) in claims {
            let Some(claimable) = claimable else { continue };
            match self.claim(&names, claimable, user, &mut name).await? {
                Claimed::Ours => {}
                Claimed::Taken => return Ok(Some(refusal)),
                Claimed::Changed => return Ok(None),
            }
        }
        let created = names.take(&user.name_key, &name, account).await?;
        Ok(created.then_some(CreateUserOutcome::Created))
    }

    async fn claim(
        &self,
        names: &Names<'_>,
        claimable: Claimable,
        user: &UserRecord,
        name: &mut Name,
    ) -> Result<Claimed, StoreError> {
        let number = i64::from_be_bytes(random()?);
        if self.add_claim(claimable, user, number).await? {
            return Ok(Claimed::Ours);
        }
        let Some(there) = self.find_claim(claimable).await? else { return Ok(Claimed::Changed) };
        // One's own name must still be what it was found to be at first.
        let is_own = there.name_key == user.name_key;
        let found = if is_own { name.clone() } else { names.find(&there.name_key).await? };
        match &found {
            Name::Taken(account) if claimable.is_of(account) => return Ok(Claimed::Taken),
            Name::Taken(_) => {}
            Name::Free | Name::Marked(_) => {
                let Some(marked) = names.mark(&there.name_key, &found).await? else { return Ok(Claimed::Changed) };
                if is_own {
                    *name = marked;
                }
            }
        }
        let ours = self.change_claim(claimable, user, number, there.number).await?;
        Ok(if ours { Claimed::Ours } else { Claimed::Changed })
    }

    async fn add_claim(&self, claimable: Claimable, user: &UserRecord, number: i64) -> Result<bool, StoreError> {
        let (id, name_key) = (user.id.as_u64().cast_signed(), &user.name_key);
        let outcome = match claimable {
            Claimable::Id(_) => self.owned.conditional(&self.statements.add_id, (id, name_key, number)).await?,
            Claimable::Invitation(invitation) => {
                let values = (invitation.0, id, name_key, number);
                self.owned.conditional(&self.statements.add_invitation, values).await?
            }
        };
        match outcome {
            Some(outcome) => Ok(outcome.applied),
            None => self.has_claim(claimable, number).await,
        }
    }

    async fn change_claim(
        &self,
        claimable: Claimable,
        user: &UserRecord,
        number: i64,
        was: i64,
    ) -> Result<bool, StoreError> {
        let (id, name_key) = (user.id.as_u64().cast_signed(), &user.name_key);
        let outcome = match claimable {
            Claimable::Id(_) => self.owned.conditional(&self.statements.change_id, (name_key, number, id, was)).await?,
            Claimable::Invitation(invitation) => {
                let values = (id, name_key, number, invitation.0, was);
                self.owned.conditional(&self.statements.change_invitation, values).await?
            }
        };
        match outcome {
            Some(outcome) => Ok(outcome.applied),
            None => self.has_claim(claimable, number).await,
        }
    }

    async fn has_claim(&self, claimable: Claimable, number: i64) -> Result<bool, StoreError> {
        Ok(self.find_claim(claimable).await?.is_some_and(|there| there.number == number))
    }

    async fn find_claim(&self, claimable: Claimable) -> Result<Option<Claim>, StoreError> {
        let row: Option<(String, i64)> = match claimable {
            Claimable::Id(id) => self.owned.row(&self.statements.id_serially, (id.as_u64().cast_signed(),)).await?,
            Claimable::Invitation(invitation) => {
                self.owned.row(&self.statements.invitation_serially, (invitation.0,)).await?
            }
        };
        Ok(row.map(|(name_key, number)| Claim { name_key, number }))
    }
}

/// What a registration claims before it takes its name.
#[derive(Debug, Clone, Copy)]
enum Claimable {
    Id(UserId),
    Invitation(InvitationId),
}

impl Claimable {
    /// Whether the account was made with it.
    fn is_of(self, account: &Account) -> bool {
        match self {
            Self::Id(id) => account.user.id == id,
            Self::Invitation(invitation) => account.invitation == Some(invitation),
        }
    }
}

/// What a row says that claims something.
struct Claim {
    name_key: String,
    number: i64,
}

enum Claimed {
    Ours,
    /// An account has it.
    Taken,
    /// It is not any more what it was found to be.
    Changed,
}
