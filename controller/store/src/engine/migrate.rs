//! Brings a database up to date: numbered files per engine, one transaction each, a newer database refused
//! untouched.

use bbt_domain::time::UtcMicros;
use rusqlite::Connection;

use super::{OpenError, Value, postgres::Session};
use crate::{error::StoreError, params};

/// Every step from an empty file to today's schema, in order; a released one is never changed.
const SQLITE: [&str; 6] = [
    include_str!("../../migrations/sqlite/0001_first.sql"),
    include_str!("../../migrations/sqlite/0002_sets_faults_tickets.sql"),
    include_str!("../../migrations/sqlite/0003_ledger_usage.sql"),
    include_str!("../../migrations/sqlite/0004_history_in_rows.sql"),
    include_str!("../../migrations/sqlite/0005_certificates.sql"),
    include_str!("../../migrations/sqlite/0006_admissions.sql"),
];

/// The same steps for a schema on a server.
const POSTGRES: [&str; 6] = [
    include_str!("../../migrations/postgres/0001_first.sql"),
    include_str!("../../migrations/postgres/0002_sets_faults_tickets.sql"),
    include_str!("../../migrations/postgres/0003_ledger_usage.sql"),
    include_str!("../../migrations/postgres/0004_history_in_rows.sql"),
    include_str!("../../migrations/postgres/0005_certificates.sql"),
    include_str!("../../migrations/postgres/0006_admissions.sql"),
];

/// What the steps are done on.
trait Database {
    /// Why a step was not done.
    type Error: std::fmt::Display;

    /// Version and checksum of every step that was done, in order.
    fn applied(&mut self) -> Result<Vec<(i64, Vec<u8>)>, Self::Error>;

    /// Does a step and notes it, in one transaction.
    fn apply(&mut self, sql: &str, note: [Value; 3]) -> Result<(), Self::Error>;
}

/// Does what is left to do in a file.
pub(super) fn sqlite(connection: &mut Connection, name: &str, now: UtcMicros) -> Result<(), OpenError> {
    run(connection, &SQLITE, name, now)
}

/// Does what is left to do in a schema, which is made if absent. Controllers that start together do it one
/// after the other; the lock ends with the session at the latest.
pub(super) fn postgres(
    session: &mut Session,
    schema: &str,
    name: &str,
    now: UtcMicros,
) -> Result<(), OpenError> {
    let unreadable =
        |error: StoreError| OpenError::Unreadable { database: name.to_owned(), reason: error.to_string() };
    session
        .execute("SELECT pg_advisory_lock(hashtextextended($1, 0))", params![schema])
        .map_err(unreadable)?;
    make_schema(session, schema).map_err(unreadable)?;
    run(session, &POSTGRES, name, now)?;
    session.batch("SELECT pg_advisory_unlock_all()").map_err(unreadable)
}

fn run<D: Database>(database: &mut D, steps: &[&str], name: &str, now: UtcMicros) -> Result<(), OpenError> {
    let unreadable =
        |error: D::Error| OpenError::Unreadable { database: name.to_owned(), reason: error.to_string() };
    let applied = database.applied().map_err(unreadable)?;
    let known = steps.len() as i64;
    let found = applied.last().map_or(0, |(version, _)| *version);
    if found > known {
        return Err(OpenError::Newer { database: name.to_owned(), found, known });
    }
    for ((version, checksum), sql) in applied.iter().zip(steps) {
        if *checksum != checksum_of(sql) {
            return Err(OpenError::Foreign { database: name.to_owned(), version: *version });
        }
    }
    for (version, sql) in (1_i64..).zip(steps).skip(applied.len()) {
        let note = [Value::from(version), Value::from(checksum_of(sql)), Value::from(now)];
        database.apply(sql, note).map_err(unreadable)?;
    }
    Ok(())
}

const NOTE: &str = "INSERT INTO schema_migration (version, checksum, applied_us) VALUES ($1, $2, $3)";

impl Database for Connection {
    type Error = rusqlite::Error;

    fn applied(&mut self) -> Result<Vec<(i64, Vec<u8>)>, Self::Error> {
        let has_table: bool = self.query_row(
            "SELECT count(*) > 0 FROM sqlite_schema WHERE type = 'table' AND name = 'schema_migration'",
            [],
            |row| row.get(0),
        )?;
        if !has_table {
            return Ok(Vec::new());
        }
        let mut statement =
            self.prepare("SELECT version, checksum FROM schema_migration ORDER BY version")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    }

