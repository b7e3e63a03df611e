//! Messages between people who are online: pairs, groups and one hot group differ in who talks with whom.

use super::{
    CurvePoint, Layout, Outcome, Quantiles, Totals,
    crew::{Crew, CrewSettings, settle},
    outcome::ratio,
    samples::Samples,
};
use crate::{
    peer::{Pace, Part, Report, Room, RoomKey, Verdict, compare},
    report::Live,
    subject::{Kind, Subject},
    worker::Harvest,
};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// A load.
#[derive(Debug, Clone)]
pub struct ChatLoad {
    pub name: &'static str,
    pub layout: Layout,
    pub pace: LoadPace,
    pub timing: Timing,
    pub body_bytes: usize,
}

/// How the senders are paced.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LoadPace {
    /// Every sender has this many messages without an answer.
    Closed { in_flight: usize },
    /// All senders together offer this many messages a second.
    Open { rate_per_s: f64 },
}

/// The parts of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Not measured.
    pub warm_up_s: usize,
    /// Measured.
    pub steady_s: usize,
    /// How long nothing may arrive, at the end, before what is missing counts as lost.
    pub patience: Duration,
}

/// Runs it.
pub async fn run(subject: &mut Subject, settings: &CrewSettings, load: &ChatLoad) -> anyhow::Result<Outcome> {
    let (crew, rooms) = Crew::gather(subject, settings, &load.layout).await?;

    let origin = Instant::now();
    let Timing { warm_up_s, steady_s, patience } = load.timing;
    let send_until = Duration::from_secs((warm_up_s + steady_s) as u64);
    let live = Live::new(load.name, subject.kind, warm_up_s, steady_s);
    let progress = crew.load(origin, send_until, load.body_bytes, load.parts(&rooms)).await?;
    let samples = Samples::take(subject, origin, warm_up_s + steady_s, async |second, samples| {
        if live.wants(second)
            && let Some(happened) = crew.second(second - 1).await
        {
            live.show(second, &samples.second(second, &happened), progress.in_flight());
        }
    });
    let samples = samples.await?;
    live.cool_down(progress.in_flight());
    settle(&progress, patience).await;
    drop(live);
    let harvest = crew.finish().await?;
    subject.check_alive()?;
    crew.dismiss().await?;

    let mut outcome = load.outcome(&harvest, &samples);
    (outcome.server, outcome.client_cpus) = (subject.kind, settings.cpus_busy_max());
    Ok(outcome)
}

impl ChatLoad {
    fn parts(&self, rooms: &[RoomKey]) -> Vec<(u32, Part)> {
        let senders = &self.layout.senders;
        let part = |(number, rooms): (u32, Vec<(RoomKey, u32)>)| {
            let pace = match self.pace {
                _ if !senders.contains(&number) => Pace::Silent,
                LoadPace::Closed { in_flight } => Pace::Closed { in_flight },
                LoadPace::Open { rate_per_s } => Pace::share_of(rate_per_s, senders.len(), number as usize),
            };
            (number, Part { rooms, pace, sends_max: u64::MAX })
        };
        (0..).zip(self.layout.memberships(rooms)).map(part).collect()
    }

    fn outcome(&self, harvest: &Harvest, samples: &Samples) -> Outcome {
        let (tally, reports) = (&harvest.tally, &harvest.reports);
        let Timing { warm_up_s, steady_s, .. } = self.timing;
        let steady = tally.sum(warm_up_s, steady_s);
        let all = tally.sum(0, usize::MAX);
        let (from, to) = (samples.server[warm_up_s], samples.server[warm_up_s + steady_s]);
        let server_cpu_s = to.cpu_s - from.cpu_s;
        let (per_s, delivered) = (1.0 / steady_s as f64, steady.delivered as f64);
        let mut outcome = Outcome {
            settings: self.settings(),
            totals: Totals {
                offered: all.offered,
                accepted: all.sent,
                acked: all.acked,
                refused: all.refused,
                delivered: all.delivered,
                deliveries_expected: deliveries_expected(reports),
            },
            verdict: verdict(reports.iter().flat_map(|report| report.rooms.iter().map(|room| (report.number, room)))),
            resyncs: reports.iter().map(|report| report.resyncs).sum(),
            lost_connections: reports.iter().filter(|report| report.lost.is_some()).count() as u64,
            steady_s: steady_s as f64,
            offered_per_s: steady.offered as f64 * per_s,
            acked_per_s: steady.acked as f64 * per_s,
            delivered_per_s: delivered * per_s,
            ack: Quantiles::of(&steady.ack_us),
            delivery: Quantiles::of(&steady.delivery_us),
            ack_curve: CurvePoint::curve(&steady.ack_us),
            delivery_curve: CurvePoint::curve(&steady.delivery_us),
            server_cpu_us_per_delivered: ratio(server_cpu_s * 1e6, delivered),
            delivered_per_server_cpu_s: ratio(delivered, server_cpu_s),
            client_cpu_s: samples.client_cpu_s(warm_up_s, steady_s),
            written_bytes_per_acked: ratio((to.written_bytes - from.written_bytes) as f64, steady.acked as f64),
            seconds: samples.seconds(tally.seconds()),
            steady_from: warm_up_s,
            steady_seconds: steady_s,
            ..Outcome::new(self.name, Kind::default(), self.layout.peers)
        };
        outcome.note_server(from, to);
        outcome
    }

    fn settings(&self) -> Vec<(String, String)> {
        let pace = match self.pace {
            LoadPace::Closed { in_flight } => format!("closed loop, {in_flight} in flight"),
            LoadPace::Open { rate_per_s } => format!("open loop, {rate_per_s} messages/s"),
        };
        let senders = self.layout.senders.len();
        let members = self.layout.members_max();
        vec![
            ("pace".into(), pace),
            ("senders".into(), senders.to_string()),
            ("conversations".into(), format!("{} of {members}", self.layout.conversations.len())),
            ("body bytes".into(), self.body_bytes.to_string()),
        ]
    }
}

/// Deliveries that the server's answers promised.
fn deliveries_expected(reports: &[Report]) -> u64 {
    reports.iter().flat_map(|report| &report.rooms).map(|room| room.acked * u64::from(room.others)).sum()
}

/// Compares what the members of every conversation sent and heard. `rooms` are all members' views, with the number of each.
pub fn verdict<'a>(rooms: impl Iterator<Item = (u32, &'a Room)>) -> Verdict {
    let mut by_room: HashMap<RoomKey, Vec<(u32, &Room)>> = HashMap::new();
    for (number, room) in rooms {
        by_room.entry(room.key).or_default().push((number, room));
    }
    by_room.values().map(|rooms| compare(rooms)).fold(Verdict::default(), Verdict::plus)
}
