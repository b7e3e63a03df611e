//! Everybody comes back at once, as after a power cut: what a session costs until it is up to date.

use super::{
    Outcome,
    crew::{Crew, CrewSettings, random_id},
    outcome::ratio,
};
use crate::{
    peer::{empty_histogram, record_us},
    process_figures::process_figures,
    report::{format, while_waiting},
    subject::{Kind, Subject},
    wire::{Dialect, Link, Login, Refused},
    worker::{Clients, Entry, Identity, enter},
};
use anyhow::{Context, bail};
use futures_util::{StreamExt, TryStreamExt, future::try_join_all, stream};
use godwit_proto::{
    ConversationId,
    v1::{SendRequest, SyncRequest, client_frame::Body, server_frame::Body as Reply},
};
use hdrhistogram::Histogram;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// A load.
#[derive(Debug, Clone)]
pub struct StormLoad {
    pub sessions: u32,
    /// Clients that are on their way in at the same time.
    pub at_once: usize,
    pub by: By,
}

/// How a client comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// With the token of its earlier session
    Token,
    /// By name and password, which the server started for this hashes with little work
    Password,
}

/// Sessions, or bare handshakes, for every CPU second of the server.
pub const PER_CPU_S: &str = "sessions_per_server_cpu_s";
/// From the first attempt to the last client that is up to date.
const ALL_ONLINE_S: &str = "all_online_s";
/// From a client's first packet until it is up to date.
pub const SYNCED_P50_MS: &str = "connect_to_synced_p50_ms";
pub const SYNCED_P99_MS: &str = "connect_to_synced_p99_ms";
/// Refusals with a time after which to come again. Logins by password may get some.
const TOLD_LATER: &str = "told_to_come_later";

/// Runs it.
pub async fn run(subject: &mut Subject, settings: &CrewSettings, load: &StormLoad) -> anyhow::Result<Outcome> {
    let mut crew = Crew::start(subject, settings, load.sessions)?;
    let groups: Vec<Vec<usize>> = (0..load.sessions as usize).map(|number| vec![number]).collect();
    crew.arrive(subject, &groups).await?;
    if subject.kind == Kind::Godwit {
        say_something(&crew).await?;
    }
    crew.disconnect().await?;
    subject.idle().await?;

    let entries = entries(subject, &crew.identities, load)?;
    let (server, clients, began) = (subject.figures()?, process_figures(std::process::id())?, Instant::now());
    let at_once = load.at_once.div_ceil(settings.threads);
    let back = Arc::new(AtomicU64::new(0));
    let waves = crew.shares(entries).into_iter().map(|(worker, share)| {
        let back = back.clone();
        worker.run(async move |clients: &mut Clients| come_back(clients, share, at_once, &back).await)
    });
    let how_far = || {
        let (back, all) = (back.load(Ordering::Relaxed), load.sessions.into());
        format!("{} of {} sessions are back", format::count(back), format::count(all))
    };
    let waves = while_waiting(load.name(), subject.kind, try_join_all(waves), how_far).await?;
    let all_online = began.elapsed();
    subject.check_alive()?;

    let mut outcome = Outcome::new(load.name(), subject.kind, load.sessions);
    outcome.settings = vec![("at once".into(), load.at_once.to_string()), ("by".into(), format!("{:?}", load.by))];
    outcome.note_server(server, subject.figures()?);
    outcome.client_cpu_s = process_figures(std::process::id())?.cpu_s - clients.cpu_s;
    outcome.client_cpus = settings.cpus_busy_max();
    outcome.steady_s = all_online.as_secs_f64();
    outcome.lost_connections = crew.lost().await?;
    let mut synced = empty_histogram();
    for wave in &waves {
        synced.add(&wave.synced_us).context("a histogram that does not grow")?;
        outcome.verdict.lost += wave.not_synced;
    }
    outcome.note(PER_CPU_S, ratio(f64::from(load.sessions), outcome.server_cpu_s));
    outcome.note(ALL_ONLINE_S, all_online.as_secs_f64());
    outcome.note(SYNCED_P50_MS, synced.value_at_quantile(0.5) as f64 / 1000.0);
    outcome.note(SYNCED_P99_MS, synced.value_at_quantile(0.99) as f64 / 1000.0);
    outcome.note(TOLD_LATER, waves.iter().map(|wave| wave.told_later as f64).sum());
    crew.dismiss().await?;
    Ok(outcome)
}

