//! 核实单: questions to schools about silent sets, their answers, and what follows of them.

use bbt_domain::{
    access::{Act, Actor},
    fault::{FaultKind, Reason, policy::Rules},
    ids::{FaultId, InquiryId, SetId},
    inquiry::{Answer, Effect, InquiryState, is_asked_again, may_escalate},
    org::SetStanding,
    text::{SENTENCE_CHARS, clean},
    time::UtcMicros,
};
use serde::Serialize;
use serde_json::json;

use crate::{
    Row, StoreError, Tx, audit,
    error::permit,
    faults::{SET_NAME, SET_NAME_JOINS, SetName, reason_of, set_name_of},
    params,
    scope::school_scope,
    sets::{placement_end, standing_change},
    tickets::{Origin, TicketMeans, ticket_open},
};

/// What there is to be done about questions, found by looking at faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InquiryStep {
    /// A silent set whose school was not asked, or long ago.
    Ask(FaultId),
    /// The set was heard of again.
    Withdraw(InquiryId),
}

/// Steps that are due at `now`, at most about `limit`.
pub fn inquiry_steps(
    tx: &mut Tx<'_>,
    actor: &Actor,
    rules: &Rules,
    limit: usize,
    now: UtcMicros,
) -> Result<Vec<InquiryStep>, StoreError> {
    permit(actor, Act::FaultDecide)?;
    let silent = tx.query(
        "SELECT f.id, (SELECT max(q.closed_us) FROM inquiry q WHERE q.fault_id = f.id) FROM fault f
         WHERE f.kind = $1 AND f.state = 'faulty' AND f.closed_us IS NULL
            AND NOT EXISTS (SELECT 1 FROM inquiry q WHERE q.set_id = f.set_id AND q.closed_us IS NULL)
            AND NOT EXISTS (SELECT 1 FROM ticket k WHERE k.set_id = f.set_id AND k.kind = f.kind AND k.closed_us IS NULL)
         ORDER BY f.id",
        params![FaultKind::SilentSet.as_str()],
        |row| Ok((FaultId::from_bytes(row.array(0, "a fault's id")?), row.time_opt(1)?)),
    )?;
    let asked = |closed: Option<UtcMicros>| closed.is_none_or(|closed| is_asked_again(closed, now, rules));
    let mut steps: Vec<_> = silent
        .into_iter()
        .filter(|(_, closed)| asked(*closed))
        .map(|(fault, _)| InquiryStep::Ask(fault))
        .take(limit)
        .collect();
    let heard = tx.query(
        "SELECT q.id FROM inquiry q JOIN fault f ON f.id = q.fault_id
         WHERE q.closed_us IS NULL AND f.state = 'ok' ORDER BY q.id LIMIT $1",
        params![limit as i64],
        |row| Ok(InquiryId::from_bytes(row.array(0, "an inquiry's id")?)),
    )?;
    steps.extend(heard.into_iter().map(InquiryStep::Withdraw));
    Ok(steps)
}

/// Does one step, if it is still due. Whether it was done.
pub fn inquiry_step(
    tx: &mut Tx<'_>,
    actor: &Actor,
    step: InquiryStep,
    id: InquiryId,
    rules: &Rules,
    now: UtcMicros,
) -> Result<bool, StoreError> {
    permit(actor, Act::FaultDecide)?;
    // The same question again, within this transaction.
    if !inquiry_steps(tx, actor, rules, usize::MAX >> 1, now)?.contains(&step) {
        return Ok(false);
    }
    match step {
        InquiryStep::Ask(fault) => {
            tx.execute(
                "INSERT INTO inquiry (id, set_id, school_id, fault_id, state, opened_us, reason, answer, note,
                    closed_us, closed_by)
                 SELECT $1, f.set_id, f.school_id, f.id, $2, $3, f.reason, NULL, '', NULL, NULL FROM fault f
                 WHERE f.id = $4",
                params![id.as_bytes(), InquiryState::Open.as_str(), now, fault.as_bytes()],
            )?;
        }
        InquiryStep::Withdraw(inquiry) => {
            close(tx, actor, inquiry, InquiryState::Withdrawn, None, "", now)?;
        }
    }
    Ok(true)
}

