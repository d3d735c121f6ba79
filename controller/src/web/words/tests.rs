//! What is said, as people review it: `golden.txt`. A change of words is a change there; refresh with
//! `BBT_REGENERATE=1 cargo test -p bbt-controller words`.

use std::{fmt::Write, path::Path};

use bbt_domain::{
    fault::{FaultKind, FaultState, Reason, reason::Room},
    ids::DeviceId,
    inquiry::{Answer, InquiryState},
    outbox::{LineFault, Reason as Delivery, Refusal, Stage, TlsFault},
    ticket::state::{Action, TicketState},
    time::UtcMicros,
};
use bbt_store::{
    CommitFailure,
    outbox::{AttemptLine, MessageState},
};
use serde_json::json;

use super::*;
use crate::trouble::{Noted, Trouble};

/// 2026-09-14, a Monday, 17:30 in the county.
const MONDAY: UtcMicros = UtcMicros::from_const(1_789_378_200_000_000);
const GIB: u64 = 1 << 30;

fn room(mount_point: &str, free_bytes: u64, size_bytes: u64) -> Room {
    let device = DeviceId::from_bytes([1; 16]);
    Room { device, mount_point: mount_point.into(), free_bytes, size_bytes, told_at: MONDAY }
}

fn reasons() -> Vec<Reason> {
    vec![
        Reason::DiskLow(room("/data", GIB, 20 * GIB)),
        Reason::DiskLow(room("/", 200 << 20, 100 * GIB)),
        Reason::DiskLow(room("/home", 0, 100 * GIB)),
        Reason::DiskRoomy(room("/data", 12 * GIB, 20 * GIB)),
        Reason::Silent { last_contact: Some(MONDAY), days: 3 },
        Reason::Silent { last_contact: Some(MONDAY), days: 1 },
        Reason::Silent { last_contact: None, days: 12 },
        Reason::Heard { at: MONDAY },
        Reason::NotExpected,
        Reason::SaidBroken,
        Reason::Unanswered,
    ]
}

fn troubles() -> Vec<Trouble> {
    let store = |why| Trouble::StoreCannotCommit { why, reason: String::new() };
    vec![
        store(CommitFailure::NoSpace),
        store(CommitFailure::ReadOnly),
        store(CommitFailure::IoError),
        store(CommitFailure::Engine),
        Trouble::DatabaseDamaged { reason: String::new() },
        Trouble::ClockTripped { off_secs: -7_200 },
        Trouble::ClockTripped { off_secs: 40 * 86_400 },
        Trouble::BackupFailed { reason: String::new() },
        Trouble::BackupOld { last: Some(MONDAY) },
        Trouble::BackupOld { last: None },
        Trouble::IntermediateOld { until: MONDAY },
    ]
}

fn deliveries() -> Vec<Delivery> {
    let refused = |refusal| Delivery::Refused { address: [10, 0, 0, 1].into(), refusal };
    vec![
        Delivery::NoAddress,
        refused(Refusal::Range),
        refused(Refusal::Plain),
        refused(Refusal::Port),
        Delivery::Unreachable { fault: LineFault::Refused },
        Delivery::Unreachable { fault: LineFault::NoRoute },
        Delivery::Unreachable { fault: LineFault::Other },
        Delivery::NoRoots { path: "/etc/ssl/certs/ca-certificates.crt".into() },
        Delivery::Tls { fault: TlsFault::UnknownIssuer },
        Delivery::Tls { fault: TlsFault::NotValidNow },
        Delivery::Tls { fault: TlsFault::WrongName },
        Delivery::Tls { fault: TlsFault::Handshake },
        Delivery::Late { stage: Stage::Resolve },
        Delivery::Late { stage: Stage::Connect },
        Delivery::Late { stage: Stage::Secure },
        Delivery::Late { stage: Stage::Answer },
        Delivery::CutOff,
        Delivery::NotHttp,
        Delivery::Redirect { status: 301 },
        Delivery::Gone,
        Delivery::Status { status: 503 },
        Delivery::Unsendable,
    ]
}

