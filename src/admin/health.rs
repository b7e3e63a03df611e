//! Whether the server should get traffic.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, Ordering},
    },
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
    /// Its lease on the store has lapsed: nothing is acknowledged until it is renewed.
    Lapsed,
    /// It takes no new clients, and lets go of those it has.
    Draining,
}

/// The server's stage, shared between the composition root, which moves it, and whoever asks.
#[derive(Clone)]
pub struct Health(Arc<Inner>);

struct Inner {
    stage: AtomicU8,
    /// Whether the store is this server's at the moment.
    is_held: OnceLock<Box<dyn Fn() -> bool + Send + Sync>>,
}

impl Default for Health {
    fn default() -> Self {
        Self(Arc::new(Inner { stage: AtomicU8::new(Stage::Starting as u8), is_held: OnceLock::new() }))
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Health").field(&self.stage()).finish()
    }
}

impl Health {
    /// Clients are served from now on, whenever the store says that it is held.
    pub fn serve(&self, is_held: impl Fn() -> bool + Send + Sync + 'static) {
        // A server begins to serve once.
        let _ = self.0.is_held.set(Box::new(is_held));
        self.set(Stage::Serving);
    }

    /// Moves on.
    pub fn set(&self, stage: Stage) {
        self.0.stage.store(stage as u8, Ordering::Relaxed);
    }

    /// The stage now.
    pub fn stage(&self) -> Stage {
        let is_held = || self.0.is_held.get().is_none_or(|is_held| is_held());
        match self.0.stage.load(Ordering::Relaxed) {
            0 => Stage::Starting,
            1 => Stage::Waiting,
            2 if is_held() => Stage::Serving,
            2 => Stage::Lapsed,
            _ => Stage::Draining,
        }
    }
}
