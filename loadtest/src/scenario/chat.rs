//! Messages between people who are online: pairs, groups and one hot group differ in who talks with whom.

use super::{CurvePoint, Layout, Outcome, Quantiles, SecondFigures, Totals};
use crate::{
    peer::{Pace, Part, Progress, RoomKey, Second, Tally, Verdict, compare},
    report::{
        live::{self, Live},
        server_name,
    },
    server_process::{Figures, process_figures},
    subject::{Kind, Subject},
    wire::Login,
    worker::{Channel, Entry, Harvest, Identity, Load, PeerReport, Setup, Worker},
};
use anyhow::{Context, bail};
use godwit_proto::{
    ConversationId, UserId,
    v1::{AddMembersRequest, CreateGroupRequest, client_frame, server_frame},
};
use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
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
    /// Client sockets, all threads together.
    pub sockets: usize,
    /// Threads of clients.
    pub threads: usize,
    pub client_cpus: Vec<usize>,
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

/// Runs it against a server that was just started.
pub async fn run(subject: &mut Subject, load: &ChatLoad) -> anyhow::Result<Outcome> {
    let clients = Clients::connect(subject, load).await?;
    let rooms = clients.rooms(subject, load).await?;
    let run = Run { subject, load, clients, rooms };
    run.measure().await
}

/// Everybody, connected.
struct Clients {
    workers: Vec<Worker>,
    identities: Vec<Identity>,
}

impl Clients {
    async fn connect(subject: &Subject, load: &ChatLoad) -> anyhow::Result<Self> {
        let setup = Setup {
            server: subject.address(),
            fingerprint: subject.fingerprint().to_owned(),
            dialect: subject.dialect,
            sockets: load.sockets.div_ceil(load.threads),
            cpus: load.client_cpus.clone(),
        };
        let workers: Vec<Worker> =
            (0..load.threads).map(|_| Worker::start(setup.clone())).collect::<anyhow::Result<_>>()?;
        let of_peers = load.layout.of_peers();
        let mut shares: Vec<Vec<(u32, Entry)>> = vec![Vec::new(); workers.len()];
        for (number, conversations) in (0..).zip(&of_peers) {
            let entry = match subject.kind {
                Kind::Godwit => Entry::LogIn(account(number)),
                Kind::Baseline => Entry::Join(conversations.iter().map(|&index| index as u32).collect()),
            };
            shares[number as usize % workers.len()].push((number, entry));
        }
        let connecting = workers.iter().zip(shares).map(|(worker, share)| worker.connect(share, CONNECTING_AT_ONCE));
        let mut identities: Vec<_> =
            futures_util::future::try_join_all(connecting).await?.into_iter().flatten().collect();
        identities.sort_unstable_by_key(|(number, _)| *number);
        Ok(Self { workers, identities: identities.into_iter().map(|(_, identity)| identity).collect() })
    }

    /// The conversations of the layout by their ids on the server; groups are made.
    async fn rooms(&self, subject: &Subject, load: &ChatLoad) -> anyhow::Result<Vec<RoomKey>> {
        let mut rooms = Vec::new();
        for (index, conversation) in load.layout.conversations.iter().enumerate() {
            rooms.push(match subject.kind {
                Kind::Baseline => RoomKey::Group(index as u32),
                Kind::Godwit => {
                    RoomKey::Conversation(self.conversation(&conversation.members, load.layout.direct).await?)
                }
            });
        }
        Ok(rooms)
    }

    async fn conversation(&self, members: &[u32], direct: bool) -> anyhow::Result<ConversationId> {
        let users: Vec<UserId> = members
            .iter()
            .map(|&member| self.identities[member as usize].user.context("a client that is nobody"))
            .collect::<anyhow::Result<_>>()?;
        if let ([one, other], true) = (users.as_slice(), direct) {
            return Ok(ConversationId::direct(*one, *other));
        }
        let ids: Vec<u64> = users[1..].iter().map(|user| user.as_u64()).collect();
        let (first, rest) = ids.split_at(ids.len().min(MEMBERS_PER_REQUEST));
        let owner = members[0];
        let body = client_frame::Body::CreateGroup(CreateGroupRequest {
            client_msg_id: random_id(),
            title: "load test".into(),
            member_ids: first.to_vec(),
        });
        let worker = &self.workers[owner as usize % self.workers.len()];
        let server_frame::Body::CreateGroup(created) = worker.request(owner, body, Channel::Session).await? else {
            bail!("the server answered the making of a group with something else")
        };
        for batch in rest.chunks(MEMBERS_PER_REQUEST) {
            let body = client_frame::Body::AddMembers(AddMembersRequest {
                conversation_id: created.conversation_id.clone(),
                client_msg_id: random_id(),
                user_ids: batch.to_vec(),
            });
            worker.request(owner, body, Channel::Session).await.context("adding members")?;
        }
        Ok(ConversationId::from_slice(&created.conversation_id)?)
    }
}

