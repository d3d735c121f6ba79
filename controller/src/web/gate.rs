//! What every request passes before its handler: who asks, may they, and is the form really theirs.

use std::{sync::Arc, time::Duration};

use axum::{
    Form,
    body::{Body, to_bytes},
    extract::{FromRequest, Query, Request, State},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use bbt_domain::access::{Actor, may};
use bbt_store::people::{WebSession, session_find, session_touch};
use http::{HeaderMap, Method, header};
use tokio::time::timeout;

use super::{
    Site, csrf,
    failure::Failure,
    format,
    language::Language,
    router::Policy,
    session::{self, Cookie},
    visit::{Fields, Visit, own_path},
};
use crate::listen::PeerAddress;

/// Largest form. Ours hold a name, a password and a token.
pub(super) const FORM_BYTES: usize = 16 << 10;
/// A form must have arrived by then: four times what its largest takes at 10 kbit/s.
const FORM_WITHIN: Duration = Duration::from_secs(60);

/// The gate of one row of the site map.
#[derive(Clone)]
pub(super) struct Gate {
    site: Arc<Site>,
    policy: Policy,
}

impl Gate {
    pub(super) fn new(site: Arc<Site>, policy: Policy) -> Self {
        Self { site, policy }
    }
}

/// Lets a request through, or answers it.
pub(super) async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let known = match gate.policy {
        Policy::Asset => Ok(None),
        Policy::Public | Policy::SignedIn(_) => known_session(&gate.site, request.headers()).await,
    };
    let (session, failure) = match known {
        Ok(session) => (session, None),
        Err(failure) => (None, Some(failure)),
    };
    let (visit, cookie) = match visit(&request, session) {
        Ok(made) => made,
        Err(failure) => return failure.into_response(),
    };
    let mut response = match failure {
        Some(failure) => failure.into_response(),
        None => admitted(&gate, visit.clone(), request, next).await.unwrap_or_else(Failure::into_response),
    };
    if let Some(failure) = response.extensions_mut().remove::<Failure>() {
        response = failure.page(&gate.site, &visit);
    }
    // Only a page has forms that the cookie must fit.
    let is_page = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == format::HTML);
    if let Some(cookie) = cookie.filter(|_| is_page)
        && let Ok(cookie) = Cookie::Visitor.set(&cookie, None)
    {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

async fn admitted(gate: &Gate, visit: Visit, request: Request, next: Next) -> Result<Response, Failure> {
    if let Policy::SignedIn(act) = gate.policy {
        if visit.session.is_none() {
            return Ok(to_sign_in(request.method(), &visit.here));
        }
        if !may(&visit.actor, act) {
            return Err(Failure::Forbidden);
        }
    }
    let (mut parts, body) = request.into_parts();
    let fields = if parts.method == Method::POST {
        if !csrf::sent_by_us(&parts.headers, &parts.uri) {
            return Err(Failure::ForeignForm);
        }
        let body = timeout(FORM_WITHIN, to_bytes(body, FORM_BYTES)).await;
        let body = body.ok().and_then(Result::ok).ok_or(Failure::FormUnreadable)?;
        let form = Request::from_parts(parts.clone(), Body::from(body));
        let Form(fields) = Form::from_request(form, &()).await.map_err(|_| Failure::FormUnreadable)?;
        let fields = Fields(fields);
        if !csrf::token_fits(&visit.form_token, fields.find(csrf::TOKEN_FIELD)) {
            return Err(Failure::FormTooOld);
        }
        fields
    } else {
        Query::try_from_uri(&parts.uri).map(|Query(fields)| Fields(fields)).unwrap_or_default()
    };
    parts.extensions.insert(visit);
    parts.extensions.insert(fields);
    Ok(next.run(Request::from_parts(parts, Body::empty())).await)
}

/// After signing in one comes back to the page that was asked for; a form has to be filled in again.
fn to_sign_in(method: &Method, here: &str) -> Response {
    if method == Method::POST || here == "/" {
        return Redirect::to("/login").into_response();
    }
    Redirect::to(&format!("/login?next={}", format::query_value(here))).into_response()
}

async fn known_session(site: &Site, headers: &HeaderMap) -> Result<Option<([u8; 32], WebSession)>, Failure> {
    let Some(secret) = Cookie::Session.find(headers).map(session::sha256) else { return Ok(None) };
    let now = site.context.now();
    let found = site.context.store.read(move |tx| session_find(tx, &secret, session::LIMITS, now)).await?;
    let Some((session, seen_at)) = found else { return Ok(None) };
    if now.since(seen_at) >= session::TOUCHED_EVERY {
        let touched = move |tx: &mut bbt_store::Tx<'_>| session_touch(tx, &secret, session::LIMITS, now);
        // A store that cannot write, say for a full disk, can still be read: the page is shown.
        if let Err(error) = site.context.store.write(touched).await {
            tracing::warn!(error = %error, "the use of a console session could not be noted");
        }
    }
    Ok(Some((secret, session)))
}

/// The visit, and the value of a visitor's cookie that has to be set.
fn visit(
    request: &Request,
    session: Option<([u8; 32], WebSession)>,
) -> Result<(Visit, Option<String>), Failure> {
    let headers = request.headers();
    let (actor, session, form_token, account_language, cookie) = match session {
        Some((secret, session)) => (session.actor, Some(secret), session.form_token, session.language, None),
        None => {
            let held = Cookie::Visitor.find(headers).map(str::to_owned);
            let (secret, fresh) = match held {
                Some(secret) => (secret, None),
                None => {
                    let secret = session::new_secret()?;
                    (secret.clone(), Some(secret))
                }
            };
            (Actor::Anonymous, None, session::visitor_token(&secret), String::new(), fresh)
        }
    };
    let here = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let visit = Visit {
        actor,
        session,
        form_token,
        language: Language::choose(headers, &account_language),
        here: own_path(here).to_owned(),
        address: request
            .extensions()
            .get::<PeerAddress>()
            .map_or_else(|| "unknown".to_owned(), |peer| peer.0.ip().to_canonical().to_string()),
    };
    Ok((visit, cookie))
}
