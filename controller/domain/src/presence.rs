//! Whether a device is heard of: the one word shown for it everywhere.
//!
//! A silent device is a question, not a fault: nobody switched it on, or it is dead, and both look alike. So
//! silence is grey for the first days and then asks for a look. Until the county's calendar is known, Monday to
//! Friday count as teaching days.

use serde::Serialize;

use crate::{civil::Day, identity::Standing, time::UtcMicros};

/// After this many whole teaching days without a report somebody should ask why.
pub const SILENT_TEACHING_DAYS: i64 = 3;

/// How a device stands as far as its reports tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// It may not report.
    Paused,
    /// Enrolled, and not one report since.
    Never,
    /// Reported today.
    Today,
    /// Nothing today yet.
    NotToday,
    /// Nothing for [`SILENT_TEACHING_DAYS`] or more; the number is how many.
    Silent(i64),
}

/// Decides at `now`.
pub fn presence(standing: Standing, last_report_at: Option<UtcMicros>, now: UtcMicros) -> Presence {
    let last = match (standing, last_report_at) {
        (Standing::Revoked, _) => return Presence::Paused,
        (Standing::Active, None) => return Presence::Never,
        (Standing::Active, Some(at)) => Day::of(at),
    };
    let today = Day::of(now);
    if last >= today {
        return Presence::Today;
    }
    // Today is not over, so it does not count as silent.
    match last.next().weekdays_until(today) {
        days if days >= SILENT_TEACHING_DAYS => Presence::Silent(days),
        _ => Presence::NotToday,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(last: &str, now: &str) -> Presence {
        presence(Standing::Active, Some(last.parse().unwrap()), now.parse().unwrap())
    }

    #[test]
    fn a_report_of_this_morning_is_today_until_midnight() {
        assert_eq!(seen("2026-09-17T16:00:00Z", "2026-09-18T15:59:59Z"), Presence::Today);
        assert_eq!(seen("2026-09-17T16:00:00Z", "2026-09-18T16:00:00Z"), Presence::NotToday);
    }

    #[test]
    fn a_weekend_is_not_silence() {
        let friday = "2026-09-18T08:00:00Z";
        assert_eq!(seen(friday, "2026-09-21T00:00:00Z"), Presence::NotToday, "Monday morning");
        assert_eq!(seen(friday, "2026-09-23T15:00:00Z"), Presence::NotToday, "Monday and Tuesday are whole");
        assert_eq!(seen(friday, "2026-09-24T00:00:00Z"), Presence::Silent(3), "Wednesday is too");
    }

    #[test]
    fn a_new_device_and_a_paused_one_are_not_silent() {
        let now = "2026-09-18T08:00:00Z".parse().unwrap();
        assert_eq!(presence(Standing::Active, None, now), Presence::Never);
        assert_eq!(presence(Standing::Revoked, Some(now), now), Presence::Paused);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_make_a_device_silent() {
        assert_eq!(seen("2026-09-18T08:00:00Z", "2026-09-10T08:00:00Z"), Presence::Today);
    }
}
