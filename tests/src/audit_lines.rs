//! What a county has stored, read beside the controller, whether it runs or not.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::county::County;

/// One line of the audit.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditLine {
    /// Microseconds since 1970.
    pub at_micros: i64,
    /// What was done: `connection.refused`, …
    pub action: String,
    /// To whom: an address, a device, …
    pub subject: String,
    /// The rest.
    pub detail: Value,
}

impl AuditLine {
    /// Why somebody was refused; empty where the line is of something else.
    pub fn cause(&self) -> &str {
        self.detail["cause"].as_str().unwrap_or_default()
    }
}

/// The audit's lines about refusals, oldest first.
pub fn refusals(county: &County) -> Result<Vec<AuditLine>> {
    let connection = open(county)?;
    let mut statement = connection
        .prepare("SELECT at_us, action, subject, detail FROM audit WHERE action LIKE '%.refused' ORDER BY no")
        .context("asking for the audit")?;
    let rows = statement
        .query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?, row.get::<_, String>(3)?)))
        .context("reading the audit")?;
    rows.map(|row| {
        let (at_micros, action, subject, detail) = row.context("reading the audit")?;
        let detail =
            serde_json::from_str(&detail).with_context(|| format!("an audit line holds {detail}"))?;
        Ok(AuditLine { at_micros, action, subject, detail })
    })
    .collect()
}

/// Rows of every table but the audit: what a refused peer must not change.
pub fn row_counts(county: &County) -> Result<BTreeMap<String, i64>> {
    let connection = open(county)?;
    let mut statement = connection
        .prepare(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN ('audit', 'web_session')",
        )
        .context("asking for the tables")?;
    let names = statement.query_map([], |row| row.get(0)).context("reading the tables")?;
    names
        .map(|name| {
            let name: String = name.context("reading the tables")?;
            let count = format!("SELECT count(*) FROM \"{name}\"");
            let rows = connection.query_row(&count, [], |row| row.get(0)).context("counting rows")?;
            Ok((name, rows))
        })
        .collect()
}

/// Rows of one table.
pub fn rows_of(county: &County, table: &str) -> Result<i64> {
    row_counts(county)?.remove(table).with_context(|| format!("there is no table {table}"))
}

fn open(county: &County) -> Result<Connection> {
    let path = county.data().join("county.db");
    Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .with_context(|| format!("opening {}", path.display()))
}
