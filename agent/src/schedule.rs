//! What is due when. Pure: the caller brings the monotonic clock, so a wall clock that steps moves nothing,
//! and after a sleep each task is due once, not once per missed turn.
//!
//! All turns lie on one grid that starts at a moment of the device's own, taken from a random number: tasks
//! fall due together and wake the processor once, and a thousand devices that were switched on at 07:40 do
//! not report in the same second.

use std::time::Duration;

/// How often each task is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intervals {
    /// Between two readings of the live load.
    pub reading: Duration,
    /// Between two samples.
    pub sample: Duration,
    /// Between two frames of samples.
    pub frame: Duration,
    /// Between two looks for changed state.
    pub state_check: Duration,
    /// Between two full inventories; jitter only shortens it.
    pub inventory: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        Self {
            reading: Duration::from_secs(15),
            sample: Duration::from_secs(60),
            frame: Duration::from_secs(300),
            state_check: Duration::from_secs(60),
            inventory: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// What there is to do, in the order in which tasks due together are to be done: a sample holds the reading
/// of its last moment, a frame the sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task {
    /// Read the live load.
    Reading,
    /// End a sample.
    Sample,
    /// Hand over the samples as a frame.
    Frame,
    /// Run the collectors of what changes often and tell what changed.
    StateCheck,
    /// Run all collectors and tell everything.
    Inventory,
}

/// See the head of the module.
#[derive(Clone, Debug)]
pub struct Schedule {
    turns: [Turn; 5],
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    task: Task,
    interval_micros: i64,
    next_mono_micros: i64,
}

impl Schedule {
    /// A schedule that starts at `now_mono_micros`. The first reading, which all rates are counted from, and
    /// the first inventory are due at once. `jitter` is any random number.
    #[must_use]
    pub fn new(intervals: Intervals, now_mono_micros: i64, jitter: u64) -> Self {
        let reading = micros(intervals.reading);
        let sample = micros(intervals.sample);
        let frame = micros(intervals.frame);
        let inventory = micros(intervals.inventory);
        // The low half of the number shifts the grid, the high half chooses among its turns.
        let (low, high) = (jitter & 0xffff_ffff, jitter >> 32);
        let grid = now_mono_micros.saturating_add(share(reading, low));
        let first_frame = sample.saturating_mul(1 + turn_of(frame / sample, high));
        let turn = |task, interval_micros, next_mono_micros| Turn { task, interval_micros, next_mono_micros };
        let state_check = micros(intervals.state_check);
        Self {
            turns: [
                // The turn before the first on the grid, so that it is due at once.
                turn(Task::Reading, reading, grid.saturating_sub(reading)),
                turn(Task::Sample, sample, grid.saturating_add(sample)),
                turn(Task::Frame, frame, grid.saturating_add(first_frame)),
                turn(Task::StateCheck, state_check, grid.saturating_add(state_check)),
                turn(Task::Inventory, inventory - share(inventory / 4, high), now_mono_micros),
            ],
        }
    }

    /// When there is something to do, on the monotonic clock.
    #[must_use]
    pub fn next_due(&self) -> i64 {
        self.turns.iter().map(|turn| turn.next_mono_micros).min().unwrap_or(i64::MAX)
    }

    /// What is due by now, in the order to do it; each is due again at its next turn after now.
    pub fn due(&mut self, now_mono_micros: i64) -> Vec<Task> {
        let mut due = Vec::new();
        for turn in &mut self.turns {
            if turn.next_mono_micros <= now_mono_micros {
                due.push(turn.task);
                turn.next_mono_micros = turn.after(now_mono_micros);
            }
        }
        due.sort_unstable();
        due
    }
}

impl Turn {
    fn after(&self, now_mono_micros: i64) -> i64 {
        let behind = now_mono_micros.saturating_sub(self.next_mono_micros);
        let turns = behind / self.interval_micros + 1;
        self.next_mono_micros.saturating_add(self.interval_micros.saturating_mul(turns))
    }
}

/// At least a second, so that no configuration makes a busy loop.
fn micros(interval: Duration) -> i64 {
    i64::try_from(interval.as_micros()).unwrap_or(i64::MAX).max(1_000_000)
}

