//! The one place that puts decisions into words: codes and typed arguments become sentences here, in the
//! language of whoever reads them. What the domain adds does not compile until it is named here, and a golden
//! text keeps what is said.

mod delivery;
#[cfg(test)]
mod tests;
mod trouble;

use bbt_domain::{
    fault::{FaultKind, FaultState, Reason, reason::Room},
    inquiry::{Answer, Effect, InquiryState},
    ticket::state::{Action, TicketState},
};
use bbt_store::outbox::MessageState;

use super::{
    format::{self, Moment},
    language::Language,
    pages::{Badge, devices::shown},
};

pub(in crate::web) use delivery::{Attempt, attempt, message};
pub(in crate::web) use trouble::{Warning, trouble};

/// Why a device did not take its settings: which value, in the county's words, and the device's own sentence.
pub(in crate::web) fn rejection(language: Language, key: &str, reason: &str) -> String {
    let known = format!("rejected-{}", key.replace(['_', '.'], "-"));
    let value = language.find(&known, &[]).unwrap_or_else(|| shown(key));
    language.with("rejected-because", &[("value", value.into()), ("reason", shown(reason).into())])
}

/// Why a fault's state is what it is.
pub(in crate::web) fn reason(language: Language, reason: &Reason) -> String {
    let moment = |at| Moment::new(language, at).text.into();
    match reason {
        Reason::DiskLow(room) => disk(language, "because-disk-low", room),
        Reason::DiskRoomy(room) => disk(language, "because-disk-roomy", room),
        Reason::Silent { last_contact: Some(at), days } => {
            language.with("because-silent", &[("days", (*days).into()), ("at", moment(*at))])
        }
        Reason::Silent { last_contact: None, days } => {
            language.with("because-silent-ever", &[("days", (*days).into())])
        }
        Reason::Heard { at } => language.with("because-heard", &[("at", moment(*at))]),
        Reason::NotExpected => language.text("because-not-expected"),
        Reason::SaidBroken => language.text("because-said-broken"),
        Reason::Unanswered => language.text("because-unanswered"),
    }
}

fn disk(language: Language, key: &str, room: &Room) -> String {
    let variables = [
        ("mount", shown(&room.mount_point).into()),
        ("free", format::binary_bytes(room.free_bytes).into()),
        ("size", format::binary_bytes(room.size_bytes).into()),
        ("share", share(room).into()),
    ];
    language.with(key, &variables)
}

/// 5%; what is not nothing is never called so.
pub(in crate::web) fn share(room: &Room) -> String {
    let percent = u128::from(room.free_bytes) * 100 / u128::from(room.size_bytes.max(1));
    match percent {
        0 if room.free_bytes > 0 => "<1%".to_owned(),
        _ => format!("{percent}%"),
    }
}

/// What is wrong.
pub(in crate::web) fn fault_kind(language: Language, kind: FaultKind) -> String {
    language.text(match kind {
        FaultKind::DiskNearlyFull => "fault-disk-nearly-full",
        FaultKind::SilentSet => "fault-silent-set",
    })
}

/// How a fault stands. A silent set is a question, not a fault.
pub(in crate::web) fn fault_state(language: Language, kind: FaultKind, state: FaultState) -> Badge {
    let (tone, shape, key) = match (kind, state) {
        (_, FaultState::Ok) => ("ok", "●", "fault-over"),
        (_, FaultState::Suspected) => ("warn", "？", "fault-suspected"),
        (FaultKind::SilentSet, FaultState::Faulty | FaultState::Recovering) => ("warn", "？", "fault-asked"),
        (FaultKind::DiskNearlyFull, FaultState::Faulty) => ("bad", "▲", "fault-raised"),
        (FaultKind::DiskNearlyFull, FaultState::Recovering) => ("warn", "◆", "fault-recovering"),
    };
    badge(language, tone, shape, key)
}

