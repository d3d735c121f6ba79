//! When sets were on and in use: what devices tell, day by day, and how it is read per room and set.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use bbt_domain::{
    access::{Act, Actor},
    civil::Day,
    identity::Standing,
    ids::{DeviceId, RoomId, SchoolId, SetId},
    org::{RoomKind, SchoolCode},
    report::Class,
    time::UtcMicros,
    usage::{
        definitions::{Coverage, DeviceDay, Meaning, SlotUsage, Totals, day_of_set, totals},
        slots::{DAY_SLOTS, SLOT_SECS, Slot, UsageDay, first_of, place_of},
    },
};
use serde::Serialize;

use crate::{
    Row, StoreError, Tx,
    error::permit,
    params,
    schools::school_by_code,
    scope::school_scope,
    sets::{SetRef, set_and_school},
};

/// Slots older than this are no usage but a wrong clock: no device keeps what it has not sent for so long.
const OLDEST: Duration = Duration::from_secs(400 * 86_400);

/// A day of a school's sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SchoolUsage {
    /// The school.
    pub school_code: SchoolCode,
    /// Its name.
    pub school_name: String,
    /// The day, in county time.
    pub day: Day,
    /// Every room, with or without a set, in order of their names.
    pub rooms: Vec<RoomUsage>,
    /// Sets that stood in no room, or those parts of the day in which they did not.
    pub unplaced: Vec<SetUsage>,
}

/// A day of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoomUsage {
    /// The room.
    pub room_id: RoomId,
    /// Its name.
    pub room_name: String,
    /// What it is for.
    pub room_kind: RoomKind,
    /// The sets that stood in it, each with its share of the day.
    pub sets: Vec<SetUsage>,
}

/// A day of a set, or the part of it that it stood in one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetUsage {
    /// The set.
    pub set_id: SetId,
    /// Its 设备码.
    pub set_code: String,
    /// Place of the first slot in the day, from 0; a slot is five minutes.
    pub first_slot: usize,
    /// Slot by slot.
    pub slots: Vec<SlotUsage>,
    /// Their sums.
    pub totals: Totals,
}

/// Adds what a device tells. Slots that lie after `received`, or long before, are those of a wrong clock and left
/// out.
pub(crate) fn usage_apply(
    tx: &mut Tx<'_>,
    device: DeviceId,
    school: SchoolId,
    slots: impl Iterator<Item = Slot>,
    received: UtcMicros,
) -> Result<(), StoreError> {
    let likely = slot_of(received.minus(OLDEST))..=slot_of(received);
    let mut days: BTreeMap<Day, Vec<(usize, Slot)>> = BTreeMap::new();
    for slot in slots.filter(|slot| likely.contains(&slot.number)) {
        let (day, place) = place_of(slot.number);
        days.entry(day).or_default().push((place, slot));
    }
    for (day, told) in &days {
        let mut usage = day_load(tx, device, *day)?;
        told.iter().for_each(|(place, slot)| usage.add(*place, slot.seconds));
        tx.execute(
            "INSERT INTO usage_day (device_id, day, school_id, slots) VALUES ($1, $2, $3, $4)
             ON CONFLICT (device_id, day) DO UPDATE SET slots = excluded.slots",
            params![device.as_bytes(), day.number(), school.as_bytes(), usage.to_bytes()],
        )?;
    }
    let numbers = || days.values().flatten().map(|(_, slot)| slot.number);
    if let (Some(first), Some(last)) = (numbers().min(), numbers().max()) {
        told_widen(tx, device, first..last + 1)?;
    }
    Ok(())
}

