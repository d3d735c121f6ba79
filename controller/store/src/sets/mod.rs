//! Sets: what stands in a room and is counted as one. A device that nobody placed has a set of its own.

mod list;
mod overview;
mod signs;

use bbt_domain::{
    access::{Act, Actor},
    fault::input::{DeviceFacts, SetFacts},
    identity::Standing,
    ids::{DeviceId, RoomId, SchoolId, SetId},
    inquiry::Answer,
    org::SetStanding,
    set_code::SetCode,
    time::UtcMicros,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::{
    StoreError, Tx, Value, audit,
    error::permit,
    params,
    rooms::{RoomRef, room_find},
    scope::school_scope,
};
pub use list::{OpenTicket, Place, RaisedFault, SetDevice, SetFilter, SetLine, set_find, set_list};
pub use overview::{SchoolSets, set_overview};

/// A set to be recorded. More than one code, because a random one may be taken.
#[derive(Clone, Debug)]
pub struct NewSet {
    /// The record.
    pub id: SetId,
    /// Tried in order.
    pub codes: Vec<SetCode>,
}

/// How people name a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetRef {
    /// By its id.
    Id(SetId),
    /// By its 设备码.
    Code(SetCode),
}

impl SetRef {
    /// Reads an id or a 设备码.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().map(Self::Id).or_else(|_| text.parse().map(Self::Code)).ok()
    }
}

/// Records a set of `school` and makes `device` its device.
pub(crate) fn set_record(
    tx: &mut Tx<'_>,
    new: &NewSet,
    school: SchoolId,
    device: DeviceId,
    now: UtcMicros,
) -> Result<(), StoreError> {
    for code in &new.codes {
        let added = tx.execute(
            "INSERT INTO device_set (id, school_id, code, standing, created_us) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (code) DO NOTHING",
            params![new.id.as_bytes(), school.as_bytes(), code.as_str(), SetStanding::InUse.as_str(), now],
        )?;
        if added == 1 {
            tx.execute(
                "UPDATE device SET set_id = $1 WHERE id = $2",
                params![new.id.as_bytes(), device.as_bytes()],
            )?;
            return Ok(());
        }
    }
    Err(StoreError::Exists { noun: "set code", key: "every code that was tried".to_owned() })
}

/// Devices of an earlier version, which had no sets: each that has none.
pub fn devices_without_set(tx: &mut Tx<'_>, actor: &Actor) -> Result<Vec<DeviceId>, StoreError> {
    permit(actor, Act::FleetRead)?;
    tx.query("SELECT id FROM device WHERE set_id IS NULL ORDER BY id", params![], |row| {
        Ok(DeviceId::from_bytes(row.array(0, "a device's id")?))
    })
}

/// Gives a device that has no set one of its own. `false`: it has one.
pub fn set_adopt(
    tx: &mut Tx<'_>,
    actor: &Actor,
    device: DeviceId,
    new: &NewSet,
    now: UtcMicros,
) -> Result<bool, StoreError> {
    permit(actor, Act::SetWrite)?;
    let school = tx.query_first(
        "SELECT school_id FROM device WHERE id = $1 AND set_id IS NULL",
        params![device.as_bytes()],
        |row| Ok(SchoolId::from_bytes(row.array(0, "a school's id")?)),
    )?;
    let Some(school) = school else { return Ok(false) };
    set_record(tx, new, school, device, now)?;
    let detail = json!({"device": device});
    audit::append(tx, actor, "set.adopt", &format!("set:{}", new.id), &detail, now)?;
    Ok(true)
}

