//! Opening carefully: what is damaged or newer is set aside, and only then is a new database begun.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::folder::{make_private_file, rename_durably};

use super::{
    db::{SCHEMA, SCHEMA_VERSION},
    salvage::{self, Salvaged, salvage},
};

/// The database in the spool's folder.
pub(super) const FILE_NAME: &str = "spool.db";
/// Where a damaged one goes; a later one takes its place.
pub(super) const DAMAGED_NAME: &str = "damaged.db";
/// Where one of a newer version goes.
pub(super) const NEWER_NAME: &str = "newer.db";

/// The oldest SQLite without the WAL reset fault.
const SQLITE_MIN_VERSION: i32 = 3_051_003;
/// Readers (`spool list`) hold the database for moments only.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// Statements in use: about a dozen.
const STATEMENTS_CACHED: usize = 16;

/// A database that can be worked with, and what had to be done for it.
pub(super) struct Opened {
    pub(super) connection: Connection,
    /// One sentence when an older file was set aside.
    pub(super) set_aside: Option<String>,
}

/// Why no database could be opened: the world around it, never its content.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// No permission, no room, a failing disk.
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    /// There is no place for the file.
    #[error("cannot make {path}: {source}")]
    Create { path: String, source: io::Error },
    /// A file that cannot be used could not be put aside.
    #[error("cannot rename {path}: {source}")]
    SetAside { path: String, source: io::Error },
    /// What the promises rest on is not to be had.
    #[error("{0}")]
    Unfit(&'static str),
}

/// What is wrong with a file.
enum Fault {
    Damaged(String),
    Newer(i64),
    Unavailable(OpenError),
}

/// Opens `folder/spool.db`, sets aside what cannot be used, begins a new one where there is none.
pub(super) fn open(folder: &Path) -> Result<Opened, OpenError> {
    let path = folder.join(FILE_NAME);
    let salvaged = folder.join(salvage::FILE_NAME);
    if !path.exists() && salvaged.exists() {
        put_in_place(&salvaged, &path)?;
    }
    let set_aside = match open_checked(&path) {
        Ok(connection) => return Ok(Opened { connection, set_aside: None }),
        Err(Fault::Unavailable(error)) => return Err(error),
        Err(Fault::Damaged(what)) => {
            let Salvaged { saved, lost } = salvage(&path, folder)?;
            let kept = set_aside(folder, DAMAGED_NAME)?;
            put_in_place(&salvaged, &path)?;
            format!(
                "the spool was damaged ({what}): {saved} frames were saved, {lost} lost; it is kept as {kept}"
            )
        }
        Err(Fault::Newer(version)) => {
            let kept = set_aside(folder, NEWER_NAME)?;
            format!(
                "the spool was written by a newer version (schema {version}); it is kept as {kept} and a new one was begun"
            )
        }
    };
    match open_checked(&path) {
        Ok(connection) => Ok(Opened { connection, set_aside: Some(set_aside) }),
        Err(Fault::Unavailable(error)) => Err(error),
        Err(Fault::Damaged(_) | Fault::Newer(_)) => {
            Err(OpenError::Unfit("a new database is not readable at once"))
        }
    }
}

/// The files of a database: itself and, by their names, its log and index.
pub(super) fn files(path: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    })
}

fn set_aside(folder: &Path, name: &str) -> Result<String, OpenError> {
    let target = folder.join(name);
    for (from, to) in files(&folder.join(FILE_NAME)).into_iter().zip(files(&target)) {
        let moved = match fs::rename(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::remove_file(&to) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            },
            other => other,
        };
        moved.map_err(|source| OpenError::SetAside { path: from.display().to_string(), source })?;
    }
    Ok(target.display().to_string())
}

fn put_in_place(from: &Path, to: &Path) -> Result<(), OpenError> {
    rename_durably(from, to)
        .map_err(|source| OpenError::SetAside { path: from.display().to_string(), source })
}

fn open_checked(path: &Path) -> Result<Connection, Fault> {
    // Log and index take over the permissions of the database, which SQLite alone would leave to the umask.
    make_private_file(path)
        .map_err(|source| OpenError::Create { path: path.display().to_string(), source })?;
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version > SCHEMA_VERSION {
        return Err(Fault::Newer(version));
    }
    configure(&connection)?;
    let finding: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if finding != "ok" {
        return Err(Fault::Damaged(finding));
    }
    if version == 0 {
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if tables != 0 {
            return Err(Fault::Damaged("it is another program's database".to_owned()));
        }
        connection.execute_batch(&format!("BEGIN IMMEDIATE; {SCHEMA} COMMIT;"))?;
    }
    Ok(connection)
}

/// Sets what the promises rest on and reads it back.
///
/// The cache is 64 KiB: the spool is written once and read once, and memory on these machines is dear.
fn configure(connection: &Connection) -> Result<(), Fault> {
    if rusqlite::version_number() < SQLITE_MIN_VERSION {
        return Err(OpenError::Unfit("the SQLite inside is too old").into());
    }
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    let journal: String = connection.query_row("PRAGMA journal_mode = wal", [], |row| row.get(0))?;
    connection.execute_batch(
        "PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = ON;
         PRAGMA trusted_schema = OFF;
         PRAGMA cell_size_check = ON;
         PRAGMA cache_size = -64;
         PRAGMA temp_store = MEMORY;
         PRAGMA wal_autocheckpoint = 128;
         PRAGMA journal_size_limit = 1048576;",
    )?;
    let synchronous: i64 = connection.query_row("PRAGMA synchronous", [], |row| row.get(0))?;
    if journal != "wal" || synchronous != 2 {
        return Err(OpenError::Unfit("the file system does not offer a write-ahead log").into());
    }
    Ok(())
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Fault {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Fault::Damaged(error.to_string()),
            _ => Fault::Unavailable(error.into()),
        }
    }
}

impl From<OpenError> for Fault {
    fn from(error: OpenError) -> Fault {
        Fault::Unavailable(error)
    }
}