/// A day of every room and set of a school.
pub fn usage_of_school(
    tx: &mut Tx<'_>,
    actor: &Actor,
    school: &SchoolCode,
    day: Day,
) -> Result<SchoolUsage, StoreError> {
    permit(actor, Act::UsageRead)?;
    let school = school_by_code(tx, actor, school)?;
    let scope = school_scope(actor, "school_id");
    let mut rooms = tx.query(
        &format!("SELECT id, name, kind FROM room WHERE school_id = $1 AND {scope} ORDER BY name"),
        params![school.id.as_bytes()],
        |row| {
            let kind = RoomKind::parse(&row.text(2)?);
            Ok(RoomUsage {
                room_id: RoomId::from_bytes(row.array(0, "a room's id")?),
                room_name: row.text(1)?,
                room_kind: kind.map_err(|_| StoreError::Damaged { what: "a room's kind" })?,
                sets: Vec::new(),
            })
        },
    )?;
    let sets = tx.query(
        &format!(
            "SELECT id, code FROM device_set WHERE school_id = $1 AND created_us < $2 AND {scope} ORDER BY code"
        ),
        params![school.id.as_bytes(), day.next().start()],
        |row| Ok((SetId::from_bytes(row.array(0, "a set's id")?), row.text(1)?)),
    )?;
    let mut unplaced = Vec::new();
    for (set, code) in sets {
        let slots = set_day(tx, set, day)?;
        for stay in stays(tx, set, day)? {
            let share = SetUsage::of(set, &code, &slots, stay.span);
            match rooms.iter_mut().find(|room| Some(room.room_id) == stay.room) {
                Some(room) => room.sets.push(share),
                // A set that stood in a room all the time it is known of was nowhere else.
                None if share.is_known() || share.slots.len() == DAY_SLOTS => unplaced.push(share),
                None => {}
            }
        }
    }
    Ok(SchoolUsage { school_code: school.code, school_name: school.name, day, rooms, unplaced })
}

/// A day of one set, wherever it stood.
pub fn usage_of_set(tx: &mut Tx<'_>, actor: &Actor, set: SetRef, day: Day) -> Result<SetUsage, StoreError> {
    permit(actor, Act::UsageRead)?;
    let (set, _) = set_and_school(tx, actor, set)?;
    let code =
        tx.query_first("SELECT code FROM device_set WHERE id = $1", params![set.as_bytes()], |row| {
            row.text(0)
        })?;
    let slots = set_day(tx, set, day)?;
    Ok(SetUsage::of(set, &code.unwrap_or_default(), &slots, 0..DAY_SLOTS))
}

impl SetUsage {
    fn of(set: SetId, code: &str, day: &[SlotUsage], span: Range<usize>) -> Self {
        let slots = day[span.clone()].to_vec();
        Self { set_id: set, set_code: code.to_owned(), first_slot: span.start, totals: totals(&slots), slots }
    }

    fn is_known(&self) -> bool {
        self.slots.iter().any(|slot| slot.meaning != Meaning::NoData)
    }
}

/// A part of a day that a set stood in one place.
struct Stay {
    room: Option<RoomId>,
    span: Range<usize>,
}

/// Where a set stood in the course of a day, without holes. A slot belongs to where the set was at its start.
fn stays(tx: &mut Tx<'_>, set: SetId, day: Day) -> Result<Vec<Stay>, StoreError> {
    let (start, end) = (day.start(), day.next().start());
    let placements = tx.query(
        "SELECT room_id, from_us, to_us FROM placement
         WHERE set_id = $1 AND from_us < $2 AND (to_us IS NULL OR to_us > $3) ORDER BY from_us",
        params![set.as_bytes(), end, start],
        |row| Ok((RoomId::from_bytes(row.array(0, "a room's id")?), row.time(1)?, row.time_opt(2)?)),
    )?;
    let first = first_of(day);
    let place = |time: UtcMicros| {
        let beginning = slot_of(UtcMicros::from_micros(time.as_micros().saturating_sub(1))) + 1 - first;
        usize::try_from(beginning).unwrap_or(0).min(DAY_SLOTS)
    };
    let mut stays = Vec::new();
    let mut at = 0;
    for (room, from, to) in placements {
        let span = place(from).max(at)..to.map_or(DAY_SLOTS, place);
        stays.push(Stay { room: None, span: at..span.start });
        at = span.end.max(span.start);
        stays.push(Stay { room: Some(room), span: span.start..at });
    }
    stays.push(Stay { room: None, span: at..DAY_SLOTS });
    stays.retain(|stay| !stay.span.is_empty());
    Ok(stays)
}

