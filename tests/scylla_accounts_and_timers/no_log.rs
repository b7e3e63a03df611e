//! A store of accounts and timers.

use crate::composed_store::{Composed, Parts};
use godwit::store::{
    LogStore, TimerStore, UserStore,
    scylla::{timers::Timers, users::Accounts},
};

/// The two behind one front. Nothing here asks for the log.
pub type NoLog = Composed<AccountsAndTimers>;

pub struct AccountsAndTimers {
    pub accounts: Accounts,
    pub timers: Timers,
}

impl Parts for AccountsAndTimers {
    fn log(&self) -> &dyn LogStore {
        panic!("nothing here asks for the log")
    }

    fn accounts(&self) -> &dyn UserStore {
        &self.accounts
    }

    fn timers(&self) -> &dyn TimerStore {
        &self.timers
    }
}
