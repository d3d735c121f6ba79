//! A token bucket: how fast one peer may go, with a burst.

use std::time::{Duration, Instant};

/// Holds up to `burst` tokens, gains `per_sec` each second.
#[derive(Debug)]
pub struct Bucket {
    per_sec: f64,
    burst: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// Full at `now`.
    pub fn new(per_sec: u32, burst: u32, now: Instant) -> Self {
        Self { per_sec: f64::from(per_sec), burst: f64::from(burst), tokens: f64::from(burst), at: now }
    }

    /// Takes `amount` and returns how long to wait before going on. What is asked for is always taken, so one who
    /// asks for much waits long; but nobody owes more than a burst and what was asked for last, so never for ever,
    /// even where another asks in the same name.
    pub fn take(&mut self, amount: u32, now: Instant) -> Duration {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * self.per_sec;
        self.tokens = (self.tokens + gained).clamp(-self.burst, self.burst) - f64::from(amount);
        self.at = now;
        if self.tokens >= 0.0 { Duration::ZERO } else { Duration::from_secs_f64(-self.tokens / self.per_sec) }
    }

    /// Takes `amount` if it is there, else nothing: one who asks too often waits no longer for having asked.
    pub fn try_take(&mut self, amount: u32, now: Instant) -> bool {
        let is_there = self.take(0, now).is_zero() && self.tokens >= f64::from(amount);
        if is_there {
            self.tokens -= f64::from(amount);
        }
        is_there
    }

    /// Whether it is full again, so that nothing is lost by forgetting it.
    pub fn is_full(&self, now: Instant) -> bool {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * self.per_sec;
        self.tokens + gained >= self.burst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_asks_in_vain_owes_nothing() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1, 10, start);
        assert!(bucket.try_take(10, start));
        for _ in 0..100 {
            assert!(!bucket.try_take(10, start + Duration::from_secs(9)));
        }
        assert!(bucket.try_take(10, start + Duration::from_secs(10)));
    }

    #[test]
    fn nobody_owes_more_than_a_burst() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, 100, start);
        for _ in 0..1_000 {
            assert!(bucket.take(50, start) <= Duration::from_secs(15));
        }
        assert_eq!(bucket.take(0, start + Duration::from_secs(15)), Duration::ZERO);
    }

    #[test]
    fn a_burst_passes_and_the_rest_waits_its_time() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, 100, start);
        assert_eq!(bucket.take(100, start), Duration::ZERO);
        assert_eq!(bucket.take(20, start), Duration::from_secs(2));
        assert_eq!(bucket.take(0, start + Duration::from_secs(2)), Duration::ZERO);
        assert!(!bucket.is_full(start + Duration::from_secs(3)));
        assert!(bucket.is_full(start + Duration::from_secs(20)));
    }
}
