//! The guard before the system's clock: a dead battery or a lying time server must not make the controller sign a
//! false time, issue a certificate of another year, or turn away every device of the county.
//!
//! The guarded time is never earlier than any time it gave before, in this run or, by the mark on disk, in one before.
//! While the system's clock is behind that by more than [`TOLERANCE`], or ahead of what the monotonic clock says by
//! more than [`LEAP`], the guard is in doubt: its time goes on by the monotonic clock alone, from the last one that
//! was believed. Whoever signs or issues asks [`Clock::doubt`] first and does not; everything else goes on. Doubt ends
//! by itself when the system's clock is right again, or when a person accepts it as it is.
//!
//! A clock that is behind by less is waited for at half speed, so that time never stands still and never goes back.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bbt_domain::time::UtcMicros;

use super::{Clock, Doubt, SharedClock};
use crate::files;

/// The system's clock may be behind by this much: steps of a time service after a start, and the minute that the mark
/// may be old.
const TOLERANCE: Duration = Duration::from_secs(60);
/// And ahead by this much of the mark and what has passed since: a machine that was off over the long holiday of a
/// spring is believed, one that wakes in another year is asked about.
const LEAP: Duration = Duration::from_secs(30 * 86_400);
/// Longest mark: a time is 27 characters.
const MARK_BYTES: u64 = 64;

/// See the head of the module.
#[derive(Debug)]
pub struct GuardedClock {
    system: SharedClock,
    mark: PathBuf,
    state: Mutex<State>,
}

/// A date, and the monotonic clock at that moment.
#[derive(Clone, Copy, Debug)]
struct Moment {
    date: UtcMicros,
    ticks: Duration,
}

impl Moment {
    /// What the date would be now by the monotonic clock.
    fn plus_passed(self, ticks: Duration) -> UtcMicros {
        self.date.plus(ticks.saturating_sub(self.ticks))
    }
}

#[derive(Debug)]
struct State {
    /// From which leaps are told: the mark at the start, or what a person accepted. It is not moved by the system's
    /// clock, so many small leaps are not better than one large.
    base: Moment,
    /// The last time given.
    last: Moment,
    doubt: Option<Doubt>,
}

/// What accepting the system's clock changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// What the controller held the time to be.
    pub before: UtcMicros,
    /// What it is now.
    pub now: UtcMicros,
}

impl GuardedClock {
    /// Before `system`, with the mark in the file `mark`. It is not before `floor` in any case: the beginning of what
    /// signs.
    pub fn open(mark: &Path, system: SharedClock, floor: UtcMicros) -> io::Result<Self> {
        let ticks = system.ticks();
        // Without a mark nothing is known that the system's clock could be ahead of.
        let date = read(mark)?.unwrap_or_else(|| system.now()).max(floor);
        let base = Moment { date, ticks };
        let state = Mutex::new(State { base, last: base, doubt: None });
        Ok(Self { system, mark: mark.to_owned(), state })
    }

    /// Writes the mark durably. Blocks for a sync of a file.
    pub fn keep(&self) -> io::Result<()> {
        files::write_atomically(&self.mark, format!("{}\n", self.now()).as_bytes(), 0o600)
    }

    /// Believes the system's clock as it is. Blocks for a sync of a file.
    pub fn accept(&self) -> io::Result<Accepted> {
        let accepted = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let before = state.look(&self.system);
            let now = Moment { date: self.system.now(), ticks: self.system.ticks() };
            *state = State { base: now, last: now, doubt: None };
            Accepted { before, now: now.date }
        };
        self.keep()?;
        Ok(accepted)
    }
}

impl Clock for GuardedClock {
    fn now(&self) -> UtcMicros {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).look(&self.system)
    }

    fn ticks(&self) -> Duration {
        self.system.ticks()
    }

    fn doubt(&self) -> Option<Doubt> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.look(&self.system);
        state.doubt
    }
}

impl State {
    /// Holds the system's clock against what was, and gives the time.
    fn look(&mut self, system: &SharedClock) -> UtcMicros {
        let (told, ticks) = (system.now(), system.ticks());
        let due = self.last.plus_passed(ticks);
        let is_behind = told.plus(TOLERANCE) < due;
        let is_ahead = told > self.base.plus_passed(ticks).plus(LEAP);
        let doubted = is_behind || is_ahead;
        let date = if doubted {
            due
        } else if told < due {
            self.last.date.plus(ticks.saturating_sub(self.last.ticks) / 2)
        } else {
            told
        };
        self.doubt = doubted.then_some(Doubt { system: told, held: date });
        self.last = Moment { date, ticks };
        date
    }
}

