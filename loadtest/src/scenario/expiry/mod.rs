//! Very many messages that will disappear, and some of them that do so at a steady rate while everybody is connected: does
//! every one go, once, none early, and how late?

mod person;
mod verdict;

use super::{
    Outcome, Quantiles, Totals,
    crew::{Crew, CrewSettings},
    layout::Layout,
    unix_ms,
};
use crate::{
    peer::{Verdict, empty_histogram},
    report::{format, while_waiting},
    subject::{Kind, Subject},
    worker::Clients,
};
use anyhow::{Context, bail, ensure};
use futures_util::future::try_join_all;
use hdrhistogram::Histogram;
use person::{Course, Person, Seen, Stage};
use std::{
    cell::RefCell,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::JoinSet};
use verdict::judge;

/// A load.
#[derive(Debug, Clone)]
pub struct ExpiryLoad {
    /// In pairs; everybody writes to their partner.
    pub people: u32,
    /// Messages that will disappear, all together.
    pub pending: u64,
    /// Those of them that do in the run.
    pub due: u64,
    pub due_rate_per_s: f64,
    pub body_bytes: usize,
    /// How long nothing may disappear, at the end, before what is still there counts as lost.
    pub patience: Duration,
}

/// When what disappears. Messages are numbered; those below `due` disappear during the run, all others long after it.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub people: u32,
    pub pending: u64,
    pub due: u64,
    pub due_rate_per_s: f64,
    /// Milliseconds since the epoch.
    pub first_due_ms: u64,
}

impl Plan {
    /// What a person writes; those that go first, last, so that they go soon.
    pub fn of_person(&self, person: u32) -> impl Iterator<Item = u64> + use<> {
        let people = u64::from(self.people);
        (u64::from(person)..self.pending).step_by(people as usize).collect::<Vec<_>>().into_iter().rev()
    }

    /// When a message is to disappear; `None`: long after the run.
    pub fn due_ms(&self, number: u64) -> Option<u64> {
        let after_ms = (number as f64 * 1000.0 / self.due_rate_per_s) as u64;
        (number < self.due).then_some(self.first_due_ms + after_ms)
    }
}

/// Runs it.
pub async fn run(subject: &mut Subject, settings: &CrewSettings, load: &ExpiryLoad) -> anyhow::Result<Outcome> {
    ensure!(subject.kind == Kind::Godwit, "the bare relay keeps no messages, and so none disappears");
    let (crew, rooms) = Crew::gather(subject, settings, &Layout::pairs(load.people)).await?;
    let conversations = rooms.iter().map(|room| match room {
        crate::peer::RoomKey::Conversation(id) => Ok(*id),
        crate::peer::RoomKey::Group(_) => bail!("the bare relay has no conversations"),
    });
    let conversations: Arc<[_]> = conversations.collect::<anyhow::Result<_>>()?;
    let lead = LEAD_MIN + Duration::from_secs_f64(load.pending as f64 / WRITTEN_PER_S_MIN);
    let plan = Plan {
        people: load.people,
        pending: load.pending,
        due: load.due,
        due_rate_per_s: load.due_rate_per_s,
        first_due_ms: unix_ms()? + lead.as_millis() as u64,
    };
    let course = Arc::new(Course::default());
    let (stage, told) = watch::channel(Stage::Running);
    let lives = crew.shares((0..load.people).collect()).into_iter().map(|(worker, share)| {
        let (course, told, conversations, body_bytes) =
            (course.clone(), told.clone(), conversations.clone(), load.body_bytes);
        worker.run(async move |clients: &mut Clients| {
            let heard_us = Rc::new(RefCell::new(empty_histogram()));
            let mut living = JoinSet::new();
            for (number, _) in share {
                let link =
                    clients.links.remove(&number).with_context(|| format!("client {number} is not connected"))?;
                let conversation = conversations[number as usize / 2];
                let person =
                    Person::new(number, conversation, plan, body_bytes, course.clone(), heard_us.clone(), link);
                let told = told.clone();
                living.spawn_local(async move { person.live(told).await.with_context(|| format!("client {number}")) });
            }
            let mut seen = Vec::new();
            while let Some(person) = living.join_next().await {
                seen.push(person.context("a client panicked")??);
            }
            let heard_us = heard_us.borrow().clone();
            Ok((seen, heard_us))
        })
    });
    let how_far = || {
        let (written, gone) = (course.written.load(Ordering::Relaxed), course.gone.load(Ordering::Relaxed));
        let (written, pending) = (format::count(written), format::count(load.pending));
        format!("{written} of {pending} written · {} of {} gone", format::count(gone), format::count(load.due))
    };
    let both = async { tokio::try_join!(try_join_all(lives), conduct(load, plan, &course, &stage)) };
    let (lives, ()) = while_waiting("expiry", Kind::Godwit, both, how_far).await?;
    subject.check_alive()?;
    crew.dismiss().await?;
    let (mut seen, mut heard_us) = (Vec::new(), empty_histogram());
    for (people, heard) in lives {
        seen.extend(people);
        // Cannot fail: it grows as needed.
        let _ = heard_us.add(&heard);
    }
    let mut outcome = load.outcome(&plan, &seen, &heard_us);
    (outcome.server, outcome.client_cpus) = (subject.kind, settings.cpus_busy_max());
    Ok(outcome)
}

