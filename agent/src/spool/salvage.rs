//! What can still be read of a damaged database goes into a new one, row by row.
//!
//! The new database is built beside, as one file, from the damaged one as it lies; only when it is whole does the
//! damaged one get its name aside and the new one its place. A cut at any point begins anew, so nothing is saved or
//! counted twice. Rows are looked for by their ids alone, which needs no index: first from one to the next, and
//! behind a page that cannot be read one id after the other, up to the last that was ever given.
//!
//! Frames whose bytes are not theirs are counted as what they were. Ids under which nothing could be read are
//! counted as history, between their neighbours: more than was lost may be told, never less.

use std::{fs, path::Path};

use bbt_proto::report::v1 as wire;
use prost::Message;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row as SqlRow, params};

use super::{
    Class, FrameKey, ROW_OVERHEAD_BYTES,
    db::{self, Row, SCHEMA},
    gaps::{GapKey, GapSpan, Gaps},
    open::{OpenError, files},
};
use crate::folder::make_private_file;

/// Where the new database is built.
pub(super) const FILE_NAME: &str = "salvage.db";
/// Rows that are looked for one by one behind a damage; far more than a full spool of the smallest frames has.
const IDS_TRIED: i64 = (64 << 20) / ROW_OVERHEAD_BYTES as i64;

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Salvaged {
    pub(super) saved: u64,
    pub(super) lost: u64,
}

/// Builds `folder/salvage.db` from what can be read of `damaged`, and leaves it whole on disk.
pub(super) fn salvage(damaged: &Path, folder: &Path) -> Result<Salvaged, OpenError> {
    let path = folder.join(FILE_NAME);
    for file in files(&path).iter().filter(|file| file.exists()) {
        let remove = |source| OpenError::SetAside { path: file.display().to_string(), source };
        fs::remove_file(file).map_err(remove)?;
    }
    make_private_file(&path)
        .map_err(|source| OpenError::Create { path: path.display().to_string(), source })?;
    let mut new = Connection::open(&path)?;
    new.execute_batch("PRAGMA journal_mode = delete; PRAGMA synchronous = FULL;").or_else(ignore_rows)?;
    let tx = new.transaction()?;
    tx.execute_batch(SCHEMA)?;
    let salvaged = match Connection::open_with_flags(damaged, OpenFlags::SQLITE_OPEN_READ_ONLY) {
        Ok(old) => Walk { old, new: &tx, salvaged: Salvaged::default(), gaps: Gaps::default() }.run()?,
        Err(_) => Salvaged::default(),
    };
    tx.commit()?;
    Ok(salvaged)
}

/// A pragma that answers is taken for an error by `execute_batch`.
fn ignore_rows(error: rusqlite::Error) -> rusqlite::Result<()> {
    match error {
        rusqlite::Error::ExecuteReturnedResults => Ok(()),
        other => Err(other),
    }
}

/// A row of `frame` as it was read.
struct Saved {
    id: i64,
    row: Row,
    decided_micros: Option<i64>,
}

struct Walk<'a> {
    old: Connection,
    new: &'a Connection,
    salvaged: Salvaged,
    gaps: Gaps,
}

