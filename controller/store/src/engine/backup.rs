//! Backups: one file that holds the whole county.
//!
//! The file is a SQLite database: the county's own, with two tables more. `backup_label` says what it is a backup
//! of, and `backup_file` carries the files that lie beside the database, each with its SHA-256. One file is moved,
//! counted and checked as one, and SQLite's own check finds damage in all of it.
//!
//! The copy is made from a read transaction, step by step: it shows one moment, and the writer goes on meanwhile.
//! All that grows is the log of changes, and when that grows too long the copy is given up like any other read.
//!
//! A copy counts once it was opened again and found whole. A chain that does not add up is no damage of the copy:
//! it is a faithful copy of a county in which somebody changed a line, and the best there is; it is told.

use std::{
    fs::File,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use bbt_domain::{
    access::{Act, Actor},
    time::UtcMicros,
};
use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup as Copying, StepResult},
};
use serde::{Deserialize, Serialize};

use super::{Tx, dialect::sqlite_failure, store::Store};
use crate::{
    audit::audit_verify,
    error::{StoreError, permit},
    ledger::ledger_verify,
    meta::{County, county_find},
};

/// Pages copied at once: 4 MiB, a few milliseconds of a disk's time.
const STEP_PAGES: i32 = 1_024;
/// Left to others between two steps, so that a commit never waits behind the whole copy.
const STEP_PAUSE: Duration = Duration::from_millis(5);
/// Of the two tables; a file with a higher number is refused.
const FORMAT: u32 = 1;

/// Why a backup was not made or cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The county's store could not be read.
    #[error("the store cannot be copied: {0}")]
    Store(#[from] StoreError),
    /// The engine is not ours to copy.
    #[error(
        "the store is on PostgreSQL: back the server up with pg_basebackup, and keep pki/ and controller.toml of the data folder with it"
    )]
    Server,
    /// The log of changes grew too long meanwhile.
    #[error(
        "the copy took too long for a store that is written so much: make it at a quieter hour, or onto a faster disk"
    )]
    TooSlow,
    /// The file could not be written.
    #[error("the backup {path} cannot be written: {reason}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system or the engine says.
        reason: String,
    },
    /// The file is something else.
    #[error("{path} is no backup of a county ({reason}): name a file that `bbt-controller backup` wrote")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Made by a newer program.
    #[error(
        "the backup {path} has format {found}, this program knows up to {FORMAT}: use the bbt-controller that made it"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The file is not whole.
    #[error("the backup {path} is damaged ({reason}) and cannot be used: take another")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
}

/// What a backup is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Of the two tables.
    pub format: u32,
    /// The moment that it shows.
    pub made_at: UtcMicros,
    /// As people say it.
    pub county: String,
    /// SHA-256 of its root certificate, in hexadecimal: whether a folder is this county's.
    pub root_sha256: String,
    /// Version of the program that made it.
    pub program: String,
}

impl Label {
    /// Of a backup made now, in today's format.
    pub fn new(made_at: UtcMicros, county: String, root_sha256: String, program: String) -> Self {
        Self { format: FORMAT, made_at, county, root_sha256, program }
    }
}

/// A file that lies beside the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Below the data folder, parts separated by `/`.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// A backup that was opened and found whole.
#[derive(Debug)]
pub struct Backup {
    path: PathBuf,
    /// What it is of.
    pub label: Label,
    /// The files in it.
    pub files: Vec<Carried>,
    /// The county in it.
    pub county: County,
    /// Its size.
    pub bytes: u64,
    /// Devices, lines of the audit and entries of the ledger in it.
    pub devices: i64,
    /// Lines of the audit in it.
    pub audit_lines: Option<i64>,
    /// Entries of the ledger in it.
    pub ledger_entries: Option<i64>,
    /// What does not add up in audit and ledger, and did not in the county.
    pub broken_chains: Vec<String>,
}

/// Copies the county in `store` into a new file at `to`. `progress` is told bytes done and bytes in all. Blocks for
/// as long as the disks need.
pub fn copy(store: &Store, actor: &Actor, to: &Path, progress: &dyn Fn(u64, u64)) -> Result<(), BackupError> {
    permit(actor, Act::BackupMake)?;
    let (source, may_go_on) = store.snapshot().ok_or(BackupError::Server)??;
    let failed = |error: rusqlite::Error| write_error(to, &error);
    // Keys go in: nobody else may look, from the first byte on.
    let created = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    created.map_err(|error| BackupError::Write { path: to.to_owned(), reason: error.to_string() })?;
    let mut target = Connection::open(to).map_err(failed)?;
    let page_bytes: i64 =
        source.query_row("PRAGMA page_size", [], |row| row.get(0)).map_err(sqlite_failure)?;
    let copying = Copying::new(&source, &mut target).map_err(failed)?;
    loop {
        let step = copying.step(STEP_PAGES).map_err(failed)?;
        let counted = copying.progress();
        let bytes = |pages: i32| u64::try_from(i64::from(pages) * page_bytes).unwrap_or(0);
        progress(bytes(counted.pagecount - counted.remaining), bytes(counted.pagecount));
        if step == StepResult::Done {
            return Ok(());
        }
        if !may_go_on() {
            return Err(BackupError::TooSlow);
        }
        thread::sleep(STEP_PAUSE);
    }
}

/// Makes a backup of the copy at `to`: adds label and files, and opens it to see that it is whole.
pub fn finish(to: &Path, label: &Label, files: &[Carried]) -> Result<Backup, BackupError> {
    add(to, label, files).map_err(|error| write_error(to, &error))?;
    Backup::open(to)
}

