//! A whole server with an offline hook, and what operators see of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::large_futures, missing_docs)]

use futures_util::future::BoxFuture;
use godwit::{
    config::Config,
    router::{HookError, OfflineHook, OfflineNotice},
    server::Server,
};
use godwit_client::{Client, ClientConfig, Credentials, Trust};
use godwit_proto::Seq;
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

const SOON: Duration = Duration::from_secs(30);

struct Hook(Mutex<mpsc::Sender<Vec<OfflineNotice>>>);

impl OfflineHook for Hook {
    fn notify(&self, notices: Vec<OfflineNotice>) -> BoxFuture<'static, Result<(), HookError>> {
        self.0.lock().unwrap().send(notices).unwrap();
        Box::pin(async { Ok(()) })
    }
}

fn ask(address: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{head} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

async fn join(server: &Server, name: &str) -> Client {
    let credentials = Credentials::Register {
        username: name.into(),
        password: "correct horse battery".into(),
        display_name: String::new(),
        invitation: String::new(),
    };
    let trust = Trust::fingerprint_from_hex(server.fingerprint()).unwrap();
    let config = ClientConfig::new(server.address().to_string(), trust, credentials);
    let (client, events) = tokio::time::timeout(SOON, Client::connect(config)).await.unwrap().unwrap();
    drop(events);
    client
}

#[tokio::test]
async fn the_hook_of_a_server_is_told_of_users_who_left_and_operators_see_what_it_did_not_take() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = Config { listen: "127.0.0.1:0".parse().unwrap(), cores: 2, ..Config::default() };
    config.data_dir = directory.path().join("data");
    config.metrics.listen = "127.0.0.1:0".parse().unwrap();
    (config.password.memory_kib, config.password.iterations) = (8, 1);
    let (told, notices) = mpsc::channel();
    let hook: Arc<dyn OfflineHook> = Arc::new(Hook(Mutex::new(told)));
    let server = Server::start_with_hook(&config, Some(&hook)).unwrap();

    let (alice, bob) = (join(&server, "alice").await, join(&server, "bob").await);
    let (chat, _) = alice.open_direct("bob").await.unwrap();
    bob.shutdown().await;
    // Until the server knows that Bob has left, nobody is told.
    let notice = loop {
        let sent = tokio::time::timeout(SOON, alice.send(chat, "hi").await.unwrap()).await.unwrap().unwrap();
        match notices.recv_timeout(Duration::from_secs(3)) {
            Ok(batch) => break batch[0],
            Err(_) => assert!(sent.seq < Seq(10), "nobody is told"),
        }
    };
    assert_eq!((notice.user, notice.conversation, notice.unread), (bob.user_id(), chat, 1));

    let admin = server.admin_address().unwrap();
    assert!(ask(admin, "GET /offline/dead-letters").ends_with(r#"{"dead_letters":[]}"#));
    assert!(ask(admin, "POST /offline/replay").ends_with(r#"{"replayed":0}"#));
    assert!(ask(admin, "GET /metrics").contains(r#"godwit_offline_notices_total{outcome="handed_over"} 1"#));
    server.stop();
}
