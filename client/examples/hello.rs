//! A first message: see the documentation of the crate.

use godwit_client::{Client, ClientConfig, Credentials, Event, Trust};
use std::error::Error;

/// Makes an account, writes a note to oneself, and waits for it to come by as an event.
pub async fn hello(server: &str, fingerprint: &str) -> Result<(), Box<dyn Error>> {
    let credentials = Credentials::Register {
        username: "alice".into(),
        password: "correct horse battery staple".into(),
        display_name: String::new(),
        invitation: String::new(),
    };
    let trust = Trust::fingerprint_from_hex(fingerprint)?;
    let (client, mut events) = Client::connect(ClientConfig::new(server, trust, credentials)).await?;

    // Notes to oneself are a direct conversation too.
    let (conversation, _) = client.open_direct("alice").await?;
    // The first await ends when the message is queued, the second when it is durable.
    let sent = client.send(conversation, "hello").await?.await?;

    while let Some(event) = events.next().await {
        if let Event::Entry { conversation, entry, .. } = event {
            println!("{conversation:?} {}: {:?}", entry.seq, entry.content);
            if entry.seq == sent.seq.as_u64() {
                break;
            }
        }
    }
    client.shutdown().await;
    Ok(())
}

/// The server prints its address and its fingerprint when it starts; they are the arguments here.
pub fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, fingerprint] = &arguments[..] else { return Err("usage: hello HOST:PORT FINGERPRINT".into()) };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(hello(server, fingerprint))
}
