//! Accounts and the browsers that are signed in to them.

use std::time::Duration;

use bbt_domain::{
    access::{Act, Actor, Role},
    ids::UserId,
    time::UtcMicros,
};
use serde_json::json;

use crate::{StoreError, Tx, audit, error::permit, params};

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The record.
    pub id: UserId,
    /// Signs in with it.
    pub login: String,
    /// What the account is for.
    pub role: Role,
    /// Hash in PHC form.
    pub password: String,
    /// `zh-CN` or `en`; empty until chosen.
    pub language: String,
}

/// Adds an account.
pub fn person_add(tx: &mut Tx<'_>, actor: &Actor, person: &Person, now: UtcMicros) -> Result<(), StoreError> {
    permit(actor, Act::UserWrite)?;
    let added = tx.execute(
        "INSERT INTO person (id, login, role, password, language, created_us, disabled_us)
         VALUES ($1, $2, $3, $4, $5, $6, NULL) ON CONFLICT (login) DO NOTHING",
        params![
            person.id.as_bytes(),
            &person.login,
            person.role.as_str(),
            &person.password,
            &person.language,
            now
        ],
    )?;
    if added == 0 {
        return Err(StoreError::Exists { noun: "user", key: person.login.clone() });
    }
    let detail = json!({"role": person.role});
    audit::append(tx, actor, "user.add", &format!("user:{}", person.login), &detail, now)
}

/// The account that may sign in as `login`.
pub fn person_by_login(tx: &mut Tx<'_>, actor: &Actor, login: &str) -> Result<Option<Person>, StoreError> {
    permit(actor, Act::SessionUse)?;
    tx.query_first(
        "SELECT id, login, role, password, language FROM person WHERE login = $1 AND disabled_us IS NULL",
        params![login],
        |row| {
            Ok(Person {
                id: UserId::from_bytes(row.array(0, "a user's id")?),
                login: row.text(1)?,
                role: Role::parse(&row.text(2)?).ok_or(StoreError::Damaged { what: "a user's role" })?,
                password: row.text(3)?,
                language: row.text(4)?,
            })
        },
    )
}

/// How long a browser stays signed in.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// Without a request.
    pub idle: Duration,
    /// At all.
    pub absolute: Duration,
}

/// A browser that is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSession {
    /// The account, as actor of what it does.
    pub actor: Actor,
    /// Must come back with every form.
    pub form_token: String,
    /// `zh-CN` or `en`; empty until chosen.
    pub language: String,
}

/// Opens a session for an account that has just shown its password.
pub fn session_open(
    tx: &mut Tx<'_>,
    actor: &Actor,
    secret_sha256: &[u8; 32],
    form_token: &str,
    address: &str,
    now: UtcMicros,
) -> Result<(), StoreError> {
    permit(actor, Act::SessionUse)?;
    let Actor::User { id, .. } = actor else {
        return Err(StoreError::Forbidden { actor: actor.label(), act: Act::SessionUse });
    };
    tx.execute(
        "INSERT INTO web_session (secret, person_id, form_token, opened_us, seen_us, address)
         VALUES ($1, $2, $3, $4, $4, $5)",
        params![secret_sha256, id.as_bytes(), form_token, now, address],
    )?;
    audit::append(tx, actor, "user.sign_in", &actor.label(), &json!({"address": address}), now)
}

/// The session of a cookie, if it is still good.
pub fn session_find(
    tx: &mut Tx<'_>,
    secret_sha256: &[u8; 32],
    limits: SessionLimits,
    now: UtcMicros,
) -> Result<Option<(WebSession, UtcMicros)>, StoreError> {
    tx.query_first(
        "SELECT p.id, p.login, p.role, p.language, s.form_token, s.seen_us
         FROM web_session s JOIN person p ON p.id = s.person_id
         WHERE s.secret = $1 AND s.seen_us > $2 AND s.opened_us > $3 AND p.disabled_us IS NULL",
        params![secret_sha256, now.minus(limits.idle), now.minus(limits.absolute)],
        |row| {
            let actor = Actor::User {
                id: UserId::from_bytes(row.array(0, "a user's id")?),
                login: row.text(1)?,
                role: Role::parse(&row.text(2)?).ok_or(StoreError::Damaged { what: "a user's role" })?,
            };
            let session = WebSession { actor, language: row.text(3)?, form_token: row.text(4)? };
            Ok((session, row.time(5)?))
        },
    )
}

/// Notes that a session was used, and removes those that are over.
pub fn session_touch(
    tx: &mut Tx<'_>,
    secret_sha256: &[u8; 32],
    limits: SessionLimits,
    now: UtcMicros,
) -> Result<(), StoreError> {
    tx.execute("UPDATE web_session SET seen_us = $1 WHERE secret = $2", params![now, secret_sha256])?;
    tx.execute(
        "DELETE FROM web_session WHERE seen_us <= $1 OR opened_us <= $2",
        params![now.minus(limits.idle), now.minus(limits.absolute)],
    )?;
    Ok(())
}

/// Signs the browser out.
pub fn session_close(
    tx: &mut Tx<'_>,
    actor: &Actor,
    secret_sha256: &[u8; 32],
    now: UtcMicros,
) -> Result<(), StoreError> {
    permit(actor, Act::SessionUse)?;
    tx.execute("DELETE FROM web_session WHERE secret = $1", params![secret_sha256])?;
    audit::append(tx, actor, "user.sign_out", &actor.label(), &json!({}), now)
}

/// Notes a wrong password.
pub fn sign_in_failed(
    tx: &mut Tx<'_>,
    actor: &Actor,
    login: &str,
    address: &str,
    now: UtcMicros,
) -> Result<(), StoreError> {
    permit(actor, Act::SessionUse)?;
    let detail = json!({"address": address});
    audit::append(tx, actor, "user.sign_in_failed", &format!("user:{login}"), &detail, now)
}

/// Keeps the language that a person chose.
pub fn language_set(tx: &mut Tx<'_>, actor: &Actor, language: &str) -> Result<(), StoreError> {
    permit(actor, Act::SessionUse)?;
    if let Actor::User { id, .. } = actor {
        tx.execute("UPDATE person SET language = $1 WHERE id = $2", params![language, id.as_bytes()])?;
    }
    Ok(())
}
