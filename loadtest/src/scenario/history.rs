//! Paging through conversations: does one of a million entries cost more than one of a thousand?

use super::{
    Outcome, Totals,
    chat::verdict,
    crew::{Crew, CrewSettings, settle},
    outcome::ratio,
};
use crate::{
    peer::{Pace, Part, Progress, RoomKey, empty_histogram, record_us},
    scenario::Layout,
    subject::{Kind, Subject},
    worker::Clients,
};
use anyhow::{Context, bail, ensure};
use godwit_proto::{
    ConversationId,
    v1::{Direction, HistoryRequest, client_frame::Body, server_frame::Body as Reply},
};
use hdrhistogram::Histogram;
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use std::{
    ops::Range,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

/// A load.
#[derive(Debug, Clone)]
pub struct HistoryLoad {
    /// In the long conversation.
    pub entries: u64,
    /// In the short one.
    pub short_entries: u64,
    /// How often each kind of page is read.
    pub pages: usize,
    /// Entries on a page.
    pub page_entries: u32,
    /// Read once more after a restart, when nothing is in memory.
    pub restart: bool,
    pub body_bytes: usize,
    pub seed: u64,
    /// How long nothing may move while the conversations are filled.
    pub patience: Duration,
}

/// Newest page of the long conversation ÷ of the short one, p50.
pub const GROWTH: &str = "growth";
pub const GROWTH_RESTARTED: &str = "growth_after_restart";
const FILLED_PER_S: &str = "filled_per_s";

/// Names of the figures: with everything that was just written in memory, and after a restart.
const WARM: Names = Names {
    growth: GROWTH,
    newest: ["newest_p50_us", "newest_p99_us"],
    short_newest: ["short_newest_p50_us", "short_newest_p99_us"],
    backward: ["backward_p50_us", "backward_p99_us"],
    random: ["random_p50_us", "random_p99_us"],
};
const RESTARTED: Names = Names {
    growth: GROWTH_RESTARTED,
    newest: ["newest_after_restart_p50_us", "newest_after_restart_p99_us"],
    short_newest: ["short_newest_after_restart_p50_us", "short_newest_after_restart_p99_us"],
    backward: ["backward_after_restart_p50_us", "backward_after_restart_p99_us"],
    random: ["random_after_restart_p50_us", "random_after_restart_p99_us"],
};

struct Names {
    growth: &'static str,
    newest: [&'static str; 2],
    short_newest: [&'static str; 2],
    backward: [&'static str; 2],
    random: [&'static str; 2],
}

/// Runs it.
pub async fn run(subject: &mut Subject, settings: &CrewSettings, load: &HistoryLoad) -> anyhow::Result<Outcome> {
    ensure!(subject.kind == Kind::Godwit, "the bare relay has no history");
    let layout = Layout::pairs(4);
    let mut crew = Crew::start(subject, settings, layout.peers)?;
    crew.arrive(subject, &layout.of_peers()).await?;
    let rooms = crew.rooms(subject.kind, &layout).await?;
    let mut outcome = Outcome::new("history", subject.kind, layout.peers);
    outcome.settings = load.settings();
    fill(subject, &crew, &rooms, load, &mut outcome).await?;

    let conversations = [Conversation::of(&rooms, 0, load.entries)?, Conversation::of(&rooms, 1, load.short_entries)?];
    crew.disconnect().await?;
    // Rows are written behind the acknowledgement.
    subject.idle().await?;
    crew.come_back().await?;
    let (before, began) = (subject.figures()?, Instant::now());
    read(&crew, conversations, load, &WARM, &mut outcome).await?;
    if load.restart {
        crew.disconnect().await?;
        subject.restart().await?;
        subject.idle().await?;
        crew.come_back().await?;
        read(&crew, conversations, load, &RESTARTED, &mut outcome).await?;
    }
    outcome.note_server(before, subject.figures()?);
    outcome.steady_s = began.elapsed().as_secs_f64();
    outcome.client_cpus = settings.cpus_busy_max();
    outcome.lost_connections += crew.lost().await?;
    crew.dismiss().await?;
    Ok(outcome)
}

/// Says everything, as fast as the server takes it, and checks that it arrives.
async fn fill(
    subject: &mut Subject,
    crew: &Crew,
    rooms: &[RoomKey],
    load: &HistoryLoad,
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    let part = |number: u32| {
        let sends_max = [load.entries, 0, load.short_entries, 0][number as usize];
        let pace = Pace::Closed { in_flight: if sends_max > 0 { IN_FLIGHT } else { 0 } };
        (number, Part { rooms: vec![(rooms[number as usize / 2], 1)], pace, sends_max })
    };
    let began = Instant::now();
    let progress = crew.load(began, Duration::MAX, load.body_bytes, (0..4).map(part).collect()).await?;
    wait_until_sent(subject, &progress, load.entries + load.short_entries, load.patience).await?;
    settle(&progress, load.patience).await;
    let filled_s = began.elapsed().as_secs_f64();
    let harvest = crew.finish().await?;
    let all = harvest.tally.sum(0, usize::MAX);
    outcome.totals = Totals {
        offered: all.offered,
        accepted: all.sent,
        acked: all.acked,
        refused: all.refused,
        delivered: all.delivered,
        deliveries_expected: all.acked,
    };
    let reports = &harvest.reports;
    outcome.verdict = verdict(reports.iter().flat_map(|report| report.rooms.iter().map(|room| (report.number, room))));
    outcome.resyncs = reports.iter().map(|report| report.resyncs).sum();
    outcome.lost_connections = reports.iter().filter(|report| report.lost.is_some()).count() as u64;
    outcome.note(FILLED_PER_S, ratio(all.acked as f64, filled_s));
    Ok(())
}

async fn wait_until_sent(
    subject: &mut Subject,
    progress: &Progress,
    messages: u64,
    patience: Duration,
) -> anyhow::Result<()> {
    let (mut seen, mut since) = (progress.position(), Instant::now());
    while progress.sent.load(Ordering::Relaxed) < messages {
        tokio::time::sleep(POLL).await;
        subject.check_alive()?;
        let now = progress.position();
        if now != seen {
            (seen, since) = (now, Instant::now());
        } else if since.elapsed() > patience {
            bail!("gave up filling the conversations: {} of {messages} messages, and no more", now.0);
        }
    }
    Ok(())
}

/// A conversation that is read.
#[derive(Clone, Copy)]
struct Conversation {
    id: ConversationId,
    reader: u32,
    entries: u64,
}

impl Conversation {
    fn of(rooms: &[RoomKey], index: u32, entries: u64) -> anyhow::Result<Self> {
        let RoomKey::Conversation(id) = rooms[index as usize] else { bail!("the bare relay has no conversations") };
        Ok(Self { id, reader: 2 * index, entries })
    }
}

async fn read(
    crew: &Crew,
    [long, short]: [Conversation; 2],
    load: &HistoryLoad,
    names: &Names,
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    let mut note = |names: [&'static str; 2], took_us: &Histogram<u64>| {
        outcome.note(names[0], took_us.value_at_quantile(0.5) as f64);
        outcome.note(names[1], took_us.value_at_quantile(0.99) as f64);
    };
    // In turn, so that what happens on the machine meanwhile happens to both.
    let (mut newest, mut short_newest) = (empty_histogram(), empty_histogram());
    for _ in 0..load.pages.div_ceil(PAGES_IN_A_ROW) {
        for (conversation, took_us) in [(long, &mut newest), (short, &mut short_newest)] {
            let pages = vec![conversation.entries; PAGES_IN_A_ROW];
            took_us.add(pages_ending_at(crew, conversation, pages, load.page_entries).await?)?;
        }
    }
    note(names.newest, &newest);
    note(names.short_newest, &short_newest);
    let (page, entries) = (u64::from(load.page_entries), long.entries);
    let backward = (0..load.pages as u64).map_while(|index| entries.checked_sub(index * page)).filter(|&end| end > 0);
    note(names.backward, &pages_ending_at(crew, long, backward.collect(), load.page_entries).await?);
    let random = random_positions(1..entries + 1, load.pages, load.seed);
    note(names.random, &pages_ending_at(crew, long, random, load.page_entries).await?);
    let p50 = |took_us: &Histogram<u64>| took_us.value_at_quantile(0.5) as f64;
    outcome.note(names.growth, ratio(p50(&newest), p50(&short_newest)));
    Ok(())
}

/// Reads the pages that end at these entries, one after the other, and checks that they are whole.
async fn pages_ending_at(
    crew: &Crew,
    conversation: Conversation,
    ends: Vec<u64>,
    page_entries: u32,
) -> anyhow::Result<Histogram<u64>> {
    let Conversation { id, reader, entries } = conversation;
    let job = async move |clients: &mut Clients| {
        let link = clients.link(reader)?;
        let mut took_us = empty_histogram();
        for end in ends {
            let request = HistoryRequest {
                conversation_id: id.to_bytes(),
                // 0 is the newest, which is what a client asks for that does not know which that is.
                from_seq: if end == entries { 0 } else { end },
                direction: Direction::Backward.into(),
                limit: page_entries,
            };
            let began = Instant::now();
            let Reply::History(page) = link.bulk(Body::History(request)).await? else {
                bail!("the server answered the asking for a page with something else")
            };
            record_us(&mut took_us, began.elapsed());
            let first = (end + 1).saturating_sub(page_entries.into()).max(1);
            let whole = page.entries.iter().map(|entry| entry.seq).eq(first..=end);
            ensure!(
                whole,
                "the page of {page_entries} entries that ends at {end} has not the entries {first} to {end}"
            );
        }
        Ok(took_us)
    };
    crew.with(reader, job).await.context("reading history")
}

fn random_positions(among: Range<u64>, count: usize, seed: u64) -> Vec<u64> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(among.clone())).collect()
}

impl HistoryLoad {
    fn settings(&self) -> Vec<(String, String)> {
        vec![
            ("entries".into(), format!("{} and {}", self.entries, self.short_entries)),
            ("page".into(), format!("{} entries of {} bytes", self.page_entries, self.body_bytes)),
            ("seed".into(), self.seed.to_string()),
        ]
    }
}

/// Below what a server takes from one client before it stops reading.
const IN_FLIGHT: usize = 512;
const PAGES_IN_A_ROW: usize = 20;
const POLL: Duration = Duration::from_millis(10);
