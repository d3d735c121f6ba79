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

    /// Takes `amount` and returns how long to wait before going on. What is asked for is always taken, so
    /// one who asks for much waits long, and never for ever.
    pub fn take(&mut self, amount: u32, now: Instant) -> Duration {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * self.per_sec;
        self.tokens = (self.tokens + gained).min(self.burst) - f64::from(amount);
        self.at = now;
        if self.tokens >= 0.0 { Duration::ZERO } else { Duration::from_secs_f64(-self.tokens / self.per_sec) }
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
