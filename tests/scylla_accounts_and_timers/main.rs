//! Accounts and timers on a real ScyllaDB or Cassandra: they pass the suite, and a crash, a former owner or a rush leaves nothing
//! half done.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod accounts;
mod no_log;
mod timers;

#[path = "../support/composed_store.rs"]
mod composed_store;
#[path = "../support/counters.rs"]
mod counters;
#[path = "../support/cql.rs"]
mod cql;
#[path = "../support/owner.rs"]
mod owner;
#[path = "../store_suite/mod.rs"]
mod store_suite;

use composed_store::Composed;
use godwit::store::scylla::{
    fence::Fence,
    timers::{TimerLimits, Timers},
    users::{AccountLimits, Accounts},
};
use no_log::{AccountsAndTimers, NoLog};
use owner::{Owner, Turn, fence};
use std::fmt::Write as _;
use store_suite::{Harness, wait};

enum Between {
    Nothing,
    /// Another server goes on.
    Reopen,
}

struct ScyllaHarness {
    turn: Turn,
    between: Between,
}

impl Harness for ScyllaHarness {
    type Store = NoLog;

    fn open(&self) -> NoLog {
        open(&self.turn, fence())
    }

    fn between(&self, store: NoLog) -> NoLog {
        match self.between {
            Between::Nothing => store,
            Between::Reopen => {
                wait(store.0.timers.close());
                wait(store.0.accounts.settle()).unwrap();
                drop(store);
                self.open()
            }
        }
    }
}

/// The store of a server that has this fence.
fn open(turn: &Turn, fence: Fence) -> NoLog {
    let (cql, runtime) = (&turn.owner.cql, turn.owner.runtime());
    turn.owner.run(async {
        let limits = AccountLimits::default();
        let accounts = Accounts::open(cql.clone(), fence.clone(), runtime.clone(), limits).await.unwrap();
        let timers = Timers::open(cql.clone(), fence, runtime, TimerLimits::default()).await.unwrap();
        Composed(AccountsAndTimers { accounts, timers })
    })
}

/// Bytes as they stand in a statement.
fn blob(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

macro_rules! of_accounts_and_timers {
    ($between:expr) => {
        conformance!(@users of_accounts_and_timers!(@harness $between));
        conformance!(@timers of_accounts_and_timers!(@harness $between));
    };
    (@harness $between:expr) => {{
        let Some(turn) = Owner::turn() else { return };
        ScyllaHarness { turn, between: $between }
    }};
}

mod at_once {
    use super::*;
    of_accounts_and_timers!(Between::Nothing);
}

mod after_reopening {
    use super::*;
    of_accounts_and_timers!(Between::Reopen);
}
