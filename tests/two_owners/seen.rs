//! What all clients of all servers have seen, and whether it can be true.

use godwit_proto::{ConversationId, v1};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, MutexGuard},
    time::Duration,
};
use tokio::time::{sleep, timeout};

/// Long enough for a busy machine, and how often it is looked whether somebody has waited long enough.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(10);

/// A seq of a conversation.
type Place = (ConversationId, u64);

/// A log as a server shows it: by seq, the id and the body.
pub type Log = BTreeMap<u64, Content>;

/// The id that the sender gave it, and what it says.
pub type Content = (Vec<u8>, Vec<u8>);

#[derive(Default)]
pub struct Seen(Mutex<State>);

#[derive(Default)]
struct State {
    /// Entries that were pushed or read, and by which server first.
    entries: HashMap<Place, (Content, &'static str)>,
    /// Messages that were acknowledged, by id.
    acked: HashMap<Vec<u8>, (Place, &'static str)>,
    wrong: Vec<String>,
}

impl Seen {
    /// A server has shown an entry.
    pub fn entry(&self, server: &'static str, conversation: ConversationId, entry: &v1::Entry) {
        let (place, content) = ((conversation, entry.seq), content(entry));
        let mut state = self.lock();
        let (first, by) = state.entries.entry(place).or_insert_with(|| (content.clone(), server)).clone();
        if first != content {
            state.wrong.push(format!("{place:?} is {first:?} by {by} and {content:?} by {server}"));
        }
    }

    /// A server has acknowledged a message.
    pub fn ack(&self, server: &'static str, conversation: ConversationId, id: &[u8], seq: u64) {
        let place = (conversation, seq);
        let mut state = self.lock();
        let (first, by) = *state.acked.entry(id.to_vec()).or_insert((place, server));
        if first != place {
            state.wrong.push(format!("{id:?} is {first:?} by {by} and {place:?} by {server}"));
        }
    }

    /// Waits until a server has acknowledged something.
    pub async fn an_ack_by(&self, server: &str) {
        let acked = async {
            while self.acked_by(server) == 0 {
                sleep(LOOK).await;
            }
        };
        timeout(PATIENCE, acked).await.expect("nothing is acknowledged");
    }

    /// How many messages were acknowledged by a server.
    pub fn acked_by(&self, server: &str) -> usize {
        self.lock().acked.values().filter(|(_, by)| *by == server).count()
    }

    /// Holds a log to all that was seen of its conversation.
    pub fn check(&self, conversation: ConversationId, log: &Log) {
        let state = self.lock();
        assert!(state.wrong.is_empty(), "{:#?}", state.wrong);
        let dense = log.keys().zip(1..).all(|(seq, expected)| *seq == expected);
        assert!(dense, "{conversation:?} has gaps: {:?}", log.keys());
        let ids: HashSet<_> = log.values().map(|(id, _)| id).collect();
        assert_eq!(ids.len(), log.len(), "{conversation:?} has a message twice");
        for ((of, seq), (content, by)) in &state.entries {
            assert!(*of != conversation || log.get(seq) == Some(content), "{by} showed {content:?} as {seq}: {log:?}");
        }
        for (id, ((of, seq), by)) in &state.acked {
            let there = || log.get(seq).is_some_and(|(there, _)| there == id);
            assert!(*of != conversation || there(), "{by} acknowledged {id:?} as {seq}, where {:?} is", log.get(seq));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

pub fn content(entry: &v1::Entry) -> Content {
    let body = match &entry.content {
        Some(v1::entry::Content::Message(message)) => message.body.to_vec(),
        other => format!("{other:?}").into_bytes(),
    };
    (entry.client_msg_id.to_vec(), body)
}
