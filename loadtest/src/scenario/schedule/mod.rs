//! Very many scheduled messages that wait, and some of them that fall due at a steady rate while people chat and, if so
//! wanted, the server is killed now and then: does every one fire once, none early, and how late?
//!
//! First the [`stock`] is [filled](fill) with what the [`plan`] says. Then things [`fire`] while each [`person`] stays connected;
//! in the end everybody [reads everything back](read_back), which a [`verdict`] compares with the plan.

mod fill;
mod fire;
mod person;
mod plan;
mod read_back;
mod stock;
mod verdict;

pub use verdict::Firings;

use super::{
    CurvePoint, Outcome, Quantiles, Totals,
    crew::{Crew, CrewSettings},
    layout::Layout,
    unix_ms,
};
use crate::{
    peer::{RoomKey, Tally, Verdict, empty_histogram},
    report::format,
    subject::{Kind, Subject},
};
use anyhow::{bail, ensure};
use fire::{Fire, Fired};
use godwit_proto::ConversationId;
use person::Story;
use plan::Plan;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use stock::Stock;
use verdict::judge_chat;

/// A load.
#[derive(Debug, Clone)]
pub struct ScheduleLoad {
    /// In pairs; everybody schedules messages to their partner.
    pub people: u32,
    /// Messages that wait, all together.
    pub pending: u64,
    /// Those of them that fall due.
    pub due: u64,
    pub due_rate_per_s: f64,
    /// Messages by hand meanwhile, of all together.
    pub rate_per_s: f64,
    /// Times that the server is killed, spread over those that fall due.
    pub kills: u32,
    pub body_bytes: usize,
    pub seed: u64,
    /// How long nothing may fire or arrive, at the end, before what is missing counts as lost.
    pub patience: Duration,
}

/// Runs it.
pub async fn run(subject: &mut Subject, settings: &CrewSettings, load: &ScheduleLoad) -> anyhow::Result<Outcome> {
    ensure!(subject.kind == Kind::Godwit, "the bare relay schedules nothing");
    let layout = Layout::pairs(load.people);
    let (crew, rooms) = Crew::gather(subject, settings, &layout).await?;
    let conversation = |room: &RoomKey| match room {
        RoomKey::Conversation(id) => Ok(*id),
        RoomKey::Group(_) => bail!("the bare relay has no conversations"),
    };
    let conversations: Arc<[ConversationId]> = rooms.iter().map(conversation).collect::<anyhow::Result<_>>()?;

    let mut stock = Stock::default();
    let plan = stock.fill(subject, &crew, &conversations, load).await?;
    let fired = Fire { crew: &crew, conversations, plan, load }.fire(subject).await?;
    crew.dismiss().await?;
    let mut outcome = load.outcome(&plan, &stock, &fired);
    (outcome.server, outcome.client_cpus) = (subject.kind, settings.cpus_busy_max());
    Ok(outcome)
}

impl ScheduleLoad {
    /// Scheduled messages of one person, as a server counts them.
    pub fn per_person_max(&self) -> u64 {
        self.pending.div_ceil(self.people.into()) + 2 * fill::IN_FLIGHT as u64
    }

    /// All seconds in which something falls due.
    fn due_s(&self) -> usize {
        ((self.due as f64 / self.due_rate_per_s).ceil() as usize).max(1)
    }

    fn settings(&self) -> Vec<(String, String)> {
        vec![
            ("pending".into(), format::count(self.pending)),
            ("due".into(), format!("{} at {} a second", format::count(self.due), self.due_rate_per_s)),
            ("people".into(), self.people.to_string()),
            ("chat".into(), format!("open loop, {} messages/s", self.rate_per_s)),
            ("kills".into(), self.kills.to_string()),
            ("body bytes".into(), self.body_bytes.to_string()),
            ("seed".into(), self.seed.to_string()),
        ]
    }
}

