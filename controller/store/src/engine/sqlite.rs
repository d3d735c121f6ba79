//! SQLite: one writer thread that owns the write connection, and a few read-only connections.
//!
//! Writes that are queued while one is being done share its commit. Each runs in a savepoint of its own, so
//! one that fails undoes only itself, and every result is released only after the shared commit returned.
//! The writer never waits for company: a lone write is committed at once. Checkpoints are made by the
//! committing connection, so by the writer alone. After a failed commit the connection is closed and opened
//! anew, because a file whose fsync failed once says nothing true any more.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bbt_domain::time::UtcMicros;
use rusqlite::{Connection, ErrorCode, OpenFlags, ToSql, types::ToSqlOutput};
use tokio::sync::{mpsc, oneshot};

use super::{READ_DEADLINE, Tx, Value, migrate};
use crate::error::StoreError;

/// Writes waiting for the writer; beyond it callers wait for room, and so read no more from their devices.
/// Four full groups: the writer is never idle, and what waits is soon done.
const WRITE_QUEUE: usize = 1_024;
/// Writes that share one commit; keeps the time between commits, and so the wait of the first, short.
const GROUP_WRITES: usize = 256;
/// No write joins a group that is older than this.
const GROUP_SPAN: Duration = Duration::from_millis(20);
/// Reads at the same time. Two cores serve the county; a third read keeps a page from waiting for an export.
const READERS: usize = 3;
/// Reads waiting for a reader.
const READ_QUEUE: usize = 256;
/// The log of changes is folded back after this many pages (16 MiB).
const CHECKPOINT_PAGES: i64 = 4_096;
/// Beyond this size of the log, reads that hold it from being folded back are ended.
const WAL_LIMIT_BYTES: u64 = 256 << 20;
/// Statements kept prepared per connection: every operation has a few.
const STATEMENT_CACHE: usize = 256;
/// The oldest engine with the fixes relied on (WAL reset, 3.51.3).
const SQLITE_MINIMUM: i32 = 3_051_003;

/// Why a store could not be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file could not be opened.
    #[error("the database {path} cannot be opened: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the engine says.
        reason: String,
    },
    /// Written by a newer program.
    #[error(
        "the database {path} has schema {found}, this program knows up to {known}: it was written by a newer bbt-controller; use that version, nothing was changed"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest known here.
        known: i64,
    },
    /// A migration that was applied is not the one known here.
    #[error(
        "the database {path} was changed by another migration {version} than this program's: restore a backup"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The migration.
        version: i64,
    },
    /// A setting that the promises rest on did not take.
    #[error("the database {path} does not accept {setting} (it says {found}): is it on a local disk?")]
    Setting {
        /// The file.
        path: PathBuf,
        /// The setting.
        setting: &'static str,
        /// What it is instead.
        found: String,
    },
    /// The folder is on a network file system.
    #[error("the folder of {path} is on a network file system ({kind}): put the data on a local disk")]
    Network {
        /// The file.
        path: PathBuf,
        /// nfs, smb, …
        kind: &'static str,
    },
    /// Threads could not be started.
    #[error("the store's threads cannot be started: {0}")]
    Threads(std::io::Error),
}

/// The county's store. Cheap to clone; closed when the last clone is dropped.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    writes: Option<mpsc::Sender<Box<dyn WriteJob>>>,
    reads: Option<mpsc::Sender<ReadJob>>,
    writer: Mutex<Option<thread::JoinHandle<()>>>,
    health: Arc<Health>,
}

/// What the writer last knew of itself.
#[derive(Default)]
struct Health {
    failing: AtomicBool,
    commits: AtomicU64,
    writes: AtomicU64,
    /// Raised when the log is too long; readers end what they do.
    end_reads: AtomicU64,
    reason: Mutex<Option<String>>,
}

type ReadJob = Box<dyn FnOnce(&mut Reader) + Send>;

/// One queued write with its result type erased.
trait WriteJob: Send {
    /// Runs the operation; whether it is to be kept.
    fn run(&mut self, tx: &mut Tx<'_>) -> bool;
    /// Releases the result.
    fn finish(self: Box<Self>, commit: Result<(), StoreError>);
}

struct Pending<T, F> {
    operation: F,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> WriteJob for Pending<T, F>
where
    T: Send,
    F: Fn(&mut Tx<'_>) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> bool {
        let result = catch_unwind(AssertUnwindSafe(|| (self.operation)(tx)));
        let result = result.unwrap_or_else(|panic| Err(StoreError::Bug(panic_text(panic.as_ref()))));
        let keep = result.is_ok();
        self.result = Some(result);
        keep
    }

