//! The county's own record: made once by `init`.

use bbt_domain::{
    access::{Act, Actor},
    calendar::expected_on::ExpectedOn,
    fault::listening::Listening,
    identity::TrustDomain,
    ids::Incarnation,
    time::UtcMicros,
};

use serde_json::Value as Json;

use crate::{StoreError, Tx, audit, engine, error::permit, params};

/// What the county is called and how its devices' names are rooted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct County {
    /// As people say it.
    pub name: String,
    /// Root of every device's name in certificates.
    pub trust_domain: TrustDomain,
    /// This state of the data.
    pub incarnation: Incarnation,
    /// When it was made.
    pub created_at: UtcMicros,
}

/// Records the county; refused when there is one.
pub fn county_create(tx: &mut Tx<'_>, county: &County) -> Result<(), StoreError> {
    if county_find(tx)?.is_some() {
        return Err(StoreError::Exists { noun: "county", key: county.name.clone() });
    }
    for (key, value) in [
        ("county.name", county.name.clone()),
        ("county.trust_domain", county.trust_domain.as_str().to_owned()),
        ("county.incarnation", county.incarnation.to_string()),
        ("county.created", county.created_at.as_micros().to_string()),
    ] {
        tx.execute("INSERT INTO meta (key, value) VALUES ($1, $2)", params![key, value])?;
    }
    Ok(())
}

/// The county, if it was recorded.
pub fn county_find(tx: &mut Tx<'_>) -> Result<Option<County>, StoreError> {
    let Some(name) = value(tx, "county.name")? else { return Ok(None) };
    let damaged = |what| StoreError::Damaged { what };
    let text = |tx: &mut Tx<'_>, key, what| value(tx, key)?.ok_or(damaged(what));
    let domain = text(tx, "county.trust_domain", "the trust domain")?;
    let incarnation = text(tx, "county.incarnation", "the incarnation")?;
    let created = text(tx, "county.created", "the county's date")?;
    Ok(Some(County {
        name,
        trust_domain: TrustDomain::parse(&domain).ok_or(damaged("the trust domain"))?,
        incarnation: incarnation.parse().map_err(|_| damaged("the incarnation"))?,
        created_at: UtcMicros::from_micros(created.parse().map_err(|_| damaged("the county's date"))?),
    }))
}

/// Makes of a county that comes from a backup the county that goes on: it is another state of the data, so devices
/// send again what they keep. What must not come back with it ends here: sessions of browsers, and tokens, of which
/// nobody knows how often they were used since. How many tokens that were open.
pub fn county_restored(
    tx: &mut Tx<'_>,
    actor: &Actor,
    incarnation: Incarnation,
    detail: &Json,
    now: UtcMicros,
) -> Result<usize, StoreError> {
    permit(actor, Act::CountyRestore)?;
    let set = params![incarnation.to_string()];
    tx.execute("UPDATE meta SET value = $1 WHERE key = 'county.incarnation'", set)?;
    tx.execute("DELETE FROM web_session", params![])?;
    let closed =
        tx.execute("UPDATE token SET expires_us = $1 WHERE expires_us > $1 AND used < uses", params![now])?;
    let mut detail = detail.clone();
    detail["tokens_closed"] = closed.into();
    audit::append(tx, actor, "county.restore", "county", &detail, now)?;
    Ok(closed)
}

/// Writes a row that means nothing: whether the store can commit.
pub fn commit_probe(tx: &mut Tx<'_>, actor: &Actor, now: UtcMicros) -> Result<(), StoreError> {
    permit(actor, Act::AuditWrite)?;
    tx.execute(
        "INSERT INTO meta (key, value) VALUES ('probe', $1) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        params![now.as_micros().to_string()],
    )?;
    Ok(())
}

/// Notes that the controller listens, and since when without interruption.
pub fn listening_note(
    tx: &mut Tx<'_>,
    actor: &Actor,
    expected: &ExpectedOn,
    now: UtcMicros,
) -> Result<Listening, StoreError> {
    permit(actor, Act::FaultDecide)?;
    let listening = Listening::at(listening(tx)?, now, expected);
    for (key, at) in [(LISTENING_SINCE, listening.since), (LISTENING_UNTIL, listening.until)] {
        tx.execute(
            "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            params![key, at.as_micros().to_string()],
        )?;
    }
    Ok(listening)
}

/// What was noted by [`listening_note`]; `None` before the first time.
pub(crate) fn listening(tx: &mut Tx<'_>) -> Result<Option<Listening>, StoreError> {
    let mut time = |key| {
        let text = value(tx, key)?;
        let micros =
            text.map(|text| text.parse().map_err(|_| StoreError::Damaged { what: "when it listened" }));
        Ok::<_, StoreError>(micros.transpose()?.map(UtcMicros::from_micros))
    };
    Ok(time(LISTENING_SINCE)?.zip(time(LISTENING_UNTIL)?).map(|(since, until)| Listening { since, until }))
}

const LISTENING_SINCE: &str = "listening.since";
const LISTENING_UNTIL: &str = "listening.until";

fn value(tx: &mut Tx<'_>, key: &str) -> Result<Option<String>, StoreError> {
    tx.query_first("SELECT value FROM meta WHERE key = $1", params![key], |row| row.text(0))
}

/// What the engine finds wrong with its own files; empty when they are whole.
pub fn integrity_check(tx: &mut Tx<'_>, actor: &Actor) -> Result<Vec<String>, StoreError> {
    permit(actor, Act::AuditRead)?;
    engine::integrity_check(tx)
}
