//! The time in which one incarnation holds the lease: its beats, one after the other.

use super::{Beat, LeaseRow, LeaseSettings, LeaseState, LeaseTables, Swapped};
use crate::{
    store::{
        StoreError,
        scylla::fence::{Clock, Fence},
    },
    telemetry::metric,
};
use metrics::{Counter, Gauge, counter, gauge};
use std::{sync::Arc, time::Duration};
use thiserror::Error;

/// A lease that was held at its last beat.
pub(super) struct Term {
    tables: Arc<dyn LeaseTables>,
    clock: Arc<dyn Clock>,
    /// As it was stored last.
    row: LeaseRow,
    /// When the renewal that stored it was begun.
    begun: Duration,
    /// When the first attempt at the next beat was begun, if there was one that was not answered: it may still count.
    tried: Option<Duration>,
    meters: Meters,
}

struct Meters {
    margin: Gauge,
    renewed: Counter,
    unknown: Counter,
}

/// Why a lease is no longer held.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Lost {
    /// Another incarnation has it.
    #[error(
        "the lease on the keyspace was taken over by the server at {by}: this one had not renewed it in time, because it stood \
         still or the database did not answer"
    )]
    TakenOver {
        /// What people call that one.
        by: String,
    },
    /// Nobody has it any more.
    #[error("the row of the lease on the keyspace is gone: somebody deleted it, or put an old backup in its place")]
    Gone,
    /// It has lapsed for so long that clients had better look for another server.
    #[error(
        "the lease on the keyspace was not renewed for {} s, and another server may have taken over: the database does not answer",
        .silent.as_secs()
    )]
    Lapsed {
        /// Since the last renewal was begun.
        silent: Duration,
    },
    /// This server itself found that it is not its own any more, or closed while a write had no known outcome.
    #[error("the keyspace has rows of a newer owner, or this server ended while nobody knew what became of a write")]
    GivenUp,
}

/// What came of one attempt at a renewal.
enum Renewal {
    Renewed,
    Unanswered(String),
    Lost(Lost),
}

impl Term {
    /// Takes a lease that was found as `before`, and may be taken. `None`: somebody else was faster, or nobody knows; look again.
    pub(super) async fn begin(
        tables: Arc<dyn LeaseTables>,
        clock: Arc<dyn Clock>,
        settings: &LeaseSettings,
        before: Option<&LeaseRow>,
        ts_floor_us: i64,
    ) -> Result<Option<Self>, StoreError> {
        let begun = clock.elapsed();
        let row = LeaseRow {
            // No number comes twice, so that an attempt that is still on its way never meets the beat that it waits for.
            beat: Beat { incarnation: settings.incarnation, number: before.map_or(1, |row| row.beat.number + 1) },
            until_us: ts_floor_us.saturating_add(micros(settings.lease)),
            lease: settings.lease,
            address: settings.address.clone(),
            state: LeaseState::Held,
        };
        let swapped = tables.swap_lease(before.map(|row| row.beat), row.clone()).await;
        let ours = match swapped {
            Swapped::Done => true,
            Swapped::Refused | Swapped::Unknown(_) => tables.lease().await?.is_some_and(|found| found.beat == row.beat),
        };
        let meters = Meters {
            margin: gauge!(metric::LEASE_MARGIN_SECONDS),
            renewed: counter!(metric::LEASE_RENEWALS, metric::OUTCOME => "renewed"),
            unknown: counter!(metric::LEASE_RENEWALS, metric::OUTCOME => "unknown"),
        };
        Ok(ours.then_some(Self { tables, clock, row, begun, tried: None, meters }))
    }

    /// Moves a fence on to what was stored last.
    pub(super) fn tell(&self, fence: &Fence) {
        fence.renewed(self.begun, self.row.lease / 2, self.row.until_us);
    }

    /// Renews, and moves the fence on with every renewal. Comes back when the fence has ended.
    ///
    /// A lease that has lapsed is renewed like any other: that it can be says that nobody has taken it over in between.
    pub(super) async fn renew_until_lost(&mut self, fence: &Fence) -> Lost {
        let (mut is_answered, mut has_lapsed) = (true, false);
        loop {
            let next = self.begun + self.row.lease / RENEWALS_IN_LEASE;
            let pause = match is_answered {
                true => next.saturating_sub(self.clock.elapsed()),
                false => self.row.lease / ATTEMPTS_IN_LEASE,
            };
            let pause = if has_lapsed { pause } else { pause.min(fence.margin()) };
            self.tables.sleep(pause).await;
            if fence.has_ended() {
                return self.end(fence, Lost::GivenUp);
            }
            let margin = fence.margin();
            self.meters.margin.set(margin.as_secs_f64());
            if margin.is_zero() && !std::mem::replace(&mut has_lapsed, true) {
                self.say_that_it_has_lapsed();
            }
            let silent = self.clock.elapsed().saturating_sub(self.begun);
            if !is_answered && silent > self.row.lease * SILENT_LEASES_MAX {
                return self.end(fence, Lost::Lapsed { silent });
            }
            let (tables, answered_within) = (self.tables.clone(), self.row.lease / ANSWERS_IN_LEASE);
            let answered_within = if has_lapsed { answered_within } else { answered_within.min(margin) };
            let renewal = tokio::select! {
                biased;
                renewal = self.renew(fence.newest_us()) => renewal,
                () = tables.sleep(answered_within) => Renewal::Unanswered("the database did not answer in time".to_owned()),
            };
            is_answered = matches!(renewal, Renewal::Renewed);
            match renewal {
                Renewal::Renewed => {
                    self.meters.renewed.increment(1);
                    self.tell(fence);
                    if fence.holds() && std::mem::take(&mut has_lapsed) {
                        tracing::info!(
                            "the lease on the keyspace is renewed, nobody has had it in between: the server goes on"
                        );
                    }
                }
                Renewal::Unanswered(reason) => {
                    self.meters.unknown.increment(1);
                    let margin_ms = fence.margin().as_millis();
                    match has_lapsed {
                        // That was said when it lapsed, and how it ends will be.
                        true => tracing::debug!(reason, "the lease could not be renewed; trying again"),
                        false => tracing::warn!(margin_ms, reason, "the lease could not be renewed; trying again"),
                    }
                }
                Renewal::Lost(lost) => return self.end(fence, lost),
            }
        }
    }

