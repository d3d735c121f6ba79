//! Rooms of schools.

use bbt_domain::{
    access::{Act, Actor},
    ids::{RoomId, SchoolId},
    org::{Room, RoomKind, SchoolCode},
    time::UtcMicros,
};
use serde_json::json;

use crate::{
    Row, StoreError, Tx, audit, error::permit, params, schools::school_by_code, scope::school_scope,
};

const SELECT: &str = "SELECT r.id, s.code, r.name, r.kind,
    (SELECT count(*) FROM placement p WHERE p.room_id = r.id AND p.to_us IS NULL)
    FROM room r JOIN school s ON s.id = r.school_id";

/// A room to be recorded.
#[derive(Clone, Debug)]
pub struct NewRoom {
    /// The record.
    pub id: RoomId,
    /// Its school.
    pub school: SchoolCode,
    /// Unique in the school, made safe by [`bbt_domain::org::room_name`].
    pub name: String,
    /// What it is for.
    pub kind: RoomKind,
}

/// How people name a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomRef {
    /// By its id.
    Id(RoomId),
    /// `SCHOOL/NAME`.
    Named(SchoolCode, String),
}

impl RoomRef {
    /// Reads an id, or a school's code and a room's name with a `/` between them.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(id) = text.parse() {
            return Some(Self::Id(id));
        }
        let (school, name) = text.split_once('/')?;
        Some(Self::Named(SchoolCode::parse(school).ok()?, bbt_domain::org::room_name(name).ok()?))
    }
}

/// Adds a room.
pub fn room_add(tx: &mut Tx<'_>, actor: &Actor, room: &NewRoom, now: UtcMicros) -> Result<Room, StoreError> {
    permit(actor, Act::SetWrite)?;
    let school = school_by_code(tx, actor, &room.school)?;
    let added = tx.execute(
        "INSERT INTO room (id, school_id, name, kind, created_us) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (school_id, name) DO NOTHING",
        params![room.id.as_bytes(), school.id.as_bytes(), &room.name, room.kind.as_str(), now],
    )?;
    if added == 0 {
        let key = format!("{}/{}", room.school.as_str(), room.name);
        return Err(StoreError::Exists { noun: "room", key });
    }
    let detail = json!({"school": room.school, "name": room.name, "kind": room.kind});
    audit::append(tx, actor, "room.add", &format!("room:{}", room.id), &detail, now)?;
    Ok(room_find(tx, actor, &RoomRef::Id(room.id))?.0)
}

/// A room, and the id of its school.
pub fn room_find(tx: &mut Tx<'_>, actor: &Actor, room: &RoomRef) -> Result<(Room, SchoolId), StoreError> {
    permit(actor, Act::FleetRead)?;
    let scope = school_scope(actor, "r.school_id");
    let take = |row: &Row<'_>| room_of(row);
    let found = match room {
        RoomRef::Id(id) => {
            tx.query_first(&format!("{SELECT} WHERE r.id = $1 AND {scope}"), params![id.as_bytes()], take)?
        }
        RoomRef::Named(school, name) => tx.query_first(
            &format!("{SELECT} WHERE s.code = $1 AND r.name = $2 AND {scope}"),
            params![school.as_str(), name],
            take,
        )?,
    };
    let key = || match room {
        RoomRef::Id(id) => id.to_string(),
        RoomRef::Named(school, name) => format!("{}/{name}", school.as_str()),
    };
    let room = found.ok_or_else(|| StoreError::NotFound { noun: "room", key: key() })?;
    let school = school_by_code(tx, actor, &room.school_code)?;
    Ok((room, school.id))
}

/// Rooms in order of school and name, of one school if it is given, after the room `after`.
pub fn room_list(
    tx: &mut Tx<'_>,
    actor: &Actor,
    school: Option<&SchoolCode>,
    after: Option<RoomId>,
    limit: usize,
) -> Result<Vec<Room>, StoreError> {
    permit(actor, Act::FleetRead)?;
    let (after_school, after_name) = match after {
        Some(id) => {
            let (room, _) = room_find(tx, actor, &RoomRef::Id(id))?;
            (room.school_code.as_str().to_owned(), room.name)
        }
        None => (String::new(), String::new()),
    };
    let scope = school_scope(actor, "r.school_id");
    let sql = format!(
        "{SELECT} WHERE (s.code, r.name) > ($1, $2) AND ($3 = '' OR s.code = $3) AND {scope}
         ORDER BY s.code, r.name LIMIT $4"
    );
    let school = school.map_or("", SchoolCode::as_str);
    tx.query(&sql, params![after_school, after_name, school, limit as i64], room_of)
}

fn room_of(row: &Row<'_>) -> Result<Room, StoreError> {
    let damaged = |what| StoreError::Damaged { what };
    Ok(Room {
        id: RoomId::from_bytes(row.array(0, "a room's id")?),
        school_code: SchoolCode::parse(&row.text(1)?).map_err(|_| damaged("a school's code"))?,
        name: row.text(2)?,
        kind: RoomKind::parse(&row.text(3)?).map_err(|_| damaged("a room's kind"))?,
        sets: row.int(4)?,
    })
}
