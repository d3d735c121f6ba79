//! The store as its users see it, over either engine.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bbt_domain::time::UtcMicros;
use rusqlite::Connection;

use super::{
    Tx,
    job::{Receipt, job},
    postgres::Postgres,
    sqlite::Sqlite,
};
use crate::error::{CommitFailure, Failing, StoreError};

/// Why a store could not be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file or the server cannot be used.
    #[error("the database {database} cannot be opened: {reason}")]
    Unreadable {
        /// The file, or the server with its schema.
        database: String,
        /// What the engine says.
        reason: String,
    },
    /// The file is not whole.
    #[error(
        "the database {database} is damaged ({reason}): run `bbt-controller restore FILE` with the last backup, which keeps the damaged one aside; devices send again what they keep"
    )]
    Damaged {
        /// The file.
        database: String,
        /// What the engine found.
        reason: String,
    },
    /// Written by a newer program.
    #[error(
        "the database {database} has schema {found}, this program knows up to {known}: it was written by a newer bbt-controller; use that version, nothing was changed"
    )]
    Newer {
        /// The file, or the server with its schema.
        database: String,
        /// Its schema.
        found: i64,
        /// The newest known here.
        known: i64,
    },
    /// A migration that was applied is not the one known here.
    #[error(
        "the database {database} was changed by another migration {version} than this program's: restore a backup"
    )]
    Foreign {
        /// The file, or the server with its schema.
        database: String,
        /// The migration.
        version: i64,
    },
    /// A setting that the promises rest on is another.
    #[error("the database {database} has {setting} {found}: {remedy}")]
    Setting {
        /// The file, or the server with its schema.
        database: String,
        /// The setting.
        setting: &'static str,
        /// What it is.
        found: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The folder is on a network file system.
    #[error("the folder of {database} is on a network file system ({kind}): put the data on a local disk")]
    Network {
        /// The file.
        database: String,
        /// nfs, smb, …
        kind: &'static str,
    },
    /// The address of a server that nothing can be made of. It is not repeated here: it may hold a password.
    #[error("the address of the database {fault}")]
    Address {
        /// What is wrong with it, and what would be right.
        fault: String,
    },
    /// Threads could not be started.
    #[error("the store's threads cannot be started: {0}")]
    Threads(std::io::Error),
}

/// The county's store. Cheap to clone; closed when the last clone is dropped.
#[derive(Clone)]
pub struct Store {
    engine: Arc<Engine>,
    health: Arc<Health>,
}

enum Engine {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

/// Of whom an operation tells, for [`Store::submit`]: a device's id.
pub type Subject = [u8; 16];

impl Store {
    /// Opens the SQLite database at `path`, makes it if absent, and brings its schema up to date. `now` dates
    /// the migrations.
    pub fn open(path: &Path, now: UtcMicros) -> Result<Self, OpenError> {
        let health = Arc::new(Health::default());
        let engine = Engine::Sqlite(Sqlite::open(path, Arc::clone(&health), now)?);
        Ok(Self { engine: Arc::new(engine), health })
    }

    /// Opens the county on the PostgreSQL server at `postgres://USER[:PASSWORD]@HOST[:PORT]/DATABASE?schema=NAME`,
    /// makes its schema if absent, and brings it up to date. `now` dates the migrations.
    pub fn open_url(url: &str, now: UtcMicros) -> Result<Self, OpenError> {
        let health = Arc::new(Health::default());
        let engine = Engine::Postgres(Postgres::open(url, &health, now)?);
        Ok(Self { engine: Arc::new(engine), health })
    }

    /// Runs `operation` in a transaction and returns its result after the commit is on disk. The operation
    /// has no side effects: it may be run again.
    pub async fn write<T, F>(&self, operation: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Fn(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.queue(None, operation).await?.committed().await
    }

    /// Queues `operation` and returns at once when there is room. Operations about one subject are done one
    /// after the other, in the order in which they were queued.
    pub async fn submit<T, F>(&self, subject: Subject, operation: F) -> Result<Receipt<T>, StoreError>
    where
        T: Send + 'static,
        F: Fn(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.queue(Some(subject), operation).await
    }

    async fn queue<T, F>(&self, subject: Option<Subject>, operation: F) -> Result<Receipt<T>, StoreError>
    where
        T: Send + 'static,
        F: Fn(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (job, receipt) = job(operation);
        match self.engine.as_ref() {
            // Its one writer does everything in the order of the queue.
            Engine::Sqlite(engine) => engine.write(job).await?,
            Engine::Postgres(engine) => engine.write(subject, job).await?,
        }
        Ok(receipt)
    }

    /// Runs `operation` on a read-only connection, for at most [`READ_DEADLINE`](super::READ_DEADLINE).
    pub async fn read<T, F>(&self, operation: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let mut operation = Some(operation);
        let (job, receipt) =
            job(move |tx: &mut Tx<'_>| operation.take().ok_or(StoreError::Closed).and_then(|run| run(tx)));
        match self.engine.as_ref() {
            Engine::Sqlite(engine) => engine.read(job).await?,
            Engine::Postgres(engine) => engine.read(job).await?,
        }
        receipt.committed().await
    }

    /// See [`Sqlite::snapshot`]; `None` where the engine is a server.
    pub(super) fn snapshot(&self) -> Option<Result<(Connection, impl Fn() -> bool), StoreError>> {
        match self.engine.as_ref() {
            Engine::Sqlite(engine) => Some(engine.snapshot()),
            Engine::Postgres(_) => None,
        }
    }

    /// Whether the last commit went to disk; else why not.
    pub fn health(&self) -> Result<(), Failing> {
        self.health.failing().map_or(Ok(()), Err)
    }

    /// Commits made, and writes in them, since the store was opened.
    pub fn counters(&self) -> (u64, u64) {
        (self.health.commits(), self.health.writes.load(Ordering::Relaxed))
    }
}

/// What an engine last knew of its commits.
#[derive(Default)]
pub(super) struct Health {
    commits: AtomicU64,
    writes: AtomicU64,
    /// Of the last commit, if it failed.
    failing: Mutex<Option<Failing>>,
}

impl Health {
    /// A commit of `writes` operations is on disk.
    pub(super) fn committed(&self, writes: usize) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        // What a reader found meanwhile stays true.
        if failing.as_ref().is_some_and(|known| known.why != CommitFailure::Damaged) {
            *failing = None;
        }
        drop(failing);
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.writes.fetch_add(writes as u64, Ordering::Relaxed);
    }

    /// Commits so far.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// A commit was not possible.
    pub(super) fn failed(&self, error: &StoreError) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if failing.as_ref().is_none_or(|known| known.why != CommitFailure::Damaged) {
            *failing = Some(Failing::from(error));
        }
    }

    /// What was found, once the engine found its own file damaged: from then on nothing is written to it, so that
    /// what is not stored stays with those who have it.
    pub(super) fn damage(&self) -> Option<StoreError> {
        let Failing { why, reason } = self.failing()?;
        (why == CommitFailure::Damaged).then_some(StoreError::Corrupt { reason })
    }

    fn failing(&self) -> Option<Failing> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
