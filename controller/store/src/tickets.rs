//! Tickets: opened once for a fault, moved on by people along the table of `bbt_domain::ticket::state`, told to
//! the contractor through the outbox in the same transaction.

use bbt_domain::{
    access::{Act, Actor},
    civil::county_time,
    fault::{Consequence, FaultKind, Reason},
    ids::{ContractId, FaultId, InquiryId, MessageId, SchoolId, SetId, TicketId},
    text::{SENTENCE_CHARS, clean},
    ticket::state::{Action, TicketState, transition},
    time::UtcMicros,
};
use serde::Serialize;
use serde_json::json;

use crate::{
    Row, StoreError, Tx, audit,
    error::permit,
    faults::{SET_NAME, SET_NAME_JOINS, SetName, kind_of, reason_of, reason_text, set_name_of},
    outbox::{MessageLine, NewMessage, message_keep, messages_of_ticket},
    params,
    scope::school_scope,
};

/// Ids that a step may need, and how the contractor reaches the ticket's page.
#[derive(Clone, Debug)]
pub struct TicketMeans {
    /// For a ticket, if one is opened.
    pub ticket: TicketId,
    /// For a message, if one is kept.
    pub message: MessageId,
    /// `https://HOST:PORT` of the console as contractors see it; a ticket's address follows it.
    pub console: String,
}

/// What there is to be done about tickets, found by looking at faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketStep {
    /// A raised fault has no ticket.
    Open(FaultId),
    /// A ticket that nobody accepted has lost its fault.
    Recover(TicketId),
    /// A closed ticket's fault is back.
    Recur(TicketId),
    /// An accepted ticket's fault is gone: a note.
    NoteRecovery(TicketId),
}

/// Steps that are due, at most `limit`.
pub fn ticket_steps(tx: &mut Tx<'_>, actor: &Actor, limit: usize) -> Result<Vec<TicketStep>, StoreError> {
    permit(actor, Act::FaultDecide)?;
    let limit = limit as i64;
    let ticket = |row: &Row<'_>| Ok(TicketId::from_bytes(row.array(0, "a ticket's id")?));
    let mut steps = Vec::new();
    for kind in FaultKind::ALL.into_iter().filter(|kind| kind.consequence() == Consequence::Ticket) {
        let due = tx.query(
            "SELECT f.id FROM fault f WHERE f.closed_us IS NULL AND f.state = 'faulty' AND f.kind = $1
                AND NOT EXISTS (SELECT 1 FROM ticket k WHERE k.fault_id = f.id) ORDER BY f.id LIMIT $2",
            params![kind.as_str(), limit],
            |row| Ok(FaultId::from_bytes(row.array(0, "a fault's id")?)),
        )?;
        steps.extend(due.into_iter().map(TicketStep::Open));
    }
    let recovered = tx.query(
        "SELECT k.id FROM ticket k JOIN fault f ON f.id = k.fault_id
         WHERE k.state = 'opened' AND f.state = 'ok' ORDER BY k.id LIMIT $1",
        params![limit],
        ticket,
    )?;
    steps.extend(recovered.into_iter().map(TicketStep::Recover));
    let back = tx.query(
        "SELECT k.id FROM ticket k JOIN fault f ON f.id = k.fault_id
         WHERE k.state IN ('recovered', 'confirmed') AND f.closed_us IS NULL AND f.state = 'faulty'
            AND f.since_us > k.closed_us
            AND NOT EXISTS (SELECT 1 FROM ticket o WHERE o.set_id = k.set_id AND o.kind = k.kind AND o.closed_us IS NULL)
         ORDER BY k.id LIMIT $1",
        params![limit],
        ticket,
    )?;
    steps.extend(back.into_iter().map(TicketStep::Recur));
    let noted = tx.query(
        "SELECT k.id FROM ticket k JOIN fault f ON f.id = k.fault_id
         WHERE k.state IN ('accepted', 'on_site') AND f.state = 'ok' AND f.cleared_us IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM ticket_event e
                WHERE e.ticket_id = k.id AND e.action = 'note_recovery' AND e.at_us >= f.cleared_us)
         ORDER BY k.id LIMIT $1",
        params![limit],
        ticket,
    )?;
    steps.extend(noted.into_iter().map(TicketStep::NoteRecovery));
    Ok(steps)
}

