//! Faults of sets: decided here in one transaction with the facts that they rest on, listed for people.

use std::collections::BTreeSet;

use bbt_domain::{
    access::{Act, Actor},
    fault::{
        FaultKind, FaultState, Reason,
        analysis::{Change, Known, analyze},
        input::Input,
        policy::Rules,
    },
    ids::{DeviceId, FaultId, InquiryId, SetId, TicketId},
    set_code::SetCode,
    ticket::state::TicketState,
    time::UtcMicros,
};
use serde::Serialize;

use crate::{
    Row, StoreError, Tx, error::permit, meta::listening, params, scope::school_scope, sets::set_facts,
    tickets::ticket_state_of,
};

/// Ids for faults that may begin: one per kind, in the order of [`FaultKind::ALL`].
pub type NewFaultIds = [FaultId; FaultKind::ALL.len()];

/// Decides the faults of one set at `now` and stores what changed; how many changes.
pub fn fault_analyze(
    tx: &mut Tx<'_>,
    actor: &Actor,
    set: SetId,
    rules: &Rules,
    ids: &NewFaultIds,
    now: UtcMicros,
) -> Result<usize, StoreError> {
    permit(actor, Act::FaultDecide)?;
    let (open, changes) = decide(tx, set, rules, now)?;
    for change in &changes {
        let found = open.iter().find(|fault| fault.kind == change.kind);
        let new_id = || FaultKind::ALL.iter().position(|kind| *kind == change.kind).map(|at| ids[at]);
        match found {
            Some(fault) => update(tx, fault.id, change)?,
            None => {
                let Some(id) = new_id() else { continue };
                insert(tx, id, set, change)?;
            }
        }
    }
    Ok(changes.len())
}

/// Whether [`fault_analyze`] would change anything: looked at by a reader, so that the writer is not troubled
/// for sets that stay as they are.
pub fn fault_would_change(
    tx: &mut Tx<'_>,
    actor: &Actor,
    set: SetId,
    rules: &Rules,
    now: UtcMicros,
) -> Result<bool, StoreError> {
    permit(actor, Act::FaultRead)?;
    Ok(!decide(tx, set, rules, now)?.1.is_empty())
}

/// Sets with a fault that is not over for good: they are looked at each time.
pub fn sets_with_open_faults(tx: &mut Tx<'_>, actor: &Actor) -> Result<Vec<SetId>, StoreError> {
    permit(actor, Act::FaultRead)?;
    tx.query("SELECT DISTINCT set_id FROM fault WHERE closed_us IS NULL ORDER BY set_id", params![], |row| {
        Ok(SetId::from_bytes(row.array(0, "a set's id")?))
    })
}

/// The sets that `devices` belong to, each once.
pub fn sets_of_devices(
    tx: &mut Tx<'_>,
    actor: &Actor,
    devices: &[DeviceId],
) -> Result<Vec<SetId>, StoreError> {
    permit(actor, Act::FleetRead)?;
    let mut sets = BTreeSet::new();
    for device in devices {
        sets.extend(tx.query_first(
            "SELECT set_id FROM device WHERE id = $1 AND set_id IS NOT NULL",
            params![device.as_bytes()],
            |row| Ok(SetId::from_bytes(row.array(0, "a set's id")?)),
        )?);
    }
    Ok(sets.into_iter().collect())
}

/// Ids of sets in order, after `after`.
pub fn set_ids(
    tx: &mut Tx<'_>,
    actor: &Actor,
    after: Option<SetId>,
    limit: usize,
) -> Result<Vec<SetId>, StoreError> {
    permit(actor, Act::FleetRead)?;
    let after = after.map_or([0; 16], |id| *id.as_bytes());
    tx.query(
        "SELECT id FROM device_set WHERE id > $1 ORDER BY id LIMIT $2",
        params![&after, limit as i64],
        |row| Ok(SetId::from_bytes(row.array(0, "a set's id")?)),
    )
}

struct OpenFault {
    id: FaultId,
    kind: FaultKind,
    known: Known,
}

fn decide(
    tx: &mut Tx<'_>,
    set: SetId,
    rules: &Rules,
    now: UtcMicros,
) -> Result<(Vec<OpenFault>, Vec<Change>), StoreError> {
    let Some(facts) = set_facts(tx, set)? else { return Ok((Vec::new(), Vec::new())) };
    let open = tx.query(
        "SELECT id, kind, state, since_us, raised_us, cleared_us, returns FROM fault
         WHERE set_id = $1 AND closed_us IS NULL",
        params![set.as_bytes()],
        |row| {
            Ok(OpenFault {
                id: FaultId::from_bytes(row.array(0, "a fault's id")?),
                kind: kind_of(&row.text(1)?)?,
                known: Known {
                    state: state_of(&row.text(2)?)?,
                    since: row.time(3)?,
                    raised_at: row.time_opt(4)?,
                    cleared_at: row.time_opt(5)?,
                    returns: u32::try_from(row.int(6)?).unwrap_or(u32::MAX),
                    closed: false,
                },
            })
        },
    )?;
    let known = |kind| open.iter().find(|fault| fault.kind == kind).map(|fault| fault.known);
    let listening_since = listening(tx)?.map(|listening| listening.since);
    let changes = analyze(&Input { now, set: &facts, rules, listening_since }, known);
    Ok((open, changes))
}

