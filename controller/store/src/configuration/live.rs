//! A look at one device as it works.

use bbt_domain::{
    access::{Act, Actor},
    configuration::{Level, Live},
    ids::DeviceId,
    time::UtcMicros,
};
use serde_json::json;

use super::{level_in_sight, touch};
use crate::{StoreError, Tx, audit, error::permit, params};

/// Begins a look, or goes on with one until another end.
pub fn live_begin(
    tx: &mut Tx<'_>,
    actor: &Actor,
    device: DeviceId,
    live: &Live,
    now: UtcMicros,
) -> Result<(), StoreError> {
    permit(actor, Act::ConfigurationWrite)?;
    level_in_sight(tx, actor, Level::Device(device))?;
    tx.execute(
        "INSERT INTO live_look (device_id, sample_interval_secs, frame_interval_secs, until_us)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (device_id) DO UPDATE SET sample_interval_secs = excluded.sample_interval_secs,
             frame_interval_secs = excluded.frame_interval_secs, until_us = excluded.until_us",
        params![
            device.as_bytes(),
            i64::from(live.sample_interval_secs),
            i64::from(live.frame_interval_secs),
            live.until
        ],
    )?;
    touch(tx, actor, device, now)?;
    audit::append(tx, actor, "live.begin", &format!("device:{device}"), &json!(live), now)
}

/// Ends a look before its time. `Ok(false)`: it was over already.
pub fn live_stop(
    tx: &mut Tx<'_>,
    actor: &Actor,
    device: DeviceId,
    now: UtcMicros,
) -> Result<bool, StoreError> {
    permit(actor, Act::ConfigurationWrite)?;
    level_in_sight(tx, actor, Level::Device(device))?;
    if !find(tx, device)?.is_some_and(|live| live.is_on(now)) {
        return Ok(false);
    }
    tx.execute("DELETE FROM live_look WHERE device_id = $1", params![device.as_bytes()])?;
    touch(tx, actor, device, now)?;
    audit::append(tx, actor, "live.stop", &format!("device:{device}"), &json!({}), now)?;
    Ok(true)
}

/// The look at a device that goes on at `now`.
pub fn live_show(
    tx: &mut Tx<'_>,
    actor: &Actor,
    device: DeviceId,
    now: UtcMicros,
) -> Result<Option<Live>, StoreError> {
    permit(actor, Act::FleetRead)?;
    level_in_sight(tx, actor, Level::Device(device))?;
    Ok(find(tx, device)?.filter(|live| live.is_on(now)))
}

pub(super) fn find(tx: &mut Tx<'_>, device: DeviceId) -> Result<Option<Live>, StoreError> {
    tx.query_first(
        "SELECT sample_interval_secs, frame_interval_secs, until_us FROM live_look WHERE device_id = $1",
        params![device.as_bytes()],
        |row| {
            let secs = |column| {
                u32::try_from(row.int(column)?).map_err(|_| StoreError::Damaged { what: "a live look" })
            };
            Ok(Live { sample_interval_secs: secs(0)?, frame_interval_secs: secs(1)?, until: row.time(2)? })
        },
    )
}