/// Puts a set into a room of its school; it leaves the room where it stood.
pub fn set_bind(
    tx: &mut Tx<'_>,
    actor: &Actor,
    set: SetRef,
    room: &RoomRef,
    now: UtcMicros,
) -> Result<SetLine, StoreError> {
    permit(actor, Act::SetWrite)?;
    let line = set_find(tx, actor, set, now)?;
    let (room, _) = room_find(tx, actor, room)?;
    if room.school_code != line.school_code {
        return Err(StoreError::Invalid(format!(
            "set {} is of school {}, room {:?} of school {}: a set is placed in a room of its own school",
            line.code,
            line.school_code.as_str(),
            room.name,
            room.school_code.as_str()
        )));
    }
    let before = line.place.as_ref().map(|place| place.room_id);
    if before == Some(room.id) {
        return Ok(line);
    }
    placement_end(tx, line.id, now)?;
    tx.execute(
        // Moved twice in one microsecond: the later room stands.
        "INSERT INTO placement (set_id, from_us, to_us, room_id) VALUES ($1, $2, NULL, $3)
         ON CONFLICT (set_id, from_us) DO UPDATE SET to_us = NULL, room_id = excluded.room_id",
        params![line.id.as_bytes(), now, room.id.as_bytes()],
    )?;
    let detail = json!({"room": room.id, "from": before});
    audit::append(tx, actor, "set.bind", &format!("set:{}", line.id), &detail, now)?;
    set_find(tx, actor, SetRef::Id(line.id), now)
}

/// Takes a set out of its room.
pub(crate) fn placement_end(tx: &mut Tx<'_>, set: SetId, now: UtcMicros) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE placement SET to_us = $1 WHERE set_id = $2 AND to_us IS NULL",
        params![now, set.as_bytes()],
    )?;
    Ok(())
}

/// Changes whether a set is expected to work. `Ok(false)`: it stood so already.
pub fn set_stand(
    tx: &mut Tx<'_>,
    actor: &Actor,
    set: SetId,
    standing: SetStanding,
    why: &str,
    now: UtcMicros,
) -> Result<bool, StoreError> {
    permit(actor, Act::SetWrite)?;
    let line = set_find(tx, actor, SetRef::Id(set), now)?;
    if line.standing == standing {
        return Ok(false);
    }
    standing_change(tx, actor, set, standing, &json!({"reason": why}), now)?;
    Ok(true)
}

/// The change itself, also made by the answer to a question.
pub(crate) fn standing_change(
    tx: &mut Tx<'_>,
    actor: &Actor,
    set: SetId,
    standing: SetStanding,
    why: &Json,
    now: UtcMicros,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE device_set SET standing = $1 WHERE id = $2",
        params![standing.as_str(), set.as_bytes()],
    )?;
    let action = match standing {
        SetStanding::InUse => "set.unseal",
        SetStanding::Sealed => SEAL,
    };
    audit::append(tx, actor, action, &format!("set:{set}"), why, now)
}

/// The audit's word for sealing a set.
const SEAL: &str = "set.seal";

/// Why a set was sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealing {
    /// When.
    pub at: UtcMicros,
    /// Who did it, as the audit names them.
    pub actor: String,
    /// What they said; empty when it followed from an answer.
    pub reason: String,
    /// The school's answer that it followed from.
    pub answer: Option<Answer>,
}

/// What the audit keeps of it beside time and actor.
#[derive(Debug, Default, Deserialize)]
struct SealingDetail {
    #[serde(default)]
    reason: String,
    answer: Option<Answer>,
}

/// Why a set was sealed the last time; `None` when it never was.
pub fn set_sealing(tx: &mut Tx<'_>, actor: &Actor, set: SetId) -> Result<Option<Sealing>, StoreError> {
    permit(actor, Act::FleetRead)?;
    let scope = school_scope(actor, "t.school_id");
    tx.query_first(
        &format!(
            "SELECT a.at_us, a.actor, a.detail FROM audit a JOIN device_set t ON t.id = $1
             WHERE a.action = $2 AND a.subject = $3 AND {scope} ORDER BY a.no DESC LIMIT 1"
        ),
        params![set.as_bytes(), SEAL, format!("set:{set}")],
        |row| {
            let detail: SealingDetail = serde_json::from_str(&row.text(2)?).unwrap_or_default();
            let (at, actor) = (row.time(0)?, row.text(1)?);
            Ok(Sealing { at, actor, reason: detail.reason, answer: detail.answer })
        },
    )
}

