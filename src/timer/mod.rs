//! Whatever waits: the wheel, and the timers in the store that are due soon.
//!
//! Nothing in here looks at a clock. The owner reads one once a turn, and passes in what it read.

mod durable;
mod recurrence;
mod tick;
mod wheel;

pub use durable::{DurableTimers, HORIZON_MS, Load, PAGE_TIMERS};
pub use recurrence::{InvalidRecurrence, Occurrence, RULE_BYTES_MAX, Recurrence};
pub use tick::Tick;
pub use wheel::{TimerHandle, Wheel};