/// Everything that is said, a line each.
fn everything(language: Language) -> Vec<String> {
    let mut lines = Vec::new();
    let mut says = |subject: &str, text: String| lines.push(format!("{subject}: {text}"));
    let stands = |badge: Badge| format!("{} {} ({})", badge.shape, badge.word, badge.tone);
    for it in reasons() {
        says(it.code(), reason(language, &it));
    }
    for kind in FaultKind::ALL {
        says(kind.as_str(), fault_kind(language, kind));
        for state in [FaultState::Ok, FaultState::Suspected, FaultState::Faulty, FaultState::Recovering] {
            says(
                &format!("{} {}", kind.as_str(), state.as_str()),
                stands(fault_state(language, kind, state)),
            );
        }
    }
    for state in TicketState::ALL {
        says(&format!("ticket {}", state.as_str()), stands(ticket_state(language, state)));
    }
    for action in Action::ALL {
        let (word, follows) = (ticket_action(language, action), ticket_consequence(language, action));
        says(action.as_str(), format!("{word} | {follows}"));
    }
    for action in Action::ALL.map(Action::as_str).into_iter().chain(["open", "note_recovery", "note_again"]) {
        says(&format!("did {action}"), ticket_event(language, action));
    }
    for answer in Answer::ALL {
        let (will, done) = (answer_effect(language, answer, 3), answer_outcome(language, answer, 3));
        says(answer.as_str(), format!("{} | {will} | {done}", inquiry_answer(language, answer)));
    }
    let inquiry =
        [InquiryState::Open, InquiryState::Answered, InquiryState::Withdrawn, InquiryState::Escalated];
    for state in inquiry {
        says(&format!("inquiry {}", state.as_str()), stands(inquiry_state(language, state)));
    }
    for state in [MessageState::Waiting, MessageState::Delivered, MessageState::GivenUp] {
        says(&format!("message {}", state.as_str()), stands(message_state(language, state)));
    }
    for kind in ["opened", "recovered", "reopened", "returned", "withdrawn"] {
        says(&format!("ticket.{kind}"), message(language, &format!("ticket.{kind}")));
    }
    for it in deliveries() {
        let said = attempt(language, &noted(serde_json::to_value(&it).unwrap()));
        says("delivery", format!("{} | {}", said.what, said.remedy.as_deref().unwrap_or("-")));
    }
    for trouble in troubles() {
        let said = super::trouble(language, &Noted { trouble, since: MONDAY });
        says("trouble", format!("{} | {}", said.what, said.remedy));
    }
    for label in ["user:admin", "local", "system:tickets"] {
        says(label, actor(language, label));
    }
    lines
}

fn noted(reason: serde_json::Value) -> AttemptLine {
    AttemptLine { at: MONDAY, outcome: MessageState::Waiting, reason }
}

#[test]
fn what_is_said_is_what_was_reviewed() {
    let mut text = String::new();
    for language in Language::ALL {
        writeln!(text, "# {}", language.tag()).unwrap();
        for line in everything(language) {
            writeln!(text, "{line}").unwrap();
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/words/golden.txt");
    if std::env::var_os("BBT_REGENERATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    for (said, reviewed) in text.lines().zip(golden.lines()) {
        assert_eq!(said, reviewed, "refresh with BBT_REGENERATE=1 and read the difference");
    }
    assert_eq!(text.len(), golden.len(), "refresh with BBT_REGENERATE=1 and read the difference");
}

#[test]
fn what_a_later_release_stored_is_shown_as_it_is() {
    for language in Language::ALL {
        let said = attempt(language, &noted(json!({"code": "moon_phase"}))).what;
        assert!(said.contains("moon_phase"), "{said}");
        assert_eq!(ticket_event(language, "some_later_action"), "some_later_action");
        assert_eq!(message(language, "ticket.sung"), "ticket.sung");
    }
}

#[test]
fn a_share_never_calls_something_nothing() {
    for (free, size, said) in
        [(0, 100, "0%"), (1, 1_000, "<1%"), (5, 100, "5%"), (1, 0, "100%"), (u64::MAX, u64::MAX, "100%")]
    {
        assert_eq!(share(&room("/", free, size)), said);
    }
}