    fn finish(self: Box<Self>, commit: Result<(), StoreError>) {
        let result = match (self.result, commit) {
            (Some(Ok(value)), Ok(())) => Ok(value),
            (Some(Err(error)), _) => Err(error),
            (_, Err(error)) => Err(error),
            (None, Ok(())) => Err(StoreError::Closed),
        };
        // A caller that went away wants no answer.
        let _ = self.reply.send(result);
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

impl Store {
    /// Opens the database at `path`, makes it if absent, and brings its schema up to date. `now` dates the
    /// migrations.
    pub fn open(path: &Path, now: UtcMicros) -> Result<Self, OpenError> {
        refuse_network(path)?;
        let mut connection = open_writer(path)?;
        migrate::run(&mut connection, path, now)?;
        let health = Arc::new(Health::default());

        let (writes, queue) = mpsc::channel(WRITE_QUEUE);
        let writer =
            Writer { connection: Some(connection), path: path.to_owned(), health: Arc::clone(&health) };
        let writer = thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.work(queue))
            .map_err(OpenError::Threads)?;

        let (reads, queue) = mpsc::channel::<ReadJob>(READ_QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..READERS {
            let mut reader = Reader::open(path, Arc::clone(&health))?;
            let queue = Arc::clone(&queue);
            thread::Builder::new()
                .name("store-reader".into())
                .spawn(move || {
                    loop {
                        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
                        match job {
                            Some(job) => job(&mut reader),
                            None => break,
                        }
                    }
                })
                .map_err(OpenError::Threads)?;
        }
        let inner =
            Inner { writes: Some(writes), reads: Some(reads), writer: Mutex::new(Some(writer)), health };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Runs `operation` in a transaction and returns its result after the commit is on disk. The operation
    /// has no side effects: it may be run again.
    pub async fn write<T, F>(&self, operation: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Fn(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.submit(operation).await?.committed().await
    }

    /// Queues `operation` and returns at once when there is room. Operations of one caller are done in the
    /// order in which they were queued.
    pub async fn submit<T, F>(&self, operation: F) -> Result<Receipt<T>, StoreError>
    where
        T: Send + 'static,
        F: Fn(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, result) = oneshot::channel();
        let job: Box<dyn WriteJob> = Box::new(Pending { operation, result: None, reply });
        let queue = self.inner.writes.as_ref().ok_or(StoreError::Closed)?;
        queue.send(job).await.map_err(|_| StoreError::Closed)?;
        Ok(Receipt { result })
    }

    /// Runs `operation` on a read-only connection, for at most [`READ_DEADLINE`].
    pub async fn read<T, F>(&self, operation: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, result) = oneshot::channel();
        let job: ReadJob = Box::new(move |reader: &mut Reader| {
            let _ = reply.send(reader.run(operation));
        });
        let queue = self.inner.reads.as_ref().ok_or(StoreError::Closed)?;
        queue.send(job).await.map_err(|_| StoreError::Closed)?;
        result.await.map_err(|_| StoreError::Closed)?
    }

    /// Whether the last commit went to disk; else the reason why not.
    pub fn health(&self) -> Result<(), String> {
        let health = &self.inner.health;
        if !health.failing.load(Ordering::Acquire) {
            return Ok(());
        }
        let reason = health.reason.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Err(reason.unwrap_or_else(|| "the last commit failed".to_owned()))
    }

    /// Commits made, and writes in them, since the store was opened.
    pub fn counters(&self) -> (u64, u64) {
        let health = &self.inner.health;
        (health.commits.load(Ordering::Relaxed), health.writes.load(Ordering::Relaxed))
    }
}

/// A write that is queued.
pub struct Receipt<T> {
    result: oneshot::Receiver<Result<T, StoreError>>,
}

impl<T> Receipt<T> {
    /// The result, once its commit is on disk.
    pub async fn committed(self) -> Result<T, StoreError> {
        self.result.await.map_err(|_| StoreError::Closed)?
    }
}

impl Drop for Inner {
    /// Lets the writer finish what is queued, so that dropping the store is an orderly stop.
    fn drop(&mut self) {
        self.writes.take();
        self.reads.take();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let _ = writer.join();
        }
    }
}

struct Writer {
    /// `None` after a failed commit, until it could be opened anew.
    connection: Option<Connection>,
    path: PathBuf,
    health: Arc<Health>,
}

impl Writer {
    fn work(mut self, mut queue: mpsc::Receiver<Box<dyn WriteJob>>) {
        while let Some(first) = queue.blocking_recv() {
            let mut group = vec![first];
            let outcome = self.commit_group(&mut group, &mut queue);
            if let Err(error) = &outcome {
                self.poisoned(error);
            } else {
                self.health.failing.store(false, Ordering::Release);
                self.health.commits.fetch_add(1, Ordering::Relaxed);
                self.health.writes.fetch_add(group.len() as u64, Ordering::Relaxed);
            }
            for job in group {
                job.finish(outcome.clone());
            }
            self.watch_log();
        }
    }

