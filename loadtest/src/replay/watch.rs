//! Everybody's live stream of events, checked as it comes.

use super::{
    accounts::People,
    faults::{Fault, Faults},
    live::Live,
    log_check::LogCheck,
};
use anyhow::Context;
use godwit_client::{Client, ConnectionState, ConversationId, Event, Events, Seq, v1::Entry};
use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};
use tokio::task::JoinSet;

/// A task for every account.
#[derive(Debug)]
pub struct Watchers {
    tasks: JoinSet<Watched>,
}

/// What the live streams showed.
#[derive(Debug, Default)]
pub struct Watched {
    /// Differences from the corpus, missing messages included.
    pub faults: Faults,
    /// By account and conversation: how far the member said that everything is read, and the server agreed.
    pub marks: HashMap<(usize, usize), Seq>,
}

impl Watchers {
    /// Starts to watch. Nothing may have been sent yet.
    pub fn start(live: &Arc<Live>, people: People) -> (Self, Arc<[Client]>) {
        let memberships = live.expected.plan.memberships();
        let mut tasks = JoinSet::new();
        for (account, (events, memberships)) in people.events.into_iter().zip(memberships).enumerate() {
            let client = people.clients[account].clone();
            tasks.spawn(Watcher::new(live.clone(), client, account, &memberships).run(events));
        }
        (Self { tasks }, people.clients.into())
    }

    /// What was seen until the clients were shut down.
    pub async fn finish(mut self) -> anyhow::Result<Watched> {
        let mut all = Watched::default();
        while let Some(watched) = self.tasks.join_next().await {
            let watched = watched.context("a watcher")?;
            all.faults.merge(watched.faults);
            all.marks.extend(watched.marks);
        }
        Ok(all)
    }
}

struct Watcher {
    live: Arc<Live>,
    client: Client,
    account: usize,
    conversations: HashMap<usize, Watching>,
    faults: Faults,
    /// One for every conversation at most.
    marking: JoinSet<(usize, Seq, Result<(), String>)>,
    connected_before: bool,
}

struct Watching {
    check: LogCheck,
    marks_read_at: Option<usize>,
}

impl Watcher {
    fn new(live: Arc<Live>, client: Client, account: usize, memberships: &[(usize, usize)]) -> Self {
        let expected = &live.expected;
        let watching = |&(conversation, slot): &(usize, usize)| {
            let marks_read_at = expected.plan.conversations[conversation].members[slot].marks_read_at;
            let check = LogCheck::new(expected, conversation, account, "live");
            (conversation, Watching { check, marks_read_at })
        };
        let conversations = memberships.iter().map(watching).collect();
        let (faults, marking) = (Faults::default(), JoinSet::new());
        Self { live, client, account, conversations, faults, marking, connected_before: false }
    }

    async fn run(mut self, mut events: Events) -> Watched {
        while let Some(event) = events.next().await {
            match event {
                Event::Entry { conversation, entry, .. } => self.on_entry(conversation, &entry),
                Event::State(ConnectionState::Connected) => {
                    if std::mem::replace(&mut self.connected_before, true) {
                        self.live.reconnects.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Event::Removed { conversation } => self.unexpected(|| format!("is out of {conversation:?}")),
                Event::State(_) | Event::Summary(_) | Event::Read { .. } | Event::Typing { .. } | Event::Synced => {}
                // Nobody schedules anything here.
                Event::Scheduled(_) | Event::ScheduleCancelled { .. } | Event::ScheduleEnded { .. } => {}
                Event::Reminder(_) | Event::ReminderDismissed { .. } => {}
            }
        }
        for watching in self.conversations.values() {
            watching.check.finish(&self.live.expected, &mut self.faults);
        }
        self.collect_marks().await
    }

    fn on_entry(&mut self, id: ConversationId, entry: &Entry) {
        let conversation = self.live.directory.conversation(id);
        let watching = conversation.and_then(|conversation| {
            self.conversations.get_mut(&conversation).map(|watching| (conversation, watching))
        });
        let Some((conversation, watching)) = watching else {
            return self.unexpected(|| format!("got seq {} of {id:?}", entry.seq));
        };
        let expected = &self.live.expected;
        let Some(position) = watching.check.on_entry(expected, entry, &mut self.faults) else { return };
        self.live.on_arrival(expected.plan.conversations[conversation].messages[position], self.account);
        if watching.marks_read_at == Some(position) {
            let (client, live, seq) = (self.client.clone(), self.live.clone(), Seq(entry.seq));
            self.marking.spawn(async move {
                let outcome = client.mark_read(id, seq).await;
                live.marked.fetch_add(1, Ordering::Relaxed);
                (conversation, seq, outcome.map(drop).map_err(|error| error.to_string()))
            });
        }
    }

    async fn collect_marks(mut self) -> Watched {
        let mut marks = HashMap::new();
        while let Some(marked) = self.marking.join_next().await {
            match marked {
                Ok((conversation, seq, Ok(()))) => {
                    marks.insert((self.account, conversation), seq);
                }
                Ok((conversation, seq, Err(error))) => {
                    let plan = &self.live.expected.plan;
                    self.faults.add(Fault::Refused, || {
                        let number = plan.accounts[self.account];
                        format!("{}: {number} cannot mark {seq:?} as read: {error}", plan.describe(conversation))
                    });
                }
                Err(error) => self.faults.add(Fault::Refused, || format!("marking as read: {error}")),
            }
        }
        Watched { faults: self.faults, marks }
    }

    fn unexpected(&mut self, words: impl FnOnce() -> String) {
        let number = self.live.expected.plan.accounts[self.account];
        self.faults.add(Fault::Unexpected, || format!("{number} {}", words()));
    }
}