/// Records a school's answer and does what it brings about.
pub fn inquiry_answer(
    tx: &mut Tx<'_>,
    actor: &Actor,
    id: InquiryId,
    answer: Answer,
    note: &str,
    means: &TicketMeans,
    now: UtcMicros,
) -> Result<InquiryLine, StoreError> {
    permit(actor, Act::InquiryAnswer)?;
    let line = open_one(tx, actor, id)?;
    let note = clean(note, SENTENCE_CHARS);
    close(tx, actor, id, InquiryState::Answered, Some(answer), &note, now)?;
    let why = json!({"inquiry": id, "answer": answer});
    match answer.effect() {
        Effect::AskAgainLater => {}
        Effect::Ticket => ticket_of(tx, actor, &line, Reason::SaidBroken, means, now)?,
        Effect::TakenAway => {
            placement_end(tx, line.set.id, now)?;
            standing_change(tx, actor, line.set.id, SetStanding::Sealed, &why, now)?;
        }
        Effect::Sealed => standing_change(tx, actor, line.set.id, SetStanding::Sealed, &why, now)?,
    }
    let detail = json!({"answer": answer, "note": note});
    audit::append(tx, actor, "inquiry.answer", &format!("inquiry:{id}"), &detail, now)?;
    inquiry_show(tx, actor, id)
}

/// Makes a ticket of a question that nobody answered for the policy's days.
pub fn inquiry_escalate(
    tx: &mut Tx<'_>,
    actor: &Actor,
    id: InquiryId,
    rules: &Rules,
    means: &TicketMeans,
    now: UtcMicros,
) -> Result<InquiryLine, StoreError> {
    permit(actor, Act::InquiryAnswer)?;
    let line = open_one(tx, actor, id)?;
    if !may_escalate(line.opened_at, now, rules) {
        return Err(StoreError::Invalid(format!(
            "the question {id} was asked at {}: it becomes a ticket only after {} school days without an answer",
            line.opened_at, rules.policy.unanswered_days
        )));
    }
    close(tx, actor, id, InquiryState::Escalated, None, "", now)?;
    ticket_of(tx, actor, &line, Reason::Unanswered, means, now)?;
    audit::append(tx, actor, "inquiry.escalate", &format!("inquiry:{id}"), &json!({}), now)?;
    inquiry_show(tx, actor, id)
}

fn open_one(tx: &mut Tx<'_>, actor: &Actor, id: InquiryId) -> Result<InquiryLine, StoreError> {
    let line = inquiry_show(tx, actor, id)?;
    if line.state == InquiryState::Open {
        return Ok(line);
    }
    Err(StoreError::Invalid(format!(
        "the question {id} is {} already: nothing was changed",
        line.state.as_str()
    )))
}

fn ticket_of(
    tx: &mut Tx<'_>,
    actor: &Actor,
    line: &InquiryLine,
    reason: Reason,
    means: &TicketMeans,
    now: UtcMicros,
) -> Result<(), StoreError> {
    let origin = Origin { fault: line.fault_id, inquiry: Some(line.id), kind: FaultKind::SilentSet, reason };
    ticket_open(tx, actor, line.set.id, &origin, means, now)
}

fn close(
    tx: &mut Tx<'_>,
    actor: &Actor,
    id: InquiryId,
    state: InquiryState,
    answer: Option<Answer>,
    note: &str,
    now: UtcMicros,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE inquiry SET state = $1, answer = $2, note = $3, closed_us = $4, closed_by = $5 WHERE id = $6",
        params![state.as_str(), answer.map(Answer::as_str), note, now, actor.label(), id.as_bytes()],
    )?;
    Ok(())
}

