//! SQLite: one writer thread that owns the write connection, and a few read-only connections.
//!
//! Writes that are queued while one is being done share its commit. Each runs in a savepoint of its own, so
//! one that fails undoes only itself, and every result is released only after the shared commit returned.
//! The writer never waits for company: a lone write is committed at once. Checkpoints are made by the
//! committing connection, so by the writer alone. After a failed commit the connection is closed and opened
//! anew, because a file whose fsync failed once says nothing true any more.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bbt_domain::time::UtcMicros;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::mpsc;

use super::{
    Cells, OpenError, READ_DEADLINE, Row, Tx, Value, dialect::sqlite_failure as failure, job::Job, migrate,
    store::Health,
};
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
/// Its length is looked at once in so many commits: a call to the system, and it grows slowly.
const LOG_LOOK_COMMITS: u64 = 64;
/// What a start may spend on looking for damage; devices wait meanwhile.
const START_CHECK: Duration = Duration::from_secs(5);
/// Statements kept prepared per connection: every operation has a few.
const STATEMENT_CACHE: usize = 256;
/// The oldest engine with the fixes relied on (WAL reset, 3.51.3).
const SQLITE_MINIMUM: i32 = 3_051_003;

/// The engine in a file of this machine.
pub(super) struct Sqlite {
    writes: Option<mpsc::Sender<Box<dyn Job>>>,
    reads: mpsc::Sender<Box<dyn Job>>,
    path: PathBuf,
    end_reads: EndReads,
    writer: Option<thread::JoinHandle<()>>,
}

/// Counts up when the log is too long; readers end what they do.
type EndReads = Arc<AtomicU64>;

impl Sqlite {
    pub(super) fn open(path: &Path, health: Arc<Health>, now: UtcMicros) -> Result<Self, OpenError> {
        refuse_network(path)?;
        let mut connection = open_writer(path)?;
        look_for_damage(&mut connection, path)?;
        migrate::sqlite(&mut connection, &path.display().to_string(), now)?;
        let end_reads = EndReads::default();

        let (writes, queue) = mpsc::channel(WRITE_QUEUE);
        let writer = Writer {
            connection: Some(connection),
            path: path.to_owned(),
            health: Arc::clone(&health),
            end_reads: Arc::clone(&end_reads),
        };
        let writer = thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.work(queue))
            .map_err(OpenError::Threads)?;

        let (reads, queue) = mpsc::channel::<Box<dyn Job>>(READ_QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..READERS {
            let mut reader = Reader::open(path, Arc::clone(&health), Arc::clone(&end_reads))?;
            let queue = Arc::clone(&queue);
            thread::Builder::new()
                .name("store-reader".into())
                .spawn(move || {
                    loop {
                        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
                        match job {
                            Some(job) => reader.run(job),
                            None => break,
                        }
                    }
                })
                .map_err(OpenError::Threads)?;
        }
        Ok(Self { writes: Some(writes), reads, path: path.to_owned(), end_reads, writer: Some(writer) })
    }

    /// Queues a write as soon as there is room.
    pub(super) async fn write(&self, job: Box<dyn Job>) -> Result<(), StoreError> {
        let queue = self.writes.as_ref().ok_or(StoreError::Closed)?;
        queue.send(job).await.map_err(|_| StoreError::Closed)
    }

    /// A connection that sees the database as it is now, however long it looks, and whether it is still allowed
    /// to: it holds the log of changes from being folded back.
    pub(super) fn snapshot(&self) -> Result<(Connection, impl Fn() -> bool), StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags).map_err(failure)?;
        connection
            .execute_batch("BEGIN; SELECT 1 FROM sqlite_schema LIMIT 1;")
            .or_else(ignore_rows)
            .map_err(failure)?;
        let end_reads = Arc::clone(&self.end_reads);
        let asked = end_reads.load(Ordering::Acquire);
        Ok((connection, move || end_reads.load(Ordering::Acquire) == asked))
    }

    /// Queues a read as soon as there is room.
    pub(super) async fn read(&self, job: Box<dyn Job>) -> Result<(), StoreError> {
        self.reads.send(job).await.map_err(|_| StoreError::Closed)
    }
}