/// The mark on disk. One that cannot be read as a time is as good as none: its loss must not keep a controller down.
fn read(path: &Path) -> io::Result<Option<UtcMicros>> {
    use io::Read;
    let mut text = String::new();
    match fs::File::open(path).and_then(|file| file.take(MARK_BYTES).read_to_string(&mut text)) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => text.clear(),
        Err(error) => return Err(error),
    }
    let mark = text.trim().parse();
    Ok(mark.inspect_err(|error| tracing::warn!(path = %path.display(), %error, "no mark of the clock")).ok())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::ManualClock;

    const START: UtcMicros = UtcMicros::from_const(1_790_000_000_000_000);
    const DAY: Duration = Duration::from_secs(86_400);
    const SECOND: Duration = Duration::from_secs(1);

    struct Desk {
        system: Arc<ManualClock>,
        guard: GuardedClock,
        folder: tempfile::TempDir,
    }

    impl Desk {
        fn new() -> Self {
            let (folder, system) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::at(START)));
            let guard = GuardedClock::open(&folder.path().join("mark"), system.clone(), UtcMicros::default());
            Self { system, guard: guard.unwrap(), folder }
        }

        /// After a stop of the controller, in which the system's clock came to be at `now`.
        fn restarted(self, now: UtcMicros) -> Self {
            let system = Arc::new(ManualClock::at(now));
            let guard =
                GuardedClock::open(&self.folder.path().join("mark"), system.clone(), UtcMicros::default());
            Self { system, guard: guard.unwrap(), folder: self.folder }
        }

        fn is_in_doubt(&self) -> bool {
            self.guard.doubt().is_some()
        }
    }

    #[test]
    fn a_clock_that_runs_is_believed_for_years() {
        let desk = Desk::new();
        for _ in 0..1_000 {
            desk.system.advance(DAY);
            assert_eq!((desk.guard.now(), desk.is_in_doubt()), (desk.system.now(), false));
        }
    }

    #[test]
    fn one_that_falls_back_is_doubted_and_time_goes_on_until_it_is_right_again() {
        let desk = Desk::new();
        desk.system.set(UtcMicros::default());
        assert!(desk.is_in_doubt());
        desk.system.advance(DAY);
        assert_eq!(desk.guard.now(), START.plus(DAY));
        desk.system.set(START.plus(DAY));
        assert!(!desk.is_in_doubt());
        assert_eq!(desk.guard.now(), START.plus(DAY));
    }

    #[test]
    fn one_that_leaps_by_years_is_doubted_likewise() {
        let desk = Desk::new();
        desk.system.set(START.plus(3_650 * DAY));
        desk.system.advance(SECOND);
        assert_eq!((desk.guard.now(), desk.is_in_doubt()), (START.plus(SECOND), true));
        desk.system.set(START.plus(2 * SECOND));
        assert!(!desk.is_in_doubt());
    }

    #[test]
    fn many_small_leaps_are_one_large() {
        let desk = Desk::new();
        desk.system.set(START.plus(29 * DAY));
        assert!(!desk.is_in_doubt());
        desk.system.set(START.plus(31 * DAY));
        assert!(desk.is_in_doubt());
        assert_eq!(desk.guard.now(), START.plus(29 * DAY));
    }

    #[test]
    fn a_clock_a_little_behind_is_waited_for_and_time_never_goes_back() {
        let desk = Desk::new();
        assert_eq!(desk.guard.now(), START);
        desk.system.set(START.minus(30 * SECOND));
        let mut before = desk.guard.now();
        for _ in 0..120 {
            desk.system.advance(SECOND);
            let now = desk.guard.now();
            assert!(now > before && !desk.is_in_doubt(), "{now} after {before}");
            before = now;
        }
        assert_eq!(before, desk.system.now(), "both are together again");
    }

    #[test]
    fn what_a_person_accepts_is_the_time_from_then_on_and_after_a_restart() {
        for now in [START.minus(400 * DAY), START.plus(400 * DAY)] {
            let desk = Desk::new();
            desk.system.set(now);
            assert!(desk.is_in_doubt());
            assert_eq!(desk.guard.accept().unwrap(), Accepted { before: START, now });
            assert_eq!((desk.guard.now(), desk.is_in_doubt()), (now, false));
            let desk = desk.restarted(now.plus(SECOND));
            assert_eq!((desk.guard.now(), desk.is_in_doubt()), (now.plus(SECOND), false));
        }
    }

    #[test]
    fn the_mark_holds_from_one_run_to_the_next() {
        let desk = Desk::new();
        desk.system.advance(DAY);
        desk.guard.keep().unwrap();
        let kept = START.plus(DAY);
        let desk = desk.restarted(UtcMicros::default());
        assert_eq!((desk.guard.now(), desk.is_in_doubt()), (kept, true), "back at 1970");
        let desk = desk.restarted(kept.plus(31 * DAY));
        assert_eq!((desk.guard.now(), desk.is_in_doubt()), (kept, true), "off for longer than a holiday");
        let desk = desk.restarted(kept.plus(29 * DAY));
        assert_eq!((desk.guard.now(), desk.is_in_doubt()), (kept.plus(29 * DAY), false));
    }

    #[test]
    fn without_a_mark_the_floor_holds_and_the_rest_is_believed() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        for (told, doubted) in [(UtcMicros::default(), true), (START.plus(400 * DAY), false)] {
            for damage in [None, Some("nonsense"), Some("")] {
                let _ = fs::remove_file(&mark);
                damage.inspect(|text| fs::write(&mark, text).unwrap());
                let guard = GuardedClock::open(&mark, Arc::new(ManualClock::at(told)), START).unwrap();
                assert_eq!((guard.doubt().is_some(), guard.now()), (doubted, told.max(START)), "{damage:?}");
            }
        }
    }
}
