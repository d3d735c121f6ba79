//! The statements. Each works inside the caller's transaction and knows nothing of policy.

use bbt_proto::report::v1 as wire;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use super::{
    Class, Contact, FrameKey, ROW_OVERHEAD_BYTES, RunId,
    gaps::{GapKey, GapSpan, Gaps},
    limits::{Totals, UNDATED},
};
use crate::identity::clock::Stamp;

/// Of the schema below; a file with a higher number is set aside untouched.
pub(super) const SCHEMA_VERSION: i64 = 1;

/// Creates version 1. STRICT: a column holds what it says.
pub(super) const SCHEMA: &str = "
    CREATE TABLE frame (
        id             INTEGER PRIMARY KEY AUTOINCREMENT,
        run_id         BLOB    NOT NULL,
        seq            INTEGER NOT NULL,
        class          INTEGER NOT NULL,
        kind           INTEGER NOT NULL,
        device_id      BLOB    NOT NULL,
        wall_micros    INTEGER NOT NULL,
        mono_micros    INTEGER NOT NULL,
        guarded_micros INTEGER NOT NULL,
        decided_micros INTEGER,
        bytes          BLOB    NOT NULL,
        UNIQUE (run_id, seq)
    ) STRICT;
    CREATE INDEX frame_backlog ON frame (class, id) WHERE decided_micros IS NULL;
    CREATE INDEX frame_kept ON frame (decided_micros, id) WHERE decided_micros IS NOT NULL;
    CREATE TABLE gap (
        class            INTEGER NOT NULL,
        run_id           BLOB    NOT NULL,
        reason           INTEGER NOT NULL,
        first_seq        INTEGER NOT NULL,
        last_seq         INTEGER NOT NULL,
        count            INTEGER NOT NULL,
        from_wall_micros INTEGER NOT NULL,
        to_wall_micros   INTEGER NOT NULL,
        PRIMARY KEY (class, run_id, reason)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE contact (
        id               INTEGER PRIMARY KEY CHECK (id = 1),
        incarnation      BLOB,
        window_secs      INTEGER NOT NULL,
        committed_micros INTEGER,
        signed_micros    INTEGER
    ) STRICT;
    INSERT INTO contact (id, window_secs) VALUES (1, 0);
    PRAGMA user_version = 1;
";

/// One frame with its number, in memory or about to be a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) key: FrameKey,
    pub(super) class: Class,
    pub(super) kind: wire::Kind,
    pub(super) device_id: [u8; 16],
    pub(super) wall_micros: i64,
    pub(super) mono_micros: i64,
    pub(super) guarded_micros: i64,
    pub(super) bytes: bytes::Bytes,
}

impl Row {
    pub(super) fn size_bytes(&self) -> u64 {
        size_bytes(self.bytes.len() as u64)
    }
}

pub(super) fn size_bytes(payload_bytes: u64) -> u64 {
    payload_bytes + ROW_OVERHEAD_BYTES
}

/// What has to be known of a row before it goes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) id: i64,
    pub(super) key: FrameKey,
    pub(super) class: Class,
    pub(super) kind: i32,
    pub(super) wall_micros: i64,
    pub(super) size_bytes: u64,
}

const FOUND_COLUMNS: &str = "id, run_id, seq, class, kind, wall_micros, length(bytes)";

fn found(row: &SqlRow<'_>) -> rusqlite::Result<Found> {
    Ok(Found {
        id: row.get(0)?,
        key: FrameKey { run_id: row.get(1)?, seq: row.get::<_, i64>(2)? as u64 },
        class: class(row, 3)?,
        kind: row.get(4)?,
        wall_micros: row.get(5)?,
        size_bytes: size_bytes(row.get::<_, i64>(6)? as u64),
    })
}

pub(super) fn class(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Class> {
    let number: i64 = row.get(column)?;
    Class::from_number(number).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, number))
}

/// Adds a frame; one that is there already (a commit whose end was not seen) stays. True if it is new.
pub(super) fn frame_insert(db: &Connection, row: &Row) -> rusqlite::Result<bool> {
    let mut insert = db.prepare_cached(
        "INSERT INTO frame (run_id, seq, class, kind, device_id, wall_micros, mono_micros, guarded_micros, bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (run_id, seq) DO NOTHING",
    )?;
    let count = insert.execute(params![
        row.key.run_id,
        row.key.seq as i64,
        row.class as i64,
        row.kind as i32,
        row.device_id,
        row.wall_micros,
        row.mono_micros,
        row.guarded_micros,
        row.bytes.as_ref(),
    ])?;
    Ok(count == 1)
}