    fn say_that_it_has_lapsed(&self) {
        counter!(metric::LEASE_RENEWALS, metric::OUTCOME => "lapsed").increment(1);
        tracing::error!(
            silent_ms = self.clock.elapsed().saturating_sub(self.begun).as_millis(),
            "the lease on the keyspace has lapsed: the database does not answer, or this process stood still. Nothing is \
             acknowledged until it is renewed; if another server takes over meanwhile, this one ends"
        );
    }

    /// Gives the lease back. Nothing that this server wrote may be on its way any more.
    pub(super) async fn release(mut self, fence: &Fence) {
        fence.end();
        let newest_us = fence.newest_us();
        // A renewal that was not answered may have been done after all: that is found out first.
        if self.tried.is_some() && !matches!(self.renew(newest_us).await, Renewal::Renewed) {
            return self.not_released("a renewal was not answered");
        }
        let state = LeaseState::Released;
        let row = LeaseRow { beat: self.next_beat(), until_us: newest_us, state, ..self.row.clone() };
        match self.tables.swap_lease(Some(self.row.beat), row).await {
            Swapped::Done => tracing::info!("gave the lease on the keyspace back"),
            Swapped::Refused => self.not_released("somebody else has it"),
            Swapped::Unknown(why) => self.not_released(&why),
        }
    }

    fn not_released(&self, why: &str) {
        let wait_ms = self.row.lease.as_millis();
        tracing::warn!(
            why,
            wait_ms,
            "could not give the lease on the keyspace back; the next server waits for its end"
        );
    }

    async fn renew(&mut self, newest_us: i64) -> Renewal {
        let begun = self.clock.elapsed();
        let row = LeaseRow {
            beat: self.next_beat(),
            until_us: newest_us.max(self.clock.wall_us()).saturating_add(micros(self.row.lease)).max(self.row.until_us),
            ..self.row.clone()
        };
        let tried = *self.tried.get_or_insert(begun);
        let why = match self.tables.swap_lease(Some(self.row.beat), row.clone()).await {
            Swapped::Done => {
                self.renewed(row, begun);
                return Renewal::Renewed;
            }
            Swapped::Refused => "it was refused, and yet nothing has changed".to_owned(),
            Swapped::Unknown(why) => why,
        };
        match self.tables.lease().await {
            // By this attempt, or by one before it, with what that one has stored.
            Ok(Some(found)) if found.beat == row.beat => {
                self.renewed(found, tried);
                Renewal::Renewed
            }
            Ok(Some(found)) if found.beat == self.row.beat => Renewal::Unanswered(why),
            Ok(Some(found)) => Renewal::Lost(Lost::TakenOver { by: found.address }),
            Ok(None) => Renewal::Lost(Lost::Gone),
            Err(error) => Renewal::Unanswered(error.to_string()),
        }
    }

    fn renewed(&mut self, row: LeaseRow, begun: Duration) {
        (self.row, self.begun, self.tried) = (row, begun, None);
    }

    fn next_beat(&self) -> Beat {
        Beat { number: self.row.beat.number + 1, ..self.row.beat }
    }

    fn end(&self, fence: &Fence, lost: Lost) -> Lost {
        fence.end();
        self.meters.margin.set(0.0);
        counter!(metric::LEASE_RENEWALS, metric::OUTCOME => "lost").increment(1);
        lost
    }
}

/// So that several may fail before the fence ends.
const RENEWALS_IN_LEASE: u32 = 10;

/// How soon after one that was not answered another one is tried.
const ATTEMPTS_IN_LEASE: u32 = 40;

/// For how long a lease that has lapsed is tried to be renewed: whoever is connected is not told what a successor knows. Longer than
/// a database takes to start again.
const SILENT_LEASES_MAX: u32 = 6;

/// How long one attempt may take.
const ANSWERS_IN_LEASE: u32 = 5;

pub(super) fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
