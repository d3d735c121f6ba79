//! When to try again: full jitter, and the spread the controller asked for. Pure; chance is an argument.

use std::time::Duration;

/// The first pause is at most this long.
const BASE: Duration = Duration::from_secs(1);
/// No pause of ours is longer; what the controller asks for may be.
const CAP: Duration = Duration::from_secs(5 * 60);

/// Grows with each failure, forgets with a success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Contact came about.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// The pause after one more failure: anything from nothing to the doubled bound. `unit` is random in 0..1.
    pub fn failed(&mut self, unit: f64) -> Duration {
        let bound = BASE.saturating_mul(1u32.checked_shl(self.failures.min(30)).unwrap_or(u32::MAX)).min(CAP);
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(unit)
    }
}

/// The wait before the first contact of a run: none until this device ever had a report committed, so that a
/// new one shows itself at once; after that anywhere in the window the controller last gave.
pub fn first_contact(ever_committed: bool, window_secs: u32, unit: f64) -> Duration {
    if ever_committed { Duration::from_secs(window_secs.into()).mul_f64(unit) } else { Duration::ZERO }
}

/// The wait after a stream that worked and ended: all devices of a restarted controller come back at once.
pub fn after_stream(window_secs: u32, unit: f64) -> Duration {
    Duration::from_secs(window_secs.into()).max(BASE).mul_f64(unit)
}

/// A random fraction in 0..1 from eight random bytes.
pub fn unit(random: [u8; 8]) -> f64 {
    // The upper 53 bits: as many as the fraction can hold.
    (u64::from_le_bytes(random) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_up_to_five_minutes() {
        let mut backoff = Backoff::default();
        let bounds: Vec<u64> = (0..11).map(|_| backoff.failed(1.0).as_secs()).collect();
        assert_eq!(bounds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        backoff.succeeded();
        assert_eq!(backoff.failed(0.5), Duration::from_millis(500));
    }

    #[test]
    fn years_of_failures_do_not_overflow() {
        let mut backoff = Backoff { failures: u32::MAX };
        assert_eq!(backoff.failed(1.0), CAP);
    }

    #[test]
    fn a_new_device_comes_at_once_and_a_known_one_within_the_window() {
        assert_eq!(first_contact(false, 60, 0.9), Duration::ZERO);
        assert_eq!(first_contact(true, 60, 0.5), Duration::from_secs(30));
        assert_eq!(after_stream(0, 0.5), Duration::from_millis(500));
    }

    #[test]
    fn chance_covers_the_whole_range() {
        assert_eq!(unit([0; 8]), 0.0);
        assert!(unit([255; 8]) < 1.0 && unit([255; 8]) > 0.999_999);
    }
}