/// How a ticket stands.
pub(in crate::web) fn ticket_state(language: Language, state: TicketState) -> Badge {
    let (tone, shape, key) = match state {
        TicketState::Opened => ("bad", "▲", "ticket-opened"),
        TicketState::Accepted => ("warn", "◆", "ticket-accepted"),
        TicketState::OnSite => ("warn", "◆", "ticket-on-site"),
        TicketState::Fixed => ("ok", "◆", "ticket-fixed"),
        TicketState::Confirmed => ("ok", "●", "ticket-confirmed"),
        TicketState::Recovered => ("ok", "●", "ticket-recovered"),
        TicketState::Withdrawn => ("off", "－", "ticket-withdrawn"),
        TicketState::FalseAlarm => ("off", "－", "ticket-false-alarm"),
    };
    badge(language, tone, shape, key)
}

/// What a person does to a ticket, as a button says it.
pub(in crate::web) fn ticket_action(language: Language, action: Action) -> String {
    language.text(&action_key("act", action))
}

/// What follows of it.
pub(in crate::web) fn ticket_consequence(language: Language, action: Action) -> String {
    language.text(&action_key("follows", action))
}

/// What was done to a ticket, as its story says it; `action` as it is stored.
pub(in crate::web) fn ticket_event(language: Language, action: &str) -> String {
    match (Action::parse(action), action) {
        (Some(action), _) => language.text(&action_key("did", action)),
        (None, "open") => language.text("did-open"),
        (None, "note_recovery") => language.text("did-note-recovery"),
        (None, "note_again") => language.text("did-note-again"),
        (None, other) => shown(other),
    }
}

fn action_key(prefix: &str, action: Action) -> String {
    format!("{prefix}-{}", action.as_str().replace('_', "-"))
}

/// What a school answers.
pub(in crate::web) fn inquiry_answer(language: Language, answer: Answer) -> String {
    language.text(match answer {
        Answer::NotUsed => "answer-not-used",
        Answer::Broken => "answer-broken",
        Answer::Moved => "answer-moved",
        Answer::Sealed => "answer-sealed",
        Answer::NoPower => "answer-no-power",
    })
}

/// What an answer will bring about.
pub(in crate::web) fn answer_effect(language: Language, answer: Answer, silent_days: u16) -> String {
    effect(language, "will", answer, silent_days)
}

/// What an answer brought about.
pub(in crate::web) fn answer_outcome(language: Language, answer: Answer, silent_days: u16) -> String {
    effect(language, "done", answer, silent_days)
}

fn effect(language: Language, tense: &str, answer: Answer, silent_days: u16) -> String {
    let effect = match answer.effect() {
        Effect::AskAgainLater => "ask-again",
        Effect::Ticket => "ticket",
        Effect::TakenAway => "taken-away",
        Effect::Sealed => "sealed",
    };
    language.with(&format!("effect-{tense}-{effect}"), &[("days", silent_days.into())])
}

/// How a question stands.
pub(in crate::web) fn inquiry_state(language: Language, state: InquiryState) -> Badge {
    let (tone, shape, key) = match state {
        InquiryState::Open => ("warn", "？", "inquiry-open"),
        InquiryState::Answered => ("ok", "●", "inquiry-answered"),
        InquiryState::Withdrawn => ("off", "－", "inquiry-withdrawn"),
        InquiryState::Escalated => ("bad", "▲", "inquiry-escalated"),
    };
    badge(language, tone, shape, key)
}

/// How a message to a contractor stands.
pub(in crate::web) fn message_state(language: Language, state: MessageState) -> Badge {
    let (tone, shape, key) = match state {
        MessageState::Waiting => ("warn", "○", "message-waiting"),
        MessageState::Delivered => ("ok", "●", "message-delivered"),
        MessageState::GivenUp => ("bad", "▲", "message-given-up"),
    };
    badge(language, tone, shape, key)
}

/// Who did something, of the label that the audit keeps.
pub(in crate::web) fn actor(language: Language, label: &str) -> String {
    match label.split_once(':') {
        Some(("user", login)) => shown(login),
        Some(("system", _)) => language.text("actor-system"),
        None if label == "local" => language.text("actor-local"),
        _ => shown(label),
    }
}

fn badge(language: Language, tone: &'static str, shape: &'static str, key: &str) -> Badge {
    Badge { tone, shape, word: language.text(key) }
}
