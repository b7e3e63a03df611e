//! Comparing two stores, thing by thing.

use super::{
    AT_ONCE, CopyError, Progress, Stage, Totals, Whole,
    conversation::{Size, head, read},
    count_conversations, name,
    pages::{each_page, each_timer_page, patiently},
};
use crate::store::{Listed, Page, StoreError};
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, TryStreamExt, stream};
use godwit_proto::{ConversationId, Seq};
use std::sync::Arc;

/// Looks whether `to` has everything that `from` has, as it is there, and nothing else. The first difference is an error.
pub async fn verify(from: &Arc<dyn Whole>, to: &Arc<dyn Whole>, progress: &dyn Progress) -> Result<Totals, CopyError> {
    let mut totals = Totals::default();
    progress.begin(Stage::Accounts, None);
    each_page(
        |page| from.accounts(page),
        async |users| {
            let ids = users.iter().map(|user| user.id).collect::<Vec<_>>();
            let there = patiently(|| to.users(ids.clone())).await.map_err(CopyError::Target)?;
            for user in &users {
                let named = patiently(|| to.user_by_name(user.name_key.clone())).await.map_err(CopyError::Target)?;
                if !there.contains(user) || named.as_ref() != Some(user) {
                    return Err(CopyError::Differs(format!("the account of {:?}", user.username)));
                }
            }
            totals.accounts += users.len() as u64;
            progress.done(users.len() as u64);
            Ok(())
        },
    )
    .await?;
    totals.invitations = count(&**from, |store, page| store.invitations(page)).await?;
    progress.begin(Stage::Tokens, None);
    each_page(
        |page| from.tokens(page),
        async |tokens| {
            for token in &tokens {
                let there = patiently(|| to.token(token.hash)).await.map_err(CopyError::Target)?;
                if there.as_ref() != Some(token) {
                    let user = token.user.as_u64();
                    return Err(CopyError::Differs(format!(
                        "the token of the device {:?} of user {user}",
                        token.device_name
                    )));
                }
            }
            totals.tokens += tokens.len() as u64;
            progress.done(tokens.len() as u64);
            Ok(())
        },
    )
    .await?;
    progress.begin(Stage::Conversations, Some(count_conversations(&**from).await?));
    each_page(
        |page| from.conversations(page),
        async |ids| {
            let mut compared =
                stream::iter(ids.into_iter().map(|id| conversation(from, to, id))).buffer_unordered(AT_ONCE);
            while let Some(size) = compared.try_next().await? {
                progress.done(1);
                let Some(size) = size else { continue };
                totals.conversations += 1;
                totals.entries += size.entries;
                totals.members += size.members;
            }
            Ok(())
        },
    )
    .await?;
    progress.begin(Stage::Timers, None);
    each_timer_page(&**from, async |rows| {
        let keys: Vec<_> = rows.iter().map(|row| row.key).collect();
        let there = patiently(|| to.timers(keys.clone())).await.map_err(CopyError::Target)?;
        if let Some((row, _)) = rows.iter().zip(there).find(|(row, there)| there.as_ref() != Some(row)) {
            return Err(CopyError::Differs(format!("{:?}", row.key)));
        }
        totals.timers += rows.len() as u64;
        progress.done(rows.len() as u64);
        Ok(())
    })
    .await?;
    progress.begin(Stage::Acked, None);
    each_page(
        |page| from.acked_positions(page),
        async |acked| {
            for position in &acked {
                let (user, device, conversation) = (position.user, position.device, position.conversation);
                let there =
                    patiently(|| to.acked(user, device, vec![conversation])).await.map_err(CopyError::Target)?;
                if there.first() != Some(&position.seq) {
                    let user = position.user.as_u64();
                    return Err(CopyError::Differs(format!("what user {user} acknowledged in {}", name(conversation))));
                }
            }
            totals.acked += acked.len() as u64;
            progress.done(acked.len() as u64);
            Ok(())
        },
    )
    .await?;
    no_more_than(&**to, &totals).await?;
    Ok(totals)
}

async fn conversation(
    from: &Arc<dyn Whole>,
    to: &Arc<dyn Whole>,
    id: ConversationId,
) -> Result<Option<Size>, CopyError> {
    let here = patiently(|| from.load(id, 1)).await.map_err(CopyError::Source)?;
    let there = patiently(|| to.load(id, 1)).await.map_err(CopyError::Target)?;
    if here != there {
        return Err(CopyError::Differs(format!("members, details or the newest entry of {}", name(id))));
    }
    let (head, mut at) = (head(here.as_ref()), Seq::ZERO);
    while at < head {
        let entries = read(from, id, at.next(), head).await.map_err(CopyError::Source)?;
        let Some(last) = entries.last().map(|last| last.seq) else { return Err(CopyError::Moving(name(id))) };
        let mut rest = entries.as_slice();
        while let Some(first) = rest.first() {
            let there = read(to, id, first.seq, last).await.map_err(CopyError::Target)?;
            if there.is_empty() || !rest.starts_with(&there) {
                return Err(CopyError::Differs(format!("entries from {} on of {}", first.seq.0, name(id))));
            }
            rest = &rest[there.len()..];
        }
        at = last;
    }
    Ok(here.map(|here| Size { entries: head.0, members: here.members.len() as u64 }))
}

/// Whatever is in `to` beyond what was compared came from elsewhere.
async fn no_more_than(to: &dyn Whole, totals: &Totals) -> Result<(), CopyError> {
    let mut timers = 0;
    each_timer_page(to, async |rows| {
        timers += rows.len() as u64;
        Ok(())
    })
    .await?;
    let counted = [
        ("accounts", totals.accounts, count(to, |store, page| store.accounts(page)).await?),
        ("used invitations", totals.invitations, count(to, |store, page| store.invitations(page)).await?),
        ("tokens", totals.tokens, count(to, |store, page| store.tokens(page)).await?),
        ("conversations", totals.conversations, count(to, |store, page| store.conversations(page)).await?),
        ("timers", totals.timers, timers),
        ("acknowledged positions", totals.acked, count(to, |store, page| store.acked_positions(page)).await?),
    ];
    match counted.into_iter().find(|(_, here, there)| here != there) {
        Some((what, here, there)) => Err(CopyError::Differs(format!("{there} {what} instead of {here}"))),
        None => Ok(()),
    }
}

type ListFuture<T> = BoxFuture<'static, Result<Listed<T>, StoreError>>;

async fn count<T>(store: &dyn Whole, list: impl Fn(&dyn Whole, Page) -> ListFuture<T>) -> Result<u64, CopyError> {
    let mut count = 0;
    each_page(
        |page| list(store, page),
        async |items| {
            count += items.len() as u64;
            Ok(())
        },
    )
    .await?;
    Ok(count)
}
