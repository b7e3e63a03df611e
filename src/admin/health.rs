//! Whether the server should get traffic.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

/// Where the server is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// The store is opening.
    Starting,
    /// Another server has the store.
    Waiting,
    /// Clients are served.
    Serving,
    /// It takes no new clients, and lets go of those it has.
    Draining,
}

/// The server's stage, shared between the composition root, which moves it, and whoever asks.
#[derive(Debug, Clone)]
pub struct Health {
    stage: Arc<AtomicU8>,
}

impl Default for Health {
    fn default() -> Self {
        Self { stage: Arc::new(AtomicU8::new(Stage::Starting as u8)) }
    }
}

impl Health {
    /// Moves on.
    pub fn set(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    /// The stage now.
    pub fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Relaxed) {
            0 => Stage::Starting,
            1 => Stage::Waiting,
            2 => Stage::Serving,
            _ => Stage::Draining,
        }
    }
}
