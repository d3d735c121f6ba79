//! How fast one asker may come, and how many calls of one kind are worked on at once.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use tokio::sync::{Semaphore, SemaphorePermit};
use tonic::Status;

use crate::listen::bucket::Bucket;

/// Askers whose speed is remembered before those who are back at their full burst are forgotten.
const ASKERS: usize = 4_096;

/// How fast one asker may come. Counted in seconds, so that rates below one a second are whole numbers too.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Tokens that one call takes.
    pub(super) cost: u32,
    /// Tokens gained each second.
    pub(super) per_sec: u32,
    /// Calls that may come at once.
    pub(super) burst: u32,
}

/// One kind of call; `K` is what its askers are told apart by.
pub(super) struct Gate<K> {
    /// What the calls are, in a refusal's words: "enrolments", "renewals".
    calls: &'static str,
    pace: Pace,
    speed: Mutex<HashMap<K, Bucket>>,
    at_once: Semaphore,
}

impl<K: Eq + Hash> Gate<K> {
    /// Lets `at_once` calls be worked on, and each asker come at `pace`.
    pub(super) fn new(calls: &'static str, pace: Pace, at_once: usize) -> Self {
        Self { calls, pace, speed: Mutex::default(), at_once: Semaphore::new(at_once) }
    }

    /// Refuses an asker who comes too fast.
    pub(super) fn slow_down(&self, asker: K) -> Result<(), Status> {
        let now = Instant::now();
        let Pace { cost, per_sec, burst } = self.pace;
        let mut speed = self.speed.lock().unwrap_or_else(PoisonError::into_inner);
        if speed.len() >= ASKERS {
            speed.retain(|_, bucket| !bucket.is_full(now));
        }
        let bucket = speed.entry(asker).or_insert_with(|| Bucket::new(per_sec, cost * burst, now));
        if bucket.try_take(cost, now) {
            return Ok(());
        }
        Err(Status::resource_exhausted(format!("too many {} from here: try again later", self.calls)))
    }

    /// A place among those that are worked on; given back when dropped.
    pub(super) fn turn(&self) -> Result<SemaphorePermit<'_>, Status> {
        self.at_once.try_acquire().map_err(|_| {
            Status::resource_exhausted(format!("too many {} at once: try again in a minute", self.calls))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_fast_asker_slows_only_itself_down() {
        let gate = Gate::new("calls", Pace { cost: 3_600, per_sec: 1, burst: 2 }, 1);
        assert!(gate.slow_down(1).is_ok() && gate.slow_down(1).is_ok());
        assert_eq!(gate.slow_down(1).unwrap_err().code(), tonic::Code::ResourceExhausted);
        assert!(gate.slow_down(2).is_ok());
    }

    #[test]
    fn a_place_is_free_again_when_its_call_is_over() {
        let gate: Gate<u8> = Gate::new("calls", Pace { cost: 1, per_sec: 1, burst: 1 }, 1);
        let turn = gate.turn().unwrap();
        assert!(gate.turn().is_err());
        drop(turn);
        assert!(gate.turn().is_ok());
    }
}