impl Drop for Sqlite {
    /// Lets the writer finish what is queued, so that dropping the store is an orderly stop.
    fn drop(&mut self) {
        self.writes.take();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

struct Writer {
    /// `None` after a failed commit, until it could be opened anew.
    connection: Option<Connection>,
    path: PathBuf,
    health: Arc<Health>,
    end_reads: EndReads,
}

impl Writer {
    fn work(mut self, mut queue: mpsc::Receiver<Box<dyn Job>>) {
        while let Some(first) = queue.blocking_recv() {
            let mut group = vec![first];
            let outcome = self.commit_group(&mut group, &mut queue).map_err(|error| self.by_disk(error));
            match &outcome {
                Ok(()) => self.health.committed(group.len()),
                Err(error) => self.poisoned(error),
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
        group: &mut Vec<Box<dyn Job>>,
        queue: &mut mpsc::Receiver<Box<dyn Job>>,
    ) -> Result<(), StoreError> {
        if let Some(found) = self.health.damage() {
            return Err(found);
        }
        let connection = match &self.connection {
            Some(connection) => connection,
            None => {
                let fresh =
                    open_writer(&self.path).map_err(|error| StoreError::Io { reason: error.to_string() })?;
                self.connection.insert(fresh)
            }
        };
        let started = Instant::now();
        statement(connection, "BEGIN IMMEDIATE")?;
        let mut at = 0;
        loop {
            statement(connection, "SAVEPOINT job")?;
            let mut tx = Tx::on_sqlite(connection);
            let keep = group[at].run(&mut tx);
            if let Some(failure) = tx.failure().filter(|failure| failure.is_of_the_disk()) {
                return Err(failure.clone());
            }
            if !keep {
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

    /// The engine calls a read-only file system, and sometimes a full one, an error of input and output: the file
    /// system knows better.
    fn by_disk(&self, error: StoreError) -> StoreError {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let Ok(stat) = rustix::fs::statvfs(folder) else { return error };
        match error {
            StoreError::Io { .. } if stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) => {
                StoreError::ReadOnly
            }
            StoreError::Io { .. } if stat.f_bavail == 0 => StoreError::DiskFull,
            error => error,
        }
    }

    /// A connection on which BEGIN, COMMIT or a rollback failed is not used again.
    fn poisoned(&mut self, error: &StoreError) {
        tracing::error!(%error, "a commit failed; the database is opened anew, the reports in it were not acknowledged");
        self.health.failed(error);
        self.connection = None;
    }

    /// Ends long reads when they have kept the log from being folded back for too long.
    fn watch_log(&self) {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        let too_long = self.health.commits().is_multiple_of(LOG_LOOK_COMMITS)
            && std::fs::metadata(&log).is_ok_and(|meta| meta.len() > WAL_LIMIT_BYTES);
        if too_long {
            tracing::warn!(
                limit_bytes = WAL_LIMIT_BYTES,
                "the log of changes is long; reads under way are ended"
            );
            self.end_reads.fetch_add(1, Ordering::Release);
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
    health: Arc<Health>,
    deadline: Arc<Mutex<Instant>>,
}

impl Reader {
    fn open(path: &Path, health: Arc<Health>, end_reads: EndReads) -> Result<Self, OpenError> {
        let unreadable = |error: rusqlite::Error| unreadable(path, &error);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(unreadable)?;
        connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
        connection
            .execute_batch("PRAGMA query_only=1; PRAGMA trusted_schema=0; PRAGMA cell_size_check=1;")
            .map_err(unreadable)?;
        let deadline = Arc::new(Mutex::new(Instant::now()));
        let until = Arc::clone(&deadline);
        let mut seen = end_reads.load(Ordering::Acquire);
        connection
            .progress_handler(
                10_000,
                Some(move || {
                    let asked = end_reads.load(Ordering::Acquire);
                    let end = asked != std::mem::replace(&mut seen, asked);
                    end || Instant::now() > *until.lock().unwrap_or_else(PoisonError::into_inner)
                }),
            )
            .map_err(unreadable)?;
        Ok(Self { connection, health, deadline })
    }

    fn run(&mut self, mut job: Box<dyn Job>) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + READ_DEADLINE;
        let end = statement(&self.connection, "BEGIN").and_then(|()| {
            let mut tx = Tx::on_sqlite(&self.connection);
            job.run(&mut tx);
            if let Some(damage @ StoreError::Corrupt { .. }) = tx.failure() {
                tracing::error!(%damage, "a read found the database damaged; nothing more is written to it");
                self.health.failed(damage);
            }
            statement(&self.connection, "ROLLBACK")
        });
        job.finish(end);
    }
}

fn unreadable(path: &Path, error: &rusqlite::Error) -> OpenError {
    let (database, reason) = (path.display().to_string(), error.to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => OpenError::Damaged { database, reason },
        _ => OpenError::Unreadable { database, reason },
    }
}

/// Looks through the file for damage, as far as that goes in [`START_CHECK`]: a small county whole, a large one in
/// part. The rest is found when it is read, and by every backup.
fn look_for_damage(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let until = Instant::now() + START_CHECK;
    let unreadable = |error: rusqlite::Error| unreadable(path, &error);
    connection.progress_handler(10_000, Some(move || Instant::now() > until)).map_err(unreadable)?;
    let found = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    connection.progress_handler(0, None::<fn() -> bool>).map_err(unreadable)?;
    match found {
        Ok(finding) if finding == "ok" => Ok(()),
        Ok(reason) => Err(OpenError::Damaged { database: path.display().to_string(), reason }),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => Ok(()),
        Err(error) => Err(unreadable(error)),
    }
}

fn open_writer(path: &Path) -> Result<Connection, OpenError> {
    let unreadable = |error: rusqlite::Error| unreadable(path, &error);
    if rusqlite::version_number() < SQLITE_MINIMUM {
        return Err(OpenError::Setting {
            database: path.display().to_string(),
            setting: "the engine SQLite",
            found: rusqlite::version().to_owned(),
            remedy: "3.51.3 or newer is needed",
        });
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
            return Err(OpenError::Setting {
                database: path.display().to_string(),
                setting,
                found,
                remedy: "it does not take another; is it on a local disk?",
            });
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
    Err(OpenError::Network { database: path.display().to_string(), kind })
}

/// Runs a statement; the number of rows it changed.
pub(super) fn execute(connection: &Connection, sql: &str, params: &[Value]) -> Result<usize, StoreError> {
    let mut statement = connection.prepare_cached(sql).map_err(failure)?;
    statement.execute(rusqlite::params_from_iter(params)).map_err(failure)
}

/// Shows row after row to `visit` until it has seen enough.
pub(super) fn walk(
    connection: &Connection,
    sql: &str,
    params: &[Value],
    visit: &mut dyn FnMut(&Row<'_>) -> bool,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(sql).map_err(failure)?;
    let mut rows = statement.query(rusqlite::params_from_iter(params)).map_err(failure)?;
    while let Some(row) = rows.next().map_err(failure)? {
        if !visit(&Row { cells: Cells::Sqlite(row) }) {
            break;
        }
    }
    Ok(())
}