    /// Runs the group's jobs, taking more while they wait, and commits.
    fn commit_group(
        &mut self,
        group: &mut Vec<Box<dyn WriteJob>>,
        queue: &mut mpsc::Receiver<Box<dyn WriteJob>>,
    ) -> Result<(), StoreError> {
        let connection = match &self.connection {
            Some(connection) => connection,
            None => {
                let fresh = open_writer(&self.path).map_err(|error| StoreError::Engine(Arc::new(error)))?;
                self.connection.insert(fresh)
            }
        };
        let started = Instant::now();
        statement(connection, "BEGIN IMMEDIATE")?;
        let mut at = 0;
        loop {
            statement(connection, "SAVEPOINT job")?;
            if !group[at].run(&mut Tx { connection }) {
                statement(connection, "ROLLBACK TO job")?;
            }
            statement(connection, "RELEASE job")?;
            at += 1;
            if at == group.len() {
                if group.len() >= GROUP_WRITES || started.elapsed() >= GROUP_SPAN {
                    break;
                }
                match queue.try_recv() {
                    Ok(job) => group.push(job),
                    Err(_) => break,
                }
            }
        }
        statement(connection, "COMMIT")
    }

    /// A connection on which BEGIN, COMMIT or a rollback failed is not used again.
    fn poisoned(&mut self, error: &StoreError) {
        tracing::error!(%error, "a commit failed; the database is opened anew, the reports in it were not acknowledged");
        *self.health.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
        self.health.failing.store(true, Ordering::Release);
        self.connection = None;
    }

    /// Ends long reads when they have kept the log from being folded back for too long.
    fn watch_log(&self) {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        let too_long = self.health.commits.load(Ordering::Relaxed).is_multiple_of(64)
            && std::fs::metadata(&log).is_ok_and(|meta| meta.len() > WAL_LIMIT_BYTES);
        if too_long {
            tracing::warn!(
                limit_bytes = WAL_LIMIT_BYTES,
                "the log of changes is long; reads under way are ended"
            );
            self.health.end_reads.fetch_add(1, Ordering::Release);
            if let Some(connection) = &self.connection {
                let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            }
        }
    }
}

fn statement(connection: &Connection, sql: &str) -> Result<(), StoreError> {
    connection.prepare_cached(sql).and_then(|mut s| s.execute([])).map(|_| ()).map_err(failure)
}

struct Reader {
    connection: Connection,
    deadline: Arc<Mutex<Instant>>,
}

impl Reader {
    fn open(path: &Path, health: Arc<Health>) -> Result<Self, OpenError> {
        let unreadable = |error: rusqlite::Error| unreadable(path, &error);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(unreadable)?;
        connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
        connection
            .execute_batch("PRAGMA query_only=1; PRAGMA trusted_schema=0; PRAGMA cell_size_check=1;")
            .map_err(unreadable)?;
        let deadline = Arc::new(Mutex::new(Instant::now()));
        let until = Arc::clone(&deadline);
        let mut seen = health.end_reads.load(Ordering::Acquire);
        connection
            .progress_handler(
                10_000,
                Some(move || {
                    let asked = health.end_reads.load(Ordering::Acquire);
                    let end = asked != std::mem::replace(&mut seen, asked);
                    end || Instant::now() > *until.lock().unwrap_or_else(PoisonError::into_inner)
                }),
            )
            .map_err(unreadable)?;
        Ok(Self { connection, deadline })
    }

