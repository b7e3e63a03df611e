//! Going through all of something, and trying again.

use super::{CopyError, PAGE_ITEMS, Whole, all_vshards};
use crate::store::{Listed, Page, StoreError, TimerRow};
use futures_util::future::BoxFuture;
use std::time::Duration;

/// How often a store that does not answer is asked again: for about a minute in all.
const ATTEMPTS: u32 = 12;
const PAUSE_MAX: Duration = Duration::from_secs(8);

/// Hands each page of a list of the store that is copied from to `work`.
pub(super) async fn each_page<T>(
    list: impl Fn(Page) -> BoxFuture<'static, Result<Listed<T>, StoreError>>,
    work: impl AsyncFnMut(Vec<T>) -> Result<(), CopyError>,
) -> Result<(), CopyError> {
    each_page_of(CopyError::Source, list, work).await
}

/// Hands each page of a list to `work`; `failed` says whose list it is.
pub(super) async fn each_page_of<T>(
    failed: fn(StoreError) -> CopyError,
    list: impl Fn(Page) -> BoxFuture<'static, Result<Listed<T>, StoreError>>,
    mut work: impl AsyncFnMut(Vec<T>) -> Result<(), CopyError>,
) -> Result<(), CopyError> {
    let mut after = None;
    loop {
        let page = || list(Page { after: after.clone(), limit: PAGE_ITEMS });
        let Listed { items, next } = patiently(page).await.map_err(failed)?;
        work(items).await?;
        match next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

/// Hands all timers to `work`, page by page.
pub(super) async fn each_timer_page(
    store: &dyn Whole,
    mut work: impl AsyncFnMut(Vec<TimerRow>) -> Result<(), CopyError>,
) -> Result<(), CopyError> {
    let mut after = None;
    loop {
        let due = patiently(|| store.due_timers(all_vshards(), 0..u64::MAX, after, PAGE_ITEMS));
        let due = due.await.map_err(CopyError::Source)?;
        let keys: Vec<_> = due.iter().map(|due| due.key).collect();
        let rows = patiently(|| store.timers(keys.clone())).await.map_err(CopyError::Source)?;
        // A timer that is listed and not there has been left behind in a list.
        let there = due.iter().zip(rows).filter_map(|(due, row)| row.filter(|row| row.due_ms == due.due_ms));
        work(there.collect()).await?;
        if due.len() < PAGE_ITEMS {
            return Ok(());
        }
        after = due.last().copied();
    }
}

/// Asks again, with growing pauses, while a store is overloaded or away. A full disk does not go away by waiting.
pub(super) async fn patiently<T, F: Future<Output = Result<T, StoreError>>>(
    mut ask: impl FnMut() -> F,
) -> Result<T, StoreError> {
    let mut pause = Duration::from_millis(50);
    for _ in 1..ATTEMPTS {
        match ask().await {
            Err(StoreError::Overloaded | StoreError::Unavailable(_)) => {
                tokio::time::sleep(pause).await;
                pause = PAUSE_MAX.min(2 * pause);
            }
            answer => return answer,
        }
    }
    ask().await
}