/// Where a set stood, and from when to when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Placement {
    /// The room.
    pub room_id: RoomId,
    /// Its name.
    pub room_name: String,
    /// When it was put there.
    pub from: UtcMicros,
    /// When it left; `None` where it stands.
    pub to: Option<UtcMicros>,
}

/// The latest places of a set, the newest first.
pub fn placements_of_set(
    tx: &mut Tx<'_>,
    actor: &Actor,
    set: SetId,
    limit: usize,
) -> Result<Vec<Placement>, StoreError> {
    permit(actor, Act::FleetRead)?;
    let scope = school_scope(actor, "r.school_id");
    tx.query(
        &format!(
            "SELECT r.id, r.name, p.from_us, p.to_us FROM placement p JOIN room r ON r.id = p.room_id
             WHERE p.set_id = $1 AND {scope} ORDER BY p.from_us DESC LIMIT $2"
        ),
        params![set.as_bytes(), limit as i64],
        |row| {
            Ok(Placement {
                room_id: RoomId::from_bytes(row.array(0, "a room's id")?),
                room_name: row.text(1)?,
                from: row.time(2)?,
                to: row.time_opt(3)?,
            })
        },
    )
}

/// A set that the asker may see, and its school.
pub(crate) fn set_and_school(
    tx: &mut Tx<'_>,
    actor: &Actor,
    set: SetRef,
) -> Result<(SetId, SchoolId), StoreError> {
    let (column, value, key) = match set {
        SetRef::Id(id) => ("id", Value::from(id.as_bytes()), id.to_string()),
        SetRef::Code(code) => ("code", Value::from(code.as_str()), code.to_string()),
    };
    let scope = school_scope(actor, "school_id");
    let sql = format!("SELECT id, school_id FROM device_set WHERE {column} = $1 AND {scope}");
    let found = tx.query_first(&sql, &[value], |row| {
        let set = SetId::from_bytes(row.array(0, "a set's id")?);
        Ok((set, SchoolId::from_bytes(row.array(1, "a set's school")?)))
    })?;
    found.ok_or(StoreError::NotFound { noun: "set", key })
}

/// What the rules of faults look at.
pub(crate) fn set_facts(tx: &mut Tx<'_>, set: SetId) -> Result<Option<SetFacts>, StoreError> {
    let standing =
        tx.query_first("SELECT standing FROM device_set WHERE id = $1", params![set.as_bytes()], |row| {
            standing_of(&row.text(0)?)
        })?;
    let Some(standing) = standing else { return Ok(None) };
    let devices = tx.query(
        "SELECT d.id, d.standing, d.enrolled_us,
            (SELECT max(r.last_us) FROM run r WHERE r.device_id = d.id), st.snapshot
         FROM device d LEFT JOIN device_state st ON st.device_id = d.id WHERE d.set_id = $1 ORDER BY d.id",
        params![set.as_bytes()],
        |row| {
            Ok(DeviceFacts {
                id: DeviceId::from_bytes(row.array(0, "a device's id")?),
                standing: device_standing_of(&row.text(1)?)?,
                enrolled_at: row.time(2)?,
                last_contact: row.time_opt(3)?,
                snapshot: crate::devices::snapshot_of(row.text_opt(4)?)?,
            })
        },
    )?;
    Ok(Some(SetFacts { id: set, standing, devices }))
}

pub(super) fn standing_of(text: &str) -> Result<SetStanding, StoreError> {
    SetStanding::parse(text).ok_or(StoreError::Damaged { what: "a set's standing" })
}

pub(super) fn device_standing_of(text: &str) -> Result<Standing, StoreError> {
    Standing::parse(text).ok_or(StoreError::Damaged { what: "a device's standing" })
}