    fn run<T>(
        &mut self,
        operation: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + READ_DEADLINE;
        statement(&self.connection, "BEGIN")?;
        let result = catch_unwind(AssertUnwindSafe(|| operation(&mut Tx { connection: &self.connection })));
        let ended = statement(&self.connection, "ROLLBACK");
        let result = result.unwrap_or_else(|panic| Err(StoreError::Bug(panic_text(panic.as_ref()))));
        result.and_then(|value| ended.map(|()| value))
    }
}

fn unreadable(path: &Path, error: &rusqlite::Error) -> OpenError {
    OpenError::Unreadable { path: path.to_owned(), reason: error.to_string() }
}

fn open_writer(path: &Path) -> Result<Connection, OpenError> {
    let unreadable = |error: rusqlite::Error| unreadable(path, &error);
    if rusqlite::version_number() < SQLITE_MINIMUM {
        let found = rusqlite::version().to_owned();
        return Err(OpenError::Setting { path: path.to_owned(), setting: "SQLite 3.51.3 or newer", found });
    }
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(unreadable)?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    connection.busy_timeout(Duration::from_secs(5)).map_err(unreadable)?;
    // The settings that the promises rest on, each read back.
    for (setting, sql, expected) in [
        ("journal_mode", "PRAGMA journal_mode=wal", "wal"),
        ("synchronous", "PRAGMA synchronous=2", "2"),
        ("foreign_keys", "PRAGMA foreign_keys=1", "1"),
        ("trusted_schema", "PRAGMA trusted_schema=0", "0"),
        ("cell_size_check", "PRAGMA cell_size_check=1", "1"),
    ] {
        connection.execute_batch(sql).or_else(ignore_rows).map_err(unreadable)?;
        let found: rusqlite::types::Value =
            connection.query_row(&format!("PRAGMA {setting}"), [], |row| row.get(0)).map_err(unreadable)?;
        let found = match found {
            rusqlite::types::Value::Integer(number) => number.to_string(),
            rusqlite::types::Value::Text(text) => text,
            other => format!("{other:?}"),
        };
        if found != expected {
            return Err(OpenError::Setting { path: path.to_owned(), setting, found });
        }
    }
    connection
        .execute_batch(&format!("PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}; PRAGMA cache_size=-65536;"))
        .or_else(ignore_rows)
        .map_err(unreadable)?;
    Ok(connection)
}

/// Some pragmas answer with a row, which `execute_batch` takes for an error.
fn ignore_rows(error: rusqlite::Error) -> Result<(), rusqlite::Error> {
    match error {
        rusqlite::Error::ExecuteReturnedResults => Ok(()),
        other => Err(other),
    }
}

/// File systems over the network do not keep the locks and the shared memory that WAL needs.
fn refuse_network(path: &Path) -> Result<(), OpenError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let Ok(stat) = rustix::fs::statfs(folder) else { return Ok(()) };
    // statfs(2): f_type of nfs, smb, cifs, smb2, v9fs, ceph, fuse is left alone (ntfs-3g is one).
    let kind = match stat.f_type as u32 {
        0x6969 => "nfs",
        0x517b => "smb",
        0xff53_4d42 | 0xfe53_4d42 => "cifs",
        0x0102_1997 => "9p",
        0x00c3_6400 => "ceph",
        _ => return Ok(()),
    };
    Err(OpenError::Network { path: path.to_owned(), kind })
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        use rusqlite::types::{ToSqlOutput::Borrowed, ValueRef};
        Ok(Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(value) => ValueRef::Integer(*value),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

pub(super) fn bind(params: &[Value]) -> impl rusqlite::Params + '_ {
    rusqlite::params_from_iter(params)
}

/// The engine's error in the terms of [`StoreError`].
pub(super) fn failure(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::DiskFull,
        Some(ErrorCode::OperationInterrupted) => StoreError::TooSlow,
        _ => StoreError::Engine(Arc::new(error)),
    }
}
