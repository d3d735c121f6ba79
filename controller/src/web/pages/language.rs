//! Choosing the language, signed in or not.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use bbt_store::people::language_set;
use http::header;

use crate::web::{
    Site,
    failure::Failure,
    language::Language,
    session::Cookie,
    visit::{Fields, Visit, own_path},
};

/// A year.
const REMEMBERED_SECS: u32 = 365 * 86_400;

/// `POST /language`
pub(in crate::web) async fn choose(
    State(site): State<Arc<Site>>,
    visit: Visit,
    fields: Fields,
) -> Result<Response, Failure> {
    let language = Language::parse(fields.text("lang")).ok_or(Failure::FormUnreadable)?;
    if visit.session.is_some() {
        let actor = visit.actor;
        site.context.store.write(move |tx| language_set(tx, &actor, language.tag())).await?;
    }
    let cookie = Cookie::Language.set(language.tag(), Some(REMEMBERED_SECS))?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(own_path(fields.text("next")))).into_response())
}
