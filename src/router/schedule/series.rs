//! A message that is sent again and again: one row, which moves on to its next time once one is in the log.

use super::ScheduledMessage;
use crate::{
    chat::Refusal,
    router::ScheduleLimits,
    timer::{InvalidRecurrence, Occurrence, Recurrence},
};
use aws_lc_rs::digest;
use godwit_proto::{
    ClientMsgId,
    v1::{self, ErrorCode},
};

/// Times that are counted at once when many were missed: about a millisecond's work. The rest is counted when the row, which has
/// moved on by so many, is due again, and that is at once.
const COUNTED_AT_ONCE: usize = 4_096;

/// What to do about a series that was not looked at for a while.
#[derive(Debug)]
pub struct PassedOver {
    /// Times that it was not sent at, the first of which is when it is due, as if that one had not been sent.
    pub missed: u32,
    /// As it is from then on; `None` when that was all.
    pub next: Option<ScheduledMessage>,
}

/// A new series, with what the server tells of it.
pub fn begin(asked: v1::Recurrence, due_ms: u64, limits: &ScheduleLimits) -> Result<Option<v1::Recurrence>, Refusal> {
    if asked.rrule.is_empty() {
        return Ok(None);
    }
    let first = read(&asked, limits).and_then(|recurrence| recurrence.first(due_ms)).map_err(|why| refusal(&why))?;
    Ok(Some(v1::Recurrence { local_time: first.local.to_string(), passed: 0, missed: 0, ..asked }))
}

impl ScheduledMessage {
    /// The `client_msg_id` of the entry that it becomes when it is due. Each of a series has another one, which is always the same
    /// for the same time: so it is sent once, however often that is tried.
    pub fn entry_id(&self) -> ClientMsgId {
        if self.recurrence.is_none() {
            return self.id;
        }
        let mut hashed = digest::Context::new(&digest::SHA256);
        hashed.update(b"godwit/1 occurrence");
        hashed.update(&self.id.0);
        hashed.update(&self.due_ms.to_be_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&hashed.finish().as_ref()[..16]);
        ClientMsgId(id)
    }

    /// The same after it was sent; `None` if that was the last time.
    pub fn sent_once(&self, limits: &ScheduleLimits) -> Result<Option<Self>, Refusal> {
        let Some(recurrence) = &self.recurrence else { return Ok(None) };
        let next = self.occurrence(recurrence).and_then(|at| Ok(read(recurrence, limits)?.after(at)?.next()));
        Ok(next.map_err(|why| refusal(&why))?.map(|next| self.at(recurrence, &next, 0)))
    }

    /// What was missed by now. `None`: it is due, not too late, and is not due again by now; or it is no series.
    ///
    /// Of the times that have passed only the latest is made up for, and only if it is not too late.
    pub fn passed_over(&self, now_ms: u64, limits: &ScheduleLimits) -> Result<Option<PassedOver>, Refusal> {
        let Some(recurrence) = &self.recurrence else { return Ok(None) };
        let due = self.occurrence(recurrence).map_err(|why| refusal(&why))?;
        let rule = read(recurrence, limits).map_err(|why| refusal(&why))?;
        let (mut latest, mut passed, mut next) = (due, 0, None);
        for one in rule.after(due).map_err(|why| refusal(&why))?.take(COUNTED_AT_ONCE) {
            if one.due_ms > now_ms {
                next = Some(one);
                break;
            }
            (latest, passed) = (one, passed + 1);
        }
        let is_late = latest.due_ms.saturating_add(limits.late_ms_max) < now_ms;
        let goes_on = passed as usize == COUNTED_AT_ONCE;
        let (missed, next) = match is_late && !goes_on {
            true => (passed + 1, next),
            false if passed == 0 => return Ok(None),
            false => (passed, Some(latest)),
        };
        Ok(Some(PassedOver { missed, next: next.map(|next| self.at(recurrence, &next, missed)) }))
    }

    /// The same with a few missed times more, or fewer.
    pub fn with_missed(self, change: impl FnOnce(u32) -> u32) -> Self {
        let recurrence = self.recurrence.map(|told| v1::Recurrence { missed: change(told.missed), ..told });
        Self { recurrence, ..self }
    }

    fn at(&self, recurrence: &v1::Recurrence, next: &Occurrence, missed: u32) -> Self {
        let recurrence = v1::Recurrence {
            local_time: next.local.to_string(),
            passed: next.passed,
            missed: recurrence.missed.saturating_add(missed),
            ..recurrence.clone()
        };
        let revision = self.revision.saturating_add(1);
        Self { due_ms: next.due_ms, recurrence: Some(recurrence), revision, ..self.clone() }
    }

    fn occurrence(&self, recurrence: &v1::Recurrence) -> Result<Occurrence, InvalidRecurrence> {
        let local = recurrence.local_time.parse().map_err(|_| InvalidRecurrence::Beyond)?;
        Ok(Occurrence { due_ms: self.due_ms, local, passed: recurrence.passed })
    }
}

fn read(recurrence: &v1::Recurrence, limits: &ScheduleLimits) -> Result<Recurrence, InvalidRecurrence> {
    Recurrence::new(&recurrence.rrule, &recurrence.time_zone, limits.recurrence_ms_min)
}

fn refusal(why: &InvalidRecurrence) -> Refusal {
    Refusal::new(ErrorCode::InvalidRecurrence, why.to_string())
}
