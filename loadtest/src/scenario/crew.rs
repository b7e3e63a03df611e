//! The clients of a run, on their threads.

use super::{Circle, Layout};
use crate::{
    peer::{Part, Progress, RoomKey, Second},
    subject::{Kind, Subject},
    wire::Refused,
    worker::{Clients, Entry, Harvest, Identity, Load, Setup, Worker},
};
use anyhow::{Context, bail};
use bytes::Bytes;
use futures_util::future::try_join_all;
use godwit_proto::{
    ConversationId, UserId,
    v1::{AddMembersRequest, CreateGroupRequest, ErrorCode, client_frame, server_frame},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Where clients live.
#[derive(Debug, Clone)]
pub struct CrewSettings {
    pub sockets: Sockets,
    /// Threads of clients.
    pub threads: usize,
    /// CPUs that the threads may use; empty: all.
    pub cpus: Vec<usize>,
}

/// Client sockets, all threads together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sockets {
    /// Some, depending on how many clients there are.
    Shared,
    /// Every client has one.
    OneEach,
    Number(usize),
}

impl CrewSettings {
    /// As many CPUs as the clients can keep busy: a thread is on one CPU at a time.
    pub fn cpus_busy_max(&self) -> usize {
        match self.cpus.len() {
            0 => self.threads,
            cpus => self.threads.min(cpus),
        }
    }

    fn sockets_per_thread(&self, peers: u32) -> usize {
        let sockets = match self.sockets {
            Sockets::Shared => (peers as usize / PEERS_PER_SOCKET).clamp(4, 64),
            Sockets::OneEach => peers as usize,
            Sockets::Number(sockets) => sockets,
        };
        sockets.div_ceil(self.threads)
    }
}

/// Everybody. Client `n` lives on thread `n` modulo their number.
pub struct Crew {
    workers: Vec<Worker>,
    /// Of those who are or were connected, by number.
    pub identities: Vec<Identity>,
}

impl Crew {
    /// Threads for so many clients, none of which is connected yet.
    pub fn start(subject: &Subject, settings: &CrewSettings, peers: u32) -> anyhow::Result<Self> {
        let setup = Setup {
            server: subject.address(),
            fingerprint: subject.fingerprint().to_owned(),
            dialect: subject.dialect,
            transport: subject.kind.transport(),
            sockets: settings.sockets_per_thread(peers),
            cpus: settings.cpus.clone(),
        };
        let workers = (0..settings.threads).map(|_| Worker::start(setup.clone())).collect::<anyhow::Result<_>>()?;
        Ok(Self { workers, identities: Vec::new() })
    }

    /// Everybody of a layout, connected, and its conversations as they turned out on the server.
    pub async fn gather(
        subject: &Subject,
        settings: &CrewSettings,
        layout: &Layout,
    ) -> anyhow::Result<(Self, Vec<RoomKey>)> {
        let mut crew = Self::start(subject, settings, layout.peers)?;
        crew.arrive(subject, &layout.of_peers()).await?;
        let rooms = crew.rooms(subject.kind, layout).await?;
        Ok((crew, rooms))
    }

    /// Connects everybody for the first time: with a new account each, or to the groups of a bare relay.
    pub async fn arrive(&mut self, subject: &Subject, groups: &[Vec<usize>]) -> anyhow::Result<()> {
        let entry = |(number, groups): (u32, &Vec<usize>)| match subject.kind {
            Kind::Godwit => Entry::LogIn(subject.account(number)),
            Kind::Baseline | Kind::TcpBaseline => Entry::Join(groups.iter().map(|&group| group as u32).collect()),
        };
        let arrived = self.enter((0..).zip(groups).map(entry).collect(), CONNECTING_AT_ONCE).await;
        arrived.map_err(explain_closed_registration)
    }

    /// Connects everybody who arrived before again.
    pub async fn come_back(&mut self) -> anyhow::Result<()> {
        let entries = self.identities.iter().map(Identity::resume).collect::<anyhow::Result<_>>()?;
        self.enter(entries, CONNECTING_AT_ONCE).await
    }