/// The backlog of one class, oldest first, as long as `take` wants more.
pub(super) fn backlog_each(
    db: &Connection,
    class: Class,
    mut take: impl FnMut(FrameKey, &[u8]) -> bool,
) -> rusqlite::Result<()> {
    let mut select = db.prepare_cached(
        "SELECT run_id, seq, bytes FROM frame WHERE class = ?1 AND decided_micros IS NULL ORDER BY id",
    )?;
    let mut rows = select.query([class as i64])?;
    while let Some(row) = rows.next()? {
        let key = FrameKey { run_id: row.get(0)?, seq: row.get::<_, i64>(1)? as u64 };
        if !take(key, row.get_ref(2)?.as_blob()?) {
            break;
        }
    }
    Ok(())
}

/// The bytes of one undecided frame.
pub(super) fn backlog_bytes(db: &Connection, key: FrameKey) -> rusqlite::Result<Option<Vec<u8>>> {
    db.prepare_cached("SELECT bytes FROM frame WHERE run_id = ?1 AND seq = ?2 AND decided_micros IS NULL")?
        .query_row(params![key.run_id, key.seq as i64], |row| row.get(0))
        .optional()
}

/// One undecided frame.
pub(super) fn backlog_find(db: &Connection, key: FrameKey) -> rusqlite::Result<Option<Found>> {
    db.prepare_cached(&format!(
        "SELECT {FOUND_COLUMNS} FROM frame WHERE run_id = ?1 AND seq = ?2 AND decided_micros IS NULL"
    ))?
    .query_row(params![key.run_id, key.seq as i64], found)
    .optional()
}

/// The oldest undecided frame of a class that `spared` lets go.
pub(super) fn backlog_oldest(
    db: &Connection,
    class: Class,
    spared: impl Fn(&FrameKey) -> bool,
) -> rusqlite::Result<Option<Found>> {
    let mut select = db.prepare_cached(&format!(
        "SELECT {FOUND_COLUMNS} FROM frame WHERE class = ?1 AND decided_micros IS NULL ORDER BY id"
    ))?;
    let mut rows = select.query_map([class as i64], found)?;
    rows.find(|row| row.as_ref().map_or(true, |found| !spared(&found.key))).transpose()
}

/// Undecided frames of a class appended before a moment.
pub(super) fn backlog_before(
    db: &Connection,
    class: Class,
    guarded_micros: i64,
) -> rusqlite::Result<Vec<Found>> {
    db.prepare_cached(&format!(
        "SELECT {FOUND_COLUMNS} FROM frame
         WHERE class = ?1 AND decided_micros IS NULL AND guarded_micros < ?2 ORDER BY id"
    ))?
    .query_map(params![class as i64, guarded_micros], found)?
    .collect()
}

/// The decided frame that goes next.
pub(super) fn kept_oldest(db: &Connection) -> rusqlite::Result<Option<Found>> {
    db.prepare_cached(&format!(
        "SELECT {FOUND_COLUMNS} FROM frame WHERE decided_micros IS NOT NULL ORDER BY decided_micros, id LIMIT 1"
    ))?
    .query_row([], found)
    .optional()
}

/// Decided frames decided before a moment.
pub(super) fn kept_before(db: &Connection, micros: i64) -> rusqlite::Result<Vec<Found>> {
    db.prepare_cached(&format!("SELECT {FOUND_COLUMNS} FROM frame WHERE decided_micros < ?1"))?
        .query_map([micros], found)?
        .collect()
}

/// Out of the backlog, kept from now on.
pub(super) fn frame_decide(db: &Connection, id: i64, micros: i64) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE frame SET decided_micros = ?2 WHERE id = ?1")?
        .execute(params![id, micros])
        .map(drop)
}

/// Dates what is [`UNDATED`]: frames of the running run by the monotonic time since, all others as of now, because how
/// long that run is over nobody knows.
pub(super) fn undated_date(db: &Connection, run_id: RunId, now: &Stamp) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE frame SET guarded_micros = CASE run_id WHEN ?1 THEN ?2 - (?3 - mono_micros) ELSE ?2 END
         WHERE guarded_micros = ?4",
    )?
    .execute(params![run_id, now.guarded_micros, now.mono_micros, UNDATED])?;
    db.prepare_cached("UPDATE frame SET decided_micros = ?1 WHERE decided_micros = ?2")?
        .execute(params![now.guarded_micros, UNDATED])
        .map(drop)
}

