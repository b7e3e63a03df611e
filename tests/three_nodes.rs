//! A server on three CQL nodes, one of which is killed while people chat.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::large_futures, missing_docs)]

#[path = "support/three_nodes.rs"]
mod cluster;
#[path = "support/server.rs"]
mod server;

use cluster::ThreeNodes;
use godwit_client::{
    CatchUp, Client, ClientConfig, ConversationId, Credentials, DeviceId, Event, Events, Sending, Trust,
    v1::entry::Content,
};
use server::TestServer;
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// People who write to one other each.
const PAIRS: usize = 12;
/// Messages of each that are on their way at the same time.
const IN_FLIGHT: usize = 4;
/// All is well, a node is killed, it is back.
const ROUNDS: usize = 3;
/// Messages that each writes in a round.
const ROUND: usize = 250;

/// Much longer than a quorum without one node takes to be found.
const PATIENCE: Duration = Duration::from_secs(60);

async fn patiently<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future.into_future()).await.expect("nothing happens")
}

async fn connect(server: &TestServer, name: &str, device: u8, registers: bool) -> (Client, Events) {
    let (username, password) = (name.to_owned(), format!("password of {name}"));
    let credentials = if registers {
        Credentials::Register { username, password, display_name: String::new(), invitation: String::new() }
    } else {
        Credentials::Login { username, password }
    };
    let trust = Trust::fingerprint_from_hex(&server.fingerprint()).unwrap();
    let mut config = ClientConfig::new(server.address().to_string(), trust, credentials);
    config.catch_up = CatchUp::FromStart;
    config.device_id = DeviceId([device; 16]);
    patiently(Client::connect(config)).await.unwrap()
}

/// When each message was acknowledged, of all pairs.
type Acks = Arc<watch::Sender<Vec<Instant>>>;

/// Somebody who writes in one conversation.
struct Writer {
    client: Client,
    chat: ConversationId,
    acks: Acks,
    /// Seq and text of what was acknowledged.
    acked: Vec<(u64, String)>,
}

impl Writer {
    /// Writes a round.
    async fn write(mut self) -> Self {
        let mut waiting = VecDeque::new();
        for number in self.acked.len()..self.acked.len() + ROUND {
            if waiting.len() == IN_FLIGHT {
                self.hear(waiting.pop_front().unwrap()).await;
            }
            let text = format!("message {number}");
            waiting.push_back((text.clone(), patiently(self.client.send(self.chat, text)).await.unwrap()));
        }
        for sent in waiting {
            self.hear(sent).await;
        }
        self
    }

    async fn hear(&mut self, (text, sending): (String, Sending)) {
        let sent = patiently(sending).await.unwrap();
        self.acks.send_modify(|acks| acks.push(Instant::now()));
        self.acked.push((sent.seq.as_u64(), text));
    }
}

/// Everybody writes a round at the same time. `meanwhile` is called when a quarter of it is acknowledged.
async fn round(writers: Vec<Writer>, acks: &Acks, meanwhile: impl FnOnce()) -> Vec<Writer> {
    let some = acks.borrow().len() + PAIRS * ROUND / 4;
    let writing: Vec<_> = writers.into_iter().map(|writer| tokio::spawn(writer.write())).collect();
    acks.subscribe().wait_for(|acks| acks.len() >= some).await.unwrap();
    meanwhile();
    let mut writers = Vec::new();
    for writer in writing {
        writers.push(writer.await.unwrap());
    }
    writers
}

/// The longest time without an acknowledgement.
fn longest_pause(acks: &[Instant]) -> Duration {
    acks.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

/// Seq and text of all messages of the test, as they arrive.
async fn read(mut events: Events) -> Vec<(u64, String)> {
    let mut texts = Vec::new();
    while texts.len() < ROUNDS * ROUND {
        if let Event::Entry { entry, .. } = patiently(events.next()).await.expect("the client ended") {
            let Some(Content::Message(message)) = entry.content else { panic!("{entry:?}") };
            texts.push((entry.seq, String::from_utf8(message.body.to_vec()).unwrap()));
        }
    }
    texts
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_goes_on_when_one_of_three_nodes_is_killed_and_nothing_acknowledged_is_lost() {
    let Some(cluster) = ThreeNodes::start() else { return };
    // A server that loses its keyspace ends this process, and says why.
    tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_test_writer().init();
    let mut server = TestServer::start_with(|config| {
        config.store = format!("scylla://{}/godwit", cluster.addresses()).parse().unwrap();
        config.scylla.replication = 3;
    });

    let acks = Acks::default();
    let (mut writers, mut readers) = (Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        let (client, _) = connect(&server, &format!("writer{pair}"), 1, true).await;
        let (reader, events) = connect(&server, &format!("reader{pair}"), 1, true).await;
        let (chat, _) = patiently(client.open_direct(&format!("reader{pair}"))).await.unwrap();
        writers.push(Writer { client, chat, acks: acks.clone(), acked: Vec::new() });
        readers.push((reader, tokio::spawn(read(events))));
    }

    let writers = round(writers, &acks, || ()).await;
    let usual = longest_pause(&acks.borrow());
    let mut killed = 0;
    let writers = round(writers, &acks, || {
        killed = acks.borrow().len();
        // The one that the server was told of first.
        cluster.kill(0);
    })
    .await;
    let pause = longest_pause(&acks.borrow()[killed - 1..]);
    println!("one of three nodes was killed: no acknowledgement for {pause:?}; the longest before that was {usual:?}");

    // The server begins anew on two nodes, and then the third is back.
    tokio::task::block_in_place(|| {
        server.restart();
        cluster.bring_up();
    });
    let writers = round(writers, &acks, || ()).await;
    for (pair, (writer, (_reader, received))) in writers.iter().zip(readers).enumerate() {
        assert!(writer.acked.iter().map(|(seq, _)| *seq).eq(1..=(ROUNDS * ROUND) as u64), "{:?}", writer.acked);
        assert_eq!(received.await.unwrap(), writer.acked);
        let (_another_device, events) = connect(&server, &format!("reader{pair}"), 2, false).await;
        assert_eq!(read(events).await, writer.acked);
    }
}
