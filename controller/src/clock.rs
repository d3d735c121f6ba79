//! The controller's clock, so that tests and a simulated county can move it, and the guard before it
//! ([`guard`]): what the rest of the controller asks is never the system's clock itself.

pub mod guard;

use std::{
    fmt,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use bbt_domain::time::UtcMicros;

/// Tells the time. Everything in the controller that needs the date asks one of these.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// Now.
    fn now(&self) -> UtcMicros;

    /// What has passed since some moment of this run, whatever happens to the date.
    fn ticks(&self) -> Duration;

    /// Why the date cannot be believed now, if so.
    fn doubt(&self) -> Option<Doubt> {
        None
    }
}

/// The system's clock is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the controller does not believe its clock, which says {system} and is held to be {held}: it signs no time and issues nothing until the clock is set right, or accepted as it is with `bbt-controller clock accept`"
)]
pub struct Doubt {
    /// What it says.
    pub system: UtcMicros,
    /// What the controller holds the time to be.
    pub held: UtcMicros,
}

/// The clock that the program runs on.
pub type SharedClock = Arc<dyn Clock>;

/// The operating system's clock.
#[derive(Debug, Default)]
pub struct SystemClock;

/// The beginning of [`SystemClock::ticks`].
static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the system's clock is read")]
    fn now(&self) -> UtcMicros {
        let micros = match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(span) => i64::try_from(span.as_micros()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
        };
        UtcMicros::from_micros(micros)
    }

    fn ticks(&self) -> Duration {
        BEGIN.elapsed()
    }
}

/// A clock that is set by hand.
#[derive(Debug)]
pub struct ManualClock {
    date: AtomicI64,
    ticks: AtomicI64,
}

impl ManualClock {
    /// Starts at `now`.
    pub fn at(now: UtcMicros) -> Self {
        Self { date: now.as_micros().into(), ticks: AtomicI64::new(0) }
    }

    /// Time goes by.
    pub fn advance(&self, span: Duration) {
        let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        self.date.fetch_add(micros, Ordering::SeqCst);
        self.ticks.fetch_add(micros, Ordering::SeqCst);
    }

    /// The date jumps to `now`.
    pub fn set(&self, now: UtcMicros) {
        self.date.store(now.as_micros(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UtcMicros {
        UtcMicros::from_micros(self.date.load(Ordering::SeqCst))
    }

    fn ticks(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.ticks.load(Ordering::SeqCst)).unwrap_or_default())
    }
}
