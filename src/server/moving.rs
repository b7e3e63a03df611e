//! Stores that are copied: opened by themselves, with no server around them.

use super::{StartError, cluster::scylla_options, data_dir::DataDir, settings};
use crate::{
    config::{Config, StoreAddress},
    store::{
        copy::Whole,
        embedded::{Embedded, EmbeddedOptions},
        scylla::{OnLease, Scylla, ScyllaOptions},
    },
};
use std::{io, sync::Arc};

/// A store that is copied from or to. It is this process's alone.
pub enum MovingStore {
    /// In a directory.
    Embedded(Embedded),
    /// In a keyspace.
    Scylla(Box<Scylla>),
}

impl MovingStore {
    /// Opens the store at an address; the other settings are the configuration's. Blocks while a server has a keyspace, and
    /// tells `waiting` what that one is called. With `receives_copy` it must be empty, or have been begun to be copied into.
    pub fn open(
        config: &Config,
        address: &StoreAddress,
        receives_copy: bool,
        mut waiting: impl FnMut(&str) + Send + 'static,
    ) -> Result<Self, StartError> {
        let dir = match address {
            StoreAddress::Embedded if receives_copy => DataDir::prepare(&config.data_dir)?.store(),
            StoreAddress::Embedded => DataDir::at(&config.data_dir).store(),
            StoreAddress::EmbeddedIn(dir) => dir.clone(),
            StoreAddress::Scylla { .. } => {
                let config = Config { store: address.clone(), ..config.clone() };
                let address = format!("godwit store copy, process {}", std::process::id());
                let options = scylla_options(&config)?;
                // A store to copy from is there, or its name is a slip.
                let migrate = options.migrate && receives_copy;
                let options = ScyllaOptions { receives_copy, address, migrate, ..options };
                let on_lease = OnLease {
                    waiting: Box::new(move |holder| waiting(holder)),
                    lost: Box::new(|lost| {
                        // What is written from here on would be refused, and what is read may be somebody else's.
                        tracing::error!(%lost, "the copy ends; begin it again, and it goes on where it was");
                        std::process::exit(1)
                    }),
                };
                return Ok(Self::Scylla(Box::new(Scylla::open(options, on_lease)?)));
            }
        };
        if !receives_copy && !dir.join("db").is_dir() {
            return Err(StartError::NoStore(dir));
        }
        let options = EmbeddedOptions { receives_copy, ..settings::embedded(config, dir) };
        Ok(Self::Embedded(Embedded::open(options)?))
    }

    /// What is copied.
    pub fn whole(&self) -> Arc<dyn Whole> {
        match self {
            Self::Embedded(store) => Arc::new(store.clone()),
            Self::Scylla(store) => Arc::new(Scylla::clone(store)),
        }
    }

    /// All that was to be copied is there: from now on servers may open it.
    pub fn copy_complete(&self) -> io::Result<()> {
        match self {
            Self::Embedded(store) => store.copy_complete(),
            Self::Scylla(store) => store.copy_complete().map_err(io::Error::other),
        }
    }

    /// Waits for what is on its way, and lets others have it. Blocks.
    pub fn close(&self) {
        match self {
            Self::Embedded(store) => store.close(),
            Self::Scylla(store) => store.close(),
        }
    }
}
