//! The hours in which a set is expected to be switched on. Until the county keeps a calendar they are fixed:
//! the same span on Monday to Friday, holidays not known.

use std::time::Duration;

use crate::{civil::Day, time::UtcMicros};

const HOUR: Duration = Duration::from_secs(3_600);
/// Monday to Friday.
const WEEKDAYS: usize = 5;
/// Days looked ahead for a moment: nobody waits for one that is a year away.
const AHEAD_DAYS: usize = 366;

/// Fixed hours on the county's clock. `from` is not after `to`, both within one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectedOn {
    from: Duration,
    to: Duration,
}

impl Default for ExpectedOn {
    /// 08:00 to 17:00.
    fn default() -> Self {
        Self { from: 8 * HOUR, to: 17 * HOUR }
    }
}

impl ExpectedOn {
    /// Whether a set should be on at `at`.
    pub fn is_on(&self, at: UtcMicros) -> bool {
        let day = Day::of(at);
        self.hours(day).is_some_and(|(from, to)| (from..to).contains(&at))
    }

    /// How long a set should have been on between the two moments; zero when `to` is not later.
    pub fn span(&self, from: UtcMicros, to: UtcMicros) -> Duration {
        if to <= from {
            return Duration::ZERO;
        }
        let (first, last) = (Day::of(from), Day::of(to));
        let within = |day: Day| {
            self.hours(day).map_or(Duration::ZERO, |(opens, closes)| closes.min(to).since(opens.max(from)))
        };
        if first == last {
            return within(first);
        }
        let whole_days = first.next().weekdays_until(last);
        let whole = self.day_span().saturating_mul(u32::try_from(whole_days).unwrap_or(u32::MAX));
        within(first) + whole + within(last)
    }

    /// The first moment at which a set should have been on for `span` since `from`; `None` if that is not within
    /// [`AHEAD_DAYS`].
    pub fn after(&self, from: UtcMicros, span: Duration) -> Option<UtcMicros> {
        if span.is_zero() {
            return Some(from);
        }
        let days = std::iter::successors(Some(Day::of(from)), |day| Some(day.next())).take(AHEAD_DAYS);
        let mut left = span;
        for (opens, closes) in days.filter_map(|day| self.hours(day)) {
            let opens = opens.max(from);
            let within = closes.since(opens);
            if left <= within {
                return Some(opens.plus(left));
            }
            left -= within;
        }
        None
    }

    /// The spans in which sets should be on from the day of `from` on, for `days` days.
    pub fn spans(&self, from: UtcMicros, days: usize) -> Vec<(UtcMicros, UtcMicros)> {
        let days = std::iter::successors(Some(Day::of(from)), |day| Some(day.next())).take(days);
        days.filter_map(|day| self.hours(day)).collect()
    }

    /// How long a set should be on in a whole teaching day.
    pub fn day_span(&self) -> Duration {
        self.to - self.from
    }

    fn hours(&self, day: Day) -> Option<(UtcMicros, UtcMicros)> {
        let start = day.start();
        (day.weekday() < WEEKDAYS).then(|| (start.plus(self.from), start.plus(self.to)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UtcMicros {
        format!("{text}:00+08:00").parse().unwrap()
    }

    fn hours(from: &str, to: &str) -> u64 {
        ExpectedOn::default().span(at(from), at(to)).as_secs() / 3_600
    }

    #[test]
    fn a_set_is_expected_in_the_day_and_not_at_night_or_on_the_weekend() {
        let expected = ExpectedOn::default();
        for (time, on) in [
            ("2026-09-18T08:00", true),
            ("2026-09-18T16:59", true),
            ("2026-09-18T17:00", false),
            ("2026-09-18T07:59", false),
            ("2026-09-19T10:00", false),
            ("2026-09-21T10:00", true),
        ] {
            assert_eq!(expected.is_on(at(time)), on, "{time}");
        }
    }

    #[test]
    fn spans_count_expected_hours_only() {
        assert_eq!(hours("2026-09-18T10:00", "2026-09-18T12:00"), 2);
        assert_eq!(hours("2026-09-18T16:00", "2026-09-21T09:00"), 2, "over a weekend");
        assert_eq!(hours("2026-09-18T20:00", "2026-09-21T06:00"), 0);
        assert_eq!(hours("2026-09-14T17:00", "2026-09-17T17:00"), 27, "three whole days");
        assert_eq!(hours("2026-09-17T17:00", "2026-09-14T17:00"), 0, "backwards");
        assert_eq!(hours("2026-09-19T10:00", "2026-09-20T10:00"), 0, "within a weekend");
    }

    #[test]
    fn a_moment_ahead_is_found_over_nights_and_weekends() {
        let expected = ExpectedOn::default();
        let after = |from, hours: u32| expected.after(at(from), HOUR * hours).map(|at| at.to_string());
        let utc = |text: &str| Some(at(text).to_string());
        assert_eq!(after("2026-09-18T10:00", 2), utc("2026-09-18T12:00"));
        assert_eq!(after("2026-09-18T16:00", 2), utc("2026-09-21T09:00"), "over a weekend");
        assert_eq!(after("2026-09-14T17:00", 27), utc("2026-09-17T17:00"), "three whole days");
        assert_eq!(after("2026-09-19T10:00", 0), utc("2026-09-19T10:00"), "at once");
        assert_eq!(after("2026-09-18T10:00", 9 * 366), None, "never, as far as anybody waits");
    }

    #[test]
    fn two_weeks_have_ten_spans_that_begin_with_the_day_itself() {
        let spans = ExpectedOn::default().spans(at("2026-09-18T20:00"), 14);
        assert_eq!(spans.len(), 10);
        assert_eq!(spans[0], (at("2026-09-18T08:00"), at("2026-09-18T17:00")));
        assert_eq!(spans[9], (at("2026-10-01T08:00"), at("2026-10-01T17:00")));
    }

    proptest::proptest! {
        #[test]
        fn a_moment_ahead_is_as_far_away_as_was_asked(from in 0_i64..4_000_000, secs in 0_u64..1_000_000) {
            let expected = ExpectedOn::default();
            let (from, span) = (UtcMicros::from_secs(1_790_000_000 + from), Duration::from_secs(secs));
            let ahead = expected.after(from, span).unwrap();
            proptest::prop_assert_eq!(expected.span(from, ahead), span);
            if secs > 0 {
                let just_before = ahead.minus(Duration::from_secs(1));
                proptest::prop_assert!(expected.span(from, just_before) < span);
            }
        }

        #[test]
        fn a_span_is_the_sum_of_its_parts(from in 0_i64..4_000_000, a in 0_i64..3_000_000, b in 0_i64..3_000_000) {
            let expected = ExpectedOn::default();
            let start = 1_790_000_000 + from;
            let [x, y, z] = [start, start + a, start + a + b].map(UtcMicros::from_secs);
            proptest::prop_assert_eq!(expected.span(x, z), expected.span(x, y) + expected.span(y, z));
        }
    }
}
