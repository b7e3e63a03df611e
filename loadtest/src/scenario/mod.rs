//! What the clients of a run do.

mod chat;
mod layout;
mod outcome;

pub use chat::{ChatLoad, LoadPace, Timing, run as run_chat};
pub use layout::{Layout, Members};
pub use outcome::{CurvePoint, Outcome, Quantiles, SecondFigures, Totals};
