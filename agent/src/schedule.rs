//! What is due when. Pure: the caller brings the monotonic clock, so a wall clock that steps moves nothing,
//! and after a sleep each task is due once, not once per missed turn.
//!
//! All turns lie on one grid that starts at a moment of the device's own, taken from a random number: tasks
//! fall due together and wake the processor once, and a thousand devices that were switched on at 07:40 do
//! not report in the same second.
//!
//! While a lesson goes on it is quiet: an inventory that falls due waits for its end, and a little longer so that not
//! all sets of a county begin theirs with the bell. The first of a run does not wait: without it there is nothing to
//! tell.

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
    jitter: u64,
    /// The first inventory of the run is done.
    inventoried: bool,
}

/// Over how long inventories that waited for the end of a lesson are spread.
const AFTER_LESSON: Duration = Duration::from_secs(15 * 60);

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
            jitter,
            inventoried: false,
        }
    }

    /// The same tasks at other intervals from now on. A reading is due at once; an inventory when it was, or sooner
    /// if the new interval says so.
    pub fn change(&mut self, intervals: Intervals, now_mono_micros: i64) {
        let mut changed = Schedule::new(intervals, now_mono_micros, self.jitter);
        changed.inventoried = self.inventoried;
        for (turn, before) in changed.turns.iter_mut().zip(&self.turns) {
            if turn.task == Task::Inventory {
                let latest = now_mono_micros.saturating_add(turn.interval_micros);
                turn.next_mono_micros = before.next_mono_micros.min(latest);
            }
        }
        *self = changed;
    }

    /// When there is something to do, on the monotonic clock.
    #[must_use]
    pub fn next_due(&self) -> i64 {
        self.turns.iter().map(|turn| turn.next_mono_micros).min().unwrap_or(i64::MAX)
    }

    /// What is due by now, in the order to do it; each is due again at its next turn after now. `quiet_until` is the
    /// end of the lesson that is on.
    pub fn due(&mut self, now_mono_micros: i64, quiet_until: Option<i64>) -> Vec<Task> {
        let quiet_until = quiet_until.filter(|_| self.inventoried);
        let mut due = Vec::new();
        for turn in &mut self.turns {
            if turn.next_mono_micros > now_mono_micros {
                continue;
            }
            match (turn.task, quiet_until) {
                (Task::Inventory, Some(end)) => {
                    let pause = share(micros(AFTER_LESSON), self.jitter >> 32);
                    turn.next_mono_micros = end.max(now_mono_micros.saturating_add(1)).saturating_add(pause);
                }
                _ => {
                    due.push(turn.task);
                    turn.next_mono_micros = turn.after(now_mono_micros);
                }
            }
        }
        self.inventoried |= due.contains(&Task::Inventory);
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
            seen.push((now, schedule.due(now, None)));
        }
        seen
    }

    fn count(seen: &[(i64, Vec<Task>)], task: Task) -> usize {
        seen.iter().filter(|(_, tasks)| tasks.contains(&task)).count()
    }

    #[test]
    fn the_first_reading_and_inventory_are_due_at_once() {
        assert_eq!(schedule(0).due(START, None), [Task::Reading, Task::Inventory]);
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
        assert_eq!(schedule.due(morning, None), [Task::Reading, Task::Sample, Task::Frame, Task::StateCheck]);
        assert!(schedule.due(morning, None).is_empty());
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

    #[test]
    fn an_inventory_waits_for_the_end_of_a_lesson_and_a_little_longer() {
        for jitter in [0, 1 << 63, u64::MAX] {
            let mut schedule = schedule(jitter);
            let bell = START + 26 * 3600 * SEC;
            assert!(schedule.due(START, Some(bell)).contains(&Task::Inventory), "the first does not wait");
            let due = schedule.due(START + 25 * 3600 * SEC, Some(bell));
            assert!(due.contains(&Task::StateCheck) && !due.contains(&Task::Inventory), "{due:?}");
            assert!(!schedule.due(bell - SEC, Some(bell)).contains(&Task::Inventory));
            assert!(schedule.due(bell + 15 * 60 * SEC, None).contains(&Task::Inventory), "{jitter}");
        }
    }

    #[test]
    fn an_inventory_that_falls_due_when_no_lesson_is_known_does_not_wait() {
        let mut schedule = schedule(0);
        let _ = schedule.due(START, None);
        let bell = START + 26 * 3600 * SEC;
        let _ = schedule.due(bell - SEC, Some(bell));
        assert!(schedule.due(bell, None).contains(&Task::Inventory));
    }

    #[test]
    fn other_intervals_go_on_from_now_and_move_no_inventory_to_later() {
        let mut schedule = schedule(7 << 32 | 7);
        let _ = schedule.due(START, None);
        let live = Intervals {
            reading: Duration::from_secs(5),
            sample: Duration::from_secs(5),
            frame: Duration::from_secs(5),
            ..Intervals::default()
        };
        let now = START + 100 * SEC;
        schedule.change(live, now);
        let seen = run(&mut schedule, now + 60 * SEC);
        assert!(count(&seen, Task::Frame) >= 10 && count(&seen, Task::Sample) >= 10);
        assert_eq!(count(&seen, Task::Inventory), 0);
        schedule.change(Intervals { inventory: Duration::from_secs(3600), ..live }, now + 60 * SEC);
        let seen = run(&mut schedule, now + 3700 * SEC);
        assert_eq!(count(&seen, Task::Inventory), 1, "a shorter interval counts from now");
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
            let _ = schedule.due(START + late, None);
            prop_assert!(schedule.next_due() > START + late);
        }
    }
}