    fn apply(&mut self, sql: &str, note: [Value; 3]) -> Result<(), Self::Error> {
        let tx = self.transaction()?;
        tx.execute_batch(
            "CREATE TABLE IF NOT EXISTS schema_migration (
                 version    INTEGER NOT NULL PRIMARY KEY,
                 checksum   BLOB NOT NULL,
                 applied_us INTEGER NOT NULL
             ) WITHOUT ROWID",
        )?;
        tx.execute_batch(sql)?;
        tx.execute(NOTE, note)?;
        tx.commit()
    }
}

impl Database for Session {
    type Error = StoreError;

    fn applied(&mut self) -> Result<Vec<(i64, Vec<u8>)>, Self::Error> {
        if !is_there(self, "SELECT to_regclass('schema_migration') IS NOT NULL", params![])? {
            return Ok(Vec::new());
        }
        let mut applied = Vec::new();
        self.walk(
            "SELECT version, checksum FROM schema_migration ORDER BY version",
            params![],
            &mut |row| {
                applied.extend(row.int(0).ok().zip(row.bytes(1).ok()));
                true
            },
        )?;
        Ok(applied)
    }

    fn apply(&mut self, sql: &str, note: [Value; 3]) -> Result<(), Self::Error> {
        // Dropped unfinished, the session takes the transaction with it.
        self.batch("BEGIN")?;
        self.batch(
            "CREATE TABLE IF NOT EXISTS schema_migration (
                 version    BIGINT NOT NULL PRIMARY KEY,
                 checksum   BYTEA NOT NULL,
                 applied_us BIGINT NOT NULL
             )",
        )?;
        self.batch(sql)?;
        self.execute(NOTE, &note)?;
        self.batch("COMMIT")
    }
}

/// Making a schema takes a right on the database that a county's role need not have once it is there.
fn make_schema(session: &mut Session, schema: &str) -> Result<(), StoreError> {
    if is_there(session, "SELECT to_regnamespace($1) IS NOT NULL", params![schema])? {
        return Ok(());
    }
    session.batch(&format!("CREATE SCHEMA {schema}"))
}

fn is_there(session: &mut Session, sql: &str, params: &[Value]) -> Result<bool, StoreError> {
    let mut found = Ok(false);
    session.walk(sql, params, &mut |row| {
        found = row.flag(0);
        false
    })?;
    found
}

fn checksum_of(sql: &str) -> Vec<u8> {
    ring::digest::digest(&ring::digest::SHA256, sql.as_bytes()).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn history_that_was_stored_before_it_moved_is_there_after() {
        let mut connection = Connection::open_in_memory().expect("a database");
        connection.execute_batch(SQLITE[0]).expect("the first schema");
        connection
            .execute_batch("INSERT INTO history_frame VALUES (x'02', x'0a', x'0b', x'0c', 1, 2, 3, 4, x'ff')")
            .expect("a frame");
        let tx = connection.transaction().expect("a transaction");
        SQLITE[1..].iter().for_each(|step| tx.execute_batch(step).expect("a step"));
        tx.commit().expect("the steps");
        let kept = connection.query_row(
            "SELECT hex(id), hex(device_id), seq, at_us, time_basis, mono_us, hex(body) FROM history_frame",
            [],
            |row| {
                Ok((
                    row.get(0)?,
                    row.get(1)?,
                    row.get(2)?,
                    row.get(3)?,
                    row.get(4)?,
                    row.get(5)?,
                    row.get(6)?,
                ))
            },
        );
        let expected = ("02".to_owned(), "0A".to_owned(), 1, 2, 3, 4, "FF".to_owned());
        assert_eq!(kept.expect("the frame"), expected);
    }

    /// Refresh with `BBT_REGENERATE=1 cargo test -p bbt-store schema`.
    #[test]
    fn the_schema_dump_is_the_sum_of_the_migrations() {
        let mut connection = Connection::open_in_memory().expect("a database");
        sqlite(&mut connection, "memory", UtcMicros::default()).expect("migrations");
        let mut statement = connection
            .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
            .expect("a query");
        let made: Vec<String> = statement
            .query_map([], |row| row.get(0))
            .expect("rows")
            .collect::<Result<_, _>>()
            .expect("texts");
        let dump = made.join(";\n\n") + ";\n";
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/sqlite.sql");
        if std::env::var_os("BBT_REGENERATE").is_some() {
            std::fs::write(&path, &dump).expect("refreshed");
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == dump, "schema/sqlite.sql differs: BBT_REGENERATE=1 cargo test -p bbt-store schema");
    }
}
