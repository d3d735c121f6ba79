//! The controller's clock, so that tests and a simulated county can move it.

use std::{fmt, sync::Arc, time::SystemTime};

use bbt_domain::time::UtcMicros;

/// Tells the time. Everything in the controller that needs the date asks one of these.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// Now.
    fn now(&self) -> UtcMicros;

    /// Why the date cannot be believed now, if so.
    fn doubt(&self) -> Option<Doubt> {
        None
    }
}

/// Why the controller does not believe the system's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// It is before a time that already was.
    #[error("the controller's clock fell back: it signs nothing until the clock is right again")]
    Behind,
    /// It is far ahead of what the monotonic clock says.
    #[error("the controller's clock leapt ahead: it signs nothing until somebody said that it is right")]
    Ahead,
}

/// The clock that the program runs on.
pub type SharedClock = Arc<dyn Clock>;

/// The operating system's clock.
#[derive(Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the system's clock is read")]
    fn now(&self) -> UtcMicros {
        let micros = match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(span) => i64::try_from(span.as_micros()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
        };
        UtcMicros::from_micros(micros)
    }
}

/// A clock that is set by hand.
#[derive(Debug)]
pub struct ManualClock(std::sync::atomic::AtomicI64);

impl ManualClock {
    /// Starts at `now`.
    pub fn at(now: UtcMicros) -> Self {
        Self(now.as_micros().into())
    }

    /// Goes on by `span`.
    pub fn advance(&self, span: std::time::Duration) {
        let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        self.0.fetch_add(micros, std::sync::atomic::Ordering::SeqCst);
    }

    /// Jumps to `now`.
    pub fn set(&self, now: UtcMicros) {
        self.0.store(now.as_micros(), std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UtcMicros {
        UtcMicros::from_micros(self.0.load(std::sync::atomic::Ordering::SeqCst))
    }
}
