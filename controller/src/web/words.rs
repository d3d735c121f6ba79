//! Faults, tickets and questions in words.

use bbt_domain::{
    fault::{FaultKind, FaultState, Reason},
    inquiry::Answer,
    ticket::state::TicketState,
};
use fluent_bundle::FluentValue;

use super::{
    format::{self, Moment},
    language::Language,
};

/// What is wrong.
pub(in crate::web) fn fault_kind(language: Language, kind: FaultKind) -> String {
    word(language, "fault-kind", kind.as_str())
}

/// How a fault stands.
pub(in crate::web) fn fault_state(language: Language, state: FaultState) -> String {
    word(language, "fault-state", state.as_str())
}

/// How a ticket stands.
pub(in crate::web) fn ticket_state(language: Language, state: TicketState) -> String {
    word(language, "ticket-state", state.as_str())
}

/// What a school answered.
pub(in crate::web) fn inquiry_answer(language: Language, answer: Answer) -> String {
    word(language, "inquiry-answer", answer.as_str())
}

/// Why a fault's state is what it is.
pub(in crate::web) fn reason(language: Language, reason: &Reason) -> String {
    let key = format!("fault-reason-{}", reason.code().replace('_', "-"));
    match reason {
        Reason::DiskLow(room) | Reason::DiskRoomy(room) => language.with(
            &key,
            &[
                ("mount", room.mount_point.as_str().into()),
                ("free", format::binary_bytes(room.free_bytes).into()),
                ("size", format::binary_bytes(room.size_bytes).into()),
            ],
        ),
        Reason::Silent { last_contact, days } => {
            let last = match last_contact {
                Some(at) => Moment::new(language, *at).text,
                None => language.text("never"),
            };
            language.with(&key, &[("days", FluentValue::from(*days)), ("last", last.into())])
        }
        Reason::Heard { at } => language.with(&key, &[("at", Moment::new(language, *at).text.into())]),
        Reason::NotExpected | Reason::SaidBroken | Reason::Unanswered => language.text(&key),
    }
}

fn word(language: Language, prefix: &str, word: &str) -> String {
    language.text(&format!("{prefix}-{}", word.replace('_', "-")))
}
