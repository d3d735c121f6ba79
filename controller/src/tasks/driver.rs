//! Runs a task until the controller stops.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::sleep};

use super::{Nudge, Task};

/// A run that failed is made again after this long, or when the timer says so.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Runs `task` now, by its timer and whenever `nudge` is poked, until `drain` turns true.
pub async fn drive<T: Task>(task: Arc<T>, nudge: Nudge, mut drain: watch::Receiver<bool>) {
    loop {
        let wait = match task.run().await {
            Ok(due) => due.unwrap_or(T::EVERY).min(T::EVERY),
            Err(error) => {
                tracing::error!(task = T::NAME, %error, "a task could not do its work; it tries again");
                AFTER_FAILURE
            }
        };
        tokio::select! {
            _ = drain.wait_for(|drain| *drain) => return,
            () = sleep(wait) => {}
            () = nudge.poked() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bbt_store::StoreError;

    use super::*;

    #[derive(Default)]
    struct Counting {
        runs: AtomicUsize,
        fails: bool,
    }

    impl Task for Counting {
        const NAME: &'static str = "counting";
        const EVERY: Duration = Duration::from_secs(60);

        async fn run(&self) -> Result<Option<Duration>, StoreError> {
            self.runs.fetch_add(1, Ordering::Relaxed);
            if self.fails { Err(StoreError::Closed) } else { Ok(None) }
        }
    }

    /// Runs within `span` of simulated time, with a thousand nudges at its beginning if `nudged`.
    async fn runs(task: Counting, nudged: bool, span: Duration) -> usize {
        let (task, nudge) = (Arc::new(task), Nudge::default());
        let (stop, drain) = watch::channel(false);
        let driven = tokio::spawn(drive(Arc::clone(&task), nudge.clone(), drain));
        tokio::task::yield_now().await;
        for _ in 0..if nudged { 1_000 } else { 0 } {
            nudge.poke();
        }
        sleep(span).await;
        stop.send_replace(true);
        driven.await.unwrap();
        task.runs.load(Ordering::Relaxed)
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_runs_at_once_and_by_its_timer() {
        assert_eq!(runs(Counting::default(), false, Duration::from_secs(150)).await, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_nudges_are_one_run_more() {
        assert_eq!(runs(Counting::default(), true, Duration::from_secs(30)).await, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_failed_is_made_again_soon() {
        let failing = Counting { fails: true, ..Counting::default() };
        assert_eq!(runs(failing, false, Duration::from_secs(12)).await, 3);
    }
}
