//! What devices made of what they were told.

use bbt_domain::{
    access::{Act, Actor},
    configuration::{Level, Outcome},
    ids::DeviceId,
    time::UtcMicros,
};
use serde::Serialize;

use super::{asking_device, level_in_sight};
use crate::{Row, StoreError, Tx, error::permit, params, scope::device_scope};

/// A device's answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Answered {
    /// The newest revision that it put into force, and when it said so.
    pub applied: Option<(i64, UtcMicros)>,
    /// A revision that it refused since.
    pub rejected: Option<Rejection>,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rejection {
    /// Of what was refused.
    pub revision: i64,
    /// When the device said so.
    pub at: UtcMicros,
    /// The first value that it does not take.
    pub key: String,
    /// Why, in its own words.
    pub reason: String,
}

/// The asking device's answer to `revision`.
pub fn outcome_note(
    tx: &mut Tx<'_>,
    actor: &Actor,
    revision: i64,
    outcome: &Outcome,
    now: UtcMicros,
) -> Result<(), StoreError> {
    let device = asking_device(actor)?;
    tx.execute(
        "INSERT INTO configuration_outcome (device_id) VALUES ($1) ON CONFLICT (device_id) DO NOTHING",
        params![device.as_bytes()],
    )?;
    match outcome {
        Outcome::Applied => tx.execute(
            "UPDATE configuration_outcome SET applied_revision = $1, applied_us = $2, rejected_revision = NULL,
                 rejected_us = NULL, rejected_key = NULL, rejected_reason = NULL WHERE device_id = $3",
            params![revision, now, device.as_bytes()],
        )?,
        Outcome::Rejected { key, reason } => tx.execute(
            "UPDATE configuration_outcome SET rejected_revision = $1, rejected_us = $2, rejected_key = $3,
                 rejected_reason = $4 WHERE device_id = $5",
            params![revision, now, key, reason, device.as_bytes()],
        )?,
    };
    Ok(())
}

/// What a device answered so far.
pub fn outcome_show(tx: &mut Tx<'_>, actor: &Actor, device: DeviceId) -> Result<Answered, StoreError> {
    permit(actor, Act::FleetRead)?;
    level_in_sight(tx, actor, Level::Device(device))?;
    find(tx, device)
}

pub(super) fn find(tx: &mut Tx<'_>, device: DeviceId) -> Result<Answered, StoreError> {
    let found = tx.query_first(
        "SELECT applied_revision, applied_us, rejected_revision, rejected_us, rejected_key, rejected_reason
         FROM configuration_outcome WHERE device_id = $1",
        params![device.as_bytes()],
        |row| Ok(Answered { applied: row.int_opt(0)?.zip(row.time_opt(1)?), rejected: rejection_of(row)? }),
    )?;
    Ok(found.unwrap_or_default())
}

/// How many devices refused what they were told last.
pub fn rejected_count(tx: &mut Tx<'_>, actor: &Actor) -> Result<i64, StoreError> {
    permit(actor, Act::FleetRead)?;
    let scope = device_scope(actor, "o.device_id", 1);
    let sql = format!(
        "SELECT count(*) FROM configuration_outcome o WHERE o.rejected_revision IS NOT NULL AND {}",
        scope.sql
    );
    let params: Vec<_> = scope.value.into_iter().collect();
    Ok(tx.query_first(&sql, &params, |row| row.int(0))?.unwrap_or(0))
}

fn rejection_of(row: &Row<'_>) -> Result<Option<Rejection>, StoreError> {
    let Some((revision, at)) = row.int_opt(2)?.zip(row.time_opt(3)?) else { return Ok(None) };
    let text = |column| Ok::<_, StoreError>(row.text_opt(column)?.unwrap_or_default());
    Ok(Some(Rejection { revision, at, key: text(4)?, reason: text(5)? }))
}
