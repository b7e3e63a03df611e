//! Summaries in Redis.

mod options;

pub use options::{RedisOptions, UrlError};