fn insert(tx: &mut Tx<'_>, id: FaultId, set: SetId, change: &Change) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO fault (id, set_id, school_id, kind, state, since_us, raised_us, cleared_us, returns, reason,
            closed_us)
         SELECT $1, t.id, t.school_id, $2, $3, $4, $5, $6, $7, $8, NULL FROM device_set t WHERE t.id = $9",
        params![
            id.as_bytes(),
            change.kind.as_str(),
            change.next.state.as_str(),
            change.next.since,
            change.next.raised_at,
            change.next.cleared_at,
            i64::from(change.next.returns),
            change.reason.as_ref().map(reason_text).unwrap_or_default(),
            set.as_bytes()
        ],
    )?;
    note(tx, id, change)
}

fn update(tx: &mut Tx<'_>, id: FaultId, change: &Change) -> Result<(), StoreError> {
    let next = &change.next;
    tx.execute(
        "UPDATE fault SET state = $1, since_us = $2, raised_us = $3, cleared_us = $4, returns = $5, closed_us = $6
         WHERE id = $7",
        params![
            next.state.as_str(),
            next.since,
            next.raised_at,
            next.cleared_at,
            i64::from(next.returns),
            next.closed.then_some(next.since),
            id.as_bytes()
        ],
    )?;
    if let Some(reason) = &change.reason {
        tx.execute(
            "UPDATE fault SET reason = $1 WHERE id = $2",
            params![reason_text(reason), id.as_bytes()],
        )?;
    }
    note(tx, id, change)
}

/// Keeps the change in the fault's story.
fn note(tx: &mut Tx<'_>, id: FaultId, change: &Change) -> Result<(), StoreError> {
    let Some(reason) = &change.reason else { return Ok(()) };
    tx.execute(
        "INSERT INTO fault_change (fault_id, no, at_us, state, reason)
         SELECT $1, coalesce(max(no), 0) + 1, $2, $3, $4 FROM fault_change WHERE fault_id = $1",
        params![id.as_bytes(), change.next.since, change.next.state.as_str(), reason_text(reason)],
    )?;
    Ok(())
}

/// Where a set stands, in one line of a list of what is about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetName {
    /// The set.
    pub id: SetId,
    /// 设备码.
    pub code: SetCode,
    /// Its school's code.
    pub school_code: String,
    /// Its school's name.
    pub school_name: String,
    /// Its room's name; `None` while nobody placed it.
    pub room_name: Option<String>,
}

/// Columns of [`SetName`], with `t` as the set, `s` as its school and `m` as its room.
pub(crate) const SET_NAME: &str = "t.id, t.code, s.code, s.name, m.name";
/// The joins that [`SET_NAME`] needs, after a table that has `set_id` and is called `x`.
pub(crate) const SET_NAME_JOINS: &str =
    "JOIN device_set t ON t.id = x.set_id JOIN school s ON s.id = t.school_id
    LEFT JOIN placement p ON p.set_id = t.id AND p.to_us IS NULL LEFT JOIN room m ON m.id = p.room_id";

/// Reads the columns of [`SET_NAME`], the first of which is `at`.
pub(crate) fn set_name_of(row: &Row<'_>, at: usize) -> Result<SetName, StoreError> {
    Ok(SetName {
        id: SetId::from_bytes(row.array(at, "a set's id")?),
        code: row.text(at + 1)?.parse().map_err(|_| StoreError::Damaged { what: "a set's code" })?,
        school_code: row.text(at + 2)?,
        school_name: row.text(at + 3)?,
        room_name: row.text_opt(at + 4)?,
    })
}

/// One line of a list of faults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FaultLine {
    /// The fault.
    pub id: FaultId,
    /// What is wrong.
    pub kind: FaultKind,
    /// How it stands.
    pub state: FaultState,
    /// Since when it stands so.
    pub since: UtcMicros,
    /// When it was raised first.
    pub raised_at: Option<UtcMicros>,
    /// When it was cleared last.
    pub cleared_at: Option<UtcMicros>,
    /// How often it came back after it was cleared.
    pub returns: i64,
    /// Why it stands so.
    pub reason: Reason,
    /// Where.
    pub set: SetName,
    /// Its ticket, with number and state.
    pub ticket: Option<(TicketId, String, TicketState)>,
    /// The question that is open about it.
    pub inquiry: Option<InquiryId>,
}

/// One change of a fault's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FaultChange {
    /// By the facts.
    pub at: UtcMicros,
    /// From then on.
    pub state: FaultState,
    /// Why.
    pub reason: Reason,
}

/// What a list of faults shall hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultFilter {
    /// Those that are over, too.
    pub with_past: bool,
    /// Of this kind.
    pub kind: Option<FaultKind>,
    /// Of this set.
    pub set: Option<SetId>,
}

