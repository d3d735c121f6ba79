//! Keeps the mark of the guarded clock: the newest time that the controller ever gave, so that the next run cannot be
//! told an older one.

use std::{sync::Arc, time::Duration};

use bbt_store::StoreError;

use super::Task;
use crate::clock::guard::GuardedClock;

/// See the head of the module.
pub struct ClockMark {
    guard: Arc<GuardedClock>,
}

impl ClockMark {
    /// Of the clock that the controller runs on.
    pub fn new(guard: Arc<GuardedClock>) -> Self {
        Self { guard }
    }
}

impl Task for ClockMark {
    const NAME: &'static str = "clock_mark";
    const EVERY: Duration = Duration::from_secs(60);

    async fn run(&self) -> Result<Option<Duration>, StoreError> {
        let guard = Arc::clone(&self.guard);
        // A panic of the blocking thread is told by the runtime.
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || guard.keep()).await {
            tracing::error!(%error, "the mark of the clock could not be written; the one before stays");
        }
        Ok(None)
    }
}
