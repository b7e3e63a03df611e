//! What operators may do about notices to users who are not there.

/// Notices that were given up. Both answers are JSON.
pub trait OfflineNotices: Send + Sync + 'static {
    /// All of them, the oldest first.
    fn dead_letters(&self) -> String;

    /// Has all of them handed over again, and says how many they were.
    fn replay(&self) -> String;
}
