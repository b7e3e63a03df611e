//! The network between clients and server: what `--link` asks for, and a relay that passes UDP on accordingly.

mod direction;
mod flows;
mod overrun;
mod relay;
mod spec;
mod stats;
mod transit;

pub use relay::Relay;
pub use spec::LinkSpec;
pub use stats::LinkStats;
