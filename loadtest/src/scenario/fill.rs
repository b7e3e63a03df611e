//! Messages that are said as fast as the server takes them, for what comes after.

use super::{
    Layout, Outcome, Totals,
    chat::verdict,
    crew::{Crew, CrewSettings, settle},
    outcome::ratio,
};
use crate::{
    peer::{Pace, Part, Progress, RoomKey},
    report::{format, while_waiting},
    subject::Subject,
};
use anyhow::{bail, ensure};
use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

/// Says so many messages in pairs, and checks that all arrive.
pub async fn fill(
    subject: &mut Subject,
    settings: &CrewSettings,
    peers: u32,
    messages: u64,
    body_bytes: usize,
) -> anyhow::Result<()> {
    let layout = Layout::pairs(peers);
    let (crew, rooms) = Crew::gather(subject, settings, &layout).await?;
    let of_each = vec![messages / u64::from(layout.peers); layout.peers as usize];
    let outcome = say("fill", subject, &crew, &rooms, &of_each, IN_FLIGHT_OF_MANY, body_bytes).await?;
    ensure!(outcome.is_clean(), "messages went wrong before anything was measured: {:?}", outcome.verdict);
    crew.dismiss().await
}

/// Everybody, in pairs in `rooms`, says as many messages as `of_each` says. `scenario` is what that is for.
pub async fn say(
    scenario: &str,
    subject: &mut Subject,
    crew: &Crew,
    rooms: &[RoomKey],
    of_each: &[u64],
    in_flight: usize,
    body_bytes: usize,
) -> anyhow::Result<Outcome> {
    let part = |(number, &sends_max): (usize, &u64)| {
        let pace = if sends_max > 0 { Pace::Closed { in_flight } } else { Pace::Silent };
        (number as u32, Part { rooms: vec![(rooms[number / 2], 1)], pace, sends_max })
    };
    let (began, messages) = (Instant::now(), of_each.iter().sum());
    let parts = of_each.iter().enumerate().map(part).collect();
    let progress = crew.load(began, Duration::MAX, body_bytes, parts).await?;
    let kind = subject.kind;
    let all_said = async {
        wait_until_sent(subject, &progress, messages).await?;
        settle(&progress, PATIENCE).await;
        anyhow::Ok(())
    };
    let how_far = || {
        let written = progress.answered.load(Ordering::Relaxed);
        format!("{} of {} entries written", format::count(written), format::count(messages))
    };
    while_waiting(scenario, kind, all_said, how_far).await?;
    let filled_s = began.elapsed().as_secs_f64();

    let harvest = crew.finish().await?;
    let (all, reports) = (harvest.tally.sum(0, usize::MAX), &harvest.reports);
    let mut outcome = Outcome::new(scenario, subject.kind, of_each.len() as u32);
    outcome.totals = Totals {
        offered: all.offered,
        accepted: all.sent,
        acked: all.acked,
        refused: all.refused,
        delivered: all.delivered,
        deliveries_expected: all.acked,
    };
    outcome.verdict = verdict(reports.iter().flat_map(|report| report.rooms.iter().map(|room| (report.number, room))));
    outcome.resyncs = reports.iter().map(|report| report.resyncs).sum();
    outcome.lost_connections = reports.iter().filter(|report| report.lost.is_some()).count() as u64;
    outcome.note(FILLED_PER_S, ratio(all.acked as f64, filled_s));
    Ok(outcome)
}

async fn wait_until_sent(subject: &mut Subject, progress: &Progress, messages: u64) -> anyhow::Result<()> {
    let (mut seen, mut since) = (progress.position(), Instant::now());
    while progress.sent.load(Ordering::Relaxed) < messages {
        tokio::time::sleep(POLL).await;
        subject.check_alive()?;
        let now = progress.position();
        if now != seen {
            (seen, since) = (now, Instant::now());
        } else if since.elapsed() > PATIENCE {
            bail!("gave up filling the server: {} of {messages} messages, and no more", now.0);
        }
    }
    Ok(())
}

const FILLED_PER_S: &str = "filled_per_s";
const IN_FLIGHT_OF_MANY: usize = 32;
/// How long nothing may move.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);