/// All that is kept becomes backlog again.
pub(super) fn kept_recall(db: &Connection) -> rusqlite::Result<()> {
    db.execute("UPDATE frame SET decided_micros = NULL WHERE decided_micros IS NOT NULL", []).map(drop)
}

/// Gone.
pub(super) fn frame_delete(db: &Connection, id: i64) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM frame WHERE id = ?1")?.execute([id]).map(drop)
}

/// The gap that a gap frame tells; none if its bytes are not readable.
pub(super) fn gap_of_frame(db: &Connection, id: i64) -> rusqlite::Result<Option<wire::Gap>> {
    let bytes: Vec<u8> =
        db.prepare_cached("SELECT bytes FROM frame WHERE id = ?1")?.query_row([id], |row| row.get(0))?;
    Ok(gap_of_bytes(&bytes))
}

pub(super) fn gap_of_bytes(frame: &[u8]) -> Option<wire::Gap> {
    use prost::Message;
    wire::Frame::decode(frame).and_then(|frame| wire::Gap::decode(frame.body)).ok()
}

/// Widens the gap rows by these drops.
pub(super) fn gap_merge(db: &Connection, gaps: &Gaps) -> rusqlite::Result<()> {
    let mut upsert = db.prepare_cached(
        "INSERT INTO gap (class, run_id, reason, first_seq, last_seq, count, from_wall_micros, to_wall_micros)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (class, run_id, reason) DO UPDATE SET
             first_seq = min(first_seq, excluded.first_seq),
             last_seq = max(last_seq, excluded.last_seq),
             count = count + excluded.count,
             from_wall_micros = min(from_wall_micros, excluded.from_wall_micros),
             to_wall_micros = max(to_wall_micros, excluded.to_wall_micros)",
    )?;
    for (key, span) in gaps.iter() {
        upsert.execute(params![
            key.class as i64,
            key.run_id,
            key.reason,
            span.first_seq as i64,
            span.last_seq as i64,
            span.count as i64,
            span.from_wall_micros,
            span.to_wall_micros,
        ])?;
    }
    Ok(())
}

/// The gap rows.
pub(super) fn gap_list(db: &Connection) -> rusqlite::Result<Vec<(GapKey, GapSpan)>> {
    db.prepare_cached(
        "SELECT class, run_id, reason, first_seq, last_seq, count, from_wall_micros, to_wall_micros FROM gap",
    )?
    .query_map([], |row| {
        Ok((
            GapKey { class: class(row, 0)?, run_id: row.get::<_, RunId>(1)?, reason: row.get(2)? },
            GapSpan {
                first_seq: row.get::<_, i64>(3)? as u64,
                last_seq: row.get::<_, i64>(4)? as u64,
                count: row.get::<_, i64>(5)? as u64,
                from_wall_micros: row.get(6)?,
                to_wall_micros: row.get(7)?,
            },
        ))
    })?
    .collect()
}

/// All gap rows are told.
pub(super) fn gap_clear(db: &Connection) -> rusqlite::Result<()> {
    db.execute("DELETE FROM gap", []).map(drop)
}

/// What was learnt from the controller.
pub(super) fn contact_load(db: &Connection) -> rusqlite::Result<Contact> {
    db.query_row("SELECT incarnation, window_secs, committed_micros, signed_micros FROM contact", [], |row| {
        Ok(Contact {
            incarnation: row.get(0)?,
            window_secs: row.get(1)?,
            committed_micros: row.get(2)?,
            signed_micros: row.get(3)?,
        })
    })
}

/// Replaces what was learnt.
pub(super) fn contact_store(db: &Connection, contact: &Contact) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE contact SET incarnation = ?1, window_secs = ?2, committed_micros = ?3, signed_micros = ?4",
    )?
    .execute(params![
        contact.incarnation,
        contact.window_secs,
        contact.committed_micros,
        contact.signed_micros
    ])
    .map(drop)
}

/// Counts everything once, at opening.
pub(super) fn totals(db: &Connection) -> rusqlite::Result<Totals> {
    let mut totals = Totals::default();
    let mut select = db.prepare(
        "SELECT class, decided_micros IS NOT NULL, count(*), sum(length(bytes)) FROM frame GROUP BY 1, 2",
    )?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let frames = row.get::<_, i64>(2)? as u64;
        let bytes = row.get::<_, i64>(3)? as u64 + frames * ROW_OVERHEAD_BYTES;
        let amount = if row.get(1)? { &mut totals.kept } else { totals.of(class(row, 0)?) };
        amount.frames += frames;
        amount.bytes += bytes;
    }
    Ok(totals)
}