/// A part of `whole`, by a 32-bit random number.
fn share(whole: i64, random: u64) -> i64 {
    let part = (i128::from(whole) * i128::from(random)) >> 32;
    i64::try_from(part).unwrap_or(0)
}

/// One of `turns`, counted from 0.
fn turn_of(turns: i64, random: u64) -> i64 {
    share(turns.max(1), random)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEC: i64 = 1_000_000;
    const START: i64 = 77 * SEC;

    fn schedule(jitter: u64) -> Schedule {
        Schedule::new(Intervals::default(), START, jitter)
    }

    /// All tasks until `end`, each at its moment.
    fn run(schedule: &mut Schedule, end: i64) -> Vec<(i64, Vec<Task>)> {
        let mut seen = Vec::new();
        while schedule.next_due() <= end {
            let now = schedule.next_due();
            seen.push((now, schedule.due(now)));
        }
        seen
    }

    fn count(seen: &[(i64, Vec<Task>)], task: Task) -> usize {
        seen.iter().filter(|(_, tasks)| tasks.contains(&task)).count()
    }

    #[test]
    fn the_first_reading_and_inventory_are_due_at_once() {
        assert_eq!(schedule(0).due(START), [Task::Reading, Task::Inventory]);
    }

    #[test]
    fn a_frame_comes_after_its_last_sample_and_reading() {
        let mut schedule = schedule(0);
        let seen = run(&mut schedule, START + 60 * SEC);
        let whole = [Task::Reading, Task::Sample, Task::Frame, Task::StateCheck];
        assert_eq!(seen.last(), Some(&(START + 60 * SEC, whole.to_vec())));
    }

    #[test]
    fn after_a_night_asleep_each_task_is_due_once() {
        let mut schedule = schedule(5 << 32 | 9);
        let _ = run(&mut schedule, START + 400 * SEC);
        let morning = START + 10 * 60 * 60 * SEC;
        assert_eq!(schedule.due(morning), [Task::Reading, Task::Sample, Task::Frame, Task::StateCheck]);
        assert!(schedule.due(morning).is_empty());
        assert!(schedule.next_due() <= morning + 15 * SEC);
    }

    #[test]
    fn devices_started_together_send_at_different_times() {
        let first_frame = |jitter| {
            let seen = run(&mut schedule(jitter), START + 400 * SEC);
            seen.into_iter().find(|(_, tasks)| tasks.contains(&Task::Frame)).map(|(at, _)| at)
        };
        assert_ne!(first_frame(0), first_frame(1 << 31), "another moment of the grid");
        assert_ne!(first_frame(0), first_frame(1 << 63), "another turn of the grid");
    }

    proptest! {
        #[test]
        fn an_hour_has_its_count_of_each_task(jitter: u64) {
            let seen = run(&mut schedule(jitter), START + 3600 * SEC);
            prop_assert!((240..=241).contains(&count(&seen, Task::Reading)));
            prop_assert!((59..=60).contains(&count(&seen, Task::Sample)));
            prop_assert!((11..=12).contains(&count(&seen, Task::Frame)));
            prop_assert!((59..=60).contains(&count(&seen, Task::StateCheck)));
            prop_assert_eq!(count(&seen, Task::Inventory), 1);
        }

        #[test]
        fn an_inventory_comes_every_day_and_not_much_sooner(jitter: u64) {
            let seen = run(&mut schedule(jitter), START + 24 * 3600 * SEC);
            let at: Vec<i64> =
                seen.iter().filter(|(_, tasks)| tasks.contains(&Task::Inventory)).map(|(at, _)| *at).collect();
            prop_assert_eq!(at.len(), 2);
            prop_assert!(at[1] - at[0] >= 18 * 3600 * SEC);
        }

        #[test]
        fn what_was_done_is_not_due_again_at_once(jitter: u64, late in 0..i64::MAX / 4) {
            let mut schedule = schedule(jitter);
            let _ = schedule.due(START + late);
            prop_assert!(schedule.next_due() > START + late);
        }
    }
}
