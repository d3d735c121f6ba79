//! Sets as lists show them: one line each, with where it stands and what is wrong with it.

use bbt_domain::{
    access::{Act, Actor},
    fault::{FaultKind, FaultState},
    identity::Standing,
    ids::{DeviceId, RoomId, SetId},
    org::{RoomKind, SchoolCode, SetStanding},
    set_code::SetCode,
    set_state::SetState,
    ticket::state::TicketState,
    time::UtcMicros,
};
use serde::Serialize;

use super::{
    SetRef, device_standing_of, set_and_school,
    signs::{Signs, rank},
    standing_of,
};
use crate::{
    Row, StoreError, Tx,
    error::permit,
    faults::{kind_of, state_of as fault_state_of},
    params,
    scope::school_scope,
    tickets::ticket_state_of,
};

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
    let (id, _) = set_and_school(tx, actor, set)?;
    let rows = tx.query(&format!("{LINE} WHERE t.id = $1 ORDER BY d.id"), params![id.as_bytes()], part)?;
    let mut lines = lines(tx, rows, now)?;
    lines.pop().ok_or_else(|| StoreError::NotFound { noun: "set", key: id.to_string() })
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
    let place = match row.array_opt(6, "a room's id")? {
        None => None,
        Some(id) => Some(Place {
            room_id: RoomId::from_bytes(id),
            room_name: row.text(7)?,
            room_kind: RoomKind::parse(&row.text(8)?).map_err(|_| damaged("a room's kind"))?,
            since: row.time(9)?,
        }),
    };
    let device = match row.array_opt(10, "a device's id")? {
        None => None,
        Some(id) => {
            let snapshot = crate::devices::snapshot_of(row.text_opt(14)?)?;
            let hardware = snapshot.hardware.as_ref().map(|section| &section.told.facts);
            Some(SetDevice {
                id: DeviceId::from_bytes(id),
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
            |row| Ok(RaisedFault { kind: kind_of(&row.text(0)?)?, state: fault_state_of(&row.text(1)?)? }),
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

fn state_of(line: &SetLine, now: UtcMicros) -> SetState {
    let mut signs = Signs::new(line.standing);
    line.devices.iter().for_each(|device| signs.device(device.standing, device.last_report_at));
    line.faults.iter().for_each(|fault| signs.raised(fault.kind));
    line.tickets.iter().for_each(|ticket| signs.ticket(ticket.state));
    signs.state(now)
}
