//! The controller's clock, so that tests and a simulated county can move it.

use std::{fmt, sync::Arc, time::SystemTime};

use bbt_domain::time::UtcMicros;

/// Tells the time. Everything in the controller that needs the date asks one of these.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// Now.
    fn now(&self) -> UtcMicros;
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