/// Does one step, if it is still due: another run may have done it meanwhile. Whether it was done.
pub fn ticket_step(
    tx: &mut Tx<'_>,
    actor: &Actor,
    step: TicketStep,
    means: &TicketMeans,
    now: UtcMicros,
) -> Result<bool, StoreError> {
    permit(actor, Act::FaultDecide)?;
    // The same question again, within this transaction.
    if !ticket_steps(tx, actor, STEPS_LOOKED_AT)?.contains(&step) {
        return Ok(false);
    }
    match step {
        TicketStep::Open(fault) => {
            let (set, kind, reason) = fault_facts(tx, fault)?;
            match open_ticket_of(tx, set, kind)? {
                // A ticket of an earlier fault that nobody closed yet takes this one on.
                Some(ticket) => {
                    tx.execute(
                        "UPDATE ticket SET fault_id = $1 WHERE id = $2",
                        params![fault.as_bytes(), ticket.as_bytes()],
                    )?;
                    event(tx, actor, ticket, "note_again", "", now)?;
                }
                None => {
                    let origin = Origin { fault, inquiry: None, kind, reason };
                    ticket_open(tx, actor, set, &origin, means, now)?;
                }
            }
        }
        TicketStep::Recover(ticket) => {
            move_on(tx, actor, ticket, Action::Recover, "", means, now)?;
        }
        TicketStep::Recur(ticket) => {
            move_on(tx, actor, ticket, Action::Recur, "", means, now)?;
        }
        TicketStep::NoteRecovery(ticket) => event(tx, actor, ticket, "note_recovery", "", now)?,
    }
    Ok(true)
}

/// Steps looked at when one of them is done; more than a run asks for.
const STEPS_LOOKED_AT: usize = 1_000;

fn fault_facts(tx: &mut Tx<'_>, fault: FaultId) -> Result<(SetId, FaultKind, Reason), StoreError> {
    let found = tx.query_first(
        "SELECT set_id, kind, reason FROM fault WHERE id = $1",
        params![fault.as_bytes()],
        |row| {
            let set = SetId::from_bytes(row.array(0, "a set's id")?);
            Ok((set, kind_of(&row.text(1)?)?, reason_of(&row.text(2)?)?))
        },
    )?;
    found.ok_or_else(|| StoreError::NotFound { noun: "fault", key: fault.to_string() })
}

fn open_ticket_of(tx: &mut Tx<'_>, set: SetId, kind: FaultKind) -> Result<Option<TicketId>, StoreError> {
    tx.query_first(
        "SELECT id FROM ticket WHERE set_id = $1 AND kind = $2 AND closed_us IS NULL",
        params![set.as_bytes(), kind.as_str()],
        |row| Ok(TicketId::from_bytes(row.array(0, "a ticket's id")?)),
    )
}

/// What a ticket comes of.
pub(crate) struct Origin {
    pub(crate) fault: FaultId,
    pub(crate) inquiry: Option<InquiryId>,
    pub(crate) kind: FaultKind,
    pub(crate) reason: Reason,
}

