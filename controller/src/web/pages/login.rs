//! Signing in and out.

use std::{sync::Arc, time::Duration};

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use bbt_domain::{access::Actor, text};
use bbt_store::{
    Tx,
    people::{Person, person_by_login, session_close, session_open, sign_in_failed},
};
use http::{HeaderValue, StatusCode, header};

use super::{FRONT, Shell, html};
use crate::web::{
    Site,
    failure::Failure,
    session::{self, Cookie},
    visit::{Fields, Visit, own_path},
};

/// Longest name of an account.
const LOGIN_CHARS: usize = 64;
/// Longest password: more makes nothing safer, and hashing takes as long as the text.
const PASSWORD_BYTES: usize = 1_024;

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    shell: Shell,
    login: String,
    next: String,
    problem: Option<String>,
}

/// `GET /login`
pub(in crate::web) async fn show(
    State(site): State<Arc<Site>>,
    visit: Visit,
    fields: Fields,
) -> Result<Response, Failure> {
    if visit.session.is_some() {
        return Ok(Redirect::to(FRONT).into_response());
    }
    html(&LoginPage {
        shell: Shell::new(&site, &visit, ""),
        login: String::new(),
        next: own_path(fields.text("next")).to_owned(),
        problem: None,
    })
}

/// `POST /login`
pub(in crate::web) async fn submit(
    State(site): State<Arc<Site>>,
    visit: Visit,
    fields: Fields,
) -> Result<Response, Failure> {
    let login = text::clean(fields.text("login"), LOGIN_CHARS);
    let next = own_path(fields.text("next")).to_owned();
    let now = site.context.now();
    if let Err(wait) = site.throttle.admit(&login, &visit.address, now) {
        return refused(&site, visit, login, next, Some(wait));
    }
    match person(&site, &login, fields.text("password")).await? {
        Some(person) => {
            site.throttle.forgive(&login, &visit.address);
            signed_in(&site, visit, person, &next).await
        }
        None => {
            let (tried, address) = (login.clone(), visit.address.clone());
            let failed = move |tx: &mut Tx<'_>| sign_in_failed(tx, &Actor::Anonymous, &tried, &address, now);
            site.context.store.write(failed).await?;
            refused(&site, visit, login, next, None)
        }
    }
}

/// The account of this name and password. Without such an account the same work is done.
async fn person(site: &Site, login: &str, password: &str) -> Result<Option<Person>, Failure> {
    let wanted = login.to_owned();
    let found = site.context.store.read(move |tx| person_by_login(tx, &Actor::Anonymous, &wanted)).await?;
    let password = if password.len() <= PASSWORD_BYTES { password.to_owned() } else { String::new() };
    let stored = found.as_ref().map(|person| person.password.clone());
    let fits = site.passwords.verify(password, stored).await?;
    Ok(found.filter(|_| fits))
}

/// A new session under a new secret: whatever cookie the browser came with opens nothing afterwards.
async fn signed_in(site: &Site, visit: Visit, person: Person, next: &str) -> Result<Response, Failure> {
    let (secret, form_token) = (session::new_secret()?, session::new_secret()?);
    let actor = Actor::User { id: person.id, login: person.login, role: person.role };
    let now = site.context.now();
    let kept = session::sha256(&secret);
    let open = move |tx: &mut Tx<'_>| {
        if let Some(before) = &visit.session {
            session_close(tx, &visit.actor, before, now)?;
        }
        session_open(tx, &actor, &kept, &form_token, &visit.address, now)
    };
    site.context.store.write(open).await?;
    let mut response = Redirect::to(if next == "/" { FRONT } else { next }).into_response();
    for cookie in [Cookie::Session.set(&secret, None)?, Cookie::Visitor.set("", Some(0))?] {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// The form again. The name of the account stays, and nothing says whether it exists.
fn refused(
    site: &Site,
    visit: Visit,
    login: String,
    next: String,
    wait: Option<Duration>,
) -> Result<Response, Failure> {
    let secs = wait.map(|wait| i64::try_from(wait.as_micros().div_ceil(1_000_000)).unwrap_or(i64::MAX));
    let (status, problem) = match secs {
        Some(secs) => {
            let seconds = ("seconds", secs.into());
            (StatusCode::TOO_MANY_REQUESTS, visit.language.with("login-too-fast", &[seconds]))
        }
        None => (StatusCode::UNAUTHORIZED, visit.language.text("login-wrong")),
    };
    let shell = Shell::new(site, &visit, "");
    let mut response = html(&LoginPage { shell, login, next, problem: Some(problem) })?;
    *response.status_mut() = status;
    if let Some(secs) = secs {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs));
    }
    Ok(response)
}

/// `POST /logout`
pub(in crate::web) async fn sign_out(
    State(site): State<Arc<Site>>,
    visit: Visit,
) -> Result<Response, Failure> {
    if let Some(secret) = visit.session {
        let (actor, now) = (visit.actor, site.context.now());
        site.context.store.write(move |tx| session_close(tx, &actor, &secret, now)).await?;
    }
    let cookie = Cookie::Session.set("", Some(0))?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/login")).into_response())
}
