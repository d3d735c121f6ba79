//! Sets: what stands in a room and is counted as one. A device that nobody placed has a set of its own.

use std::collections::BTreeMap;

use bbt_domain::{
    access::{Act, Actor},
    fault::{
        Consequence, FaultKind, FaultState,
        input::{DeviceFacts, SetFacts},
    },
    identity::Standing,
    ids::{DeviceId, RoomId, SchoolId, SetId},
    inquiry::Answer,
    org::{RoomKind, SchoolCode, SetStanding},
    presence::presence,
    set_code::SetCode,
    set_state::{SetSigns, SetState, StateCounts, set_state},
    snapshot::Snapshot,
    ticket::state::TicketState,
    time::UtcMicros,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::{
    Row, StoreError, Tx, Value, audit,
    error::permit,
    faults::kind_of,
    params,
    rooms::{RoomRef, room_find},
    scope::school_scope,
};

/// A set to be recorded. More than one code, because a random one may be taken.
#[derive(Clone, Debug)]
pub struct NewSet {
    /// The record.
    pub id: SetId,
    /// Tried in order.
    pub codes: Vec<SetCode>,
}

/// Where a set stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The room.
    pub room_id: RoomId,
    /// Its name.
    pub room_name: String,
    /// What it is for.
    pub room_kind: RoomKind,
    /// Since when.
    pub since: UtcMicros,
}

/// One device of a set, for a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetDevice {
    /// The device.
    pub id: DeviceId,
    /// active, revoked.
    pub standing: Standing,
    /// First certificate.
    pub enrolled_at: UtcMicros,
    /// Newest contact that brought a report.
    pub last_report_at: Option<UtcMicros>,
    /// As the device calls itself.
    pub host_name: Option<String>,
    /// Processor's full name.
    pub processor: Option<String>,
    /// Memory usable by the operating system.
    pub memory_bytes: Option<u64>,
}

/// A fault that is raised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RaisedFault {
    /// What is wrong.
    pub kind: FaultKind,
    /// faulty, recovering.
    pub state: FaultState,
}

/// A ticket that is not closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpenTicket {
    /// Its number.
    pub no: String,
    /// How it stands.
    pub state: TicketState,
}

/// One line of a list of sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetLine {
    /// The set.
    pub id: SetId,
    /// 设备码.
    pub code: SetCode,
    /// in_use, sealed.
    pub standing: SetStanding,
    /// The one word for it.
    pub state: SetState,
    /// Its school's code.
    pub school_code: SchoolCode,
    /// Its school's name.
    pub school_name: String,
    /// Where it stands; `None` while nobody placed it.
    pub place: Option<Place>,
    /// Its devices; usually one.
    pub devices: Vec<SetDevice>,
    /// Faults that are raised.
    pub faults: Vec<RaisedFault>,
    /// Tickets that are not closed.
    pub tickets: Vec<OpenTicket>,
    /// When it was recorded.
    pub created_at: UtcMicros,
}

/// What a list of sets shall hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetFilter {
    /// Of this school.
    pub school: Option<SchoolCode>,
    /// Whose school, room, code, computer or processor has this in it, capitals or not.
    pub wanted: String,
    /// Of this state.
    pub state: Option<SetState>,
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

/// Sets read per query while filtering.
const FILTER_PAGE: usize = 200;

/// Sets in order of school, room and id, after the set `after`. A set without a room comes before those with one.
pub fn set_list(
    tx: &mut Tx<'_>,
    actor: &Actor,
    filter: &SetFilter,
    after: Option<SetId>,
    limit: usize,
    now: UtcMicros,
) -> Result<Vec<SetLine>, StoreError> {
    permit(actor, Act::FleetRead)?;
    let wanted = filter.wanted.to_lowercase();
    let fits =
        |line: &SetLine| line.mentions(&wanted) && filter.state.is_none_or(|state| state == line.state);
    let mut found = Vec::new();
    let mut after = after;
    while found.len() < limit {
        let page = page(tx, actor, filter.school.as_ref(), after, FILTER_PAGE.max(limit), now)?;
        let is_last = page.len() < FILTER_PAGE.max(limit);
        after = page.last().map(|line| line.id);
        found.extend(page.into_iter().filter(fits).take(limit - found.len()));
        if is_last {
            break;
        }
    }
    Ok(found)
}

