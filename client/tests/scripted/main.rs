//! The client against a server that follows a script over real QUIC on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::large_futures, missing_docs)]

mod expiry;
mod groups;
mod login;
mod receiving;
mod reconnecting;
mod reminder;
mod schedule;
mod sending;
mod server;

use godwit_client::{ConnectionState, Event, Events};
use server::soon;

/// The seq of the next entry, past other events.
async fn next_seq(events: &mut Events) -> u64 {
    loop {
        if let Event::Entry { entry, .. } = soon(events.next()).await.expect("the client ended") {
            return entry.seq;
        }
    }
}

/// The next change of the connection, past other events.
async fn next_state(events: &mut Events) -> ConnectionState {
    loop {
        if let Event::State(state) = soon(events.next()).await.expect("the client ended") {
            return state;
        }
    }
}
