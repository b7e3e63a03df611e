//! The part of a run in which something falls due.

use super::{
    ScheduleLoad,
    person::{Course, Person, Shared, Stage, Story},
    plan::Plan,
    read_back::Found,
    unix_ms,
};
use crate::{
    peer::{Pace, Tally, empty_histogram},
    report::{format, while_waiting},
    scenario::{
        crew::{Crew, ns},
        samples::Samples,
    },
    subject::{Kind, Subject},
    worker::{Clients, Entry, Identity},
};
use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use godwit_proto::ConversationId;
use hdrhistogram::Histogram;
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use std::{
    cell::RefCell,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
};

/// Everybody and everything is ready.
pub struct Fire<'a> {
    pub crew: &'a Crew,
    pub conversations: Arc<[ConversationId]>,
    pub plan: Plan,
    pub load: &'a ScheduleLoad,
}

/// What came of it.
pub struct Fired {
    pub lives: Vec<Lives>,
    pub samples: Samples,
    /// When the first is due, in seconds from the beginning.
    pub steady_from: usize,
    pub kills: u32,
}

/// What the people of one thread saw.
pub struct Lives {
    pub tally: Tally,
    pub heard_us: Histogram<u64>,
    pub people: Vec<(u32, Story, Found)>,
}

impl Fire<'_> {
    /// Until all that is due has fired, and everybody has read everything back.
    pub async fn fire(self, subject: &mut Subject) -> anyhow::Result<Fired> {
        let (load, course) = (self.load, Arc::new(Course::default()));
        let origin = Instant::now();
        let steady_from = self.plan.first_due_ms.saturating_sub(unix_ms()?).div_ceil(1_000) as usize;
        let seconds = steady_from + load.due_s();
        let (stage, told) = watch::channel(Stage::Running(0));
        let starting = Start {
            origin,
            chat_until_ns: ns(Duration::from_secs(seconds as u64)),
            load: load.clone(),
            plan: self.plan,
            conversations: self.conversations.clone(),
            same_clock: subject.is_own(),
            course: course.clone(),
            stage: told,
        };
        let entries = self.crew.identities.iter().map(Identity::resume).collect::<anyhow::Result<Vec<_>>>()?;
        let lives = self.crew.shares(entries).into_iter().map(|(worker, share)| {
            let starting = starting.clone();
            worker.run(async move |clients: &mut Clients| live(clients, share, starting).await)
        });
        let how_far = || {
            let (fired, answered) =
                (course.fired.load(Ordering::Relaxed), course.chat.answered.load(Ordering::Relaxed));
            let (fired, due) = (format::count(fired), format::count(load.due));
            let kills = match *stage.borrow() {
                Stage::Running(kills) => format!("{kills} kills"),
                Stage::Over => "reading everything back".to_owned(),
            };
            format!("{fired} of {due} fired · {} messages by hand answered · {kills}", format::count(answered))
        };
        let conducting = self.conduct(subject, origin, seconds, &course, &stage);
        let both = async { tokio::try_join!(try_join_all(lives), conducting) };
        let (lives, (samples, kills)) = while_waiting("schedule", Kind::Godwit, both, how_far).await?;
        subject.check_alive()?;
        Ok(Fired { lives, samples, steady_from, kills })
    }

    /// Looks at the server every second, kills it when it is time, and says when it is over.
    async fn conduct(
        &self,
        subject: &mut Subject,
        origin: Instant,
        seconds: usize,
        course: &Course,
        stage: &watch::Sender<Stage>,
    ) -> anyhow::Result<(Samples, u32)> {
        let load = self.load;
        let (mut samples, mut second, mut kills) = (Samples::begin(subject)?, 0, 0);
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(load.seed);
        let position = || (course.fired.load(Ordering::Relaxed), course.chat.position());
        let (mut seen, mut since) = (position(), Instant::now());
        loop {
            tokio::time::sleep(POLL).await;
            while second < seconds && origin.elapsed() >= Duration::from_secs(second as u64 + 1) {
                samples.add(subject)?;
                second += 1;
            }
            let (fired, _) = position();
            // In the middle of as many parts as there are kills.
            let kill_at = load.due * (2 * u64::from(kills) + 1) / (2 * u64::from(load.kills.max(1)));
            if kills < load.kills && fired >= kill_at {
                tokio::time::sleep(Duration::from_micros(rng.random_range(0..KILL_DELAY_MAX_US))).await;
                subject.kill_and_restart().await?;
                kills += 1;
                stage.send_replace(Stage::Running(kills));
                since = Instant::now();
            }
            if position() != seen {
                (seen, since) = (position(), Instant::now());
            }
            let is_settled = fired >= load.due && kills == load.kills && course.chat.is_settled();
            if second == seconds && (is_settled || since.elapsed() > load.patience) {
                // One that fires twice may do so now.
                tokio::time::sleep(AFTER_ALL).await;
                stage.send_replace(Stage::Over);
                ensure!(kills == load.kills, "{fired} of {} fired, and no more; {kills} kills up to then", load.due);
                return Ok((samples, kills));
            }
        }
    }
}

/// What a thread needs to know.
#[derive(Clone)]
struct Start {
    origin: Instant,
    chat_until_ns: u64,
    load: ScheduleLoad,
    plan: Plan,
    conversations: Arc<[ConversationId]>,
    same_clock: bool,
    course: Arc<Course>,
    stage: watch::Receiver<Stage>,
}

async fn live(clients: &mut Clients, entries: Vec<(u32, Entry)>, start: Start) -> anyhow::Result<Lives> {
    let Start { origin, chat_until_ns, load, plan, conversations, same_clock, course, stage } = start;
    let shared = Rc::new(Shared {
        origin,
        chat_until_ns,
        body_bytes: load.body_bytes,
        plan,
        kills: load.kills > 0,
        same_clock,
        dialer: clients.dialer.clone(),
        coming: Semaphore::new(COMING_AT_ONCE),
        tally: RefCell::default(),
        heard_us: RefCell::new(empty_histogram()),
        course,
    });
    let mut living = JoinSet::new();
    for (number, entry) in entries {
        let link = clients.links.remove(&number).with_context(|| format!("client {number} is not connected"))?;
        let pace = Pace::share_of(load.rate_per_s, load.people as usize, number as usize);
        let person = Person::new(number, entry, conversations[number as usize / 2], pace, shared.clone());
        let stage = stage.clone();
        living.spawn_local(async move {
            let (story, found) = person.live(link, stage).await.with_context(|| format!("client {number}"))?;
            anyhow::Ok((number, story, found))
        });
    }
    let mut people = Vec::new();
    while let Some(person) = living.join_next().await {
        people.push(person.context("a client panicked")??);
    }
    Ok(Lives { tally: shared.tally.take(), heard_us: shared.heard_us.borrow().clone(), people })
}

const POLL: Duration = Duration::from_millis(2);
/// A kill comes at any moment between two polls and more.
const KILL_DELAY_MAX_US: u64 = 20_000;
const AFTER_ALL: Duration = Duration::from_secs(1);
/// Of each thread.
const COMING_AT_ONCE: usize = 64;