impl Walk<'_> {
    fn run(mut self) -> rusqlite::Result<Salvaged> {
        self.frames()?;
        // Drops that were not told yet, and what was learnt from the controller, if they can be read at all.
        for (key, span) in db::gap_list(&self.old).unwrap_or_default() {
            self.gaps.add(key, span);
        }
        if let Ok(contact) = db::contact_load(&self.old) {
            db::contact_store(self.new, &contact)?;
        }
        db::gap_merge(self.new, &self.gaps)?;
        Ok(self.salvaged)
    }

    fn frames(&mut self) -> rusqlite::Result<()> {
        let last = last_id(&self.old);
        let mut before: Option<Saved> = None;
        let mut after = 0;
        loop {
            let found = match next(&self.old, after) {
                Ok(None) => return Ok(()),
                Ok(Some(found)) => found,
                Err(_) => {
                    let until = last.unwrap_or(after + 1).min(after.saturating_add(IDS_TRIED));
                    let (unreadable, found) = self.behind(after, until);
                    self.note_hole(before.as_ref(), unreadable, found.as_ref());
                    match found {
                        Some(found) => found,
                        None => return Ok(()),
                    }
                }
            };
            after = found.id;
            self.take(&found)?;
            before = Some(found);
        }
    }

    /// How many ids behind `after` hold something unreadable, and the first row behind them.
    fn behind(&self, after: i64, until: i64) -> (u64, Option<Saved>) {
        let mut unreadable = 0;
        for id in after + 1..=until {
            match at(&self.old, id) {
                Ok(Some(found)) => return (unreadable, Some(found)),
                Ok(None) => {}
                Err(_) => unreadable += 1,
            }
        }
        (unreadable.max(1), None)
    }

    fn take(&mut self, found: &Saved) -> rusqlite::Result<()> {
        let Saved { row, decided_micros, .. } = found;
        let is_whole = wire::Frame::decode(row.bytes.as_ref())
            .is_ok_and(|frame| frame.seq == row.key.seq && frame.run_id == row.key.run_id.as_slice());
        if !is_whole {
            // One that was decided is only kept for a county that may never ask.
            if decided_micros.is_none() {
                self.salvaged.lost += 1;
                self.gaps.note(row.key, row.class, row.wall_micros, wire::GapReason::Damaged);
            }
            return Ok(());
        }
        if db::frame_insert(self.new, row)? {
            self.salvaged.saved += 1;
            if let Some(micros) = decided_micros {
                db::frame_decide(self.new, self.new.last_insert_rowid(), *micros)?;
            }
        }
        Ok(())
    }

    fn note_hole(&mut self, before: Option<&Saved>, count: u64, behind: Option<&Saved>) {
        let Some(neighbour) = before.or(behind) else {
            // Nothing was read yet, so nothing is known but that it was something.
            return self.lose([0; 16], (0, 0), count, (0, 0));
        };
        let run_id = neighbour.row.key.run_id;
        let of_run = |saved: Option<&Saved>| {
            saved.filter(|saved| saved.row.key.run_id == run_id).map(|saved| saved.row.key.seq)
        };
        let span = match (of_run(before), of_run(behind)) {
            (Some(first), Some(last)) => (first + 1, last.saturating_sub(1).max(first + 1)),
            (Some(first), None) => (first + 1, first + count),
            (None, Some(last)) => (last.saturating_sub(count).max(1), last.saturating_sub(1).max(1)),
            (None, None) => (0, 0),
        };
        let wall = |saved: Option<&Saved>| saved.unwrap_or(neighbour).row.wall_micros;
        self.lose(run_id, span, count, (wall(before), wall(behind)));
    }

    fn lose(&mut self, run_id: [u8; 16], (first_seq, last_seq): (u64, u64), count: u64, wall: (i64, i64)) {
        self.salvaged.lost += count;
        let key = GapKey { class: Class::History, run_id, reason: wire::GapReason::Damaged as i32 };
        let (from_wall_micros, to_wall_micros) = (wall.0.min(wall.1), wall.0.max(wall.1));
        self.gaps.add(key, GapSpan { first_seq, last_seq, count, from_wall_micros, to_wall_micros });
    }
}

const COLUMNS: &str = "id, run_id, seq, class, kind, device_id, wall_micros, mono_micros, guarded_micros, bytes, decided_micros";

fn next(db: &Connection, after: i64) -> rusqlite::Result<Option<Saved>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM frame NOT INDEXED WHERE id > ?1 ORDER BY id LIMIT 1"))?
        .query_row(params![after], saved)
        .optional()
}

fn at(db: &Connection, id: i64) -> rusqlite::Result<Option<Saved>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM frame NOT INDEXED WHERE id = ?1"))?
        .query_row(params![id], saved)
        .optional()
}

fn saved(row: &SqlRow<'_>) -> rusqlite::Result<Saved> {
    let kind: i32 = row.get(4)?;
    Ok(Saved {
        id: row.get(0)?,
        row: Row {
            key: FrameKey { run_id: row.get(1)?, seq: row.get::<_, i64>(2)? as u64 },
            class: db::class(row, 3)?,
            kind: wire::Kind::try_from(kind)
                .map_err(|_| rusqlite::Error::IntegralValueOutOfRange(4, kind.into()))?,
            device_id: row.get(5)?,
            wall_micros: row.get(6)?,
            mono_micros: row.get(7)?,
            guarded_micros: row.get(8)?,
            bytes: row.get::<_, Vec<u8>>(9)?.into(),
        },
        decided_micros: row.get(10)?,
    })
}

/// The last id that was given, if anything still tells it.
fn last_id(db: &Connection) -> Option<i64> {
    let ask = |sql| db.query_row(sql, [], |row| row.get::<_, Option<i64>>(0)).ok().flatten();
    ask("SELECT seq FROM sqlite_sequence WHERE name = 'frame'").or_else(|| ask("SELECT max(id) FROM frame"))
}
