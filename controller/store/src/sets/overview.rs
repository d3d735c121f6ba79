//! The county's sets counted by school and state.

use std::collections::BTreeMap;

use bbt_domain::{
    access::{Act, Actor},
    ids::{SchoolId, SetId},
    org::SchoolCode,
    set_state::StateCounts,
    time::UtcMicros,
};

use super::{device_standing_of, signs::Signs, standing_of};
use crate::{
    Row, StoreError, Tx, error::permit, faults::kind_of, params, scope::school_scope,
    tickets::ticket_state_of,
};

/// A school with what stands in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchoolSets {
    /// Unique in the county.
    pub code: SchoolCode,
    /// As people say it.
    pub name: String,
    /// Its rooms.
    pub rooms: i64,
    /// Its sets, by how they stand.
    pub sets: StateCounts,
}

/// Every school with the count of its sets by state, in order of code. Each table is read once.
pub fn set_overview(tx: &mut Tx<'_>, actor: &Actor, now: UtcMicros) -> Result<Vec<SchoolSets>, StoreError> {
    permit(actor, Act::FleetRead)?;
    let states = states_by_school(tx, now)?;
    let scope = school_scope(actor, "s.id");
    tx.query(
        &format!(
            "SELECT s.id, s.code, s.name, (SELECT count(*) FROM room r WHERE r.school_id = s.id) FROM school s
             WHERE {scope} ORDER BY s.code"
        ),
        params![],
        |row| {
            let id = SchoolId::from_bytes(row.array(0, "a school's id")?);
            Ok(SchoolSets {
                code: SchoolCode::parse(&row.text(1)?)
                    .map_err(|_| StoreError::Damaged { what: "a school's code" })?,
                name: row.text(2)?,
                rooms: row.int(3)?,
                sets: states.get(&id).copied().unwrap_or_default(),
            })
        },
    )
}

/// The word of every set, counted by school, without reading what its devices told.
fn states_by_school(tx: &mut Tx<'_>, now: UtcMicros) -> Result<BTreeMap<SchoolId, StateCounts>, StoreError> {
    let set_id = |row: &Row<'_>| Ok::<_, StoreError>(SetId::from_bytes(row.array(0, "a set's id")?));
    let mut sets: BTreeMap<SetId, (SchoolId, Signs)> = tx
        .query("SELECT id, school_id, standing FROM device_set", params![], |row| {
            let school = SchoolId::from_bytes(row.array(1, "a school's id")?);
            Ok((set_id(row)?, (school, Signs::new(standing_of(&row.text(2)?)?))))
        })?
        .into_iter()
        .collect();
    let devices = tx.query(
        "SELECT d.set_id, d.standing, (SELECT max(r.last_us) FROM run r WHERE r.device_id = d.id)
         FROM device d WHERE d.set_id IS NOT NULL",
        params![],
        |row| Ok((set_id(row)?, device_standing_of(&row.text(1)?)?, row.time_opt(2)?)),
    )?;
    let raised = tx.query(
        "SELECT set_id, kind FROM fault WHERE closed_us IS NULL AND state IN ('faulty', 'recovering')",
        params![],
        |row| Ok((set_id(row)?, kind_of(&row.text(1)?)?)),
    )?;
    let tickets = tx.query("SELECT set_id, state FROM ticket WHERE closed_us IS NULL", params![], |row| {
        Ok((set_id(row)?, ticket_state_of(&row.text(1)?)?))
    })?;
    for (set, standing, last) in devices {
        sets.entry(set).and_modify(|(_, signs)| signs.device(standing, last));
    }
    for (set, kind) in raised {
        sets.entry(set).and_modify(|(_, signs)| signs.raised(kind));
    }
    for (set, state) in tickets {
        sets.entry(set).and_modify(|(_, signs)| signs.ticket(state));
    }
    let mut schools: BTreeMap<SchoolId, StateCounts> = BTreeMap::new();
    for (school, signs) in sets.values() {
        schools.entry(*school).or_default().add(signs.state(now));
    }
    Ok(schools)
}
