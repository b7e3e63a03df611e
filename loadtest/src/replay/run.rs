//! The phases of a replay, one after the other.

use super::{
    Options,
    accounts::{Dialer, Directory, People},
    chaos::{Chaos, Struck},
    corpus::Corpus,
    faults::Faults,
    live::Live,
    log_check::Expected,
    plan::{MessageIds, Plan},
    progress::{Stalled, shown},
    report::Report,
    send::{Pace, send_all},
    verify::read_back,
    watch::Watchers,
};
use crate::{
    process_figures::{Figures, process_figures},
    target::Target,
};
use anyhow::{Context, anyhow};
use futures_util::{StreamExt, stream};
use godwit_client::Client;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Replays a plan. The faults are those of the report, in words.
pub async fn replay(
    options: &Options,
    seed: u64,
    corpus: Corpus,
    plan: Plan,
    target: &mut Target,
    chaos: Option<&mut Chaos>,
) -> anyhow::Result<(Report, Faults)> {
    let run = format!("{:08x}", if options.server.is_some() { rand::random() } else { seed as u32 });
    let per_socket = options.connections_per_socket.get();
    let dialer = Dialer::new(target.address(), target.fingerprint(), run, plan.accounts.len(), per_socket)?;

    let at_start = target.figures()?.map_or(0.0, |figures| figures.cpu_s);
    let registered = AtomicU64::new(0);
    let registering = target.kept_up(People::register(&dialer, &plan, &registered));
    let people = shown("registering", plan.accounts.len() as u64, &registered, PATIENCE, registering)
        .await
        .map_err(|stalled| gave_up("accounts registered", stalled))???;
    let expected = Expected { corpus, plan, ids: MessageIds::new(seed), users: people.users() };
    let directory = target.kept_up(Directory::create(&expected, &people.clients));
    let directory =
        tokio::time::timeout(PATIENCE, directory).await.context("creating the group took too long")???;
    let live = Arc::new(Live::new(expected, directory)?);
    let (watchers, clients) = Watchers::start(&live, people);

    let cpu_before = target.figures()?.map(|figures| figures.cpu_s);
    let started = Instant::now();
    let pace = Pace { conversations: options.in_flight.get(), window: options.window.get() };
    let (mut live_faults, struck) = send(&live, &clients, target, chaos, pace).await?;
    let send_time = started.elapsed();
    settle(&live, target).await?;
    let delivery_time = started.elapsed();
    let cpu_after = target.figures()?.map(|figures| figures.cpu_s);

    stream::iter(clients.iter()).for_each_concurrent(SHUTTING_DOWN_MAX, Client::shutdown).await;
    let watched = watchers.finish().await?;
    live_faults.merge(watched.faults);

    // Backward reading comes on top, so this is a lower bound; it is shown, not counted on.
    let entries = live.expected.plan.arrivals();
    let read = Arc::new(AtomicU64::new(0));
    let reading = read_back(live.clone(), Arc::new(dialer), Arc::new(watched.marks), read.clone());
    let read_faults = shown("reading back", entries, &read, PATIENCE, target.kept_up(reading))
        .await
        .map_err(|stalled| gave_up("entries read back", stalled))???;
    target.check_alive()?;
    target.check_log()?;

    let timings = Timings { send: send_time, delivery: delivery_time };
    let usage = Usage {
        // One that was there before us did other things too.
        server: target.figures()?.map(|figures| Figures { cpu_s: figures.cpu_s - at_start, ..figures }),
        server_cpu_delivery_s: cpu_before.zip(cpu_after).map(|(before, after)| after - before),
        client: process_figures(std::process::id())?,
    };
    let mut report = summarise(seed, pace, &live, &timings, &usage, &live_faults, &read_faults);
    (report.ends, report.chaos) = (target.ends(), struck);
    live_faults.merge(read_faults);
    Ok((report, live_faults))
}

/// Sends everything while the server is killed, and its databases suffer, as planned.
async fn send(
    live: &Arc<Live>,
    clients: &Arc<[Client]>,
    target: &mut Target,
    chaos: Option<&mut Chaos>,
    pace: Pace,
) -> anyhow::Result<(Faults, Vec<Struck>)> {
    let sending = async {
        let faults = send_all(live, clients, pace).await;
        live.sent_all.store(true, Ordering::Relaxed);
        faults
    };
    let striking = async {
        match chaos {
            Some(chaos) => chaos.run(live).await,
            None => Ok(Vec::new()),
        }
    };
    let all = async { tokio::try_join!(sending, striking, kill_as_planned(live, target)) };
    let messages = live.expected.corpus.messages.len() as u64;
    let (faults, struck, ()) = shown("sending", messages, &live.acked, PATIENCE, all)
        .await
        .map_err(|stalled| gave_up("messages acknowledged", stalled))??;
    Ok((faults, struck))
}

