//! From signs to states. Facts in, changes out; the caller stores them.

use serde::Serialize;

use super::{FaultKind, FaultState, Reason, Sign, input::Input, policy::Tolerance, rules};
use crate::time::UtcMicros;

/// What is kept of one kind of fault of one set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Known {
    /// The state.
    pub state: FaultState,
    /// Since when it is so. Of a suspicion or a recovery: since when its sign shows, by the facts.
    pub since: UtcMicros,
    /// The first time it was raised.
    pub raised_at: Option<UtcMicros>,
    /// The last time it was cleared.
    pub cleared_at: Option<UtcMicros>,
    /// How often it came back after it was cleared.
    pub returns: u32,
    /// Over for good: the same again is another fault.
    pub closed: bool,
}

impl Known {
    /// Nothing was ever wrong.
    const fn fresh(now: UtcMicros) -> Self {
        Self {
            state: FaultState::Ok,
            since: now,
            raised_at: None,
            cleared_at: None,
            returns: 0,
            closed: false,
        }
    }
}

/// A change of state to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Of what.
    pub kind: FaultKind,
    /// What is to be kept from now on.
    pub next: Known,
    /// Why; `None` when only the time for a return has run out.
    pub reason: Option<Reason>,
}

/// Decides for one set. `known` gives what is kept of a kind, if anything is.
pub fn analyze(input: &Input<'_>, known: impl Fn(FaultKind) -> Option<Known>) -> Vec<Change> {
    let decide = |finding: rules::Finding| {
        let before = known(finding.kind);
        let (next, reason) = step(
            before.unwrap_or(Known::fresh(input.now)),
            finding.sign,
            finding.known_until,
            finding.tolerance,
            input,
        )?;
        Some(Change { kind: finding.kind, next, reason })
    };
    rules::findings(input).into_iter().filter_map(decide).collect()
}

/// The next state, if it is another one.
fn step(
    known: Known,
    sign: Sign,
    known_until: UtcMicros,
    tolerance: Tolerance,
    input: &Input<'_>,
) -> Option<(Known, Option<Reason>)> {
    let lasts = |since: UtcMicros, span| known_until.since(since) >= span && known_until >= since;
    let now = input.now;
    match (known.state, sign) {
        (FaultState::Ok, Sign::Bad { since, reason }) => {
            let suspected = Known { state: FaultState::Suspected, since: since.min(now), ..known };
            let next =
                if lasts(suspected.since, tolerance.raise_after) { raise(suspected, now) } else { suspected };
            Some((next, Some(reason)))
        }
        (FaultState::Ok, _) => {
            let cleared = known.cleared_at?;
            let over = now.since(cleared) >= input.rules.policy.same_fault_within();
            over.then_some((Known { closed: true, ..known }, None))
        }
        (FaultState::Suspected, Sign::Bad { reason, .. }) => {
            lasts(known.since, tolerance.raise_after).then(|| (raise(known, now), Some(reason)))
        }
        (FaultState::Suspected, Sign::Good { reason, .. }) => {
            // A suspicion that came to nothing is no fault.
            let closed = known.raised_at.is_none();
            Some((Known { state: FaultState::Ok, since: now, closed, ..known }, Some(reason)))
        }
        (FaultState::Faulty, Sign::Good { since, reason }) => {
            let recovering = Known { state: FaultState::Recovering, since: since.min(now), ..known };
            let next = if lasts(recovering.since, tolerance.clear_after) {
                clear(recovering, now)
            } else {
                recovering
            };
            Some((next, Some(reason)))
        }
        (FaultState::Recovering, Sign::Good { reason, .. }) => {
            lasts(known.since, tolerance.clear_after).then(|| (clear(known, now), Some(reason)))
        }
        (FaultState::Recovering, Sign::Bad { since, reason }) => {
            Some((Known { state: FaultState::Faulty, since: since.min(now), ..known }, Some(reason)))
        }
        (FaultState::Faulty, Sign::Bad { .. }) | (_, Sign::Unknown) => None,
    }
}

fn raise(known: Known, now: UtcMicros) -> Known {
    Known {
        state: FaultState::Faulty,
        since: now,
        raised_at: known.raised_at.or(Some(now)),
        returns: known.returns + u32::from(known.raised_at.is_some()),
        ..known
    }
}

