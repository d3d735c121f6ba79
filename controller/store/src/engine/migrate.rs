//! Brings a database up to date: numbered files, one transaction each, a newer database refused untouched.

use std::path::Path;

use bbt_domain::time::UtcMicros;
use rusqlite::Connection;

use super::sqlite::OpenError;

/// Every step from an empty file to today's schema, in order; a released one is never changed.
const SQLITE: [&str; 3] = [
    include_str!("../../migrations/sqlite/0001_first.sql"),
    include_str!("../../migrations/sqlite/0002_sets_faults_tickets.sql"),
    include_str!("../../migrations/sqlite/0003_history_in_rows.sql"),
];

pub(super) fn run(connection: &mut Connection, path: &Path, now: UtcMicros) -> Result<(), OpenError> {
    let unreadable =
        |error: rusqlite::Error| OpenError::Unreadable { path: path.to_owned(), reason: error.to_string() };
    let has_table: bool = connection
        .query_row(
            "SELECT count(*) > 0 FROM sqlite_schema WHERE type = 'table' AND name = 'schema_migration'",
            [],
            |row| row.get(0),
        )
        .map_err(unreadable)?;
    let applied: Vec<(i64, Vec<u8>)> = if has_table {
        let mut statement = connection
            .prepare("SELECT version, checksum FROM schema_migration ORDER BY version")
            .map_err(unreadable)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(unreadable)?;
        rows.collect::<Result<_, _>>().map_err(unreadable)?
    } else {
        Vec::new()
    };
    let known = SQLITE.len() as i64;
    let found = applied.last().map_or(0, |(version, _)| *version);
    if found > known {
        return Err(OpenError::Newer { path: path.to_owned(), found, known });
    }
    for ((version, checksum), sql) in applied.iter().zip(SQLITE) {
        if *checksum != checksum_of(sql) {
            return Err(OpenError::Foreign { path: path.to_owned(), version: *version });
        }
    }
    for (step, sql) in SQLITE.iter().enumerate().skip(applied.len()) {
        let tx = connection.transaction().map_err(unreadable)?;
        tx.execute_batch(
            "CREATE TABLE IF NOT EXISTS schema_migration (
                 version    INTEGER NOT NULL PRIMARY KEY,
                 checksum   BLOB NOT NULL,
                 applied_us INTEGER NOT NULL
             ) WITHOUT ROWID",
        )
        .map_err(unreadable)?;
        tx.execute_batch(sql).map_err(unreadable)?;
        tx.execute(
            "INSERT INTO schema_migration (version, checksum, applied_us) VALUES ($1, $2, $3)",
            rusqlite::params![step as i64 + 1, checksum_of(sql), now.as_micros()],
        )
        .map_err(unreadable)?;
        tx.commit().map_err(unreadable)?;
    }
    Ok(())
}

fn checksum_of(sql: &str) -> Vec<u8> {
    ring::digest::digest(&ring::digest::SHA256, sql.as_bytes()).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
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
        run(&mut connection, Path::new("memory"), UtcMicros::default()).expect("migrations");
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
