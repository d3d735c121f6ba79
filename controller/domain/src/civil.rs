//! Dates as people in the county read them.

use jiff::{Timestamp, civil::DateTime, tz::Offset};

use crate::time::UtcMicros;

/// The county's clock is UTC+8, without summer time. All of China keeps it by law, whatever the sun says.
pub const COUNTY_OFFSET_HOURS: i8 = 8;

const DAY_SECS: i64 = 86_400;

/// A day by its number since 1970-01-01, in county time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i64);

impl Day {
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