/// Until everything is gone that is to go, or nothing goes any more.
async fn conduct(load: &ExpiryLoad, plan: Plan, course: &Course, stage: &watch::Sender<Stage>) -> anyhow::Result<()> {
    let (mut seen, mut since) = (0, Instant::now());
    loop {
        tokio::time::sleep(POLL).await;
        let position = course.gone.load(Ordering::Relaxed) + course.written.load(Ordering::Relaxed);
        let is_waiting = unix_ms()? < plan.first_due_ms;
        if position != seen || is_waiting {
            (seen, since) = (position, Instant::now());
        }
        if course.gone.load(Ordering::Relaxed) >= load.due || since.elapsed() > load.patience {
            // One that goes twice may do so now.
            tokio::time::sleep(AFTER_ALL).await;
            stage.send_replace(Stage::Over);
            return Ok(());
        }
    }
}

impl ExpiryLoad {
    fn outcome(&self, plan: &Plan, seen: &[Seen], heard_us: &Histogram<u64>) -> Outcome {
        let mut firings = judge(plan, seen);
        let heard = Quantiles::of(heard_us);
        (firings.heard_p50_ms, firings.heard_p99_ms, firings.heard_max_ms) = (heard.p50_ms, heard.p99_ms, heard.max_ms);
        let acked = seen.iter().map(|seen| seen.acked).sum::<u64>();
        let mut outcome = Outcome {
            settings: vec![
                ("pending".into(), format::count(self.pending)),
                ("due".into(), format!("{} at {} a second", format::count(self.due), self.due_rate_per_s)),
                ("people".into(), self.people.to_string()),
                ("body bytes".into(), self.body_bytes.to_string()),
            ],
            totals: Totals {
                offered: self.pending,
                accepted: self.pending,
                acked,
                refused: self.pending - acked,
                delivered: seen.iter().map(|seen| seen.expires_ms.len() as u64).sum(),
                deliveries_expected: acked,
            },
            verdict: Verdict::default(),
            ..Outcome::new("expiry", Kind::Godwit, self.people)
        };
        for (name, value) in [
            ("pending", firings.pending as f64),
            ("due", firings.due as f64),
            ("gone", firings.fired as f64),
            ("lag_p50_ms", firings.lag_p50_ms),
            ("lag_p99_ms", firings.lag_p99_ms),
            ("lag_max_ms", firings.lag_max_ms),
            ("heard_p50_ms", firings.heard_p50_ms),
            ("heard_p99_ms", firings.heard_p99_ms),
            ("heard_max_ms", firings.heard_max_ms),
        ] {
            outcome.note(name, value);
        }
        outcome.firings = Some(firings);
        outcome
    }
}

const POLL: Duration = Duration::from_millis(20);
const AFTER_ALL: Duration = Duration::from_secs(1);
/// From the first message that is written until the first disappears: this, and as long as a slow server takes for all.
const LEAD_MIN: Duration = Duration::from_secs(5);
const WRITTEN_PER_S_MIN: f64 = 4_000.0;

#[cfg(test)]
pub mod tests {
    #![allow(clippy::unwrap_used, missing_docs)]
    use super::*;

    pub const PLAN: Plan =
        Plan { people: 2, pending: 6, due: 4, due_rate_per_s: 100.0, first_due_ms: 1_700_000_000_000 };

    #[test]
    fn everybody_writes_their_share_and_what_goes_first_last() {
        assert_eq!(PLAN.of_person(0).collect::<Vec<_>>(), [4, 2, 0]);
        assert_eq!(PLAN.of_person(1).collect::<Vec<_>>(), [5, 3, 1]);
        assert_eq!((PLAN.due_ms(3), PLAN.due_ms(4)), (Some(PLAN.first_due_ms + 30), None));
    }
}
