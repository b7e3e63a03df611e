//! Pushing, and pushing again what is not acknowledged: what a core does about the deliveries of its sessions.

use super::{
    Completion, Core, Effects, Output, Push, Random, SessionId,
    deadlines::Deadline,
    delivery::{PageToRead, Pushed},
    expiry, frames,
    parse::HistoryPage,
    queries,
    session::Stage,
};
use crate::{
    chat::Refusal,
    store::{Direction, PageLimit},
    timer::Tick,
};
use futures_util::FutureExt;
use godwit_proto::{
    ConversationId, Seq, UserId,
    v1::{self, ErrorCode, server_frame::Body},
};

/// Deadlines that are looked at in one turn.
const DEADLINES_PER_TURN_MAX: usize = 256;
/// Pages that are read for one session at one time.
const PAGES_PER_SESSION_MAX: usize = 4;

impl Core {
    /// Tells the time by the monotonic clock, which no one sets. Call it before each turn.
    pub fn begin_turn(&mut self, now: Tick) {
        self.patience.now = now;
    }

    /// When the next turn is to begin at the latest, by the clock of [`begin_turn`](Self::begin_turn).
    pub fn next_deadline(&self) -> Option<Tick> {
        self.deadlines.next_at()
    }

    pub(super) fn push(&mut self, now_ms: u64, push: &Push, sessions: &[SessionId], effects: &mut Effects) {
        // Its time has come: the log has what is there instead.
        let is_late = now_ms >= push.until_ms;
        let lane = frames::lane_of(push.conversation, self.limits.lanes_max);
        for &id in sessions {
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            if session.resync || !matches!(session.stage, Stage::Online(_)) {
                continue;
            }
            if is_late {
                // Perhaps nothing follows by which the client would notice.
                self.require_resync(id, effects);
                continue;
            }
            if push.is_datagram {
                effects.output.push((id, Output::Datagram(push.frame.clone())));
                continue;
            }
            let Pushed { leaves, deadline } =
                session.deliveries.on_push(push.conversation, push.seq, &mut self.patience);
            if leaves {
                if push.deliver_by_ms > 0 {
                    session.awaited.add(push.conversation, push.seq, push.deliver_by_ms);
                }
                effects.output.push((id, Output::Push(lane, push.frame.clone())));
            }
            if let Some(at) = deadline {
                self.deadlines.arm(at, Deadline::Deliveries(id));
            }
        }
    }

    /// Looks at what waited for the present.
    pub(super) fn on_deadlines(&mut self, now_ms: u64, effects: &mut Effects) {
        let mut due = std::mem::take(&mut self.due);
        self.deadlines.take_due(self.patience.now, DEADLINES_PER_TURN_MAX, &mut due);
        for deadline in due.drain(..) {
            match deadline {
                Deadline::Deliveries(session) => self.on_delivery_deadline(session, effects),
                Deadline::Authentication(session) => self.on_authentication_deadline(session, effects),
                Deadline::Idle(session) => self.on_idle_deadline(session, effects),
                Deadline::Token(session) => self.on_token_deadline(now_ms, session, effects),
                Deadline::OfflineGathered => self.on_offline_gathered(effects),
                Deadline::OfflineCall(call) => self.on_offline_timeout(call),
                Deadline::Typing(number) => {
                    if let Some(at) = self.owner.on_typing_deadline(self.patience.now, number, effects) {
                        self.deadlines.arm(at, deadline);
                    }
                }
            }
        }
        self.due = due;
    }

    fn on_delivery_deadline(&mut self, id: SessionId, effects: &mut Effects) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Stage::Online(online) = session.stage else { return };
        if self.congested {
            // Acknowledgements may be what waits, and more work is what is needed least.
            let later = Tick(self.patience.now.0.saturating_add(self.patience.backoff.base_ms));
            return self.deadlines.arm(later, Deadline::Deliveries(id));
        }
        let room = self.limits.delivery.pages_in_flight_max.saturating_sub(self.pages_in_flight);
        let mut pages = Vec::new();
        match session.deliveries.on_deadline(&mut self.patience, room.min(PAGES_PER_SESSION_MAX), &mut pages) {
            Ok(next) => {
                if let Some(at) = next {
                    self.deadlines.arm(at, Deadline::Deliveries(id));
                }
                for page in pages {
                    self.reread(id, online.user, page, effects);
                }
            }
            Err(_dead) => {
                self.meters.delivery_timeouts.increment(1);
                tracing::debug!(user = ?online.user, remote = %session.remote, "a session acknowledges nothing");
                self.end(id, ErrorCode::DeliveryTimeout, "entries were not acknowledged", effects);
            }
        }
    }

    fn reread(&mut self, session: SessionId, user: UserId, (conversation, from): PageToRead, effects: &mut Effects) {
        self.pages_in_flight += 1;
        let limit = PageLimit { entries: self.limits.history_entries_max, bytes: self.limits.page_bytes() };
        let page = HistoryPage { conversation, from, direction: Direction::Forward, limit };
        let read = queries::history(self.services.store.clone(), user, page);
        let completion = read.map(move |answer| {
            let page = answer.map(|(body, _)| body);
            Completion::Reread { session, conversation, from, page }
        });
        effects.tasks.push(completion.boxed());
    }

    /// The log was read for a retry.
    pub(super) fn on_reread(
        &mut self,
        now_ms: u64,
        id: SessionId,
        conversation: ConversationId,
        from: Seq,
        page: Result<Body, Refusal>,
        effects: &mut Effects,
    ) {
        self.pages_in_flight -= 1;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Stage::Online(online) = session.stage else { return };
        let page = page.and_then(|mut body| {
            let handout = expiry::hand_out(now_ms, online.user, &mut body)?;
            handout.awaited.into_iter().for_each(|(id, seq, until_ms)| session.awaited.add(id, seq, until_ms));
            Ok(body)
        });
        let mut entries = match page {
            Ok(Body::History(page)) => page.entries,
            Ok(_) => unreachable!("history is answered with history"),
            Err(refusal) if refusal.code == ErrorCode::NotAMember => {
                // What said that the user is out may be what was held back.
                if session.deliveries.on_page_forbidden(conversation, from) {
                    self.meters.resyncs.increment(1);
                    self.require_resync(id, effects);
                }
                return;
            }
            Err(_) => return session.deliveries.on_page_failed(conversation, from),
        };
        let newest = entries.last().map(|entry| Seq(entry.seq));
        let Some(page) = session.deliveries.on_page(conversation, from, newest, &mut self.patience) else { return };
        entries.retain(|entry| (page.after.0 + 1..=page.up_to.0).contains(&entry.seq));
        if !entries.is_empty() {
            self.meters.redelivered.increment(entries.len() as u64);
            let lane = frames::lane_of(conversation, self.limits.lanes_max);
            let push = v1::EntriesPush { conversation_id: conversation.to_bytes(), entries };
            effects.output.push((id, Output::Push(lane, frames::reply(0, Body::Entries(push)))));
        }
        if let Some(from) = page.next {
            self.reread(id, online.user, (conversation, from), effects);
        }
    }
}

/// What chance starts from: the same in the same simulated run.
pub fn seed(random: &Random) -> u64 {
    let mut seed = [0; 8];
    random(&mut seed);
    u64::from_le_bytes(seed)
}
