//! What the store that is copied to has already: part of a copy of this store, or of another one.

use super::{
    CopyError, Whole,
    pages::{each_page_of, patiently},
};
use std::collections::HashMap;

/// Refuses a store with an account that the source does not have: what is copied to it from here would spoil the copy that was
/// begun. Accounts are copied first and none ever changes or goes, so they tell whose copy it is. Writes nothing.
pub(super) async fn check(from: &dyn Whole, to: &dyn Whole) -> Result<(), CopyError> {
    each_page_of(
        CopyError::Target,
        |page| to.accounts(page),
        async |there| {
            let ids = there.iter().map(|user| user.id).collect::<Vec<_>>();
            let here = patiently(|| from.users(ids.clone())).await.map_err(CopyError::Source)?;
            let here: HashMap<_, _> = here.into_iter().map(|user| (user.id, user)).collect();
            match there.into_iter().find(|user| here.get(&user.id) != Some(user)) {
                Some(user) => Err(CopyError::OfAnother(user.username)),
                None => Ok(()),
            }
        },
    )
    .await
}
