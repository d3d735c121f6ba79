//! Since when the county listens: silence before that is the county's own.
//!
//! A controller that was down for a week finds every set silent for a week, and it would ask every school at once.
//! So silence is counted only from when the controller began to listen; short interruptions, a restart, an update, do
//! not begin it anew, else a county that restarts each night would never ask.

use std::time::Duration;

use crate::{calendar::expected_on::ExpectedOn, time::UtcMicros};

/// An interruption with less than this much of expected hours in it is none: devices keep what they have to say, and
/// say it within minutes.
const INTERRUPTION: Duration = Duration::from_secs(2 * 3_600);

/// A span in which the controller was there to be spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// Its beginning.
    pub since: UtcMicros,
    /// Until when it is known to last.
    pub until: UtcMicros,
}

impl Listening {
    /// What is known at `now`, by a controller that is there: the span goes on, or another begins.
    pub fn at(known: Option<Self>, now: UtcMicros, expected: &ExpectedOn) -> Self {
        match known {
            Some(known) if expected.span(known.until, now) < INTERRUPTION => {
                Self { since: known.since, until: known.until.max(now) }
            }
            _ => Self { since: now, until: now },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UtcMicros {
        format!("{text}:00+08:00").parse().unwrap()
    }

    #[test]
    fn a_short_interruption_or_a_night_is_none_and_a_school_day_is_one() {
        let monday = at("2026-09-14T08:00");
        let known = Some(Listening { since: monday, until: at("2026-09-15T16:00") });
        for (now, since) in [
            ("2026-09-15T16:30", monday),
            ("2026-09-16T08:30", monday),
            ("2026-09-16T09:00", at("2026-09-16T09:00")),
            ("2026-09-21T07:00", at("2026-09-21T07:00")),
        ] {
            let listening = Listening::at(known, at(now), &ExpectedOn::default());
            assert_eq!((listening.since, listening.until), (since, at(now)), "{now}");
        }
    }

    #[test]
    fn a_clock_that_was_set_back_shortens_nothing() {
        let known = Listening { since: at("2026-09-14T08:00"), until: at("2026-09-15T16:00") };
        let earlier = Listening::at(Some(known), at("2026-09-15T10:00"), &ExpectedOn::default());
        assert_eq!(earlier, known);
    }

    #[test]
    fn the_first_start_begins_it() {
        let now = at("2026-09-14T08:00");
        assert_eq!(Listening::at(None, now, &ExpectedOn::default()), Listening { since: now, until: now });
    }
}
