//! One client under load: what it sends and when, and what it makes of what arrives.

mod driver;
mod pace;
mod room;
mod tally;

pub use driver::{Part, Peer, Progress, Report, Shared};
pub use pace::Pace;
pub use room::{Room, RoomKey, Verdict, compare};
pub use tally::{Second, Tally, empty_histogram, record_us};