impl StormLoad {
    pub fn name(&self) -> &'static str {
        match self.by {
            By::Token => "storm",
            By::Password => "storm by password",
        }
    }
}

/// What the clients of one thread met with.
struct Wave {
    synced_us: Histogram<u64>,
    /// Clients to which the sync did not tell what it should.
    not_synced: u64,
    told_later: u64,
}

/// Everybody gets a conversation with their neighbour and a message in it, so that there is something to sync.
async fn say_something(crew: &Crew) -> anyhow::Result<()> {
    let user = |number: usize| crew.identities[number].user.context("a client that is nobody");
    let conversation = |number: usize| {
        let neighbour = (number ^ 1).min(crew.identities.len() - 1);
        Ok(ConversationId::direct(user(number)?, user(neighbour)?))
    };
    let conversations = (0..crew.identities.len()).map(conversation).collect::<anyhow::Result<Vec<_>>>()?;
    let saying = crew.shares(conversations).into_iter().map(|(worker, share)| {
        worker.run(async move |clients: &mut Clients| {
            let conversations: std::collections::HashMap<_, _> = share.into_iter().collect();
            let of_clients = clients.links.iter_mut().map(|(number, link)| (link, conversations[number]));
            stream::iter(of_clients).map(Ok).try_for_each_concurrent(SAYING_AT_ONCE, say).await
        })
    });
    try_join_all(saying).await?;
    Ok(())
}

async fn say((link, conversation): (&mut Link, ConversationId)) -> anyhow::Result<()> {
    let request = SendRequest {
        conversation_id: conversation.to_bytes(),
        client_msg_id: random_id(),
        body: "See you after the storm".into(),
        first_attempt: true,
        ..SendRequest::default()
    };
    link.request(Body::Send(request)).await?;
    Ok(())
}

fn entries(subject: &Subject, identities: &[Identity], load: &StormLoad) -> anyhow::Result<Vec<Entry>> {
    let entry = |(number, identity): (u32, &Identity)| match (subject.kind, load.by) {
        (Kind::Baseline | Kind::TcpBaseline, _) => Ok(Entry::Join(vec![number])),
        (Kind::Godwit, By::Token) => identity.resume(),
        (Kind::Godwit, By::Password) => {
            let (username, password) = subject.credentials(number);
            Ok(Entry::LogIn(Login::Password { username, password }))
        }
    };
    (0..).zip(identities).map(entry).collect()
}

/// Counts in `back` those who are up to date.
async fn come_back(
    clients: &mut Clients,
    entries: Vec<(u32, Entry)>,
    at_once: usize,
    back: &AtomicU64,
) -> anyhow::Result<Wave> {
    let mut wave = Wave { synced_us: empty_histogram(), not_synced: 0, told_later: 0 };
    let (dialer, dialect) = (&*clients.dialer, clients.dialect);
    let mut coming = stream::iter(entries)
        .map(|(number, entry)| async move {
            let (began, mut told_later) = (Instant::now(), 0);
            let link = loop {
                match enter(dialer, dialect, &entry, number).await {
                    Ok(link) => break link,
                    Err(error) => {
                        tokio::time::sleep(later(error)?).await;
                        told_later += 1;
                    }
                }
            };
            let synced = dialect != Dialect::Godwit || is_synced(&link).await?;
            anyhow::Ok((number, link, began.elapsed(), synced, told_later))
        })
        .buffer_unordered(at_once);
    while let Some((number, link, took, synced, told_later)) = coming.try_next().await? {
        record_us(&mut wave.synced_us, took);
        back.fetch_add(1, Ordering::Relaxed);
        wave.not_synced += u64::from(!synced);
        wave.told_later += told_later;
        clients.links.insert(number, link);
    }
    Ok(wave)
}

/// Asks what is new, as a client does that was away; there is one conversation, with a message or two.
async fn is_synced(link: &Link) -> anyhow::Result<bool> {
    let Reply::Sync(answer) = link.bulk(Body::Sync(SyncRequest::default())).await? else {
        bail!("the server answered a sync with something else")
    };
    Ok(matches!(answer.changed.as_slice(), [conversation] if conversation.last_seq > 0) && !answer.more)
}

/// How long to wait before the next attempt, where the server says so.
fn later(error: anyhow::Error) -> anyhow::Result<Duration> {
    match error.downcast_ref::<Refused>() {
        Some(refused) if refused.retry_after_ms > 0 => Ok(Duration::from_millis(refused.retry_after_ms.into())),
        _ => Err(error),
    }
}

const SAYING_AT_ONCE: usize = 256;
