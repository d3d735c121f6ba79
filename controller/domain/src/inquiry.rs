//! 核实单: a question to a school about a set that was silent for days, and what its answer means.

use serde::{Deserialize, Serialize};

use crate::{calendar::expected_on::ExpectedOn, fault::policy::Rules, time::UtcMicros};

/// How a question stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InquiryState {
    /// Waits for the school.
    Open,
    /// Answered.
    Answered,
    /// The set was heard of again before anybody answered.
    Withdrawn,
    /// Nobody answered, and the county made a ticket of it.
    Escalated,
}

impl InquiryState {
    const ALL: [Self; 4] = [Self::Open, Self::Answered, Self::Withdrawn, Self::Escalated];

    /// The word stored and shown in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Answered => "answered",
            Self::Withdrawn => "withdrawn",
            Self::Escalated => "escalated",
        }
    }

    /// The state that [`InquiryState::as_str`] names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// What a school may answer (users.md 1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// 没用过.
    NotUsed,
    /// 坏了.
    Broken,
    /// 已搬走.
    Moved,
    /// 停用封存.
    Sealed,
    /// 停电断网.
    NoPower,
}

/// What an answer brings about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The question comes again after further days of silence.
    AskAgainLater,
    /// A ticket.
    Ticket,
    /// The set leaves its room and is not expected to work.
    TakenAway,
    /// The set is not expected to work.
    Sealed,
}

impl Answer {
    /// All answers, in the order in which they are offered.
    pub const ALL: [Self; 5] = [Self::NotUsed, Self::Broken, Self::Moved, Self::Sealed, Self::NoPower];

    /// The word stored and shown in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotUsed => "not_used",
            Self::Broken => "broken",
            Self::Moved => "moved",
            Self::Sealed => "sealed",
            Self::NoPower => "no_power",
        }
    }

    /// The answer that [`Answer::as_str`] names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|answer| answer.as_str() == text)
    }

    /// What it brings about: only 坏了 becomes a ticket.
    pub const fn effect(self) -> Effect {
        match self {
            Self::NotUsed | Self::NoPower => Effect::AskAgainLater,
            Self::Broken => Effect::Ticket,
            Self::Moved => Effect::TakenAway,
            Self::Sealed => Effect::Sealed,
        }
    }
}

/// Whether a silent set whose last question was closed at `closed_at` is asked about again.
pub fn is_asked_again(closed_at: UtcMicros, now: UtcMicros, rules: &Rules) -> bool {
    let Rules { expected, policy } = rules;
    expected.is_on(now) && expected.span(closed_at, now) >= days(policy.silent_days, expected)
}

/// Whether the county may make a ticket of a question that nobody answered.
pub fn may_escalate(opened_at: UtcMicros, now: UtcMicros, rules: &Rules) -> bool {
    let Rules { expected, policy } = rules;
    expected.span(opened_at, now) >= days(policy.unanswered_days, expected)
}

/// From when on [`may_escalate`] says yes; `None` when no such moment is near.
pub fn escalates_from(opened_at: UtcMicros, rules: &Rules) -> Option<UtcMicros> {
    let Rules { expected, policy } = rules;
    expected.after(opened_at, days(policy.unanswered_days, expected))
}

fn days(count: u16, expected: &ExpectedOn) -> std::time::Duration {
    expected.day_span() * u32::from(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UtcMicros {
        format!("{text}:00+08:00").parse().unwrap()
    }

    #[test]
    fn only_broken_becomes_a_ticket() {
        for answer in Answer::ALL {
            assert_eq!(answer.effect() == Effect::Ticket, answer == Answer::Broken, "{answer:?}");
            assert_eq!(Answer::parse(answer.as_str()), Some(answer));
        }
    }

    #[test]
    fn three_days_without_an_answer_open_the_way_to_a_ticket() {
        let rules = Rules::default();
        let asked = at("2026-09-18T08:00");
        assert!(!may_escalate(asked, at("2026-09-22T16:59"), &rules), "a weekend lies between");
        assert!(may_escalate(asked, at("2026-09-22T17:00"), &rules));
        assert_eq!(escalates_from(asked, &rules), Some(at("2026-09-22T17:00")));
    }

    #[test]
    fn a_school_that_answered_is_left_alone_for_days() {
        let rules = Rules::default();
        let answered = at("2026-09-14T17:00");
        assert!(!is_asked_again(answered, at("2026-09-17T16:00"), &rules));
        assert!(!is_asked_again(answered, at("2026-09-17T20:00"), &rules), "not in the evening");
        assert!(is_asked_again(answered, at("2026-09-18T08:00"), &rules));
    }
}
