//! Paging through conversations: does one of a million entries cost more than one of a thousand?

use super::{
    Outcome,
    crew::{Crew, CrewSettings},
    fill::say,
    outcome::ratio,
};
use crate::{
    peer::{RoomKey, empty_histogram, record_us},
    report::{format, while_waiting},
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
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
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
}

/// Newest page of the long conversation ÷ of the short one, p50.
pub const GROWTH: &str = "growth";
pub const GROWTH_RESTARTED: &str = "growth_after_restart";

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
    let (mut crew, rooms) = Crew::gather(subject, settings, &layout).await?;
    let of_each = [load.entries, 0, load.short_entries, 0];
    let filled = say("history", subject, &crew, &rooms, &of_each, IN_FLIGHT, load.body_bytes).await?;
    let mut outcome = Outcome { settings: load.settings(), ..filled };

    let conversations = [Conversation::of(&rooms, 0, load.entries)?, Conversation::of(&rooms, 1, load.short_entries)?];
    crew.disconnect().await?;
    // Rows are written behind the acknowledgement.
    subject.idle().await?;
    crew.come_back().await?;
    let (before, began) = (subject.figures()?, Instant::now());
    read_and_say(&crew, conversations, load, &WARM, &mut outcome).await?;
    if load.restart {
        crew.disconnect().await?;
        subject.restart().await?;
        subject.idle().await?;
        crew.come_back().await?;
        read_and_say(&crew, conversations, load, &RESTARTED, &mut outcome).await?;
    }
    outcome.note_server(before, subject.figures()?);
    outcome.steady_s = began.elapsed().as_secs_f64();
    outcome.client_cpus = settings.cpus_busy_max();
    outcome.lost_connections += crew.lost().await?;
    crew.dismiss().await?;
    Ok(outcome)
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

/// Says meanwhile how many pages were read.
async fn read_and_say(
    crew: &Crew,
    conversations: [Conversation; 2],
    load: &HistoryLoad,
    names: &Names,
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    let read_up_to_now = Arc::new(AtomicU64::new(0));
    let how_far = || format!("{} pages read", format::count(read_up_to_now.load(Ordering::Relaxed)));
    let reading = read(crew, conversations, load, names, outcome, &read_up_to_now);
    while_waiting("history", Kind::Godwit, reading, how_far).await
}

async fn read(
    crew: &Crew,
    [long, short]: [Conversation; 2],
    load: &HistoryLoad,
    names: &Names,
    outcome: &mut Outcome,
    count: &Arc<AtomicU64>,
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
            took_us.add(pages_ending_at(crew, conversation, pages, load.page_entries, count).await?)?;
        }
    }
    note(names.newest, &newest);
    note(names.short_newest, &short_newest);
    let (page, entries) = (u64::from(load.page_entries), long.entries);
    let backward = (0..load.pages as u64).map_while(|index| entries.checked_sub(index * page)).filter(|&end| end > 0);
    note(names.backward, &pages_ending_at(crew, long, backward.collect(), load.page_entries, count).await?);
    let random = random_positions(1..entries + 1, load.pages, load.seed);
    note(names.random, &pages_ending_at(crew, long, random, load.page_entries, count).await?);
    let p50 = |took_us: &Histogram<u64>| took_us.value_at_quantile(0.5) as f64;
    outcome.note(names.growth, ratio(p50(&newest), p50(&short_newest)));
    Ok(())
}

/// Reads and counts the pages that end at these entries, one after the other, and checks that they are whole.
async fn pages_ending_at(
    crew: &Crew,
    conversation: Conversation,
    ends: Vec<u64>,
    page_entries: u32,
    count: &Arc<AtomicU64>,
) -> anyhow::Result<Histogram<u64>> {
    let Conversation { id, reader, entries } = conversation;
    let count = count.clone();
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
            count.fetch_add(1, Ordering::Relaxed);
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
