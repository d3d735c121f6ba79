//! Secrets of devices. The store has them sealed only, and gives them to their device alone.

use bbt_domain::{
    access::{Act, Actor},
    configuration::{Level, SECRETS, SecretName},
    ids::DeviceId,
    time::UtcMicros,
};
use serde::Serialize;
use serde_json::json;

use super::{level_in_sight, touch};
use crate::{StoreError, Tx, audit, error::permit, params};

/// A secret as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// What it is for.
    pub name: SecretName,
    /// Opened by whoever has the key of the data folder.
    pub sealed: Vec<u8>,
}

/// What people see of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SecretLine {
    /// What it is for.
    pub name: SecretName,
    /// When it was entered.
    pub set_at: UtcMicros,
    /// By whom, as the audit names people.
    pub set_by: String,
}

/// Enters a secret of a device, in the place of one with this name.
pub fn secret_set(
    tx: &mut Tx<'_>,
    actor: &Actor,
    device: DeviceId,
    secret: &SealedSecret,
    now: UtcMicros,
) -> Result<(), StoreError> {
    permit(actor, Act::ConfigurationWrite)?;
    level_in_sight(tx, actor, Level::Device(device))?;
    tx.execute(
        "INSERT INTO device_secret (device_id, name, sealed, set_us, set_by) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (device_id, name) DO UPDATE SET sealed = excluded.sealed, set_us = excluded.set_us,
             set_by = excluded.set_by",
        params![device.as_bytes(), secret.name.as_str(), secret.sealed.as_slice(), now, actor.label()],
    )?;
    if sealed(tx, device)?.len() > SECRETS {
        return Err(StoreError::Invalid(format!(
            "device {device} has {SECRETS} secrets already: withdraw one that is not needed any more"
        )));
    }
    touch(tx, actor, device, now)?;
    audit::append(tx, actor, "secret.set", &format!("device:{device}"), &json!({"name": secret.name}), now)
}

/// Withdraws a secret: the device deletes it.
pub fn secret_withdraw(
    tx: &mut Tx<'_>,
    actor: &Actor,
    device: DeviceId,
    name: &SecretName,
    now: UtcMicros,
) -> Result<(), StoreError> {
    permit(actor, Act::ConfigurationWrite)?;
    level_in_sight(tx, actor, Level::Device(device))?;
    let gone = tx.execute(
        "DELETE FROM device_secret WHERE device_id = $1 AND name = $2",
        params![device.as_bytes(), name.as_str()],
    )?;
    if gone == 0 {
        return Err(StoreError::NotFound { noun: "secret", key: name.as_str().to_owned() });
    }
    touch(tx, actor, device, now)?;
    audit::append(tx, actor, "secret.withdraw", &format!("device:{device}"), &json!({"name": name}), now)
}

/// Which secrets a device has, by name.
pub fn secret_list(tx: &mut Tx<'_>, actor: &Actor, device: DeviceId) -> Result<Vec<SecretLine>, StoreError> {
    permit(actor, Act::FleetRead)?;
    level_in_sight(tx, actor, Level::Device(device))?;
    tx.query(
        "SELECT name, set_us, set_by FROM device_secret WHERE device_id = $1 ORDER BY name",
        params![device.as_bytes()],
        |row| Ok(SecretLine { name: name_of(&row.text(0)?)?, set_at: row.time(1)?, set_by: row.text(2)? }),
    )
}

pub(super) fn sealed(tx: &mut Tx<'_>, device: DeviceId) -> Result<Vec<SealedSecret>, StoreError> {
    tx.query(
        "SELECT name, sealed FROM device_secret WHERE device_id = $1 ORDER BY name",
        params![device.as_bytes()],
        |row| Ok(SealedSecret { name: name_of(&row.text(0)?)?, sealed: row.bytes(1)? }),
    )
}

fn name_of(text: &str) -> Result<SecretName, StoreError> {
    SecretName::parse(text).map_err(|_| StoreError::Damaged { what: "a secret's name" })
}
