//! Looking into a spool that another process may be writing.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::{Class, Contact, db, limits::UNDATED, open};

/// A read-only view.
#[derive(Debug)]
pub struct Inspector {
    path: PathBuf,
    connection: Connection,
}

/// One frame as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameRow {
    /// The run it was made in.
    pub run_id: [u8; 16],
    /// Its number there.
    pub seq: u64,
    /// Its class.
    pub class: Class,
    /// `KIND_…` as in the contract, as a number: a newer one may be unknown here.
    pub kind: i32,
    /// The device's clock when it was made.
    pub wall_micros: i64,
    /// Size on the wire.
    pub size_bytes: u64,
    /// Whether it is out of the backlog and only kept.
    pub decided: bool,
    /// When it was decided; none while it is backlog, or when no signed clock could tell.
    pub decided_micros: Option<i64>,
}

/// What `spool check` found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckReport {
    /// Where the database is.
    pub path: PathBuf,
    /// Undecided frames.
    pub backlog_frames: u64,
    /// Their bytes.
    pub backlog_bytes: u64,
    /// Decided frames that are kept.
    pub kept_frames: u64,
    /// Dropped frames not yet told.
    pub dropped_untold: u64,
    /// What the integrity check and the reading of every frame found; empty when all is well.
    pub findings: Vec<String>,
    /// Databases that were set aside earlier and are still there.
    pub set_aside: Vec<PathBuf>,
}

/// Why a spool could not be looked into.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// There is none.
    #[error("there is no spool at {0}; `bbt-agent run` makes it")]
    Missing(PathBuf),
    /// It is from a newer version.
    #[error("the spool {path} has schema {version}, this program knows {known}; use the newer bbt-agent", known = db::SCHEMA_VERSION)]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        version: i64,
    },
    /// It does not let itself be read.
    #[error("cannot read the spool {path}: {source}")]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

impl Inspector {
    /// Opens the spool in this folder.
    pub fn open(folder: &Path) -> Result<Inspector, InspectError> {
        let path = folder.join(open::FILE_NAME);
        if !path.exists() {
            return Err(InspectError::Missing(path));
        }
        let opened = Connection::open_with_flags(
            &path,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )
        .and_then(|connection| {
            connection.execute_batch("PRAGMA query_only = ON; PRAGMA cell_size_check = ON;")?;
            let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            Ok((connection, version))
        });
        match opened {
            Ok((_, version)) if version > db::SCHEMA_VERSION => Err(InspectError::Newer { path, version }),
            Ok((connection, _)) => Ok(Inspector { path, connection }),
            Err(source) => Err(InspectError::Database { path, source }),
        }
    }

    /// Every frame in the order of sending: backlog by class, then what is kept.
    pub fn list(&self) -> Result<Vec<FrameRow>, InspectError> {
        self.list_rows().map_err(|source| self.failed(source))
    }

    /// Checks the file and reads every frame.
    pub fn check(&self) -> Result<CheckReport, InspectError> {
        self.check_all().map_err(|source| self.failed(source))
    }

    /// What was learnt from the controller.
    pub fn contact(&self) -> Result<Contact, InspectError> {
        db::contact_load(&self.connection).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: rusqlite::Error) -> InspectError {
        InspectError::Database { path: self.path.clone(), source }
    }

    fn list_rows(&self) -> rusqlite::Result<Vec<FrameRow>> {
        self.connection
            .prepare(
                "SELECT run_id, seq, class, kind, wall_micros, length(bytes), decided_micros FROM frame
                 ORDER BY decided_micros IS NOT NULL, class, id",
            )?
            .query_map([], |row| {
                Ok(FrameRow {
                    run_id: row.get(0)?,
                    seq: row.get::<_, i64>(1)? as u64,
                    class: db::class(row, 2)?,
                    kind: row.get(3)?,
                    wall_micros: row.get(4)?,
                    size_bytes: row.get::<_, i64>(5)? as u64,
                    decided: row.get::<_, Option<i64>>(6)?.is_some(),
                    decided_micros: row.get::<_, Option<i64>>(6)?.filter(|micros| *micros != UNDATED),
                })
            })?
            .collect()
    }

    fn check_all(&self) -> rusqlite::Result<CheckReport> {
        let mut findings: Vec<String> = self
            .connection
            .prepare("PRAGMA integrity_check(20)")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        findings.retain(|finding| finding != "ok");
        for class in Class::ALL {
            db::backlog_each(&self.connection, class, |key, bytes| {
                use prost::Message;
                match bbt_proto::report::v1::Frame::decode(bytes) {
                    Ok(frame) if frame.seq == key.seq && frame.run_id == key.run_id.as_slice() => (),
                    _ => {
                        findings.push(format!("frame {} of class {} is not readable", key.seq, class.name()))
                    }
                }
                true
            })?;
        }
        let totals = db::totals(&self.connection)?;
        let gaps = db::gap_list(&self.connection)?;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        Ok(CheckReport {
            path: self.path.clone(),
            backlog_frames: totals.backlog.iter().map(|amount| amount.frames).sum(),
            backlog_bytes: totals.backlog.iter().map(|amount| amount.bytes).sum(),
            kept_frames: totals.kept.frames,
            dropped_untold: gaps.iter().map(|(_, span)| span.count).sum(),
            findings,
            set_aside: [open::DAMAGED_NAME, open::NEWER_NAME]
                .into_iter()
                .map(|name| folder.join(name))
                .filter(|path| path.exists())
                .collect(),
        })
    }
}