/// A set's day from those of its devices that may report, or did on that day.
fn set_day(tx: &mut Tx<'_>, set: SetId, day: Day) -> Result<Vec<SlotUsage>, StoreError> {
    let devices = tx.query(
        "SELECT d.id, u.slots, k.first_slot, k.until_slot FROM device d
         LEFT JOIN usage_day u ON u.device_id = d.id AND u.day = $1
         LEFT JOIN usage_told k ON k.device_id = d.id
         WHERE d.set_id = $2 AND (d.standing = $3 OR u.slots IS NOT NULL)",
        params![day.number(), set.as_bytes(), Standing::Active.as_str()],
        |row| {
            let told = row.int_opt(2)?.unwrap_or(0)..row.int_opt(3)?.unwrap_or(0);
            Ok((DeviceId::from_bytes(row.array(0, "a device's id")?), usage_of(row, 1)?, told))
        },
    )?;
    let mut days = Vec::with_capacity(devices.len());
    for (device, usage, told) in devices {
        let dropped = dropped(tx, device, day)?;
        days.push(DeviceDay { usage, coverage: Coverage { told, dropped } });
    }
    Ok(day_of_set(&days, first_of(day)))
}

/// Spans of slots that reports dropped by the device may have told of.
fn dropped(tx: &mut Tx<'_>, device: DeviceId, day: Day) -> Result<Vec<Range<i64>>, StoreError> {
    // A slot more on either side, because a dropped report tells of slots before it.
    let margin = Duration::from_secs(u64::from(SLOT_SECS) * 4);
    tx.query(
        "SELECT from_us, to_us FROM gap WHERE device_id = $1 AND class = $2 AND from_us < $3 AND to_us >= $4",
        params![
            device.as_bytes(),
            Class::State.as_str(),
            day.next().start().plus(margin),
            day.start().minus(margin)
        ],
        |row| Ok(Coverage::dropped_between(row.time(0)?, row.time(1)?)),
    )
}

fn day_load(tx: &mut Tx<'_>, device: DeviceId, day: Day) -> Result<UsageDay, StoreError> {
    let kept = tx.query_first(
        "SELECT slots FROM usage_day WHERE device_id = $1 AND day = $2",
        params![device.as_bytes(), day.number()],
        |row| usage_of(row, 0),
    )?;
    Ok(kept.unwrap_or_default())
}

fn told_widen(tx: &mut Tx<'_>, device: DeviceId, told: Range<i64>) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO usage_told (device_id, first_slot, until_slot) VALUES ($1, $2, $3)
         ON CONFLICT (device_id) DO UPDATE SET
             first_slot = CASE WHEN excluded.first_slot < usage_told.first_slot
                 THEN excluded.first_slot ELSE usage_told.first_slot END,
             until_slot = CASE WHEN excluded.until_slot > usage_told.until_slot
                 THEN excluded.until_slot ELSE usage_told.until_slot END",
        params![device.as_bytes(), told.start, told.end],
    )?;
    Ok(())
}

fn usage_of(row: &Row<'_>, column: usize) -> Result<UsageDay, StoreError> {
    match row.bytes_opt(column)? {
        Some(bytes) => UsageDay::from_bytes(&bytes).ok_or(StoreError::Damaged { what: "a day of usage" }),
        None => Ok(UsageDay::default()),
    }
}

/// The slot that a moment is in.
fn slot_of(time: UtcMicros) -> i64 {
    time.as_secs().div_euclid(i64::from(SLOT_SECS))
}