impl ScheduleLoad {
    fn outcome(&self, plan: &Plan, stock: &Stock, fired: &Fired) -> Outcome {
        let Fired { lives, samples, steady_from, kills } = fired;
        let (mut tally, mut heard_us) = (Tally::default(), empty_histogram());
        for part in lives {
            tally.add(&part.tally);
            // Cannot fail: it grows as needed.
            let _ = heard_us.add(&part.heard_us);
        }
        let people = || lives.iter().flat_map(|part| &part.people);
        let of_stories = |count: fn(&Story) -> u64| people().map(|(_, story, _)| count(story)).sum::<u64>();
        let acked: BTreeMap<u32, u64> = people().map(|(number, story, _)| (*number, story.acked)).collect();
        let mut firings = Firings::judge(plan, people().map(|(_, _, found)| &found.witness));
        let heard = Quantiles::of(&heard_us);
        (firings.heard_p50_ms, firings.heard_p99_ms, firings.heard_max_ms) = (heard.p50_ms, heard.p99_ms, heard.max_ms);
        firings.kills = *kills;
        firings.bytes_per_pending = stock.bytes_per_pending;
        firings.bytes_per_pending_later = stock.bytes_per_pending_later;
        firings.disk_bytes_per_pending = stock.disk_bytes_per_pending;
        firings.scheduled_per_s = stock.scheduled_per_s;

        let chat = people().map(|(number, _, found)| {
            let pair = [number & !1, number | 1].map(|member| (member, acked.get(&member).copied().unwrap_or(0)));
            judge_chat(&found.chat, &pair.into())
        });
        let mut verdict = chat.fold(Verdict::default(), Verdict::plus);
        verdict.unanswered += of_stories(|story| story.unanswered);
        // What is in the log and never came is lost to who waits for it.
        verdict.lost += people().map(|(_, _, found)| found.missed).sum::<u64>();

        let (steady_s, end) = (self.due_s(), steady_from + self.due_s());
        let (all, steady) = (tally.sum(0, usize::MAX), tally.sum(*steady_from, steady_s));
        let (from, to) = (samples.server[*steady_from], samples.server[end]);
        let (per_s, delivered) = (1.0 / steady_s as f64, steady.delivered as f64);
        let acked = of_stories(|story| story.acked);
        let mut outcome = Outcome {
            settings: self.settings(),
            totals: Totals {
                offered: all.offered,
                accepted: all.sent,
                acked,
                refused: of_stories(|story| story.refused),
                delivered: all.delivered,
                deliveries_expected: acked,
            },
            verdict,
            resyncs: of_stories(|story| story.resyncs),
            lost_connections: of_stories(|story| story.broken),
            steady_s: steady_s as f64,
            offered_per_s: steady.offered as f64 * per_s,
            acked_per_s: steady.acked as f64 * per_s,
            delivered_per_s: delivered * per_s,
            ack: Quantiles::of(&steady.ack_us),
            delivery: Quantiles::of(&steady.delivery_us),
            ack_curve: CurvePoint::curve(&steady.ack_us),
            delivery_curve: CurvePoint::curve(&steady.delivery_us),
            client_cpu_s: samples.client_cpu_s(*steady_from, steady_s),
            seconds: samples.seconds(tally.seconds()),
            steady_from: *steady_from,
            steady_seconds: steady_s,
            ..Outcome::new("schedule", Kind::Godwit, self.people)
        };
        outcome.note_server(from, to);
        firings.note(&mut outcome);
        outcome.firings = Some(firings);
        outcome
    }
}

impl Firings {
    /// For people: the figures of a report.
    fn note(&self, outcome: &mut Outcome) {
        for (name, value) in [
            ("pending", self.pending as f64),
            ("due", self.due as f64),
            ("fired", self.fired as f64),
            ("kills", self.kills.into()),
            ("lag_p50_ms", self.lag_p50_ms),
            ("lag_p99_ms", self.lag_p99_ms),
            ("lag_max_ms", self.lag_max_ms),
            ("heard_p50_ms", self.heard_p50_ms),
            ("heard_p99_ms", self.heard_p99_ms),
            ("heard_max_ms", self.heard_max_ms),
            ("bytes_per_pending", self.bytes_per_pending),
            ("bytes_per_pending_later", self.bytes_per_pending_later),
            ("disk_bytes_per_pending", self.disk_bytes_per_pending),
            ("scheduled_per_s", self.scheduled_per_s),
        ] {
            outcome.note(name, value);
        }
    }
}
