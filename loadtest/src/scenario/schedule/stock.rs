//! Scheduling everything, and what that costs.

use super::{ScheduleLoad, fill::fill, plan::Plan, unix_ms};
use crate::{
    report::{format, while_waiting},
    scenario::{crew::Crew, outcome::ratio},
    subject::{Kind, Subject},
};
use anyhow::ensure;
use godwit_proto::ConversationId;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// What it cost to have everything scheduled.
#[derive(Debug, Default)]
pub struct Stock {
    pub bytes_per_pending: f64,
    pub bytes_per_pending_later: f64,
    pub disk_bytes_per_pending: f64,
    pub scheduled_per_s: f64,
}

impl Stock {
    /// First what does not fall due, and then, when it is known how long that takes, what does.
    pub async fn fill(
        &mut self,
        subject: &mut Subject,
        crew: &Crew,
        conversations: &Arc<[ConversationId]>,
        load: &ScheduleLoad,
    ) -> anyhow::Result<Plan> {
        let mut plan = Plan {
            people: load.people,
            pending: load.pending,
            due: load.due,
            due_rate_per_s: load.due_rate_per_s,
            first_due_ms: 0,
            began_ms: unix_ms()?,
            tag: rand::random(),
        };
        let confirmed = Arc::new(AtomicU64::new(0));
        let how_far = || {
            let confirmed = confirmed.load(Ordering::Relaxed);
            format!("{} of {} messages scheduled", format::count(confirmed), format::count(load.pending))
        };
        let schedule = |plan: Plan, from: u64, to: u64| {
            let filling = fill(crew, conversations, plan, from..to, load.body_bytes, &confirmed);
            while_waiting("schedule", Kind::Godwit, filling, how_far)
        };
        let half = load.due + (load.pending - load.due) / 2;
        subject.idle().await?;
        let (before, disk_before) = (subject.figures()?.rss_now_bytes, subject.data_bytes()?);
        let began = Instant::now();
        schedule(plan, load.due, half).await?;
        let first_took = began.elapsed();
        subject.idle().await?;
        let at_half = subject.figures()?.rss_now_bytes;
        let began = Instant::now();
        schedule(plan, half, load.pending).await?;
        let took_s = (first_took + began.elapsed()).as_secs_f64();
        subject.idle().await?;
        let (after, disk_after) = (subject.figures()?.rss_now_bytes, subject.data_bytes()?);

        let far = (load.pending - load.due) as f64;
        let grown = |from: u64, to: u64| to as f64 - from as f64;
        self.bytes_per_pending = ratio(grown(before, after), far);
        self.bytes_per_pending_later = ratio(grown(at_half, after), (load.pending - half) as f64);
        self.disk_bytes_per_pending = ratio(grown(disk_before, disk_after), far);
        self.scheduled_per_s = ratio(far, took_s);

        let filling = Duration::from_secs_f64(took_s * ratio(load.due as f64, far).min(1.0) * LEAD_SHARE);
        plan.first_due_ms = unix_ms()? + (LEAD_MIN + filling).as_millis() as u64;
        schedule(plan, 0, load.due).await?;
        let confirmed = confirmed.load(Ordering::Relaxed);
        ensure!(confirmed == load.pending, "the server confirmed {confirmed} of {} messages", load.pending);
        ensure!(unix_ms()? < plan.first_due_ms, "the machine is too busy: some were due before all were scheduled");
        Ok(plan)
    }
}

/// From the last preparation until the first is due: this, and so many times as long as scheduling them should take.
const LEAD_MIN: Duration = Duration::from_secs(4);
const LEAD_SHARE: f64 = 3.0;
