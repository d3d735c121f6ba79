//! Background work: reconcilers.
//!
//! A task looks at what is stored and does what is due; it keeps nothing that the store does not have, so it is
//! safe to repeat and to cut off anywhere: the next run finishes the work. It runs by timer and by nudge. Stages
//! poke each other ([`Nudge`]) and never call each other: ingest wakes [`fault_analysis`], which wakes
//! [`ticket_opening`] and [`inquiry_opening`], which wake [`outbox_delivery`]. A nudge that is lost costs the
//! time until the timer, nothing else. All others go by their timers; [`certificate_renewal`] is also woken when
//! a clock is accepted or an intermediate taken over.

pub mod certificate_renewal;
pub mod clock_watch;
mod driver;
pub mod fault_analysis;
pub mod inquiry_opening;
pub mod lesson_telling;
pub mod nightly_backup;
pub mod outbox_delivery;
pub mod reconciliation;
pub mod store_watch;
pub mod ticket_opening;

use std::{sync::Arc, time::Duration};

use bbt_store::StoreError;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

pub use driver::drive;

/// Pokes within this long are one: a morning in which a thousand sets report is a few runs, not a thousand.
const BREATH: Duration = Duration::from_millis(250);

/// Wakes a task, from anywhere and as often as one likes.
#[derive(Clone, Debug, Default)]
pub struct Nudge(Arc<Notify>);

impl Nudge {
    /// The task runs soon.
    pub fn poke(&self) {
        self.0.notify_one();
    }

    /// Returns a little after a poke; what is poked meanwhile is the same poke.
    async fn poked(&self) {
        self.0.notified().await;
        sleep(BREATH).await;
        let _ = timeout(Duration::ZERO, self.0.notified()).await;
    }
}

/// One reconciler.
pub trait Task: Send + Sync + 'static {
    /// For logs and metrics.
    const NAME: &'static str;
    /// Between two runs when nothing wakes it.
    const EVERY: Duration;

    /// Does what is due. `Some`: there will be something to do after that long, if it is sooner than
    /// [`Task::EVERY`].
    fn run(&self) -> impl Future<Output = Result<Option<Duration>, StoreError>> + Send;
}
