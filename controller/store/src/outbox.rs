//! What is to be told to contractors: kept with the change that it is about, delivered later, each attempt noted.

use bbt_domain::{
    access::{Act, Actor},
    ids::{ContractId, MessageId, TicketId},
    time::UtcMicros,
};
use serde::Serialize;
use serde_json::Value as Json;

use crate::{StoreError, Tx, contracts::Webhook, error::permit, params};

/// How a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageState {
    /// To be delivered.
    Waiting,
    /// Taken by the receiver.
    Delivered,
    /// Tried for as long as the contract says, or refused for good.
    GivenUp,
}

impl MessageState {
    const ALL: [Self; 3] = [Self::Waiting, Self::Delivered, Self::GivenUp];

    /// The word stored and shown in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::GivenUp => "given_up",
        }
    }

    fn parse(text: &str) -> Result<Self, StoreError> {
        let found = Self::ALL.into_iter().find(|state| state.as_str() == text);
        found.ok_or(StoreError::Damaged { what: "a message's state" })
    }
}

/// A message to be kept.
#[derive(Clone, Debug)]
pub(crate) struct NewMessage {
    pub(crate) id: MessageId,
    pub(crate) contract: ContractId,
    pub(crate) ticket: TicketId,
    pub(crate) kind: &'static str,
    pub(crate) data: Json,
}

/// Version of the body's `data`.
const BODY_VERSION: u32 = 1;

/// Keeps a message for a contract that is told anything at all.
pub(crate) fn message_keep(tx: &mut Tx<'_>, message: &NewMessage, now: UtcMicros) -> Result<(), StoreError> {
    let body = serde_json::json!({
        "type": message.kind,
        "version": BODY_VERSION,
        "data": message.data,
    });
    tx.execute(
        "INSERT INTO outbox (id, contract_id, ticket_id, kind, body, made_us, state, attempts, due_us)
         SELECT $1, c.id, $2, $3, $4, $5, $6, 0, $5 FROM contract c
         WHERE c.id = $7 AND c.webhook_url IS NOT NULL",
        params![
            message.id.as_bytes(),
            message.ticket.as_bytes(),
            message.kind,
            body.to_string(),
            now,
            MessageState::Waiting.as_str(),
            message.contract.as_bytes()
        ],
    )?;
    Ok(())
}

/// A message whose next attempt is due.
#[derive(Clone, Debug)]
pub struct DueMessage {
    /// The same over all attempts.
    pub id: MessageId,
    /// Whom it is for.
    pub contract: ContractId,
    /// ticket.opened, …
    pub kind: String,
    /// As it is sent.
    pub body: String,
    /// Attempts so far.
    pub attempts: u32,
    /// Of the first attempt; `None` before it.
    pub first_attempt_at: Option<UtcMicros>,
    /// Where to.
    pub webhook: Webhook,
}

/// Messages that are due at `now`: of each contract at most `per_contract`, the longest due first, so that one
/// whose receiver hangs hides nobody else's.
pub fn messages_due(
    tx: &mut Tx<'_>,
    actor: &Actor,
    now: UtcMicros,
    per_contract: usize,
) -> Result<Vec<DueMessage>, StoreError> {
    permit(actor, Act::FaultDecide)?;
    let contracts = tx.query(
        "SELECT DISTINCT contract_id FROM outbox WHERE due_us IS NOT NULL AND due_us <= $1 ORDER BY contract_id",
        params![now],
        |row| Ok(ContractId::from_bytes(row.array(0, "a contract's id")?)),
    )?;
    let mut due = Vec::new();
    for contract in contracts {
        due.extend(due_of_contract(tx, contract, now, per_contract)?);
    }
    Ok(due)
}

