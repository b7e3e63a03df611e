//! Waiting for work on a runtime, from a thread that may belong to another one.

use std::sync::mpsc;
use tokio::runtime::Handle;

/// Waits on this thread, whatever runs on it, for work that is done on the runtime.
///
/// # Panics
///
/// When the work does, or its runtime has ended.
pub(crate) fn wait<T: Send + 'static>(runtime: &Handle, work: impl Future<Output = T> + Send + 'static) -> T {
    let (done, result) = mpsc::sync_channel(1);
    runtime.spawn(async move {
        // The receiver is below.
        let _ = done.send(work.await);
    });
    match result.recv() {
        Ok(result) => result,
        Err(mpsc::RecvError) => panic!("work on the store's runtime did not come to its end"),
    }
}