struct Run<'a> {
    subject: &'a mut Subject,
    load: &'a ChatLoad,
    clients: Clients,
    rooms: Vec<RoomKey>,
}

/// The server's and the clients' figures at the end of each second; the first ones are from the beginning.
struct Samples {
    server: Vec<Figures>,
    clients: Vec<Figures>,
}

impl Run<'_> {
    async fn measure(mut self) -> anyhow::Result<Outcome> {
        let (origin, progress) = (Instant::now(), Arc::new(Progress::default()));
        let Timing { warm_up_s, steady_s, .. } = self.load.timing;
        let title = format!("{}, {}", self.load.name, server_name(self.subject.kind));
        let mut live = Live::new(title, warm_up_s, steady_s);
        self.start(origin, &progress).await?;
        let samples = self.sample(origin, &progress, &live).await?;
        self.settle(&progress, &mut live).await?;
        drop(live);
        let harvests = futures_util::future::try_join_all(self.clients.workers.iter().map(Worker::finish)).await?;
        self.subject.check_alive()?;
        Ok(self.outcome(harvests, &samples))
    }

    async fn start(&self, origin: Instant, progress: &Arc<Progress>) -> anyhow::Result<()> {
        let Timing { warm_up_s, steady_s, .. } = self.load.timing;
        let senders = self.load.layout.senders();
        let mut shares: Vec<Vec<(u32, Part)>> = vec![Vec::new(); self.clients.workers.len()];
        for (number, conversations) in (0..).zip(self.load.layout.of_peers()) {
            let pace = match (senders.binary_search(&number), self.load.pace) {
                (Err(_), _) => Pace::Silent,
                (Ok(_), LoadPace::Closed { in_flight }) => Pace::Closed { in_flight },
                (Ok(index), LoadPace::Open { rate_per_s }) => Pace::share_of(rate_per_s, senders.len(), index),
            };
            let rooms = conversations.iter().map(|&index| self.rooms[index]).collect();
            shares[number as usize % self.clients.workers.len()].push((number, Part { rooms, pace }));
        }
        let loads = self.clients.workers.iter().zip(shares).map(|(worker, parts)| {
            worker.load(Load {
                origin,
                send_until_ns: (warm_up_s + steady_s) as u64 * 1_000_000_000,
                body_bytes: self.load.body_bytes,
                parts,
                progress: progress.clone(),
            })
        });
        futures_util::future::try_join_all(loads).await?;
        Ok(())
    }

    async fn sample(&mut self, origin: Instant, progress: &Progress, live: &Live) -> anyhow::Result<Samples> {
        let own = || process_figures(std::process::id());
        let mut samples = Samples { server: vec![self.subject.figures()?], clients: vec![own()?] };
        let Timing { warm_up_s, steady_s, .. } = self.load.timing;
        for second in 1..=warm_up_s + steady_s {
            tokio::time::sleep_until((origin + Duration::from_secs(second as u64)).into()).await;
            self.subject.check_alive()?;
            samples.server.push(self.subject.figures()?);
            samples.clients.push(own()?);
            if live.wants(second)
                && let Some(happened) = self.happened(second - 1).await
            {
                let [before, now] = [samples.server[second - 1], samples.server[second]];
                let figures = SecondFigures::new(&happened, now.cpu_s - before.cpu_s, now.rss_now_bytes);
                live.show(second, &figures, progress.in_flight());
            }
        }
        Ok(samples)
    }

    /// In one second, by index, as far as the clients find the time to say so.
    async fn happened(&self, index: usize) -> Option<Second> {
        let asked = futures_util::future::try_join_all(self.clients.workers.iter().map(|worker| worker.second(index)));
        let parts = tokio::time::timeout(live::ANSWER_TIMEOUT, asked).await.ok()?.ok()?;
        parts.into_iter().reduce(|mut sum, part| {
            sum.add(&part);
            sum
        })
    }

    /// Waits until every message has its answer and arrived at everybody, or nothing moves any more.
    async fn settle(&self, progress: &Progress, live: &mut Live) -> anyhow::Result<()> {
        let (mut seen, mut since) = ((0, 0), Instant::now());
        loop {
            let sent = progress.sent.load(Ordering::Relaxed);
            let now = (progress.answered.load(Ordering::Relaxed), progress.delivered.load(Ordering::Relaxed));
            // In groups of one size, which all layouts are, every answered message reaches as many.
            let copies = self.load.layout.conversations.first().map_or(0, |one| one.members.len() as u64 - 1);
            if now.0 >= sent && now.1 >= sent * copies {
                return Ok(());
            }
            if now != seen {
                (seen, since) = (now, Instant::now());
            } else if since.elapsed() > self.load.timing.patience {
                return Ok(());
            }
            live.cool_down(progress.in_flight());
            tokio::time::sleep(SETTLE_POLL).await;
        }
    }

    fn outcome(&self, harvests: Vec<Harvest>, samples: &Samples) -> Outcome {
        let mut tally = Tally::default();
        let mut reports: Vec<PeerReport> = Vec::new();
        for harvest in harvests {
            tally.add(&harvest.tally);
            reports.extend(harvest.reports);
        }
        let Timing { warm_up_s, steady_s, .. } = self.load.timing;
        let steady = tally.sum(warm_up_s, steady_s);
        let all = tally.sum(0, usize::MAX);
        let (from, to) = (samples.server[warm_up_s], samples.server[warm_up_s + steady_s]);
        let server_cpu_s = to.cpu_s - from.cpu_s;
        let client_cpu_s = samples.clients[warm_up_s + steady_s].cpu_s - samples.clients[warm_up_s].cpu_s;
        let seconds = tally.seconds().iter().zip(samples.server.windows(2));
        let seconds = seconds.map(|(second, sampled)| {
            SecondFigures::new(second, sampled[1].cpu_s - sampled[0].cpu_s, sampled[1].rss_now_bytes)
        });
        let (per_s, delivered) = (1.0 / steady_s as f64, steady.delivered as f64);
        Outcome {
            scenario: self.load.name.to_owned(),
            server: self.subject.kind,
            settings: self.settings(),
            connections: self.load.layout.peers,
            totals: Totals {
                offered: all.offered,
                accepted: all.sent,
                acked: all.acked,
                refused: all.refused,
                delivered: all.delivered,
                deliveries_expected: self.deliveries_expected(&reports),
            },
            verdict: self.verdict(&reports),
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
            server_cpu_s,
            server_cpu_us_per_delivered: ratio(server_cpu_s * 1e6, delivered),
            delivered_per_server_cpu_s: ratio(delivered, server_cpu_s),
            client_cpu_s,
            // A thread is on one CPU at a time.
            client_cpus: match self.load.client_cpus.len() {
                0 => self.load.threads,
                cpus => self.load.threads.min(cpus),
            },
            server_rss_bytes: to.rss_now_bytes,
            server_rss_peak_bytes: to.rss_bytes,
            written_bytes_per_acked: ratio((to.written_bytes - from.written_bytes) as f64, steady.acked as f64),
            seconds: seconds.collect(),
            steady_from: warm_up_s,
            steady_seconds: steady_s,
        }
    }

    fn settings(&self) -> Vec<(String, String)> {
        let pace = match self.load.pace {
            LoadPace::Closed { in_flight } => format!("closed loop, {in_flight} in flight"),
            LoadPace::Open { rate_per_s } => format!("open loop, {rate_per_s} messages/s"),
        };
        vec![("pace".into(), pace), ("body bytes".into(), self.load.body_bytes.to_string())]
    }

    fn deliveries_expected(&self, reports: &[PeerReport]) -> u64 {
        let copies = self.copies();
        reports.iter().flat_map(|report| &report.rooms).map(|room| room.acked * copies[&room.key]).sum()
    }

    fn copies(&self) -> HashMap<RoomKey, u64> {
        let members = self.load.layout.conversations.iter().map(|one| one.members.len() as u64 - 1);
        self.rooms.iter().copied().zip(members).collect()
    }

    fn verdict(&self, reports: &[PeerReport]) -> Verdict {
        let mut by_room: HashMap<RoomKey, Vec<(u32, &crate::peer::Room)>> = HashMap::new();
        for report in reports {
            for room in &report.rooms {
                by_room.entry(room.key).or_default().push((report.number, room));
            }
        }
        by_room.values().map(|rooms| compare(rooms)).fold(Verdict::default(), Verdict::plus)
    }
}

/// An account of a run on a server that is gone after it.
pub fn account(number: u32) -> Login {
    Login::Register { username: format!("load-{number}"), password: format!("password of load-{number}") }
}

fn ratio(numerator: f64, denominator: f64) -> f64 {
    if denominator > 0.0 { numerator / denominator } else { 0.0 }
}

fn random_id() -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(&rand::random::<[u8; 16]>())
}

/// Small enough that a server does not take the clients for a flood.
const CONNECTING_AT_ONCE: usize = 64;
const MEMBERS_PER_REQUEST: usize = 400;
const SETTLE_POLL: Duration = Duration::from_millis(10);
