//! What can be done to a set on its page: put it into a room, seal it, put it into use again.

use std::sync::Arc;

use axum::{
    extract::{Path, State, rejection::PathRejection},
    response::Response,
};
use bbt_domain::{
    ids::{CaseId, RoomId},
    org::SetStanding,
    reconciliation::Settlement,
    text::{SENTENCE_CHARS, clean},
};
use bbt_store::{
    StoreError, Tx,
    reconciliation::{case_settle, case_show},
    rooms::RoomRef,
    sets::{SetRef, set_bind, set_find, set_stand},
};

use super::{Forms, booked, page, read, set_ref};
use crate::web::{
    Site,
    failure::Failure,
    pages::{done, unprocessable},
    visit::{Fields, Visit},
};

/// `POST /sets/{id}/place`
pub(in crate::web) async fn place(
    State(site): State<Arc<Site>>,
    visit: Visit,
    id: Result<Path<String>, PathRejection>,
    fields: Fields,
) -> Result<Response, Failure> {
    let set = set_ref(id)?;
    let chosen = fields.text("room");
    let bound = match chosen.parse::<RoomId>() {
        Ok(room) => bind(&site, &visit, set, room).await?,
        Err(_) => None,
    };
    match bound {
        Some(code) => Ok(done(&format!("/sets/{code}"), "placed")),
        None => {
            let mut forms = Forms::empty(visit.language);
            forms.room = forms.room.typed(chosen).wrong(Some(visit.language.text("wrong-set-room")));
            again(&site, &visit, set, forms).await
        }
    }
}

/// The set's code, or `None` when the room is none of its school.
async fn bind(site: &Site, visit: &Visit, set: SetRef, room: RoomId) -> Result<Option<String>, Failure> {
    let (actor, now) = (visit.actor.clone(), site.context.now());
    let bind = move |tx: &mut Tx<'_>| set_bind(tx, &actor, set, &RoomRef::Id(room), now);
    match site.context.store.write(bind).await {
        Ok(line) => Ok(Some(line.code.to_string())),
        Err(StoreError::NotFound { noun: "room", .. } | StoreError::Invalid(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// `POST /sets/{id}/standing`
pub(in crate::web) async fn stand(
    State(site): State<Arc<Site>>,
    visit: Visit,
    id: Result<Path<String>, PathRejection>,
    fields: Fields,
) -> Result<Response, Failure> {
    let set = set_ref(id)?;
    let standing = SetStanding::parse(fields.text("standing")).ok_or(Failure::FormUnreadable)?;
    let reason = clean(fields.text("reason"), SENTENCE_CHARS);
    if standing == SetStanding::Sealed && reason.is_empty() {
        let mut forms = Forms::empty(visit.language);
        forms.reason = forms.reason.wrong(Some(visit.language.text("wrong-seal-reason")));
        return again(&site, &visit, set, forms).await;
    }
    let (actor, now) = (visit.actor.clone(), site.context.now());
    let stand = move |tx: &mut Tx<'_>| {
        let line = set_find(tx, &actor, set, now)?;
        set_stand(tx, &actor, line.id, standing, &reason, now)?;
        Ok(line.code.to_string())
    };
    let code = site.context.store.write(stand).await?;
    let word = match standing {
        SetStanding::Sealed => "sealed",
        SetStanding::InUse => "unsealed",
    };
    Ok(done(&format!("/sets/{code}"), word))
}

/// `POST /sets/{id}/cases`
pub(in crate::web) async fn settle(
    State(site): State<Arc<Site>>,
    visit: Visit,
    id: Result<Path<String>, PathRejection>,
    fields: Fields,
) -> Result<Response, Failure> {
    let (set, language) = (set_ref(id)?, visit.language);
    let case: CaseId = fields.text("case").parse().map_err(|_| Failure::FormUnreadable)?;
    let note = clean(fields.text("note"), SENTENCE_CHARS);
    let chosen = Settlement::parse(fields.text("settlement"));
    let wrong = |word: &str| Some(language.text(word));
    let (mut chosen_error, mut note_error) = (None, None);
    match chosen {
        None => chosen_error = wrong("wrong-settlement"),
        Some(Settlement::Other) if note.is_empty() => note_error = wrong("wrong-note"),
        Some(settlement) => match record(&site, &visit, set, case, settlement, note.clone()).await {
            Ok(code) => return Ok(done(&format!("/sets/{code}"), "settled")),
            // Somebody was faster, or the difference is gone.
            Err(StoreError::Invalid(_)) => chosen_error = wrong("wrong-case"),
            Err(error) => return Err(error.into()),
        },
    }
    let [settlement, written] = booked::form(language);
    let form = [
        settlement.typed(chosen.map_or("", Settlement::as_str)).wrong(chosen_error),
        written.typed(&note).wrong(note_error),
    ];
    let forms = Forms { settling: Some(booked::Typed { case, form }), ..Forms::empty(language) };
    again(&site, &visit, set, forms).await
}

/// The code of the set, of which the case must be.
async fn record(
    site: &Site,
    visit: &Visit,
    set: SetRef,
    case: CaseId,
    settlement: Settlement,
    note: String,
) -> Result<String, StoreError> {
    let (actor, now) = (visit.actor.clone(), site.context.now());
    let settle = move |tx: &mut Tx<'_>| {
        let line = set_find(tx, &actor, set, now)?;
        if case_show(tx, &actor, case)?.set_id != line.id {
            return Err(StoreError::NotFound { noun: "case", key: case.to_string() });
        }
        case_settle(tx, &actor, case, settlement, &note, now)?;
        Ok(line.code.to_string())
    };
    site.context.store.write(settle).await
}

async fn again(site: &Site, visit: &Visit, set: SetRef, forms: Forms) -> Result<Response, Failure> {
    let file = read(site, visit, set).await?;
    let mut page = page(site, visit, file, None, forms);
    // The form's own address has no page.
    page.shell.here = format!("/sets/{}", page.code);
    unprocessable(&page)
}