/// One set.
pub fn set_find(tx: &mut Tx<'_>, actor: &Actor, set: SetRef, now: UtcMicros) -> Result<SetLine, StoreError> {
    permit(actor, Act::FleetRead)?;
    let key = || match set {
        SetRef::Id(id) => id.to_string(),
        SetRef::Code(code) => code.to_string(),
    };
    let id = match set {
        SetRef::Id(id) => id,
        SetRef::Code(code) => tx
            .query_first("SELECT id FROM device_set WHERE code = $1", params![code.as_str()], |row| {
                Ok(SetId::from_bytes(row.array(0, "a set's id")?))
            })?
            .ok_or_else(|| StoreError::NotFound { noun: "set", key: key() })?,
    };
    let scope = school_scope(actor, "t.school_id");
    let rows =
        tx.query(&format!("{LINE} WHERE t.id = $1 AND {scope} ORDER BY d.id"), params![id.as_bytes()], part)?;
    let mut lines = lines(tx, rows, now)?;
    lines.pop().ok_or_else(|| StoreError::NotFound { noun: "set", key: key() })
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

/// The latest states of a set's devices, for whoever compares them with what is booked.
pub fn set_snapshots(
    tx: &mut Tx<'_>,
    actor: &Actor,
    set: SetId,
) -> Result<Vec<(DeviceId, Snapshot)>, StoreError> {
    permit(actor, Act::FleetRead)?;
    let facts = set_facts(tx, set)?;
    let devices = facts.into_iter().flat_map(|facts| facts.devices);
    Ok(devices.map(|device| (device.id, device.snapshot)).collect())
}

impl SetLine {
    /// Whether a text by which people name a set has `wanted`, in small letters, in it.
    fn mentions(&self, wanted: &str) -> bool {
        let names = [self.school_code.as_str(), &self.school_name, self.code.as_str()];
        let room = self.place.iter().map(|place| place.room_name.as_str());
        let told = self.devices.iter().flat_map(|device| [&device.host_name, &device.processor]);
        let told = told.flatten().map(String::as_str);
        names.into_iter().chain(room).chain(told).any(|text| text.to_lowercase().contains(wanted))
    }

    /// The device that speaks for the set: of those that may report, the one that was heard of last.
    pub fn main_device(&self) -> Option<&SetDevice> {
        self.devices.iter().max_by_key(|device| rank(device.standing, device.last_report_at))
    }

    /// School and room, or school and code while it has none.
    pub fn title(&self) -> String {
        let place = self.place.as_ref().map_or(self.code.as_str(), |place| place.room_name.as_str());
        format!("{} {place}", self.school_name)
    }
}

const LINE: &str = "SELECT t.id, t.code, t.standing, t.created_us, s.code, s.name,
    r.id, r.name, r.kind, p.from_us, d.id, d.standing, d.enrolled_us,
    (SELECT max(x.last_us) FROM run x WHERE x.device_id = d.id), st.snapshot
    FROM device_set t JOIN school s ON s.id = t.school_id
    LEFT JOIN placement p ON p.set_id = t.id AND p.to_us IS NULL
    LEFT JOIN room r ON r.id = p.room_id
    LEFT JOIN device d ON d.set_id = t.id
    LEFT JOIN device_state st ON st.device_id = d.id";

/// One page in order, without filters that SQL does not know.
fn page(
    tx: &mut Tx<'_>,
    actor: &Actor,
    school: Option<&SchoolCode>,
    after: Option<SetId>,
    limit: usize,
    now: UtcMicros,
) -> Result<Vec<SetLine>, StoreError> {
    let scope = school_scope(actor, "t.school_id");
    let (after_school, after_room, after_id) = match after {
        Some(id) => {
            let line = set_find(tx, actor, SetRef::Id(id), now)?;
            let room = line.place.map(|place| place.room_name).unwrap_or_default();
            (line.school_code.as_str().to_owned(), room, *id.as_bytes())
        }
        None => (String::new(), String::new(), [0; 16]),
    };
    let ids = tx.query(
        &format!(
            "SELECT t.id FROM device_set t JOIN school s ON s.id = t.school_id
             LEFT JOIN placement p ON p.set_id = t.id AND p.to_us IS NULL LEFT JOIN room r ON r.id = p.room_id
             WHERE (s.code, coalesce(r.name, ''), t.id) > ($1, $2, $3) AND ($4 = '' OR s.code = $4) AND {scope}
             ORDER BY s.code, coalesce(r.name, ''), t.id LIMIT $5"
        ),
        params![after_school, after_room, &after_id, school.map_or("", SchoolCode::as_str), limit as i64],
        |row| Ok(SetId::from_bytes(row.array(0, "a set's id")?)),
    )?;
    let mut parts = Vec::with_capacity(ids.len());
    for id in ids {
        parts.extend(tx.query(
            &format!("{LINE} WHERE t.id = $1 ORDER BY d.id"),
            params![id.as_bytes()],
            part,
        )?);
    }
    lines(tx, parts, now)
}

/// A set and one of its devices.
fn part(row: &Row<'_>) -> Result<SetLine, StoreError> {
    let damaged = |what| StoreError::Damaged { what };
    let place = match row.bytes_opt(6)? {
        None => None,
        Some(_) => Some(Place {
            room_id: RoomId::from_bytes(row.array(6, "a room's id")?),
            room_name: row.text(7)?,
            room_kind: RoomKind::parse(&row.text(8)?).map_err(|_| damaged("a room's kind"))?,
            since: row.time(9)?,
        }),
    };
    let device = match row.bytes_opt(10)? {
        None => None,
        Some(_) => {
            let snapshot = crate::devices::snapshot_of(row.text_opt(14)?)?;
            let hardware = snapshot.hardware.as_ref().map(|section| &section.told.facts);
            Some(SetDevice {
                id: DeviceId::from_bytes(row.array(10, "a device's id")?),
                standing: device_standing_of(&row.text(11)?)?,
                enrolled_at: row.time(12)?,
                last_report_at: row.time_opt(13)?,
                host_name: snapshot.software.as_ref().and_then(|s| s.told.facts.host_name.clone()),
                processor: hardware.and_then(|h| h.processors.first()).and_then(|p| p.model.clone()),
                memory_bytes: hardware.and_then(|h| h.memory.total_bytes),
            })
        }
    };
    Ok(SetLine {
        id: SetId::from_bytes(row.array(0, "a set's id")?),
        code: row.text(1)?.parse().map_err(|_| damaged("a set's code"))?,
        standing: standing_of(&row.text(2)?)?,
        // Known when the faults and tickets are.
        state: SetState::NotConnected,
        school_code: SchoolCode::parse(&row.text(4)?).map_err(|_| damaged("a school's code"))?,
        school_name: row.text(5)?,
        place,
        devices: device.into_iter().collect(),
        faults: Vec::new(),
        tickets: Vec::new(),
        created_at: row.time(3)?,
    })
}

/// Joins the parts of each set and adds what is wrong with it.
fn lines(tx: &mut Tx<'_>, parts: Vec<SetLine>, now: UtcMicros) -> Result<Vec<SetLine>, StoreError> {
    let mut lines: Vec<SetLine> = Vec::with_capacity(parts.len());
    for part in parts {
        match lines.last_mut().filter(|line| line.id == part.id) {
            Some(line) => line.devices.extend(part.devices),
            None => lines.push(part),
        }
    }
    for line in &mut lines {
        line.faults = tx.query(
            "SELECT kind, state FROM fault WHERE set_id = $1 AND closed_us IS NULL ORDER BY kind",
            params![line.id.as_bytes()],
            |row| {
                Ok(RaisedFault {
                    kind: kind_of(&row.text(0)?)?,
                    state: FaultState::parse(&row.text(1)?)
                        .ok_or(StoreError::Damaged { what: "a fault's state" })?,
                })
            },
        )?;
        line.faults.retain(|fault| fault.state.is_raised());
        line.tickets = tx.query(
            "SELECT no, state FROM ticket WHERE set_id = $1 AND closed_us IS NULL ORDER BY no",
            params![line.id.as_bytes()],
            |row| Ok(OpenTicket { no: row.text(0)?, state: ticket_state_of(&row.text(1)?)? }),
        )?;
        line.state = state_of(line, now);
    }
    Ok(lines)
}

/// Orders devices of a set: the highest speaks for it.
fn rank(standing: Standing, last_report_at: Option<UtcMicros>) -> (bool, Option<UtcMicros>) {
    (standing == Standing::Active, last_report_at)
}

/// What decides a set's word, gathered row by row.
struct Signs {
    standing: SetStanding,
    newest: Option<(Standing, Option<UtcMicros>)>,
    is_faulty: bool,
    is_asked_about: bool,
    is_in_repair: bool,
}

impl Signs {
    fn new(standing: SetStanding) -> Self {
        Self { standing, newest: None, is_faulty: false, is_asked_about: false, is_in_repair: false }
    }

    fn device(&mut self, standing: Standing, last_report_at: Option<UtcMicros>) {
        let speaks = |(of, at)| rank(of, at) <= rank(standing, last_report_at);
        if self.newest.is_none_or(speaks) {
            self.newest = Some((standing, last_report_at));
        }
    }

    fn raised(&mut self, kind: FaultKind) {
        match kind.consequence() {
            Consequence::Ticket => self.is_faulty = true,
            Consequence::Question => self.is_asked_about = true,
        }
    }

    fn ticket(&mut self, state: TicketState) {
        match state.is_dispatched() {
            true => self.is_in_repair = true,
            false => self.is_faulty = true,
        }
    }

    fn state(&self, now: UtcMicros) -> SetState {
        set_state(SetSigns {
            standing: self.standing,
            presence: self.newest.map(|(standing, last)| presence(standing, last, now)),
            is_faulty: self.is_faulty,
            is_asked_about: self.is_asked_about,
            is_in_repair: self.is_in_repair,
        })
    }
}

fn state_of(line: &SetLine, now: UtcMicros) -> SetState {
    let mut signs = Signs::new(line.standing);
    line.devices.iter().for_each(|device| signs.device(device.standing, device.last_report_at));
    line.faults.iter().for_each(|fault| signs.raised(fault.kind));
    line.tickets.iter().for_each(|ticket| signs.ticket(ticket.state));
    signs.state(now)
}

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

fn standing_of(text: &str) -> Result<SetStanding, StoreError> {
    SetStanding::parse(text).ok_or(StoreError::Damaged { what: "a set's standing" })
}

fn ticket_state_of(text: &str) -> Result<TicketState, StoreError> {
    TicketState::parse(text).ok_or(StoreError::Damaged { what: "a ticket's state" })
}

fn device_standing_of(text: &str) -> Result<Standing, StoreError> {
    Standing::parse(text).ok_or(StoreError::Damaged { what: "a device's standing" })
}
