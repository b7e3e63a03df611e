//! Who is online on any node, as `sessions` has written it.

use super::{
    Shared, Summarised,
    link::{Questions, read},
    meters::Kind,
};
use crate::store::SessionPlace;
use data_encoding::HEXLOWER;
use godwit_proto::{DeviceId, UserId};
use std::collections::BTreeMap;

/// A session that others can see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnlineSession {
    /// Whose.
    pub device: DeviceId,
    /// The node that has it.
    pub node: String,
    /// Where on it.
    pub place: SessionPlace,
}

impl Summarised {
    /// The sessions of a user, on all nodes. `None`: Redis does not answer.
    pub async fn sessions_of(&self, user: UserId) -> Option<Vec<OnlineSession>> {
        let shared = self.shared.clone();
        self.runtime.spawn(async move { shared.sessions_of(user).await }).await.ok().flatten()
    }
}

impl Shared {
    async fn sessions_of(&self, user: UserId) -> Option<Vec<OnlineSession>> {
        let mut question = redis::cmd("HGETALL");
        question.arg(self.keys.sessions(user));
        let answers = self.link.ask(Kind::Sessions, &Questions::of_slice([question])).await.ok()?;
        let entries = answers.into_iter().next().and_then(read::<Vec<(String, String)>>)?;
        let entries: Vec<Entry> = entries.iter().filter_map(|(device, place)| Entry::read(device, place)).collect();
        let mut nodes: Vec<&str> = entries.iter().map(|entry| &*entry.session.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        if nodes.is_empty() {
            return Some(Vec::new());
        }
        let mut questions = Questions::default();
        for node in &nodes {
            let mut question = redis::cmd("GET");
            question.arg(self.keys.node(node));
            questions.ask(question);
            questions.end_slice();
        }
        let answers = self.link.ask(Kind::Sessions, &questions).await.ok()?;
        let said = answers.into_iter().map(|answer| read::<Option<String>>(answer).flatten());
        let alive: BTreeMap<&str, Option<String>> = nodes.iter().copied().zip(said).collect();
        let lives = |entry: &Entry| {
            let said = alive.get(&*entry.session.node).and_then(Option::as_deref);
            said.and_then(|said| said.split_once(':')).is_some_and(|(incarnation, _)| incarnation == entry.incarnation)
        };
        let alive: Vec<bool> = entries.iter().map(lives).collect();
        Some(entries.into_iter().zip(alive).filter(|(_, lives)| *lives).map(|(entry, _)| entry.session).collect())
    }
}

struct Entry {
    session: OnlineSession,
    incarnation: String,
}

impl Entry {
    fn read(device: &str, place: &str) -> Option<Self> {
        let device = DeviceId(HEXLOWER.decode(device.as_bytes()).ok()?.try_into().ok()?);
        let mut parts = place.rsplitn(3, '|');
        let (core, session) = parts.next()?.split_once('.')?;
        let place = SessionPlace { core: core.parse().ok()?, session: session.parse().ok()? };
        let incarnation = parts.next()?.to_owned();
        Some(Self { session: OnlineSession { device, node: parts.next()?.to_owned(), place }, incarnation })
    }
}
