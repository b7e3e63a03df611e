//! Whatever waits: the wheel that each core keeps, and the two clocks that it must not mix up.
//!
//! Nothing in here looks at a clock. The owner reads both, monotonic and wall, once a turn, and passes in what it read.

mod tick;
mod wall_clock;
mod wheel;

pub use tick::Tick;
pub use wall_clock::{ClockStep, STEP_MS_MIN, WallClock};
pub use wheel::{TimerHandle, Wheel};