/// Opens a ticket and keeps its announcement.
pub(crate) fn ticket_open(
    tx: &mut Tx<'_>,
    actor: &Actor,
    set: SetId,
    origin: &Origin,
    means: &TicketMeans,
    now: UtcMicros,
) -> Result<(), StoreError> {
    let (school, contract) = tx
        .query_first(
            "SELECT t.school_id, x.contract_id FROM device_set t
             LEFT JOIN contract_school x ON x.school_id = t.school_id WHERE t.id = $1",
            params![set.as_bytes()],
            |row| {
                let contract = row.array_opt(1, "a contract's id")?.map(ContractId::from_bytes);
                Ok((SchoolId::from_bytes(row.array(0, "a school's id")?), contract))
            },
        )?
        .ok_or_else(|| StoreError::NotFound { noun: "set", key: set.to_string() })?;
    let no = next_no(tx, now)?;
    tx.execute(
        "INSERT INTO ticket (id, no, set_id, school_id, contract_id, kind, fault_id, inquiry_id, state, state_us,
            opened_us, closed_us, reason)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, NULL, $11)",
        params![
            means.ticket.as_bytes(),
            no,
            set.as_bytes(),
            school.as_bytes(),
            contract.as_ref().map(ContractId::as_bytes),
            origin.kind.as_str(),
            origin.fault.as_bytes(),
            origin.inquiry.as_ref().map(InquiryId::as_bytes),
            TicketState::Opened.as_str(),
            now,
            reason_text(&origin.reason)
        ],
    )?;
    event(tx, actor, means.ticket, "open", "", now)?;
    announce(tx, means.ticket, "ticket.opened", means, now)
}

/// Day and number of the day, for the telephone: `20260918-003`.
fn next_no(tx: &mut Tx<'_>, now: UtcMicros) -> Result<String, StoreError> {
    let day = county_time(now).date();
    let day = format!("{:04}{:02}{:02}-", day.year(), day.month(), day.day());
    // Nothing is ever deleted, so a count is the last number.
    let count = tx
        .query_first(
            "SELECT count(*) FROM ticket WHERE no >= $1 AND no < $2",
            params![&day, format!("{day}~")],
            |row| row.int(0),
        )?
        .unwrap_or(0);
    Ok(format!("{day}{:03}", count + 1))
}

/// A ticket that a person moves on.
pub fn ticket_act(
    tx: &mut Tx<'_>,
    actor: &Actor,
    ticket: TicketId,
    action: Action,
    note: &str,
    means: &TicketMeans,
    now: UtcMicros,
) -> Result<TicketFile, StoreError> {
    permit(actor, Act::TicketWork)?;
    if matches!(action, Action::Recover | Action::Recur) {
        return Err(StoreError::Forbidden { actor: actor.label(), act: Act::FaultDecide });
    }
    // Visible, before anything is told of its state.
    ticket_show(tx, actor, TicketRef::Id(ticket))?;
    move_on(tx, actor, ticket, action, note, means, now)?;
    let detail = json!({"action": action, "note": clean(note, SENTENCE_CHARS)});
    audit::append(tx, actor, "ticket.act", &format!("ticket:{ticket}"), &detail, now)?;
    ticket_show(tx, actor, TicketRef::Id(ticket))
}

fn move_on(
    tx: &mut Tx<'_>,
    actor: &Actor,
    ticket: TicketId,
    action: Action,
    note: &str,
    means: &TicketMeans,
    now: UtcMicros,
) -> Result<(), StoreError> {
    let found =
        tx.query_first("SELECT state, no FROM ticket WHERE id = $1", params![ticket.as_bytes()], |row| {
            Ok((ticket_state_of(&row.text(0)?)?, row.text(1)?))
        })?;
    let (from, no) = found.ok_or_else(|| StoreError::NotFound { noun: "ticket", key: ticket.to_string() })?;
    let row = transition(from, action).ok_or_else(|| {
        StoreError::Invalid(format!(
            "ticket {no} is {}: {} is not possible now; reload its page to see how it stands",
            from.as_str(),
            action.as_str()
        ))
    })?;
    let note = clean(note, SENTENCE_CHARS);
    if row.needs_note && note.is_empty() {
        let sentence = format!(
            "note = {note:?} is not enough for {}: say in a sentence what was found or done",
            action.as_str()
        );
        return Err(StoreError::Invalid(sentence));
    }
    tx.execute(
        "UPDATE ticket SET state = $1, state_us = $2, closed_us = $3 WHERE id = $4",
        params![row.to.as_str(), now, row.to.is_closed().then_some(now), ticket.as_bytes()],
    )?;
    event(tx, actor, ticket, action.as_str(), &note, now)?;
    match action {
        Action::Recover => announce(tx, ticket, "ticket.recovered", means, now),
        Action::Recur => announce(tx, ticket, "ticket.reopened", means, now),
        Action::Reopen => announce(tx, ticket, "ticket.returned", means, now),
        Action::Withdraw | Action::CallFalse => announce(tx, ticket, "ticket.withdrawn", means, now),
        // The contractor's own doing, or what ends it well.
        Action::Accept | Action::Arrive | Action::Fix | Action::Confirm => Ok(()),
    }
}

