//! Dates as people in the county read them.

use std::{fmt, str::FromStr};

use jiff::{
    Span, Timestamp,
    civil::{Date, DateTime},
    tz::Offset,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::UtcMicros;

/// The county's clock is UTC+8, without summer time. All of China keeps it by law, whatever the sun says.
pub const COUNTY_OFFSET_HOURS: i8 = 8;

const DAY_SECS: i64 = 86_400;
/// Day 0.
const EPOCH: Date = Date::constant(1970, 1, 1);

/// A day by its number since 1970-01-01, in county time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i64);

impl Day {
    /// The day of this number since 1970-01-01.
    pub const fn from_number(number: i64) -> Self {
        Self(number)
    }

    /// Its number since 1970-01-01.
    pub const fn number(self) -> i64 {
        self.0
    }

    /// The day that `time` is in.
    pub const fn of(time: UtcMicros) -> Self {
        Self((time.as_secs() + offset_secs()).div_euclid(DAY_SECS))
    }

    /// Its first moment.
    pub fn start(self) -> UtcMicros {
        UtcMicros::from_secs(self.0 * DAY_SECS - offset_secs())
    }

    /// The day after.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// 0 is Monday, 6 is Sunday.
    pub const fn weekday(self) -> usize {
        // 1970-01-01 was a Thursday.
        (self.0 + 3).rem_euclid(7) as usize
    }

    /// Monday to Friday from here to before `end`.
    pub fn weekdays_until(self, end: Self) -> i64 {
        let span = (end.0 - self.0).max(0);
        let odd = (0..span % 7).filter(|ahead| Self(self.0 + ahead).weekday() < 5).count();
        span / 7 * 5 + odd as i64
    }
}

/// Years of dates that people type. What a school uses was not made before and is not planned beyond; a year
/// outside is a slip such as 0204 or 20024.
const TYPED_YEARS: std::ops::RangeInclusive<i16> = 1949..=2199;

/// `2026-09-18`.
impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Span::new().try_days(self.0).and_then(|days| EPOCH.checked_add(days)) {
            Ok(date) => date.fmt(f),
            Err(_) => write!(f, "day {}", self.0),
        }
    }
}

/// A text that is no day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("date {0:?} is not valid: write a day that exists as YYYY-MM-DD, such as 2024-09-30")]
pub struct DayError(String);

impl FromStr for Day {
    type Err = DayError;
    fn from_str(text: &str) -> Result<Self, DayError> {
        day_of(text.trim()).ok_or_else(|| DayError(text.to_owned()))
    }
}

/// The day that `YYYY-MM-DD` names, if there is such a day.
fn day_of(text: &str) -> Option<Day> {
    let shaped = text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(at, b)| if matches!(at, 4 | 7) { b == b'-' } else { b.is_ascii_digit() });
    if !shaped {
        return None;
    }
    let (year, month, day) = (text[..4].parse().ok()?, text[5..7].parse().ok()?, text[8..].parse().ok()?);
    let date = Date::new(year, month, day).ok().filter(|date| TYPED_YEARS.contains(&date.year()))?;
    let since = EPOCH.until(date).ok()?;
    Some(Day(i64::from(since.get_days())))
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// `time` on the county's clock.
pub fn county_time(time: UtcMicros) -> DateTime {
    let timestamp = Timestamp::from_microsecond(time.as_micros()).unwrap_or(Timestamp::UNIX_EPOCH);
    Offset::constant(COUNTY_OFFSET_HOURS).to_datetime(timestamp)
}

const fn offset_secs() -> i64 {
    COUNTY_OFFSET_HOURS as i64 * 3_600
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UtcMicros {
        text.parse().unwrap()
    }

    #[test]
    fn the_day_changes_at_the_countys_midnight() {
        let last = Day::of(at("2026-09-18T15:59:59Z"));
        let first = Day::of(at("2026-09-18T16:00:00Z"));
        assert_eq!(first, last.next());
        assert_eq!(first.start(), at("2026-09-18T16:00:00Z"));
        assert_eq!((last.weekday(), first.weekday()), (4, 5), "Friday, Saturday");
    }

    #[test]
    fn a_day_survives_its_text() {
        for text in ["1949-10-01", "1970-01-01", "2024-02-29", "2026-09-18", "2199-12-31"] {
            assert_eq!(text.parse::<Day>().unwrap().to_string(), text);
        }
        assert_eq!("1970-01-02".parse(), Ok(Day::from_number(1)));
        assert_eq!("2026-09-18".parse(), Ok(Day::of(at("2026-09-18T04:00:00Z"))));
        let _ = (Day(i64::MIN).to_string(), Day(i64::MAX).to_string());
    }

    #[test]
    fn a_day_that_does_not_exist_is_refused_with_its_text() {
        for bad in [
            "2024-9-31",
            "2024-09-31",
            "2023-02-29",
            "2024.9.1",
            "20240901",
            "0204-01-01",
            "２０２４-01-01",
            "",
        ] {
            let error = bad.parse::<Day>().unwrap_err().to_string();
            assert!(error.contains(&format!("{bad:?}")) && error.contains("YYYY-MM-DD"), "{error}");
        }
    }

    #[test]
    fn a_time_is_shown_on_the_countys_clock() {
        assert_eq!(county_time(at("2026-09-18T00:30:00Z")).to_string(), "2026-09-18T08:30:00");
        for absurd in [i64::MIN, i64::MAX] {
            let _ = county_time(UtcMicros::from_micros(absurd));
        }
    }

    #[test]
    fn weekdays_between_leave_out_the_weekend() {
        let friday = Day::of(at("2026-09-18T04:00:00Z"));
        let monday = Day::of(at("2026-09-21T04:00:00Z"));
        let next_thursday = Day::of(at("2026-09-24T04:00:00Z"));
        assert_eq!(friday.weekdays_until(monday), 1);
        assert_eq!(friday.weekdays_until(next_thursday), 4);
        assert_eq!(friday.weekdays_until(Day::of(at("2026-10-02T04:00:00Z"))), 10);
        assert_eq!(monday.weekdays_until(friday), 0);
    }
}
