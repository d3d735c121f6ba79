//! 多日未开机(待核实): nothing heard of a set for the policy's days of expected hours. Nobody switched it on, or it is
//! dead: both look alike, so this asks the school (users.md 1.1). It is raised only in expected hours, so no
//! evening and no weekend brings one.

use super::Finding;
use crate::{
    fault::{FaultKind, Reason, Sign, input::Input, policy::Tolerance},
    org::SetStanding,
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
    let days = days_of(input, input.rules.expected.span(last, input.now));
    let last_contact = input.set.reporting().filter_map(|device| device.last_contact).max();
    if days < u32::from(input.rules.policy.silent_days) {
        return last_contact.map_or(Sign::Unknown, |at| good(Reason::Heard { at }));
    }
    if !input.rules.expected.is_on(input.now) {
        return Sign::Unknown;
    }
    Sign::Bad { since: last, reason: Reason::Silent { last_contact, days } }
}

fn days_of(input: &Input<'_>, span: std::time::Duration) -> u32 {
    let day = input.rules.expected.day_span().as_secs().max(1);
    u32::try_from(span.as_secs() / day).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fault::testing::Case, identity::Standing, time::UtcMicros};

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