/// Leaves one file that is on disk.
fn add(to: &Path, label: &Label, files: &[Carried]) -> rusqlite::Result<()> {
    let mut target = Connection::open(to)?;
    alone(&target)?;
    let tx = target.transaction()?;
    tx.execute_batch(
        "CREATE TABLE backup_label (document TEXT NOT NULL) STRICT;
         CREATE TABLE backup_file (path TEXT PRIMARY KEY, sha256 BLOB NOT NULL, bytes BLOB NOT NULL) STRICT;",
    )?;
    let document = serde_json::to_string(label)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    tx.execute("INSERT INTO backup_label (document) VALUES (?1)", [document])?;
    for file in files {
        let row = (&file.path, sha256(&file.bytes), &file.bytes);
        tx.execute("INSERT INTO backup_file (path, sha256, bytes) VALUES (?1, ?2, ?3)", row)?;
    }
    tx.commit()
}

/// Without a log beside it: what is in the database is in its one file.
fn alone(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.query_row("PRAGMA journal_mode = delete", [], |row| row.get::<_, String>(0)).map(drop)
}

fn write_error(path: &Path, error: &rusqlite::Error) -> BackupError {
    BackupError::Write { path: path.to_owned(), reason: error.to_string() }
}

impl Backup {
    /// Opens the backup at `path` and looks at all of it.
    pub fn open(path: &Path) -> Result<Self, BackupError> {
        let foreign = |reason: String| BackupError::Foreign { path: path.to_owned(), reason };
        let damaged = |reason: String| BackupError::Damaged { path: path.to_owned(), reason };
        let bytes = std::fs::metadata(path).map_err(|error| foreign(error.to_string()))?.len();
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(path, flags).map_err(|error| foreign(error.to_string()))?;
        let document: String = connection
            .query_row("SELECT document FROM backup_label", [], |row| row.get(0))
            .map_err(|error| foreign(error.to_string()))?;
        let label: Label = serde_json::from_str(&document).map_err(|error| foreign(error.to_string()))?;
        if label.format > FORMAT {
            return Err(BackupError::Newer { path: path.to_owned(), found: label.format });
        }
        let finding: String = connection
            .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
            .map_err(|error| damaged(error.to_string()))?;
        if finding != "ok" {
            return Err(damaged(finding));
        }
        let files = carried(&connection).map_err(|error| damaged(error.to_string()))?;
        let files = files.map_err(|file| damaged(format!("{file} in it is not what it was")))?;
        let mut tx = Tx::on_sqlite(&connection);
        let county = county_find(&mut tx)
            .map_err(|error| damaged(error.to_string()))?
            .ok_or_else(|| damaged("no county is recorded in it".to_owned()))?;
        let read = |error: StoreError| damaged(error.to_string());
        let devices = tx.query_first("SELECT count(*) FROM device", &[], |row| row.int(0)).map_err(read)?;
        let audit = audit_verify(&mut tx, &Actor::System("backup")).map_err(read)?;
        let ledger = ledger_verify(&mut tx, &Actor::System("backup")).map_err(read)?;
        let broken =
            [audit.as_ref().err().map(ToString::to_string), ledger.as_ref().err().map(ToString::to_string)];
        Ok(Self {
            path: path.to_owned(),
            label,
            files,
            county,
            bytes,
            devices: devices.unwrap_or(0),
            audit_lines: audit.ok().map(|head| head.rows),
            ledger_entries: ledger.ok().map(|whole| whole.head.rows),
            broken_chains: broken.into_iter().flatten().collect(),
        })
    }

    /// Writes the county's database in it to a new file at `to`: without label and files, and on disk.
    pub fn unpack(&self, to: &Path) -> Result<(), BackupError> {
        let failed = |reason: String| BackupError::Write { path: to.to_owned(), reason };
        let mut from = File::open(&self.path).map_err(|error| failed(error.to_string()))?;
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(to)
            .map_err(|error| failed(error.to_string()))?;
        std::io::copy(&mut from, &mut file).map_err(|error| failed(error.to_string()))?;
        let connection = Connection::open(to).map_err(|error| write_error(to, &error))?;
        alone(&connection)
            .and_then(|()| {
                // Keys were in these pages.
                connection.execute_batch(
                    "PRAGMA secure_delete = ON; BEGIN; DROP TABLE backup_file; DROP TABLE backup_label; COMMIT;",
                )
            })
            .map_err(|error| write_error(to, &error))?;
        file.sync_all().map_err(|error| failed(error.to_string()))
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    hash
}

/// Folds the log of a database that nobody uses any more back into its one file.
pub fn fold(path: &Path) -> Result<(), BackupError> {
    let folded = Connection::open(path).and_then(|connection| alone(&connection));
    folded.map_err(|error| write_error(path, &error))
}

/// The files in a backup; or the name of one that is not what it was.
fn carried(connection: &Connection) -> rusqlite::Result<Result<Vec<Carried>, String>> {
    let mut select = connection.prepare("SELECT path, sha256, bytes FROM backup_file ORDER BY path")?;
    let mut rows = select.query([])?;
    let mut files = Vec::new();
    while let Some(row) = rows.next()? {
        let file = Carried { path: row.get(0)?, bytes: row.get(2)? };
        if sha256(&file.bytes) != row.get::<_, [u8; 32]>(1)? {
            return Ok(Err(file.path));
        }
        files.push(file);
    }
    Ok(Ok(files))
}
