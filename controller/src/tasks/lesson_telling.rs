//! Sees that devices know the lessons ahead: two weeks are told, and told anew when one of them is over. Lessons are
//! part of what devices are told, so a change of them is a revision and reaches every device by itself.

use std::{sync::Arc, time::Duration};

use bbt_domain::{access::Actor, civil::Day, configuration::Level, time::UtcMicros};
use bbt_store::{
    StoreError,
    configuration::{lessons_extend, lessons_known_from},
};

use super::Task;
use crate::context::Context;

const TELLER: Actor = Actor::System("lesson_telling");
/// Lessons are told again after this long: a device that is off over a holiday of a week still knows the next.
const AGAIN_AFTER: Duration = Duration::from_secs(7 * 86_400);

/// See the head of the module.
pub struct LessonTelling {
    context: Arc<Context>,
}

impl LessonTelling {
    /// On the county's store.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context }
    }
}

impl Task for LessonTelling {
    const NAME: &'static str = "lesson_telling";
    const EVERY: Duration = Duration::from_secs(3_600);

    async fn run(&self) -> Result<Option<Duration>, StoreError> {
        let (store, now) = (&self.context.store, self.context.now());
        let known = store.read(|tx| lessons_known_from(tx, &TELLER)).await?;
        if !is_due(known, now) {
            return Ok(None);
        }
        let from = Day::of(now).start();
        if store.write(move |tx| lessons_extend(tx, &TELLER, from, now)).await? {
            self.context.changes.tell(Level::County);
        }
        Ok(None)
    }
}

fn is_due(known: Option<UtcMicros>, now: UtcMicros) -> bool {
    known.is_none_or(|from| now >= from.plus(AGAIN_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lessons_are_told_at_first_and_then_every_week() {
        let monday: UtcMicros = "2026-09-14T00:00:00+08:00".parse().unwrap();
        let after = |days: u32| monday.plus(Duration::from_secs(86_400) * days);
        assert!(is_due(None, monday));
        assert!(!is_due(Some(monday), after(6)));
        assert!(is_due(Some(monday), after(7)));
    }
}