/// Keeps an event; its state is the ticket's by now.
fn event(
    tx: &mut Tx<'_>,
    actor: &Actor,
    ticket: TicketId,
    action: &str,
    note: &str,
    now: UtcMicros,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO ticket_event (ticket_id, no, at_us, actor, action, state, note)
         SELECT k.id, (SELECT coalesce(max(e.no), 0) + 1 FROM ticket_event e WHERE e.ticket_id = k.id), $1, $2, $3,
            k.state, $4
         FROM ticket k WHERE k.id = $5",
        params![now, actor.label(), action, note, ticket.as_bytes()],
    )?;
    Ok(())
}

/// Keeps a message to the ticket's contractor.
fn announce(
    tx: &mut Tx<'_>,
    ticket: TicketId,
    kind: &'static str,
    means: &TicketMeans,
    now: UtcMicros,
) -> Result<(), StoreError> {
    let line = line_by(tx, "x.id = $1", params![ticket.as_bytes()])?;
    let Some((line, Some(contract))) = line else { return Ok(()) };
    let data = json!({
        "ticket": {"id": line.id, "no": line.no, "kind": line.kind, "state": line.state, "opened_at": line.opened_at,
            "url": format!("{}/tickets/{}", means.console, line.id)},
        "set": line.set,
        "reason": line.reason,
    });
    message_keep(tx, &NewMessage { id: means.message, contract, ticket, kind, data }, now)
}

/// One line of a list of tickets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TicketLine {
    /// The ticket.
    pub id: TicketId,
    /// For people.
    pub no: String,
    /// What is wrong.
    pub kind: FaultKind,
    /// How it stands.
    pub state: TicketState,
    /// Since when.
    pub state_since: UtcMicros,
    /// When it was opened.
    pub opened_at: UtcMicros,
    /// When it was closed.
    pub closed_at: Option<UtcMicros>,
    /// Why it was opened.
    pub reason: Reason,
    /// Where.
    pub set: SetName,
    /// Who mends; `None` when the school is under no contract.
    pub contractor: Option<String>,
    /// The fault it is about.
    pub fault_id: Option<FaultId>,
}

/// Everything about one ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TicketFile {
    /// As in the list.
    #[serde(flatten)]
    pub line: TicketLine,
    /// What happened, oldest first.
    pub events: Vec<TicketEvent>,
    /// What the contractor was told, oldest first.
    pub messages: Vec<MessageLine>,
}

/// Something that happened to a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TicketEvent {
    /// When.
    pub at: UtcMicros,
    /// Who did it.
    pub actor: String,
    /// open, accept, …, note_recovery, note_again.
    pub action: String,
    /// From then on.
    pub state: TicketState,
    /// In the doer's words.
    pub note: String,
}

/// How people name a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TicketRef {
    /// By its id.
    Id(TicketId),
    /// By its number.
    No(String),
}

impl TicketRef {
    /// An id if it is one, else a number.
    pub fn parse(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::No(text.trim().to_owned()), Self::Id)
    }
}

/// What a list of tickets shall hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TicketFilter {
    /// Those that are closed, too.
    pub with_closed: bool,
    /// Of this set.
    pub set: Option<SetId>,
}

const LINE: &str =
    "SELECT x.id, x.no, x.kind, x.state, x.state_us, x.opened_us, x.closed_us, x.reason, x.contract_id,
    c.contractor, x.fault_id";

fn select() -> String {
    format!("{LINE}, {SET_NAME} FROM ticket x {SET_NAME_JOINS} LEFT JOIN contract c ON c.id = x.contract_id")
}

