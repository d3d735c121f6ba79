//! What was told to a contractor, and what became of each attempt.

use bbt_domain::outbox::{LineFault, Reason, Refusal, Stage, TlsFault};
use bbt_store::outbox::{AttemptLine, MessageState};
use serde::Deserialize;

use crate::web::{language::Language, pages::devices::shown};

/// What an attempt came to.
pub(in crate::web) struct Attempt {
    /// What happened.
    pub(in crate::web) what: String,
    /// What a person can do about it.
    pub(in crate::web) remedy: Option<String>,
}

/// What a message tells; `kind` as it is stored.
pub(in crate::web) fn message(language: Language, kind: &str) -> String {
    let key = format!("message-{}", kind.replace(['.', '_'], "-"));
    language.find(&key, &[]).unwrap_or_else(|| shown(kind))
}

/// An attempt as it was noted.
pub(in crate::web) fn attempt(language: Language, line: &AttemptLine) -> Attempt {
    if line.outcome == MessageState::Delivered {
        return Attempt { what: language.text("delivery-done"), remedy: None };
    }
    match Reason::deserialize(&line.reason) {
        Ok(reason) => failed(language, &reason),
        Err(_) => Attempt {
            what: language.with("delivery-other", &[("reason", shown(&line.reason.to_string()).into())]),
            remedy: None,
        },
    }
}

/// Why an attempt failed. What is in the way has a word; whoever can remove it is told how.
fn failed(language: Language, reason: &Reason) -> Attempt {
    let word = word(reason);
    let address = match reason {
        Reason::Refused { address, .. } => address.to_string(),
        _ => String::new(),
    };
    let path = match reason {
        Reason::NoRoots { path } => shown(path),
        _ => String::new(),
    };
    let status = match reason {
        Reason::Redirect { status } | Reason::Status { status } => *status,
        _ => 0,
    };
    let variables = [("address", address.into()), ("path", path.into()), ("status", status.into())];
    Attempt {
        what: language.with(&format!("delivery-{word}"), &variables),
        remedy: language.find(&format!("delivery-{word}-do"), &variables),
    }
}

const fn word(reason: &Reason) -> &'static str {
    match reason {
        Reason::NoAddress => "no-address",
        Reason::Refused { refusal: Refusal::Range, .. } => "refused-range",
        Reason::Refused { refusal: Refusal::Plain, .. } => "refused-plain",
        Reason::Refused { refusal: Refusal::Port, .. } => "refused-port",
        Reason::Unreachable { fault: LineFault::Refused } => "unreachable-refused",
        Reason::Unreachable { fault: LineFault::NoRoute } => "unreachable-no-route",
        Reason::Unreachable { fault: LineFault::Other } => "unreachable-other",
        Reason::NoRoots { .. } => "no-roots",
        Reason::Tls { fault: TlsFault::UnknownIssuer } => "tls-unknown-issuer",
        Reason::Tls { fault: TlsFault::NotValidNow } => "tls-not-valid-now",
        Reason::Tls { fault: TlsFault::WrongName } => "tls-wrong-name",
        Reason::Tls { fault: TlsFault::Handshake } => "tls-handshake",
        Reason::Late { stage: Stage::Resolve } => "late-resolve",
        Reason::Late { stage: Stage::Connect } => "late-connect",
        Reason::Late { stage: Stage::Secure } => "late-secure",
        Reason::Late { stage: Stage::Answer } => "late-answer",
        Reason::CutOff => "cut-off",
        Reason::NotHttp => "not-http",
        Reason::Redirect { .. } => "redirect",
        Reason::Gone => "gone",
        Reason::Status { .. } => "status",
        Reason::Unsendable => "unsendable",
    }
}
