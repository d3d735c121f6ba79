//! Bytes of reports under way in all streams together, shed by class when there are too many.
//!
//! History may take three quarters of the budget and does not wait long for its part: it is what a storm consists
//! of, and the devices keep it. Urgent reports and state find room in the rest, and wait for it.

use std::{sync::Arc, time::Duration};

use bbt_domain::report::Class;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// How long history waits for room before it is asked for again later: some commits of a busy disk.
const HISTORY_WAITS: Duration = Duration::from_secs(2);

/// The budget.
#[derive(Debug)]
pub struct InFlight {
    all: Arc<Semaphore>,
    history: Arc<Semaphore>,
    largest: u32,
}

/// Bytes that are under way; given back when dropped.
#[derive(Debug)]
pub struct Held {
    _history: Option<OwnedSemaphorePermit>,
    _all: OwnedSemaphorePermit,
}

impl InFlight {
    /// With room for `bytes`.
    pub fn new(bytes: u32) -> Self {
        let largest = bytes / 4 * 3;
        let all = Arc::new(Semaphore::new(bytes as usize));
        Self { all, history: Arc::new(Semaphore::new(largest as usize)), largest }
    }

    /// Room for `bytes` of a batch whose most urgent report is of `class`; none when history has to come again.
    pub async fn hold(&self, class: Class, bytes: u32) -> Option<Held> {
        match class {
            Class::Urgent | Class::State => {
                let all = Arc::clone(&self.all).acquire_many_owned(bytes).await.ok()?;
                Some(Held { _history: None, _all: all })
            }
            Class::History => timeout(HISTORY_WAITS, self.hold_history(bytes)).await.ok()?,
        }
    }

    /// First among its own kind, so that no history stands before a state in the queue for the rest.
    async fn hold_history(&self, bytes: u32) -> Option<Held> {
        let of_history = bytes.min(self.largest);
        let history = Arc::clone(&self.history).acquire_many_owned(of_history).await.ok()?;
        let all = Arc::clone(&self.all).acquire_many_owned(bytes).await.ok()?;
        Some(Held { _history: Some(history), _all: all })
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn history_is_asked_for_again_while_state_finds_room() {
        let in_flight = InFlight::new(1_000);
        let mut storm = Vec::new();
        while let Some(held) = in_flight.hold(Class::History, 250).await {
            storm.push(held);
        }
        assert_eq!(storm.len(), 3);

        let began = Instant::now();
        let state = in_flight.hold(Class::State, 200).await;
        let urgent = in_flight.hold(Class::Urgent, 50).await;
        assert!(state.is_some() && urgent.is_some() && began.elapsed().is_zero());

        let (more, freed) = tokio::join!(in_flight.hold(Class::State, 100), async {
            tokio::time::sleep(2 * HISTORY_WAITS).await;
            drop(state);
        });
        assert!(more.is_some(), "state waits as long as it takes: {freed:?}");
        storm.clear();
        assert!(in_flight.hold(Class::History, 750).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_largest_message_of_history_finds_room_in_the_smallest_budget() {
        let in_flight = InFlight::new(1_000);
        assert!(in_flight.hold(Class::History, 1_000).await.is_some());
    }
}
