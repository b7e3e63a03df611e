//! What one connection fetches by itself: the walk of a sync, and pages of logs.

use crate::{
    Event, Refusal,
    bulk::{self, BulkError},
    close::Verdict,
    command::Link,
    conversations::{Conversations, Fetch},
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use godwit_proto::{
    ConversationId,
    v1::{Direction, ErrorCode, HistoryRequest, Limits, SyncResponse, client_frame::Body, server_frame::Body as Reply},
};
use std::{
    pin::Pin,
    time::{Duration, Instant},
};

/// Fetches of one connection, a bounded number at a time.
pub(crate) struct Fetches {
    link: Link,
    running: FuturesUnordered<Running>,
    running_max: usize,
    walk: Walk,
    /// The server asked for a sync while one was under way.
    walk_again: bool,
    was_synced: bool,
    page_max: u32,
    known_max: usize,
}

type Running = Pin<Box<dyn Future<Output = Fetched> + Send>>;

/// How far the sync is. It asks page by page, and ends when the entries that it found missing are here.
#[derive(Debug, Clone, Copy)]
enum Walk {
    Due { after: Option<ConversationId>, not_before: Option<Instant> },
    UnderWay { after: Option<ConversationId> },
    CatchingUp,
    Done,
}

/// An answer.
pub(crate) enum Fetched {
    Sync(Result<Reply, BulkError>),
    Page(ConversationId, Result<Reply, BulkError>),
}

/// After a stream that broke on a connection that did not.
const RETRY: Duration = Duration::from_secs(1);

impl Fetches {
    /// A sync is due from the start: nobody knows what happened before this connection.
    pub(crate) fn new(link: Link, limits: &Limits) -> Self {
        Self {
            // One stream stays free for the application.
            running_max: link.bulk_streams.available_permits().saturating_sub(1).max(1),
            link,
            running: FuturesUnordered::new(),
            walk: Walk::Due { after: None, not_before: None },
            walk_again: false,
            was_synced: false,
            page_max: limits.history_entries_max,
            known_max: limits.conversations_per_page_max as usize,
        }
    }

    /// The server left pushes out.
    pub(crate) fn resync(&mut self) {
        match self.walk {
            Walk::CatchingUp | Walk::Done => self.walk = Walk::Due { after: None, not_before: None },
            Walk::Due { .. } | Walk::UnderWay { .. } => self.walk_again = true,
        }
    }

    /// Whether a sync came to its end on this connection.
    pub(crate) fn was_synced(&self) -> bool {
        self.was_synced
    }

    pub(crate) fn has_room(&self) -> bool {
        self.running.len() < self.running_max
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// When [`start`](Self::start) has something to do because of the time.
    pub(crate) fn due(&self) -> Option<Instant> {
        match self.walk {
            Walk::Due { not_before, .. } => not_before,
            Walk::UnderWay { .. } | Walk::CatchingUp | Walk::Done => None,
        }
    }

    /// Starts what is due. Only while the application takes events: pages would pile up otherwise.
    pub(crate) fn start(&mut self, conversations: &mut Conversations, now: Instant) {
        if let Walk::Due { after, not_before } = self.walk
            && not_before.is_none_or(|at| at <= now)
        {
            let request = Body::Sync(conversations.sync_request(after, self.known_max));
            let link = self.link.clone();
            self.running.push(Box::pin(async move { Fetched::Sync(bulk::ask(&link, request).await) }));
            self.walk = Walk::UnderWay { after };
        }
        while self.has_room()
            && let Some(fetch) = conversations.next_fetch(now, self.page_max)
        {
            self.running.push(page(self.link.clone(), fetch));
        }
        if matches!(self.walk, Walk::CatchingUp) && conversations.caught_up() {
            self.walk = Walk::Done;
            self.was_synced = true;
            conversations.backlog.push(Event::Synced);
        }
    }

    /// The next answer. Never, when nothing is under way. May be dropped while it waits.
    pub(crate) async fn next(&mut self) -> Fetched {
        match self.running.next().await {
            Some(fetched) => fetched,
            None => std::future::pending().await,
        }
    }

    /// Takes an answer in.
    pub(crate) fn on_fetched(
        &mut self,
        fetched: Fetched,
        conversations: &mut Conversations,
        now: Instant,
    ) -> Result<(), Verdict> {
        match fetched {
            Fetched::Sync(Ok(Reply::Sync(page))) => self.on_sync(page, conversations, now),
            Fetched::Sync(Err(error)) => self.put_off_walk(&refusal(error)?, now),
            Fetched::Page(id, Ok(Reply::History(page))) => conversations.on_page(id, page, now),
            Fetched::Page(id, Err(error)) => conversations.on_page_refused(id, &refusal(error)?, now),
            Fetched::Sync(Ok(_)) | Fetched::Page(_, Ok(_)) => {
                return Err(Verdict::protocol("a request was answered with something else"));
            }
        }
        Ok(())
    }

    fn on_sync(&mut self, page: SyncResponse, conversations: &mut Conversations, now: Instant) {
        let Walk::UnderWay { after } = self.walk else { return };
        for summary in page.changed {
            // An id from a newer server, of a kind that this client does not know.
            let Ok(id) = ConversationId::from_slice(&summary.conversation_id) else { continue };
            conversations.on_summary(id, summary, now);
        }
        for id in page.removed.iter().filter_map(|id| ConversationId::from_slice(id).ok()) {
            self.walk_again |= !conversations.on_sync_removed(id);
        }
        let up_to = ConversationId::from_slice(&page.up_to).ok();
        self.walk = if page.more && up_to > after {
            Walk::Due { after: up_to, not_before: None }
        } else {
            conversations.on_sync_walked(now);
            if std::mem::take(&mut self.walk_again) {
                Walk::Due { after: None, not_before: None }
            } else {
                Walk::CatchingUp
            }
        };
    }

    fn put_off_walk(&mut self, refusal: &Refusal, now: Instant) {
        if let Walk::UnderWay { after } = self.walk {
            self.walk = Walk::Due { after, not_before: Some(now + refusal.retry_after.unwrap_or(RETRY)) };
        }
    }
}

fn page(link: Link, fetch: Fetch) -> Running {
    let request = Body::History(HistoryRequest {
        conversation_id: fetch.conversation.to_bytes(),
        from_seq: fetch.from.as_u64(),
        direction: Direction::Forward.into(),
        limit: fetch.limit,
    });
    Box::pin(async move { Fetched::Page(fetch.conversation, bulk::ask(&link, request).await) })
}

/// A stream that broke is asked again a little later; a connection that broke ends the session before that.
fn refusal(error: BulkError) -> Result<Refusal, Verdict> {
    match error {
        BulkError::Refused(refusal) => Ok(refusal),
        BulkError::Lost => {
            Ok(Refusal { retry_after: Some(RETRY), ..Refusal::local(ErrorCode::Internal, "the stream broke") })
        }
        BulkError::Protocol => Err(Verdict::protocol("a bulk stream carried something else than the answer")),
    }
}
