//! The pages, one file per noun: a struct, its template, a short handler.

pub(super) mod admissions;
pub(super) mod device;
pub(super) mod devices;
pub(super) mod faults;
pub(super) mod inquiries;
pub(super) mod language;
pub(super) mod login;
pub(super) mod overview;
mod pieces;
pub(super) mod refusals;
pub(super) mod school;
pub(super) mod schools;
pub(super) mod set;
pub(super) mod sets;
pub(super) mod tickets;
pub(super) mod usage;

use askama::Template;
use axum::response::{IntoResponse, Redirect, Response};
use bbt_domain::{presence::Presence, set_state::SetState};
use http::StatusCode;

use super::{
    failure::Failure,
    format,
    language::Language,
    shell::Shell,
    visit::{Fields, Visit},
};

/// Where signing in leads to.
pub(super) const FRONT: &str = "/overview";

/// A state as people see it: colour, shape and word.
pub(super) struct Badge {
    /// Which colour: a class of the style sheet.
    pub(super) tone: &'static str,
    pub(super) shape: &'static str,
    pub(super) word: String,
}

impl Badge {
    fn of(presence: Presence, language: Language) -> Self {
        let (tone, shape, key) = match presence {
            Presence::Today => ("ok", "●", "presence-today"),
            Presence::NotToday => ("off", "○", "presence-not-today"),
            Presence::Silent(_) => ("warn", "？", "presence-silent"),
            Presence::Never => ("unknown", "◌", "presence-never"),
            Presence::Paused => ("off", "－", "presence-paused"),
        };
        Self { tone, shape, word: language.text(key) }
    }

    fn of_set(state: SetState, language: Language) -> Self {
        let (tone, shape) = match state {
            SetState::Ok => ("ok", "●"),
            SetState::Faulty => ("bad", "▲"),
            SetState::Repairing => ("busy", "◆"),
            SetState::Silent => ("warn", "？"),
            SetState::NotToday => ("off", "○"),
            SetState::Sealed | SetState::NotConnected => ("off", "－"),
        };
        Self { tone, shape, word: language.text(&format!("set-state-{}", hyphened(state.as_str()))) }
    }
}

/// A word of the domain as it stands in the keys of the message files.
fn hyphened(word: &str) -> String {
    word.replace('_', "-")
}

fn html(page: &impl Template) -> Result<Response, Failure> {
    Ok(format::html(page.render()?))
}

/// What was done, told once on the page that the form leads to. The address carries one of these words, never a
/// text: a foreign link can make nobody read more than "it was saved".
const DONE: [&str; 13] = [
    "placed",
    "sealed",
    "unsealed",
    "settled",
    "school-added",
    "room-added",
    "admission-decided",
    "admission-undone",
    "siblings-approved",
    "device-stolen",
    "device-back",
    "device-frozen",
    "device-thawed",
];

/// The sentence for `?done=`, if it is a word of ours.
fn confirmation(language: Language, fields: &Fields) -> Option<String> {
    let word = fields.find("done").filter(|word| DONE.contains(word))?;
    Some(language.text(&format!("done-{word}")))
}

/// To the page `path` with the confirmation `word`. The fragment of a form's address would come along, away from
/// the confirmation, if there were none here.
fn done(path: &str, word: &str) -> Response {
    Redirect::to(&format!("{path}?done={word}#content")).into_response()
}

/// A page whose form was not taken, shown again with what was typed.
fn unprocessable(page: &impl Template) -> Result<Response, Failure> {
    Ok((StatusCode::UNPROCESSABLE_ENTITY, html(page)?).into_response())
}

/// `GET /`
pub(super) async fn home(visit: Visit) -> Redirect {
    Redirect::to(if visit.session.is_some() { FRONT } else { "/login" })
}

/// Every address that does not exist.
pub(super) async fn nowhere() -> Failure {
    Failure::NotFound
}