fn due_of_contract(
    tx: &mut Tx<'_>,
    contract: ContractId,
    now: UtcMicros,
    limit: usize,
) -> Result<Vec<DueMessage>, StoreError> {
    tx.query(
        "SELECT o.id, o.contract_id, o.kind, o.body, o.attempts, c.webhook_url, c.webhook_secret, c.webhook_local,
            (SELECT min(a.at_us) FROM outbox_attempt a WHERE a.outbox_id = o.id)
         FROM outbox o JOIN contract c ON c.id = o.contract_id
         WHERE o.contract_id = $1 AND o.due_us IS NOT NULL AND o.due_us <= $2 ORDER BY o.due_us, o.id LIMIT $3",
        params![contract.as_bytes(), now, limit as i64],
        |row| {
            Ok(DueMessage {
                id: MessageId::from_bytes(row.array(0, "a message's id")?),
                contract: ContractId::from_bytes(row.array(1, "a contract's id")?),
                kind: row.text(2)?,
                body: row.text(3)?,
                attempts: u32::try_from(row.int(4)?).unwrap_or(u32::MAX),
                first_attempt_at: row.time_opt(8)?,
                webhook: Webhook {
                    url: row.text(5)?,
                    sealed_secret: row.bytes(6)?,
                    granted_by_local: row.flag(7)?,
                },
            })
        },
    )
}

/// When the earliest attempt after `now` is due, if any is.
pub fn next_due(tx: &mut Tx<'_>, actor: &Actor, now: UtcMicros) -> Result<Option<UtcMicros>, StoreError> {
    permit(actor, Act::FaultDecide)?;
    let found = tx.query_first("SELECT min(due_us) FROM outbox WHERE due_us > $1", params![now], |row| {
        row.time_opt(0)
    })?;
    Ok(found.flatten())
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempted {
    /// From then on.
    pub state: MessageState,
    /// Why, as a code with arguments; an object.
    pub reason: Json,
    /// When to try again; `None` ends it.
    pub due: Option<UtcMicros>,
}

/// Notes an attempt made at `at`.
pub fn message_attempted(
    tx: &mut Tx<'_>,
    actor: &Actor,
    id: MessageId,
    attempted: &Attempted,
    at: UtcMicros,
) -> Result<(), StoreError> {
    permit(actor, Act::FaultDecide)?;
    tx.execute(
        "INSERT INTO outbox_attempt (outbox_id, no, at_us, outcome, reason)
         SELECT $1, coalesce(max(no), 0) + 1, $2, $3, $4 FROM outbox_attempt WHERE outbox_id = $1",
        params![id.as_bytes(), at, attempted.state.as_str(), attempted.reason.to_string()],
    )?;
    tx.execute(
        "UPDATE outbox SET state = $1, attempts = attempts + 1, due_us = $2 WHERE id = $3",
        params![attempted.state.as_str(), attempted.due, id.as_bytes()],
    )?;
    Ok(())
}

/// A message with its attempts, for the ticket's page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MessageLine {
    /// The same over all attempts.
    pub id: MessageId,
    /// ticket.opened, …
    pub kind: String,
    /// When it was made.
    pub made_at: UtcMicros,
    /// How it stands.
    pub state: MessageState,
    /// When it is tried next.
    pub due_at: Option<UtcMicros>,
    /// Every attempt, oldest first.
    pub attempts: Vec<AttemptLine>,
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AttemptLine {
    /// When.
    pub at: UtcMicros,
    /// What became of it.
    pub outcome: MessageState,
    /// Why: code and arguments.
    pub reason: Json,
}

/// What was told about a ticket, oldest first.
pub fn messages_of_ticket(
    tx: &mut Tx<'_>,
    actor: &Actor,
    ticket: TicketId,
) -> Result<Vec<MessageLine>, StoreError> {
    permit(actor, Act::FaultRead)?;
    let mut lines = tx.query(
        "SELECT id, kind, made_us, state, due_us FROM outbox WHERE ticket_id = $1 ORDER BY id",
        params![ticket.as_bytes()],
        |row| {
            Ok(MessageLine {
                id: MessageId::from_bytes(row.array(0, "a message's id")?),
                kind: row.text(1)?,
                made_at: row.time(2)?,
                state: MessageState::parse(&row.text(3)?)?,
                due_at: row.time_opt(4)?,
                attempts: Vec::new(),
            })
        },
    )?;
    for line in &mut lines {
        line.attempts = tx.query(
            "SELECT at_us, outcome, reason FROM outbox_attempt WHERE outbox_id = $1 ORDER BY no",
            params![line.id.as_bytes()],
            |row| {
                Ok(AttemptLine {
                    at: row.time(0)?,
                    outcome: MessageState::parse(&row.text(1)?)?,
                    reason: serde_json::from_str(&row.text(2)?)
                        .map_err(|_| StoreError::Damaged { what: "an attempt's reason" })?,
                })
            },
        )?;
    }
    Ok(lines)
}
