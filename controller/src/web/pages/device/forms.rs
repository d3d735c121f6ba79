//! What can be done to a device on its page: mark it as stolen and take that back, say what its disk is like.

use std::sync::Arc;

use axum::{
    extract::{Path, State, rejection::PathRejection},
    response::Response,
};
use bbt_domain::{
    identity::{Standing, StandingKind},
    text::{SENTENCE_CHARS, clean},
};
use bbt_store::{Tx, recognition::device_freeze};

use super::{device_id, page_with};
use crate::{
    standing::stand as device_stand,
    web::{
        Site,
        failure::Failure,
        pages::{done, unprocessable},
        visit::{Fields, Visit},
    },
};

/// `POST /devices/{id}/standing`
pub(in crate::web) async fn stand(
    State(site): State<Arc<Site>>,
    visit: Visit,
    id: Result<Path<String>, PathRejection>,
    fields: Fields,
) -> Result<Response, Failure> {
    let id = device_id(id)?;
    let (standing, kind, word) = match fields.text("standing") {
        "stolen" => (Standing::Revoked, StandingKind::Stolen, "device-stolen"),
        "active" => (Standing::Active, StandingKind::Plain, "device-back"),
        _ => return Err(Failure::FormUnreadable),
    };
    let reason = clean(fields.text("reason"), SENTENCE_CHARS);
    if standing == Standing::Revoked && reason.is_empty() {
        let wrong = Some(visit.language.text("wrong-stolen-reason"));
        let mut page = page_with(&site, &visit, id, None, wrong).await?;
        // The form's own address has no page.
        page.shell.here = format!("/devices/{id}");
        return unprocessable(&page);
    }
    device_stand(&site.context, &site.denylist, visit.actor, id, (standing, kind), &reason).await?;
    Ok(done(&format!("/devices/{id}"), word))
}

/// `POST /devices/{id}/disk`
pub(in crate::web) async fn freeze(
    State(site): State<Arc<Site>>,
    visit: Visit,
    id: Result<Path<String>, PathRejection>,
    fields: Fields,
) -> Result<Response, Failure> {
    let (id, now) = (device_id(id)?, site.context.now());
    let (frozen, word) = match fields.text("disk") {
        "frozen" => (true, "device-frozen"),
        "kept" => (false, "device-thawed"),
        _ => return Err(Failure::FormUnreadable),
    };
    let freeze = move |tx: &mut Tx<'_>| device_freeze(tx, &visit.actor, id, frozen, now);
    site.context.store.write(freeze).await?;
    Ok(done(&format!("/devices/{id}"), word))
}
