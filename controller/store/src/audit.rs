//! The audit: one line per change, in the change's own transaction, each bound to the one before.

use bbt_domain::{
    access::{Act, Actor},
    audit::Line,
    chain::{Broken, ChainHash, Head, Linked, Verifier},
    time::UtcMicros,
};
use serde_json::Value as Json;

use crate::{Row, StoreError, Tx, error::permit, params};

/// Lines walked per query while verifying.
const VERIFY_PAGE: i64 = 1_000;

/// Appends a line. Called by every operation that changes something, in the same transaction.
pub(crate) fn append(
    tx: &mut Tx<'_>,
    actor: &Actor,
    action: &str,
    subject: &str,
    detail: &Json,
    now: UtcMicros,
) -> Result<(), StoreError> {
    let last = tx.query_first("SELECT no, hash FROM audit ORDER BY no DESC LIMIT 1", params![], |row| {
        Ok((row.int(0)?, ChainHash(row.array(1, "an audit hash")?)))
    })?;
    let (no, previous) = last.unwrap_or((0, ChainHash::START));
    let line = Line {
        no: no + 1,
        at: now,
        actor: actor.label(),
        action: action.to_owned(),
        subject: subject.to_owned(),
        detail: detail.to_string(),
    };
    tx.execute(
        "INSERT INTO audit (no, at_us, actor, action, subject, detail, hash) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        params![
            line.no,
            now,
            &line.actor,
            &line.action,
            &line.subject,
            &line.detail,
            &line.chain(previous).0
        ],
    )?;
    Ok(())
}

/// Writes a line about something that changed no record: a refused connection, a start.
pub fn audit_note(
    tx: &mut Tx<'_>,
    actor: &Actor,
    action: &str,
    subject: &str,
    detail: &Json,
    now: UtcMicros,
) -> Result<(), StoreError> {
    permit(actor, Act::AuditWrite)?;
    append(tx, actor, action, subject, detail, now)
}

/// The newest lines with `action` (all when empty), newest first, older than `before`.
pub fn audit_list(
    tx: &mut Tx<'_>,
    actor: &Actor,
    action: &str,
    before: Option<i64>,
    limit: usize,
) -> Result<Vec<Line>, StoreError> {
    permit(actor, Act::AuditRead)?;
    let before = before.unwrap_or(i64::MAX);
    if action.is_empty() {
        return tx.query(
            "SELECT no, at_us, actor, action, subject, detail FROM audit WHERE no < $1 ORDER BY no DESC LIMIT $2",
            params![before, limit as i64],
            line_of,
        );
    }
    tx.query(
        "SELECT no, at_us, actor, action, subject, detail FROM audit
         WHERE action = $1 AND no < $2 ORDER BY no DESC LIMIT $3",
        params![action, before, limit as i64],
        line_of,
    )
}

/// The newest lines with one of `actions`, newest first, older than `before`.
pub fn audit_list_any(
    tx: &mut Tx<'_>,
    actor: &Actor,
    actions: &[&str],
    before: Option<i64>,
    limit: usize,
) -> Result<Vec<Line>, StoreError> {
    // One walk down the index per action, merged here: bounded however rare or common an action is.
    let mut lines = Vec::new();
    for action in actions {
        lines.extend(audit_list(tx, actor, action, before, limit)?);
    }
    lines.sort_by_key(|line| std::cmp::Reverse(line.no));
    lines.truncate(limit);
    Ok(lines)
}

/// Walks the chain: its length and head, or the first bad line.
pub fn audit_verify(tx: &mut Tx<'_>, actor: &Actor) -> Result<Result<Head, Broken>, StoreError> {
    permit(actor, Act::AuditRead)?;
    let mut verifier = Verifier::default();
    loop {
        let after = verifier.head().rows;
        let page = tx.query(
            "SELECT no, at_us, actor, action, subject, detail, hash FROM audit WHERE no > $1 ORDER BY no LIMIT $2",
            params![after, VERIFY_PAGE],
            |row| Ok((line_of(row)?, ChainHash(row.array(6, "an audit hash")?))),
        )?;
        if page.is_empty() {
            return Ok(Ok(verifier.head()));
        }
        for (line, hash) in &page {
            if let Err(broken) = verifier.next(line, *hash) {
                return Ok(Err(broken));
            }
        }
    }
}

fn line_of(row: &Row<'_>) -> Result<Line, StoreError> {
    Ok(Line {
        no: row.int(0)?,
        at: row.time(1)?,
        actor: row.text(2)?,
        action: row.text(3)?,
        subject: row.text(4)?,
        detail: row.text(5)?,
    })
}
