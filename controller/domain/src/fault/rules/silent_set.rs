//! 多日未开机(待核实): nothing heard of a set for the policy's days of expected hours. Nobody switched it on, or it is
//! dead: both look alike, so this asks the school (users.md 1.1). It is raised only in expected hours, so no
//! evening and no weekend brings one; and hours in which the controller did not listen are not counted.

use super::Finding;
use crate::{
    fault::{FaultKind, Reason, Sign, input::Input, policy::Tolerance},
    org::SetStanding,
    time::UtcMicros,
};

pub(super) fn look(input: &Input<'_>) -> Finding {
    Finding {
        kind: FaultKind::SilentSet,
        sign: sign(input),
        known_until: input.now,
        // The rule waits for days already.
        tolerance: Tolerance::NONE,
    }
}

fn sign(input: &Input<'_>) -> Sign {
    let good = |reason| Sign::Good { since: input.now, reason };
    // A set that was never heard of is silent since it was enrolled.
    let last = input.set.reporting().map(|device| device.last_contact.unwrap_or(device.enrolled_at)).max();
    let Some(last) = last.filter(|_| input.set.standing == SetStanding::InUse) else {
        return good(Reason::NotExpected);
    };
    let last_contact = input.set.reporting().filter_map(|device| device.last_contact).max();
    let enough = u32::from(input.rules.policy.silent_days);
    if days_since(last, input) < enough {
        return last_contact.map_or(Sign::Unknown, |at| good(Reason::Heard { at }));
    }
    let days = days_since(input.listening_since.map_or(last, |listening| listening.max(last)), input);
    if days < enough || !input.rules.expected.is_on(input.now) {
        return Sign::Unknown;
    }
    Sign::Bad { since: last, reason: Reason::Silent { last_contact, days } }
}

/// Whole days of expected hours.
fn days_since(from: UtcMicros, input: &Input<'_>) -> u32 {
    let expected = &input.rules.expected;
    let days = expected.span(from, input.now).as_secs() / expected.day_span().as_secs().max(1);
    u32::try_from(days).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fault::testing::Case, identity::Standing};

    fn at(text: &str) -> UtcMicros {
        format!("{text}:00+08:00").parse().unwrap()
    }

    fn seen(last: &str, now: &str) -> Sign {
        let mut case = Case::new();
        case.set.devices[0].last_contact = Some(at(last));
        case.now = at(now);
        sign(&case.input())
    }

    #[test]
    fn three_days_of_expected_hours_are_silence() {
        let monday = "2026-09-14T17:30";
        assert!(matches!(seen(monday, "2026-09-17T16:59"), Sign::Good { .. }));
        let Sign::Bad { reason, .. } = seen(monday, "2026-09-18T08:00") else { panic!("not raised") };
        assert_eq!(reason, Reason::Silent { last_contact: Some(at(monday)), days: 3 });
    }

    #[test]
    fn evenings_and_weekends_bring_nothing() {
        let monday = "2026-09-14T17:30";
        assert_eq!(seen(monday, "2026-09-17T19:00"), Sign::Unknown, "an evening");
        assert_eq!(seen("2026-09-15T17:30", "2026-09-19T10:00"), Sign::Unknown, "a Saturday");
        assert!(matches!(seen("2026-09-18T17:30", "2026-09-21T09:00"), Sign::Good { .. }), "over a weekend");
    }

    #[test]
    fn silence_while_the_controller_was_down_is_not_the_sets() {
        let mut case = Case::new();
        case.set.devices[0].last_contact = Some(at("2026-09-07T17:30"));
        case.listening_since = Some(at("2026-09-14T08:00"));
        for (now, asked) in
            [("2026-09-14T08:01", false), ("2026-09-16T16:59", false), ("2026-09-17T08:00", true)]
        {
            case.now = at(now);
            let sign = sign(&case.input());
            assert_eq!(matches!(sign, Sign::Bad { .. }), asked, "{now}");
            assert_eq!(sign == Sign::Unknown, !asked, "and it is not heard of either: {now}");
        }
    }

    #[test]
    fn a_sealed_set_or_a_paused_device_is_not_expected() {
        let mut case = Case::new();
        case.now = at("2026-10-16T10:00");
        assert!(matches!(sign(&case.input()), Sign::Bad { .. }), "never heard of since it was enrolled");
        case.set.standing = SetStanding::Sealed;
        assert!(matches!(sign(&case.input()), Sign::Good { reason: Reason::NotExpected, .. }));
        case.set.standing = SetStanding::InUse;
        case.set.devices[0].standing = Standing::Revoked;
        assert!(matches!(sign(&case.input()), Sign::Good { reason: Reason::NotExpected, .. }));
    }
}
