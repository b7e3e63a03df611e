//! A day of real traffic: people who write much or little, in pairs and groups, by day more than by night, and whose phones
//! lose the network now and then.
//!
//! [`plan`] decides who, when and with whom; a [`person`] does it on a session and keeps a [`log`] of each conversation,
//! which is complete at the end whatever happened: what was said to somebody who was away is read back.

mod log;
mod person;
mod plan;

pub use plan::Habits;

use super::{
    CurvePoint, Outcome, Quantiles, SecondFigures, Totals,
    chat::verdict,
    crew::{Crew, CrewSettings},
    outcome::ratio,
    samples::Samples,
};
use crate::{
    peer::{Progress, RoomKey, Tally},
    report::Live,
    subject::{Kind, Subject},
    worker::{Clients, Entry},
};
use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use log::Log;
use person::{Person, Shared, Story};
use plan::{Plan, Rhythm};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use std::{
    cell::RefCell,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// A load.
#[derive(Debug, Clone)]
pub struct MixedLoad {
    pub people: u32,
    /// Messages of all together, on the average of the day.
    pub rate_per_s: f64,
    /// The day.
    pub duration_s: usize,
    /// When memory is looked at for the first time.
    pub early_s: usize,
    /// Share of the people who lose the network now and then.
    pub restless_share: f64,
    pub online_mean_s: f64,
    pub away_mean_s: f64,
    pub habits: Arc<Habits>,
    pub seed: u64,
    /// What is under way at the end has this long to arrive.
    pub patience: Duration,
}

/// Memory at the end ÷ early.
pub const SOAK_GROWTH: &str = "soak_growth";

/// Runs it.
pub async fn run(subject: &mut Subject, settings: &CrewSettings, load: &MixedLoad) -> anyhow::Result<Outcome> {
    ensure!(subject.kind == Kind::Godwit, "the bare relay has nobody who comes back");
    let plan = Arc::new(Plan::new(load.people, load.restless_share, &load.habits, load.seed));
    let (crew, rooms) = Crew::gather(subject, settings, &plan.layout).await?;

    let (origin, progress) = (Instant::now(), Arc::new(Progress::default()));
    let memberships = plan.layout.memberships(&rooms);
    let stages = crew.identities.iter().zip(memberships);
    let stages = stages.map(|(identity, memberships)| Ok(Stage { entry: identity.resume()?, memberships }));
    let stages = stages.collect::<anyhow::Result<Vec<_>>>()?;
    let lives = crew.shares(stages).into_iter().map(|(worker, share)| {
        let (load, plan, progress) = (load.clone(), plan.clone(), progress.clone());
        worker.run(async move |clients: &mut Clients| live(clients, share, &load, plan, progress, origin).await)
    });
    let mut shown = Shown { live: Live::new("mixed", subject.kind, 0, load.duration_s), before: (0, 0, 0) };
    let samples = Samples::take(subject, origin, load.duration_s, async |second, samples| {
        shown.show(second, samples, &progress);
    });
    let (lives, samples) = tokio::try_join!(try_join_all(lives), samples)?;
    drop(shown);
    subject.check_alive()?;
    crew.dismiss().await?;
    let mut outcome = load.outcome(&lives, &samples);
    (outcome.server, outcome.client_cpus) = (subject.kind, settings.cpus_busy_max());
    Ok(outcome)
}

/// What a person begins with.
struct Stage {
    entry: Entry,
    /// Conversations, and the number of the others in each.
    memberships: Vec<(RoomKey, u32)>,
}

/// What the people of one thread saw.
struct Lives {
    tally: Tally,
    people: Vec<(u32, Vec<Log>, Story)>,
}

async fn live(
    clients: &mut Clients,
    stages: Vec<(u32, Stage)>,
    load: &MixedLoad,
    plan: Arc<Plan>,
    progress: Arc<Progress>,
    origin: Instant,
) -> anyhow::Result<Lives> {
    let day = Duration::from_secs(load.duration_s as u64);
    let shared = Rc::new(Shared {
        origin,
        until: day,
        patience: load.patience,
        online_mean_s: load.online_mean_s,
        away_mean_s: load.away_mean_s,
        plan: plan.clone(),
        dialer: clients.dialer.clone(),
        tally: RefCell::default(),
        progress,
    });
    let mut living = JoinSet::new();
    for (number, Stage { entry, memberships }) in stages {
        let link = clients.links.remove(&number).with_context(|| format!("client {number} is not connected"))?;
        let logs: Vec<Log> = memberships.iter().map(|&(key, others)| Log::new(key, others)).collect();
        let by_id = logs.iter().enumerate().filter_map(|(index, log)| match log.room.key {
            RoomKey::Conversation(id) => Some((id, index)),
            RoomKey::Group(_) => None,
        });
        let (by_id, seed) = (by_id.collect(), load.seed.wrapping_add(1 + u64::from(number)));
        let rhythm = Rhythm::new(load.rate_per_s * plan.activity[number as usize], day, seed);
        let (rng, shared) = (Xoshiro256PlusPlus::seed_from_u64(!seed), shared.clone());
        let person = Person { number, entry, logs, by_id, rhythm, rng, shared, story: Story::default() };
        living.spawn_local(person.live(link));
    }
    let mut people = Vec::new();
    while let Some(person) = living.join_next().await {
        let person = person.context("a client panicked")??;
        people.push((person.number, person.logs, person.story));
    }
    Ok(Lives { tally: shared.tally.take(), people })
}

impl MixedLoad {
    fn outcome(&self, lives: &[Lives], samples: &Samples) -> Outcome {
        let mut tally = Tally::default();
        lives.iter().for_each(|part| tally.add(&part.tally));
        let people = || lives.iter().flat_map(|part| &part.people);
        let logs = || people().flat_map(|(number, logs, _)| logs.iter().map(|log| (*number, log)));
        let of_stories = |count: fn(&Story) -> u64| people().map(|(_, _, story)| count(story)).sum::<u64>();
        let (all, steady) = (tally.sum(0, usize::MAX), tally.sum(0, self.duration_s));
        let (from, early, to) =
            (samples.server[0], samples.server[self.early_s.min(self.duration_s)], samples.server[self.duration_s]);
        let (per_s, delivered) = (1.0 / self.duration_s as f64, steady.delivered as f64);

        let mut verdict = verdict(logs().map(|(number, log)| (number, &log.room)));
        verdict.lost += logs().map(|(_, log)| log.missed).sum::<u64>();
        verdict.duplicated += logs().map(|(_, log)| log.repeated).sum::<u64>();
        let mut outcome = Outcome {
            settings: self.settings(),
            totals: Totals {
                offered: all.offered,
                accepted: all.sent,
                acked: all.acked,
                refused: of_stories(|story| story.refused),
                delivered: all.delivered + of_stories(|story| story.caught_up),
                deliveries_expected: logs().map(|(_, log)| log.room.acked * u64::from(log.room.others)).sum(),
            },
            verdict,
            resyncs: of_stories(|story| story.resyncs),
            lost_connections: of_stories(|story| story.broken),
            steady_s: self.duration_s as f64,
            offered_per_s: steady.offered as f64 * per_s,
            acked_per_s: steady.acked as f64 * per_s,
            delivered_per_s: delivered * per_s,
            ack: Quantiles::of(&steady.ack_us),
            delivery: Quantiles::of(&steady.delivery_us),
            ack_curve: CurvePoint::curve(&steady.ack_us),
            delivery_curve: CurvePoint::curve(&steady.delivery_us),
            client_cpu_s: samples.client_cpu_s(0, self.duration_s),
            written_bytes_per_acked: ratio((to.written_bytes - from.written_bytes) as f64, steady.acked as f64),
            seconds: samples.seconds(tally.seconds()),
            steady_seconds: self.duration_s,
            ..Outcome::new("mixed", Kind::Godwit, self.people)
        };
        outcome.note_server(from, to);
        outcome.server_cpu_us_per_delivered = ratio(outcome.server_cpu_s * 1e6, delivered);
        outcome.delivered_per_server_cpu_s = ratio(delivered, outcome.server_cpu_s);
        outcome.note("memory_early_bytes", early.rss_now_bytes as f64);
        outcome.note(SOAK_GROWTH, ratio(to.rss_now_bytes as f64, early.rss_now_bytes as f64));
        outcome.note("delivered_when_back", of_stories(|story| story.caught_up) as f64);
        outcome.note("comebacks", of_stories(|story| story.comebacks) as f64);
        outcome.note("marked_read", of_stories(|story| story.marks) as f64);
        outcome.note("pages_read", of_stories(|story| story.pages) as f64);
        outcome
    }

    fn settings(&self) -> Vec<(String, String)> {
        vec![
            ("pace".into(), format!("open loop, {} messages/s on the average of a day", self.rate_per_s)),
            ("day".into(), format!("{} s", self.duration_s)),
            ("lose the network".into(), format!("{:.0} %", self.restless_share * 100.0)),
            ("memory looked at after".into(), format!("{} s", self.early_s)),
            ("seed".into(), self.seed.to_string()),
        ]
    }
}

/// How a day goes while it goes: counts only, since the clients are busy.
struct Shown {
    live: Live,
    before: (u64, u64, u64),
}

impl Shown {
    fn show(&mut self, second: usize, samples: &Samples, progress: &Progress) {
        let of = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let now = (of(&progress.sent), of(&progress.answered), of(&progress.delivered));
        let before = std::mem::replace(&mut self.before, now);
        if self.live.wants(second) {
            let figures = SecondFigures {
                offered: now.0 - before.0,
                acked: now.1 - before.1,
                delivered: now.2 - before.2,
                ..samples.second(second, &Default::default())
            };
            self.live.show(second, &figures, progress.in_flight());
        }
    }
}