fn clear(known: Known, now: UtcMicros) -> Known {
    Known { state: FaultState::Ok, since: now, cleared_at: Some(now), ..known }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::testing::{Case, GIB, file_system};

    /// A set whose disk is told full (`true`) or roomy each minute, and what becomes of its fault.
    struct Story {
        case: Case,
        known: Option<Known>,
        minute: i64,
        seen: Vec<(i64, FaultState)>,
    }

    impl Story {
        fn new() -> Self {
            Self { case: Case::new(), known: None, minute: 0, seen: Vec::new() }
        }

        fn minutes(&mut self, count: i64, full: bool) -> &mut Self {
            for _ in 0..count {
                self.minute += 1;
                let free = if full { GIB } else { 50 * GIB };
                self.case.tell(self.minute * 60, [file_system("/", 100 * GIB, free)]);
                self.look();
            }
            self
        }

        /// Nothing is heard.
        fn silence(&mut self, minutes: i64) -> &mut Self {
            self.minute += minutes;
            self.case.now = UtcMicros::from_secs(self.minute * 60);
            self.look();
            self
        }

        fn look(&mut self) {
            let known = self.known;
            let disk = |kind| known.filter(|known| kind == FaultKind::DiskNearlyFull && !known.closed);
            let changes = analyze(&self.case.input(), disk);
            for change in changes.into_iter().filter(|change| change.kind == FaultKind::DiskNearlyFull) {
                self.known = Some(change.next);
                self.seen.push((self.minute, change.next.state));
            }
        }
    }

    use FaultState::{Faulty, Ok, Recovering, Suspected};

    #[test]
    fn raised_after_ten_minutes_and_cleared_after_thirty() {
        let mut story = Story::new();
        story.minutes(30, true).minutes(60, false);
        assert_eq!(story.seen, [(1, Suspected), (11, Faulty), (31, Recovering), (61, Ok)]);
        let known = story.known.unwrap();
        assert_eq!(known.raised_at, Some(UtcMicros::from_secs(11 * 60)));
        assert_eq!(known.cleared_at, Some(UtcMicros::from_secs(61 * 60)));
    }

    #[test]
    fn a_short_sign_is_no_fault() {
        let mut story = Story::new();
        story.minutes(9, true).minutes(5, false);
        assert_eq!(story.seen, [(1, Suspected), (10, Ok)]);
        assert!(story.known.unwrap().closed, "and leaves nothing open");
    }

    #[test]
    fn twenty_times_within_tolerance_is_one_fault() {
        let mut story = Story::new();
        for _ in 0..20 {
            story.minutes(15, true).minutes(20, false);
        }
        let known = story.known.unwrap();
        assert_eq!((known.returns, known.cleared_at), (0, None), "never cleared, so it never came back");
        assert_eq!(known.raised_at, Some(UtcMicros::from_secs(11 * 60)));
    }

    #[test]
    fn a_fault_that_comes_back_within_a_day_is_the_same_and_counted() {
        let mut story = Story::new();
        for _ in 0..20 {
            story.minutes(15, true).minutes(40, false);
        }
        let known = story.known.unwrap();
        assert_eq!((known.returns, known.closed), (19, false));
        story.minutes(24 * 60, false);
        assert!(story.known.unwrap().closed, "after a quiet day it is over");
    }

    #[test]
    fn silence_proves_nothing() {
        let mut story = Story::new();
        story.minutes(5, true).silence(24 * 60);
        assert_eq!(story.seen, [(1, Suspected)], "not known to last ten minutes");
        story.minutes(1, true);
        assert_eq!(story.known.unwrap().state, Faulty, "still so when it is heard of again");
        story.minutes(1, false).silence(24 * 60);
        assert_eq!(story.known.unwrap().state, Recovering, "and it is not repaired by silence either");
    }

    #[test]
    fn looking_again_changes_nothing() {
        let mut story = Story::new();
        story.minutes(20, true);
        let seen = story.seen.len();
        for _ in 0..10 {
            story.look();
        }
        assert_eq!(story.seen.len(), seen);
    }

    proptest::proptest! {
        #[test]
        fn raising_and_clearing_alternate(spans in proptest::collection::vec((1_i64..50, proptest::bool::ANY), 1..30)) {
            let mut story = Story::new();
            for (minutes, full) in spans {
                story.minutes(minutes, full);
            }
            let mut raised = false;
            for (_, state) in &story.seen {
                match state {
                    Faulty => raised = true,
                    Recovering => proptest::prop_assert!(raised),
                    Ok => raised = false,
                    Suspected => proptest::prop_assert!(!raised),
                }
            }
        }
    }
}