fn select() -> String {
    format!(
        "SELECT x.id, x.kind, x.state, x.since_us, x.raised_us, x.cleared_us, x.returns, x.reason, {SET_NAME},
            k.id, k.no, k.state, q.id
         FROM fault x {SET_NAME_JOINS}
         LEFT JOIN ticket k ON k.fault_id = x.id
         LEFT JOIN inquiry q ON q.fault_id = x.id AND q.closed_us IS NULL"
    )
}

/// Faults that were raised, newest first, before `before`.
pub fn fault_list(
    tx: &mut Tx<'_>,
    actor: &Actor,
    filter: &FaultFilter,
    before: Option<FaultId>,
    limit: usize,
) -> Result<Vec<FaultLine>, StoreError> {
    permit(actor, Act::FaultRead)?;
    let scope = school_scope(actor, "x.school_id");
    let now_only =
        if filter.with_past { "" } else { "AND x.state IN ('faulty', 'recovering') AND x.closed_us IS NULL" };
    let sql = format!(
        "{} WHERE x.raised_us IS NOT NULL AND x.id < $1 AND ($2 = '' OR x.kind = $2) AND ($3 = 1 OR x.set_id = $4)
            {now_only} AND {scope}
         ORDER BY x.id DESC LIMIT $5",
        select()
    );
    let before = before.map_or([0xff; 16], |id| *id.as_bytes());
    let set = filter.set.map_or([0; 16], |id| *id.as_bytes());
    let kind = filter.kind.map_or("", FaultKind::as_str);
    tx.query(&sql, params![&before, kind, filter.set.is_none(), &set, limit as i64], line_of)
}

/// One fault that was raised.
pub fn fault_show(tx: &mut Tx<'_>, actor: &Actor, id: FaultId) -> Result<FaultLine, StoreError> {
    permit(actor, Act::FaultRead)?;
    let scope = school_scope(actor, "x.school_id");
    let sql = format!("{} WHERE x.id = $1 AND x.raised_us IS NOT NULL AND {scope}", select());
    tx.query_first(&sql, params![id.as_bytes()], line_of)?
        .ok_or_else(|| StoreError::NotFound { noun: "fault", key: id.to_string() })
}

/// How many faults are raised: those that [`fault_list`] has without the past ones.
pub fn fault_count(tx: &mut Tx<'_>, actor: &Actor) -> Result<i64, StoreError> {
    permit(actor, Act::FaultRead)?;
    let scope = school_scope(actor, "x.school_id");
    let sql = format!(
        "SELECT count(*) FROM fault x WHERE x.raised_us IS NOT NULL AND x.state IN ('faulty', 'recovering')
            AND x.closed_us IS NULL AND {scope}"
    );
    Ok(tx.query_first(&sql, params![], |row| row.int(0))?.unwrap_or(0))
}

/// The story of one fault, oldest first.
pub fn fault_story(tx: &mut Tx<'_>, actor: &Actor, id: FaultId) -> Result<Vec<FaultChange>, StoreError> {
    permit(actor, Act::FaultRead)?;
    let scope = school_scope(actor, "f.school_id");
    tx.query(
        &format!(
            "SELECT c.at_us, c.state, c.reason FROM fault_change c JOIN fault f ON f.id = c.fault_id
             WHERE c.fault_id = $1 AND {scope} ORDER BY c.no"
        ),
        params![id.as_bytes()],
        |row| {
            Ok(FaultChange {
                at: row.time(0)?,
                state: state_of(&row.text(1)?)?,
                reason: reason_of(&row.text(2)?)?,
            })
        },
    )
}

fn line_of(row: &Row<'_>) -> Result<FaultLine, StoreError> {
    let ticket = match row.array_opt(13, "a ticket's id")? {
        None => None,
        Some(id) => Some((TicketId::from_bytes(id), row.text(14)?, ticket_state_of(&row.text(15)?)?)),
    };
    Ok(FaultLine {
        id: FaultId::from_bytes(row.array(0, "a fault's id")?),
        kind: kind_of(&row.text(1)?)?,
        state: state_of(&row.text(2)?)?,
        since: row.time(3)?,
        raised_at: row.time_opt(4)?,
        cleared_at: row.time_opt(5)?,
        returns: row.int(6)?,
        reason: reason_of(&row.text(7)?)?,
        set: set_name_of(row, 8)?,
        ticket,
        inquiry: row.array_opt(16, "an inquiry's id")?.map(InquiryId::from_bytes),
    })
}

pub(crate) fn kind_of(text: &str) -> Result<FaultKind, StoreError> {
    FaultKind::parse(text).ok_or(StoreError::Damaged { what: "a fault's kind" })
}

pub(crate) fn state_of(text: &str) -> Result<FaultState, StoreError> {
    FaultState::parse(text).ok_or(StoreError::Damaged { what: "a fault's state" })
}

pub(crate) fn reason_of(text: &str) -> Result<Reason, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Damaged { what: "a reason" })
}

/// A reason as it is stored.
pub(crate) fn reason_text(reason: &Reason) -> String {
    // A reason is made of numbers, texts and ids, all of which JSON can hold.
    serde_json::to_string(reason).unwrap_or_default()
}
