//! Who was turned away: the devices that somebody is waiting for and that do not get through.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Response};
use bbt_domain::audit::{Line, REFUSALS};
use bbt_store::{Tx, audit::audit_list_any};
use serde::Deserialize;

use super::{Shell, devices::shown, html};
use crate::web::{
    Site,
    failure::Failure,
    format::Moment,
    language::Language,
    visit::{Fields, Visit},
};

/// Lines on one page.
const PAGE: usize = 50;

#[derive(Template)]
#[template(path = "refusals.html")]
struct RefusalsPage {
    shell: Shell,
    rows: Vec<Row>,
    is_later: bool,
    next_url: Option<String>,
}

struct Row {
    at: Moment,
    place: String,
    peer: String,
    device_url: Option<String>,
    cause: String,
    remedy: String,
    /// The controller's own words.
    message: String,
}

/// What is read of a line's detail; anything else in it is for programs.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Detail {
    /// Short stable word: `token_expired`, …
    cause: String,
    /// Address of who knocked.
    peer: String,
    /// The device that the certificate names.
    device: String,
    /// One English sentence.
    message: String,
}

/// `GET /refusals`
pub(in crate::web) async fn list(
    State(site): State<Arc<Site>>,
    visit: Visit,
    fields: Fields,
) -> Result<Response, Failure> {
    let before = fields.find("before").and_then(|no| no.parse().ok());
    let actor = visit.actor.clone();
    let read = move |tx: &mut Tx<'_>| audit_list_any(tx, &actor, &REFUSALS, before, PAGE + 1);
    let mut lines = site.context.store.read(read).await?;
    let more = lines.len() > PAGE;
    lines.truncate(PAGE);
    html(&RefusalsPage {
        shell: Shell::new(&site, &visit, "/refusals"),
        next_url: lines.last().filter(|_| more).map(|line| format!("/refusals?before={}", line.no)),
        is_later: before.is_some(),
        rows: lines.iter().map(|line| row(line, visit.language)).collect(),
    })
}

fn row(line: &Line, language: Language) -> Row {
    let detail: Detail = serde_json::from_str(&line.detail).unwrap_or_default();
    let device = [&detail.device, line.subject.trim_start_matches("device:")]
        .into_iter()
        .find_map(|text| text.parse::<bbt_domain::ids::DeviceId>().ok());
    let word = detail.cause.replace('_', "-");
    let place = line.action.replace('.', "-");
    let other =
        || if detail.cause.is_empty() { language.text("refusal-other") } else { shown(&detail.cause) };
    Row {
        at: Moment::new(language, line.at),
        place: language.find(&place, &[]).unwrap_or_else(|| shown(&line.action)),
        peer: shown(if detail.peer.is_empty() { &line.subject } else { &detail.peer }),
        device_url: device.map(|id| format!("/devices/{id}")),
        cause: language.find(&format!("refusal-{word}"), &[]).unwrap_or_else(other),
        remedy: language
            .find(&format!("refusal-{word}-do"), &[])
            .unwrap_or_else(|| language.text("refusal-other-do")),
        message: shown(&detail.message),
    }
}
