//! What a disk may hold after a power cut, for code that writes by SQLite in this process.
//!
//! A [`Recording`] of a folder notes every call by which SQLite changes or syncs a file in it (`shim.rs`). From the
//! notes [`Recording::crash`] composes the folder as a power cut at any point may leave it (`states.rs`): what was
//! synced is there, and of what was not, any selection of sectors.
//!
//! What it knowingly does not do: files that the program itself makes count as there from their first opening;
//! the index of a write-ahead log (`-shm`) is no matter of the disk and never part of a state.

mod shim;
mod states;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result};
use tempfile::TempDir;

pub use self::states::CrashState;

/// A call that changes a file, or makes its changes durable.
#[derive(Clone, Debug)]
enum Act {
    /// Opened for the first time, or anew after it was deleted, with this content.
    Begin(Vec<u8>),
    /// Bytes at an offset.
    Write(u64, Vec<u8>),
    /// Cut or grown to a length.
    Truncate(u64),
    /// All before is durable.
    Sync,
    /// Deleted, and durably so or not.
    Delete { durable: bool },
}

#[derive(Clone, Debug)]
struct Note {
    /// The file's name in its folder.
    file: String,
    act: Act,
}

/// The notes of one folder.
#[derive(Debug, Default)]
struct Log {
    notes: Vec<Note>,
    deaf_to_syncs: bool,
}

impl Log {
    fn note(&mut self, file: &str, act: Act) {
        if !(self.deaf_to_syncs && matches!(act, Act::Sync)) {
            self.notes.push(Note { file: file.to_owned(), act });
        }
    }

    /// Whether the file is open to notes: begun and not deleted.
    fn knows(&self, file: &str) -> bool {
        let last = self.notes.iter().rev().find(|note| note.file == file);
        last.is_some_and(|note| !matches!(note.act, Act::Delete { .. }))
    }
}

type SharedLog = Arc<Mutex<Log>>;

/// The folders that are recorded in this process.
static RECORDED: Mutex<Vec<(PathBuf, SharedLog)>> = Mutex::new(Vec::new());

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes what SQLite does in a folder, until it is dropped.
#[derive(Debug)]
pub struct Recording {
    folder: PathBuf,
    log: SharedLog,
}

/// A point of a recording, between two calls.
pub type Moment = usize;

impl Recording {
    /// Of a folder whose databases are opened after this.
    pub fn start(folder: &Path) -> Result<Self> {
        shim::install()?;
        let log = SharedLog::default();
        locked(&RECORDED).push((folder.to_owned(), Arc::clone(&log)));
        Ok(Self { folder: folder.to_owned(), log })
    }

    /// From now on syncs are without effect, as on a disk that lies or with `PRAGMA synchronous=OFF`.
    pub fn ignore_syncs(&self) {
        locked(&self.log).deaf_to_syncs = true;
    }

    /// The calls so far.
    pub fn now(&self) -> Moment {
        locked(&self.log).notes.len()
    }

    /// Just before the last sync.
    pub fn before_last_sync(&self) -> Moment {
        let log = locked(&self.log);
        log.notes.iter().rposition(|note| matches!(note.act, Act::Sync)).unwrap_or(0)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        locked(&RECORDED).retain(|(folder, _)| *folder != self.folder);
    }
}

/// The log of the folder in which `path` lies, and the file's name there.
fn recorded(path: &Path) -> Option<(SharedLog, String)> {
    let (folder, name) = (path.parent()?, path.file_name()?.to_str()?);
    let recorded = locked(&RECORDED);
    let (_, log) = recorded.iter().find(|(known, _)| known == folder)?;
    Some((Arc::clone(log), name.to_owned()))
}

/// Notes that a file is open, if that is news.
fn begin(log: &SharedLog, path: &Path, name: &str) {
    let content = fs::read(path).unwrap_or_default();
    let mut log = locked(log);
    if !log.knows(name) {
        log.note(name, Act::Begin(content));
    }
}

/// A folder in memory: what is recorded or composed here needs no disk, and its syncs no time.
pub fn folder() -> Result<TempDir> {
    const MEMORY: &str = "/dev/shm";
    tempfile::Builder::new().prefix("bbt-crash-").tempdir_in(MEMORY).context("making a folder in memory")
}

impl CrashState {
    /// Lays the files into a folder of their own.
    pub fn write(&self) -> Result<TempDir> {
        let folder = folder()?;
        for (name, content) in &self.files {
            let path = folder.path().join(name);
            fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(folder)
    }
}
