//! Who was turned away: the devices that somebody is waiting for and that do not get through.

use std::{net::IpAddr, sync::Arc};

use askama::Template;
use axum::{extract::State, response::Response};
use bbt_domain::{
    audit::{Line, REFUSALS},
    ids::DeviceId,
};
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
}

/// What is read of a line's detail.
#[derive(Debug, Default, Deserialize)]
struct Detail {
    /// [`crate::listen::refusals::Cause::code`].
    cause: String,
    /// `device:` and its id, if the certificate named one of this county.
    about: Option<String>,
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
    let device = detail.about.as_deref().and_then(|about| about.strip_prefix("device:"));
    let device = device.and_then(|id| id.parse::<DeviceId>().ok());
    let word = detail.cause.replace('_', "-");
    let find = |key: &str| language.find(key, &[]);
    // One line stands for many addresses when there are too many to name.
    let peer = if line.subject.parse::<IpAddr>().is_ok() {
        shown(&line.subject)
    } else {
        language.text("refusal-many-addresses")
    };
    Row {
        at: Moment::new(language, line.at),
        place: find(&line.action.replace('.', "-")).unwrap_or_else(|| shown(&line.action)),
        peer,
        device_url: device.map(|id| format!("/devices/{id}")),
        cause: find(&format!("refusal-{word}")).unwrap_or_else(|| shown(&detail.cause)),
        remedy: find(&format!("refusal-{word}-do")).unwrap_or_else(|| language.text("refusal-other-do")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::refusals::Cause;

    #[test]
    fn every_cause_has_its_words_and_its_remedy() {
        let causes = [
            Cause::NoCertificate,
            Cause::ForeignCertificate,
            Cause::ExpiredCertificate,
            Cause::Revoked,
            Cause::WrongName,
            Cause::UnfitCertificate,
            Cause::UnknownDevice,
            Cause::OtherIdentity,
            Cause::ControllerTooOld,
            Cause::TokenUnknown,
            Cause::TokenUsed,
            Cause::TokenExpired,
            Cause::RequestInvalid,
            Cause::NonceUnknown,
            Cause::CertificateSuperseded,
            Cause::CertificateUnknown,
            Cause::ProofWrong,
            Cause::Refused,
            Cause::TooManyWaiting,
        ];
        for (cause, language) in causes.into_iter().flat_map(|cause| Language::ALL.map(|l| (cause, l))) {
            assert!(REFUSALS.contains(&cause.action()), "{cause:?}");
            let word = cause.code().replace('_', "-");
            for key in [format!("refusal-{word}"), format!("refusal-{word}-do")] {
                assert!(language.find(&key, &[]).is_some(), "{key} in {}", language.tag());
            }
        }
    }
}