/// Kills the server at the planned moments; returns when all are over and the messages sent.
async fn kill_as_planned(live: &Live, target: &mut Target) -> anyhow::Result<()> {
    for kill in &live.expected.plan.kills {
        target.kept_up(live.reach(*kill)).await?;
        target.kill_and_restart().await?;
    }
    target.kept_up(live.reach_end()).await
}

/// Waits until everything that was sent arrived everywhere, or nothing arrives any more: what is missing then counts as
/// lost.
async fn settle(live: &Live, target: &mut Target) -> anyhow::Result<()> {
    let (arrivals, marks) = (live.expected.plan.arrivals(), live.expected.plan.marks());
    let waiting = async {
        while live.arrived.load(Ordering::Relaxed) < arrivals || live.marked.load(Ordering::Relaxed) < marks {
            tokio::time::sleep(SETTLE_POLL).await;
        }
    };
    match shown("arriving", arrivals, &live.arrived, SETTLE_PATIENCE, target.kept_up(waiting)).await {
        Ok(settled) => settled,
        Err(Stalled { done, for_s }) => {
            eprintln!("{done} of {arrivals} arrived, and nothing for {for_s} s; going on without the rest");
            Ok(())
        }
    }
}

struct Timings {
    send: Duration,
    delivery: Duration,
}

struct Usage {
    server: Option<Figures>,
    server_cpu_delivery_s: Option<f64>,
    client: Figures,
}

fn summarise(
    seed: u64,
    pace: Pace,
    live: &Live,
    timings: &Timings,
    usage: &Usage,
    streamed: &Faults,
    read: &Faults,
) -> Report {
    let plan = &live.expected.plan;
    let all = streamed.counts.plus(read.counts);
    let (acked, delivered) = (live.acked.load(Ordering::Relaxed), live.delivered.load(Ordering::Relaxed));
    let (send_s, delivery_s) = (timings.send.as_secs_f64(), timings.delivery.as_secs_f64());
    Report {
        corpus: live.expected.corpus.name.clone(),
        seed,
        in_flight: pace.conversations,
        window: pace.window,
        accounts: plan.accounts.len(),
        conversations: plan.conversations.len(),
        messages: plan.places.len() as u64,
        acked,
        delivered,
        deliveries_expected: plan.deliveries(),
        lost: all.lost,
        duplicated: all.duplicated,
        reordered: all.reordered,
        seq_gaps: all.seq_gaps,
        altered: all.altered,
        unexpected: all.unexpected,
        refused: all.refused,
        unread_wrong: all.unread_wrong,
        live: streamed.counts,
        read_back: read.counts,
        kills: plan.kills.len(),
        ends: 0,
        chaos: Vec::new(),
        reconnects: live.reconnects.load(Ordering::Relaxed),
        send_s,
        msgs_per_s: acked as f64 / send_s,
        delivery_s,
        deliveries_per_s: delivered as f64 / delivery_s,
        ack_p50_ms: live.ack_latency.quantile_ms(0.5),
        ack_p99_ms: live.ack_latency.quantile_ms(0.99),
        delivery_p50_ms: live.delivery_latency.quantile_ms(0.5),
        delivery_p99_ms: live.delivery_latency.quantile_ms(0.99),
        server_cpu_s: usage.server.map(|figures| figures.cpu_s),
        server_cpu_delivery_s: usage.server_cpu_delivery_s,
        server_rss_bytes: usage.server.map(|figures| figures.rss_bytes),
        client_cpu_s: usage.client.cpu_s,
        client_rss_bytes: usage.client.rss_bytes,
    }
}

fn gave_up(what: &str, stalled: Stalled) -> anyhow::Error {
    anyhow!("gave up: {} {what}, and no more for {} s", stalled.done, stalled.for_s)
}

/// How long a phase may stand still: longer than clients take to notice a dead server, come back and send again.
const PATIENCE: Duration = Duration::from_secs(120);
const SETTLE_PATIENCE: Duration = Duration::from_secs(60);
const SETTLE_POLL: Duration = Duration::from_millis(5);
const SHUTTING_DOWN_MAX: usize = 64;
