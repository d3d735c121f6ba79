//! Watches the guarded clock: keeps its mark, the newest time that the controller ever gave, so that the next run
//! cannot be told an older one; and says so while the system's clock is not believed.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bbt_store::StoreError;

use super::Task;
use crate::{
    clock::{Clock, guard::GuardedClock},
    context::Context,
    trouble::{Kind, Trouble},
};

/// The mark is written this often: what a killed controller forgets of the time.
const MARK_EVERY: Duration = Duration::from_secs(60);

/// See the head of the module.
pub struct ClockWatch {
    context: Arc<Context>,
    guard: Arc<GuardedClock>,
    /// [`Clock::ticks`] when the mark was last written.
    kept: Mutex<Option<Duration>>,
}

impl ClockWatch {
    /// Of `guard`, which is the clock of `context`.
    pub fn new(context: Arc<Context>, guard: Arc<GuardedClock>) -> Self {
        Self { context, guard, kept: Mutex::default() }
    }

    fn tell(&self) {
        let troubles = &self.context.troubles;
        match self.guard.doubt() {
            None => troubles.clear(Kind::ClockTripped),
            Some(doubt) => {
                let off_secs = doubt.system.as_secs() - doubt.held.as_secs();
                troubles.raise(Trouble::ClockTripped { off_secs }, doubt.held);
            }
        }
    }

    fn is_due(&self) -> bool {
        let (now, mut kept) = (self.guard.ticks(), self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        let is_due = kept.is_none_or(|kept| now.saturating_sub(kept) >= MARK_EVERY);
        if is_due {
            *kept = Some(now);
        }
        is_due
    }
}

impl Task for ClockWatch {
    const NAME: &'static str = "clock_watch";
    const EVERY: Duration = Duration::from_secs(5);

    async fn run(&self) -> Result<Option<Duration>, StoreError> {
        self.tell();
        if self.is_due() {
            let guard = Arc::clone(&self.guard);
            // A panic of the blocking thread is told by the runtime.
            if let Ok(Err(error)) = tokio::task::spawn_blocking(move || guard.keep()).await {
                tracing::error!(%error, "the mark of the clock could not be written; the one before stays");
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use bbt_domain::{identity::TrustDomain, ids::Incarnation, time::UtcMicros};
    use bbt_store::{Store, meta::County};

    use super::*;
    use crate::{clock::ManualClock, configuration::Changes};

    const START: UtcMicros = UtcMicros::from_const(1_790_000_000_000_000);
    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_doubted_clock_is_a_trouble_until_it_is_right_again_and_the_mark_is_kept_by_the_minute() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("clock.mark");
        let system = Arc::new(ManualClock::at(START));
        let guard = Arc::new(GuardedClock::open(&mark, system.clone(), START).unwrap());
        let county = County {
            name: "梁河县".into(),
            trust_domain: TrustDomain::from_random([1; 16]),
            incarnation: Incarnation::from_bytes([2; 16]),
            created_at: START,
        };
        let store = Store::open(&folder.path().join("county.db"), START).unwrap();
        let (rules, troubles) = (Arc::default(), Arc::default());
        let context = Arc::new(Context {
            store,
            clock: guard.clone(),
            county,
            rules,
            troubles,
            changes: Changes::default(),
        });
        let watch = ClockWatch::new(context.clone(), guard);
        let kept = || std::fs::read_to_string(&mark).unwrap().trim().parse::<UtcMicros>().unwrap();

        watch.run().await.unwrap();
        assert_eq!((kept(), context.troubles.all().len()), (START, 0));
        system.set(START.minus(2 * MINUTE));
        system.advance(MINUTE / 2);
        watch.run().await.unwrap();
        let off_secs = -120;
        assert_eq!(context.troubles.all()[0].trouble, Trouble::ClockTripped { off_secs });
        assert_eq!(kept(), START, "a mark a minute");
        system.set(START.plus(MINUTE));
        system.advance(MINUTE / 2);
        watch.run().await.unwrap();
        assert!(context.troubles.all().is_empty());
        assert!(kept() >= START.plus(MINUTE));
    }
}