    /// Connects everybody, `at_once` at a time on each thread.
    pub async fn enter(&mut self, entries: Vec<Entry>, at_once: usize) -> anyhow::Result<()> {
        let shares = self.share((0..).zip(entries));
        let connecting = self.workers.iter().zip(shares).map(|(worker, share)| {
            worker.run(async move |clients: &mut Clients| clients.connect(share, at_once).await)
        });
        let mut identities: Vec<_> = try_join_all(connecting).await?.into_iter().flatten().collect();
        identities.sort_unstable_by_key(|(number, _)| *number);
        self.identities = identities.into_iter().map(|(_, identity)| identity).collect();
        Ok(())
    }

    /// The conversations of the layout by their ids on the server; groups are made.
    async fn rooms(&self, kind: Kind, layout: &Layout) -> anyhow::Result<Vec<RoomKey>> {
        let mut rooms = Vec::new();
        for (index, circle) in (0..).zip(&layout.conversations) {
            rooms.push(match kind {
                Kind::Baseline | Kind::TcpBaseline => RoomKey::Group(index),
                Kind::Godwit => RoomKey::Conversation(self.conversation(circle).await?),
            });
        }
        Ok(rooms)
    }

    /// Puts clients under load.
    pub async fn load(
        &self,
        origin: Instant,
        send_until: Duration,
        body_bytes: usize,
        parts: Vec<(u32, Part)>,
    ) -> anyhow::Result<Arc<Progress>> {
        let (progress, send_until_ns) = (Arc::new(Progress::default()), ns(send_until));
        let shares = self.share(parts.into_iter());
        let loads = self.workers.iter().zip(shares).map(|(worker, parts)| {
            let load = Load { origin, send_until_ns, body_bytes, parts, progress: progress.clone() };
            worker.run(async move |clients: &mut Clients| clients.load(load))
        });
        try_join_all(loads).await?;
        Ok(progress)
    }

    /// What happened up to now in one second of the load, by index. `None` when threads are too busy to say so at once:
    /// nobody who measures can wait for them.
    pub async fn second(&self, index: usize) -> Option<Second> {
        let asked = self.each(async move |clients: &mut Clients| Ok(clients.second(index)));
        let parts = tokio::time::timeout(SECOND_TIMEOUT, asked).await.ok()?.ok()?;
        parts.into_iter().reduce(|mut sum, part| {
            sum.add(&part);
            sum
        })
    }

    /// Ends the load, and puts together what everybody saw.
    pub async fn finish(&self) -> anyhow::Result<Harvest> {
        let finishing = self.each(async |clients: &mut Clients| clients.finish().await);
        let mut all = Harvest::default();
        for harvest in finishing.await? {
            all.tally.add(&harvest.tally);
            all.reports.extend(harvest.reports);
        }
        Ok(all)
    }

