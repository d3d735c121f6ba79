//! Times as integer microseconds UTC, written as RFC 3339.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UtcMicros(i64);

/// The years 1 to 9999, less the last day and a half (in UTC) so that every time zone can show the end too.
const RANGE: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_200_000_000_000;

impl UtcMicros {
    /// From microseconds since 1970; beyond the years 1 to 9999 the nearest end is taken, so that a hostile
    /// clock can never make a time that cannot be shown.
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.clamp(*RANGE.start(), *RANGE.end()))
    }

    /// As [`UtcMicros::from_micros`] of a value known to be in range, for constants.
    pub const fn from_const(micros: i64) -> Self {
        assert!(micros >= *RANGE.start() && micros <= *RANGE.end());
        Self(micros)
    }

    /// From whole seconds since 1970.
    pub fn from_secs(secs: i64) -> Self {
        Self::from_micros(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since 1970.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, rounded down.
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Later by `span`.
    pub fn plus(self, span: Duration) -> Self {
        Self::from_micros(self.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Earlier by `span`.
    pub fn minus(self, span: Duration) -> Self {
        Self::from_micros(self.0.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The span from `earlier` to here; zero when it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for UtcMicros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(time) => time.fmt(f),
            Err(_) => write!(f, "{} us", self.0),
        }
    }
}

impl fmt::Debug for UtcMicros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("time {0:?} is not valid: write it as 2026-09-18T08:30:00Z")]
pub struct TimeError(String);

impl FromStr for UtcMicros {
    type Err = TimeError;
    fn from_str(text: &str) -> Result<Self, TimeError> {
        let time: jiff::Timestamp = text.trim().parse().map_err(|_| TimeError(text.to_owned()))?;
        Ok(Self::from_micros(time.as_microsecond()))
    }
}

impl Serialize for UtcMicros {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UtcMicros {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_survives_its_text() {
        let time = UtcMicros::from_micros(1_790_000_000_123_456);
        assert_eq!(time.to_string().parse::<UtcMicros>().unwrap(), time);
        assert_eq!(time.to_string(), "2026-09-21T14:13:20.123456Z");
    }

    #[test]
    fn an_absurd_clock_still_makes_a_time_that_can_be_written() {
        for micros in [i64::MIN, i64::MAX] {
            let time = UtcMicros::from_micros(micros);
            assert_eq!(time.to_string().parse::<UtcMicros>().unwrap(), time);
        }
    }

    #[test]
    fn spans_saturate_at_zero() {
        let early = UtcMicros::from_secs(100);
        assert_eq!(early.since(early.plus(Duration::from_secs(1))), Duration::ZERO);
        assert_eq!(early.plus(Duration::from_secs(5)).since(early), Duration::from_secs(5));
    }
}
