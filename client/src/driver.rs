//! The one task of a client.

use crate::{
    ClientConfig, ConnectError, Events,
    command::{Command, LinkState},
    connector::Identity,
};
use quinn::Endpoint;
use std::sync::{Arc, RwLock};
use tokio::sync::{mpsc, watch};

/// What a handle needs of a driver that runs.
pub(crate) struct Parts {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) link: watch::Receiver<LinkState>,
    pub(crate) identity: Arc<RwLock<Identity>>,
    pub(crate) events: Events,
    pub(crate) endpoint: Endpoint,
    pub(crate) outbox_messages_max: usize,
}

/// Connects, logs in and starts the task.
pub(crate) async fn start(config: ClientConfig) -> Result<Parts, ConnectError> {
    let _ = config;
    Err(ConnectError::Unreachable("not written yet".into()))
}
