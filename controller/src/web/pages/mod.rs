//! The pages, one file per noun: a struct, its template, a short handler.

pub(super) mod device;
pub(super) mod devices;
pub(super) mod faults;
pub(super) mod inquiries;
pub(super) mod language;
pub(super) mod login;
mod pieces;
pub(super) mod refusals;
pub(super) mod tickets;

use askama::Template;
use axum::response::{Redirect, Response};
use bbt_domain::presence::Presence;

use super::{failure::Failure, format, language::Language, shell::Shell, visit::Visit};

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
}

fn html(page: &impl Template) -> Result<Response, Failure> {
    Ok(format::html(page.render()?))
}

/// `GET /`
pub(super) async fn home(visit: Visit) -> Redirect {
    Redirect::to(if visit.session.is_some() { "/devices" } else { "/login" })
}

/// Every address that does not exist.
pub(super) async fn nowhere() -> Failure {
    Failure::NotFound
}