    /// Closes all connections, and waits until the server knows.
    pub async fn disconnect(&self) -> anyhow::Result<()> {
        self.each(async |clients: &mut Clients| {
            clients.disconnect().await;
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// Connections that should be there and are not.
    pub async fn lost(&self) -> anyhow::Result<u64> {
        let lost = self.each(async |clients: &mut Clients| Ok(clients.lost() as u64)).await?;
        Ok(lost.into_iter().sum())
    }

    /// Has every thread do the same.
    pub async fn each<T: Send + 'static>(
        &self,
        job: impl AsyncFnOnce(&mut Clients) -> anyhow::Result<T> + Clone + Send + 'static,
    ) -> anyhow::Result<Vec<T>> {
        try_join_all(self.workers.iter().map(|worker| worker.run(job.clone()))).await
    }

    /// Has the thread of a client do something.
    pub async fn with<T: Send + 'static>(
        &self,
        peer: u32,
        job: impl AsyncFnOnce(&mut Clients) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        self.workers[peer as usize % self.workers.len()].run(job).await
    }

    /// The threads, to give each something of its own to do, and what of `items` is whose.
    pub fn shares<T>(&self, items: Vec<T>) -> Vec<(&Worker, Vec<(u32, T)>)> {
        let shares = self.share((0..).zip(items));
        self.workers.iter().zip(shares).collect()
    }

    /// Closes all connections and ends the threads.
    pub async fn dismiss(self) -> anyhow::Result<()> {
        try_join_all(self.workers.into_iter().map(Worker::dismiss)).await?;
        Ok(())
    }

    fn share<T>(&self, items: impl Iterator<Item = (u32, T)>) -> Vec<Vec<(u32, T)>> {
        let mut shares: Vec<Vec<(u32, T)>> = self.workers.iter().map(|_| Vec::new()).collect();
        for (number, item) in items {
            shares[number as usize % self.workers.len()].push((number, item));
        }
        shares
    }

    /// The conversation of these clients: the direct one of two, or a new group.
    async fn conversation(&self, Circle { members, direct }: &Circle) -> anyhow::Result<ConversationId> {
        let users = members.iter().map(|&member| self.user(member)).collect::<anyhow::Result<Vec<UserId>>>()?;
        if let ([one, other], true) = (users.as_slice(), *direct) {
            return Ok(ConversationId::direct(*one, *other));
        }
        let ids: Vec<u64> = users[1..].iter().map(|user| user.as_u64()).collect();
        let (first, rest) = ids.split_at(ids.len().min(MEMBERS_PER_REQUEST));
        let owner = members[0];
        let create =
            CreateGroupRequest { client_msg_id: random_id(), title: "load test".into(), member_ids: first.to_vec() };
        let created = self.request(owner, client_frame::Body::CreateGroup(create)).await.context("making a group")?;
        let server_frame::Body::CreateGroup(created) = created else {
            bail!("the server answered the making of a group with something else")
        };
        for batch in rest.chunks(MEMBERS_PER_REQUEST) {
            let add = AddMembersRequest {
                conversation_id: created.conversation_id.clone(),
                client_msg_id: random_id(),
                user_ids: batch.to_vec(),
            };
            self.request(owner, client_frame::Body::AddMembers(add)).await.context("adding members")?;
        }
        Ok(ConversationId::from_slice(&created.conversation_id)?)
    }

    /// Who a client is to Godwit.
    pub fn user(&self, peer: u32) -> anyhow::Result<UserId> {
        self.identities.get(peer as usize).and_then(|identity| identity.user).context("a client that is nobody")
    }

    async fn request(&self, peer: u32, body: client_frame::Body) -> anyhow::Result<server_frame::Body> {
        self.with(peer, async move |clients: &mut Clients| clients.link(peer)?.request(body).await).await
    }
}

/// Waits until every message has its answer and arrived at everybody, or nothing has moved for as long as `patience`: what
/// is missing then counts as lost.
pub async fn settle(progress: &Progress, patience: Duration) {
    let (mut seen, mut since) = (progress.position(), Instant::now());
    while !progress.is_settled() && since.elapsed() <= patience {
        tokio::time::sleep(SETTLE_POLL).await;
        let now = progress.position();
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
    }
}

/// A `client_msg_id`.
pub fn random_id() -> Bytes {
    Bytes::copy_from_slice(&rand::random::<[u8; 16]>())
}

/// In the unit of a run's times.
pub fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn explain_closed_registration(error: anyhow::Error) -> anyhow::Error {
    let refused = error.downcast_ref::<Refused>().map(|refused| refused.code);
    match refused {
        Some(ErrorCode::RegistrationClosed | ErrorCode::InvalidInvitation) => error.context(
            "this server lets nobody make an account, and the load test needs accounts of its own; start it with \
             GODWIT_REGISTRATION__MODE=open for the time of the test",
        ),
        _ => error,
    }
}

/// Small enough that a server does not take the clients for a flood.
const CONNECTING_AT_ONCE: usize = 64;
const MEMBERS_PER_REQUEST: usize = 400;
const PEERS_PER_SOCKET: usize = 64;
const SECOND_TIMEOUT: Duration = Duration::from_millis(500);
const SETTLE_POLL: Duration = Duration::from_millis(10);