/// One line of a list of questions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InquiryLine {
    /// The question.
    pub id: InquiryId,
    /// How it stands.
    pub state: InquiryState,
    /// When it was asked.
    pub opened_at: UtcMicros,
    /// Why it was asked.
    pub reason: Reason,
    /// What was answered.
    pub answer: Option<Answer>,
    /// In the school's words.
    pub note: String,
    /// When it was closed, and by whom.
    pub closed_at: Option<UtcMicros>,
    /// Who closed it.
    pub closed_by: Option<String>,
    /// The silence it is about.
    pub fault_id: FaultId,
    /// Where.
    pub set: SetName,
    /// The ticket that came of it.
    pub ticket_no: Option<String>,
}

fn select() -> String {
    format!(
        "SELECT x.id, x.state, x.opened_us, x.reason, x.answer, x.note, x.closed_us, x.closed_by, x.fault_id, {SET_NAME},
            (SELECT k.no FROM ticket k WHERE k.inquiry_id = x.id)
         FROM inquiry x {SET_NAME_JOINS}"
    )
}

/// Questions, newest first, before `before`; the open ones only, or all.
pub fn inquiry_list(
    tx: &mut Tx<'_>,
    actor: &Actor,
    with_closed: bool,
    set: Option<SetId>,
    before: Option<InquiryId>,
    limit: usize,
) -> Result<Vec<InquiryLine>, StoreError> {
    permit(actor, Act::FaultRead)?;
    let scope = school_scope(actor, "x.school_id");
    let open_only = if with_closed { "" } else { "AND x.closed_us IS NULL" };
    let before = before.map_or([0xff; 16], |id| *id.as_bytes());
    let of_set = set.map_or([0; 16], |id| *id.as_bytes());
    let sql = format!(
        "{} WHERE x.id < $1 AND ($2 = 1 OR x.set_id = $3) {open_only} AND {scope} ORDER BY x.id DESC LIMIT $4",
        select()
    );
    tx.query(&sql, params![&before, set.is_none(), &of_set, limit as i64], line_of)
}

/// How many questions wait for their school.
pub fn inquiry_count(tx: &mut Tx<'_>, actor: &Actor) -> Result<i64, StoreError> {
    permit(actor, Act::FaultRead)?;
    let scope = school_scope(actor, "x.school_id");
    let sql = format!("SELECT count(*) FROM inquiry x WHERE x.closed_us IS NULL AND {scope}");
    Ok(tx.query_first(&sql, params![], |row| row.int(0))?.unwrap_or(0))
}

/// One question.
pub fn inquiry_show(tx: &mut Tx<'_>, actor: &Actor, id: InquiryId) -> Result<InquiryLine, StoreError> {
    permit(actor, Act::FaultRead)?;
    let scope = school_scope(actor, "x.school_id");
    let sql = format!("{} WHERE x.id = $1 AND {scope}", select());
    tx.query_first(&sql, params![id.as_bytes()], line_of)?
        .ok_or_else(|| StoreError::NotFound { noun: "inquiry", key: id.to_string() })
}

fn line_of(row: &Row<'_>) -> Result<InquiryLine, StoreError> {
    let answer =
        row.text_opt(4)?.map(|text| Answer::parse(&text).ok_or(StoreError::Damaged { what: "an answer" }));
    Ok(InquiryLine {
        id: InquiryId::from_bytes(row.array(0, "an inquiry's id")?),
        state: InquiryState::parse(&row.text(1)?)
            .ok_or(StoreError::Damaged { what: "an inquiry's state" })?,
        opened_at: row.time(2)?,
        reason: reason_of(&row.text(3)?)?,
        answer: answer.transpose()?,
        note: row.text(5)?,
        closed_at: row.time_opt(6)?,
        closed_by: row.text_opt(7)?,
        fault_id: FaultId::from_bytes(row.array(8, "a fault's id")?),
        set: set_name_of(row, 9)?,
        ticket_no: row.text_opt(14)?,
    })
}