/// Tickets, newest first, before `before`.
pub fn ticket_list(
    tx: &mut Tx<'_>,
    actor: &Actor,
    filter: &TicketFilter,
    before: Option<TicketId>,
    limit: usize,
) -> Result<Vec<TicketLine>, StoreError> {
    permit(actor, Act::FaultRead)?;
    let scope = school_scope(actor, "x.school_id");
    let before = before.map_or([0xff; 16], |id| *id.as_bytes());
    let set = filter.set.map_or([0; 16], |id| *id.as_bytes());
    let open_only = if filter.with_closed { "" } else { "AND x.closed_us IS NULL" };
    let sql = format!(
        "{} WHERE x.id < $1 AND ($2 = 1 OR x.set_id = $3) {open_only} AND {scope} ORDER BY x.id DESC LIMIT $4",
        select()
    );
    tx.query(&sql, params![&before, filter.set.is_none(), &set, limit as i64], |row| Ok(line_of(row)?.0))
}

/// How many tickets are not closed.
pub fn ticket_count(tx: &mut Tx<'_>, actor: &Actor) -> Result<i64, StoreError> {
    permit(actor, Act::FaultRead)?;
    let scope = school_scope(actor, "x.school_id");
    let sql = format!("SELECT count(*) FROM ticket x WHERE x.closed_us IS NULL AND {scope}");
    Ok(tx.query_first(&sql, params![], |row| row.int(0))?.unwrap_or(0))
}

/// Everything about one ticket.
pub fn ticket_show(tx: &mut Tx<'_>, actor: &Actor, ticket: TicketRef) -> Result<TicketFile, StoreError> {
    permit(actor, Act::FaultRead)?;
    let scope = school_scope(actor, "x.school_id");
    let (found, key) = match &ticket {
        TicketRef::Id(id) => {
            (line_by(tx, &format!("x.id = $1 AND {scope}"), params![id.as_bytes()])?, id.to_string())
        }
        TicketRef::No(no) => (line_by(tx, &format!("x.no = $1 AND {scope}"), params![no])?, no.clone()),
    };
    let (line, _) = found.ok_or(StoreError::NotFound { noun: "ticket", key })?;
    let events = tx.query(
        "SELECT at_us, actor, action, state, note FROM ticket_event WHERE ticket_id = $1 ORDER BY no",
        params![line.id.as_bytes()],
        |row| {
            Ok(TicketEvent {
                at: row.time(0)?,
                actor: row.text(1)?,
                action: row.text(2)?,
                state: ticket_state_of(&row.text(3)?)?,
                note: row.text(4)?,
            })
        },
    )?;
    let messages = messages_of_ticket(tx, actor, line.id)?;
    Ok(TicketFile { line, events, messages })
}

fn line_by(
    tx: &mut Tx<'_>,
    condition: &str,
    params: &[crate::Value],
) -> Result<Option<(TicketLine, Option<ContractId>)>, StoreError> {
    tx.query_first(&format!("{} WHERE {condition}", select()), params, line_of)
}

fn line_of(row: &Row<'_>) -> Result<(TicketLine, Option<ContractId>), StoreError> {
    let contract = row.array_opt(8, "a contract's id")?.map(ContractId::from_bytes);
    let line = TicketLine {
        id: TicketId::from_bytes(row.array(0, "a ticket's id")?),
        no: row.text(1)?,
        kind: kind_of(&row.text(2)?)?,
        state: ticket_state_of(&row.text(3)?)?,
        state_since: row.time(4)?,
        opened_at: row.time(5)?,
        closed_at: row.time_opt(6)?,
        reason: reason_of(&row.text(7)?)?,
        set: set_name_of(row, 11)?,
        contractor: row.text_opt(9)?,
        fault_id: row.array_opt(10, "a fault's id")?.map(FaultId::from_bytes),
    };
    Ok((line, contract))
}

pub(crate) fn ticket_state_of(text: &str) -> Result<TicketState, StoreError> {
    TicketState::parse(text).ok_or(StoreError::Damaged { what: "a ticket's state" })
}
