//! The people of a replay: an account and a connection each, a conversation id for whoever they write to.

use super::{
    log_check::Expected,
    plan::{Kind, Plan},
};
use anyhow::{Context, bail, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use godwit_client::{
    Backoff, CatchUp, Client, ClientConfig, ConnectError, ConversationId, Credentials, Events, SharedEndpoint, Trust,
    UserId, v1::ErrorCode,
};
use std::{
    collections::HashMap,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// How to reach the server, for as many connections as there are people.
#[derive(Debug)]
pub struct Dialer {
    server: SocketAddr,
    trust: Trust,
    /// Part of every name, so that runs against one server do not meet.
    run: String,
    endpoints: Vec<SharedEndpoint>,
    accounts_per_endpoint: usize,
}

impl Dialer {
    /// Binds as many sockets as `accounts` need.
    pub fn new(
        server: SocketAddr,
        fingerprint: &str,
        run: String,
        accounts: usize,
        accounts_per_endpoint: usize,
    ) -> anyhow::Result<Self> {
        let local: SocketAddr = match server {
            SocketAddr::V4(v4) if v4.ip().is_loopback() => (Ipv4Addr::LOCALHOST, 0).into(),
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let sockets = accounts.div_ceil(accounts_per_endpoint);
        let bind = |_| SharedEndpoint::bind(local).context("binding a UDP socket");
        let endpoints = (0..sockets).map(bind).collect::<anyhow::Result<_>>()?;
        Ok(Self { server, trust: Trust::fingerprint_from_hex(fingerprint)?, run, endpoints, accounts_per_endpoint })
    }

    /// Makes an account and stays connected as its first device.
    pub async fn register(&self, account: usize) -> anyhow::Result<(Client, Events)> {
        let credentials = Credentials::Register {
            username: self.username(account),
            password: self.password(account),
            display_name: String::new(),
            invitation: String::new(),
        };
        match self.connect(account, credentials).await {
            // An attempt whose answer was lost has made it. Nobody else has this name.
            Err(error) if error.code() == Some(ErrorCode::UsernameTaken) => self.fresh_device(account, None).await,
            other => other.with_context(|| format!("registering {}", self.username(account))),
        }
    }

    /// Logs in by password, as a device that the server has never seen.
    pub async fn fresh_device(&self, account: usize, user: Option<UserId>) -> anyhow::Result<(Client, Events)> {
        let credentials = Credentials::Login { username: self.username(account), password: self.password(account) };
        let (client, events) = self
            .connect(account, credentials)
            .await
            .with_context(|| format!("logging in as {} on another device", self.username(account)))?;
        ensure!(user.is_none_or(|user| user == client.user_id()), "{} became somebody else", self.username(account));
        Ok((client, events))
    }

    async fn connect(&self, account: usize, credentials: Credentials) -> Result<(Client, Events), ConnectError> {
        let mut config = ClientConfig::new(self.server.to_string(), self.trust.clone(), credentials);
        config.device_name = "load test".into();
        config.client_name = concat!("godwit-loadtest/", env!("CARGO_PKG_VERSION")).into();
        config.catch_up = CatchUp::FromStart;
        config.wait_for_server = true;
        // A machine that runs thousands of clients and their server is slower than a phone that runs one.
        config.connect_timeout = CONNECT_TIMEOUT;
        config.backoff = Backoff { base: RECONNECT_WAIT_BASE, max: RECONNECT_WAIT_MAX };
        config.endpoint = self.endpoints.get(account / self.accounts_per_endpoint).cloned();
        Client::connect(config).await
    }

    fn username(&self, account: usize) -> String {
        format!("replay-{}-{account}", self.run)
    }

    fn password(&self, account: usize) -> String {
        format!("password of {}", self.username(account))
    }
}

/// Everybody, online.
#[derive(Debug)]
pub struct People {
    /// By account.
    pub clients: Vec<Client>,
    /// What happens to each, from the beginning.
    pub events: Vec<Events>,
}

impl People {
    /// Registers all accounts of a plan, a few at a time, counting in `done`.
    pub async fn register(dialer: &Dialer, plan: &Plan, done: &AtomicU64) -> anyhow::Result<Self> {
        let registered: Vec<_> = stream::iter(0..plan.accounts.len())
            .map(|account| async move {
                let registered = dialer.register(account).await;
                done.fetch_add(1, Ordering::Relaxed);
                registered
            })
            .buffered(REGISTERING_MAX)
            .try_collect()
            .await?;
        let (clients, events) = registered.into_iter().unzip();
        Ok(Self { clients, events })
    }

    /// The user behind every account.
    pub fn users(&self) -> Vec<UserId> {
        self.clients.iter().map(Client::user_id).collect()
    }
}

/// The conversations of a plan by the ids that they have on the server.
#[derive(Debug)]
pub struct Directory {
    /// By conversation of the plan.
    pub ids: Vec<ConversationId>,
    by_id: HashMap<ConversationId, usize>,
}

impl Directory {
    /// Names the pairs' conversations, and makes the group if the plan has one.
    pub async fn create(expected: &Expected, clients: &[Client]) -> anyhow::Result<Self> {
        let mut ids = Vec::new();
        for conversation in &expected.plan.conversations {
            let users: Vec<UserId> = conversation.members.iter().map(|member| expected.users[member.account]).collect();
            ids.push(match (conversation.kind, users.as_slice()) {
                (Kind::Direct, [own]) => ConversationId::direct(*own, *own),
                (Kind::Direct, [one, other]) => ConversationId::direct(*one, *other),
                (Kind::Group, [_, others @ ..]) => {
                    create_group(&clients[conversation.members[0].account], others).await?
                }
                (kind, _) => bail!("a conversation of {} cannot be {kind:?}", users.len()),
            });
        }
        let by_id: HashMap<_, _> = ids.iter().enumerate().map(|(index, id)| (*id, index)).collect();
        ensure!(by_id.len() == ids.len(), "two conversations have one id: the server gave two accounts one user id");
        Ok(Self { ids, by_id })
    }

    /// The conversation of the plan with this id.
    pub fn conversation(&self, id: ConversationId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }
}

async fn create_group(owner: &Client, others: &[UserId]) -> anyhow::Result<ConversationId> {
    let (first, rest) = others.split_at(others.len().min(MEMBERS_PER_REQUEST));
    let group = owner.create_group("everybody", first).await.context("creating the group")?;
    for batch in rest.chunks(MEMBERS_PER_REQUEST) {
        owner.add_members(group, batch).await.context("adding members to the group")?;
    }
    let members = owner.list_members(group).await.context("listing the group")?;
    ensure!(members.len() == others.len() + 1, "the group has {} members, not {}", members.len(), others.len() + 1);
    Ok(group)
}

/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// A conversation waits for its next sender to come back, and the replay for the last of thousands of clients, so none
/// may wait for as long as a phone would.
const RECONNECT_WAIT_BASE: Duration = Duration::from_millis(20);
const RECONNECT_WAIT_MAX: Duration = Duration::from_secs(2);
const REGISTERING_MAX: usize = 64;
/// Small enough that a group of some size takes several entries to fill.
const MEMBERS_PER_REQUEST: usize = 100;
