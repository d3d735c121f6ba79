//! Who may not connect: an atomic snapshot in memory, and a log that a restored backup never rewinds.
//!
//! The log is appended and synced before the store learns of a revocation, and read before any port opens.
//! Where store and log differ at the start, the log is right.

use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use bbt_domain::{identity::Standing, ids::DeviceId, time::UtcMicros};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// One line of the log.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    at: UtcMicros,
    device: DeviceId,
    standing: Standing,
}

/// A log that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RevocationError {
    /// The file cannot be read or written.
    #[error("the revocation log {path} cannot be used: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// A line in the middle is damaged: whom it revoked is not known.
    #[error(
        "line {line} of the revocation log {path} is damaged: restore the file, or mend that line by hand"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
}

/// The devices that may not connect.
#[derive(Debug)]
pub struct Denylist {
    denied: ArcSwap<HashSet<DeviceId>>,
    log: Mutex<Log>,
    /// Counts changes; open streams wait on it.
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct Log {
    path: PathBuf,
    /// `None` after a failed sync: the handle says nothing true any more and is opened anew.
    file: Option<File>,
}

impl Denylist {
    /// Reads the log at `path`; makes it if absent.
    pub fn open(path: &Path) -> Result<Self, RevocationError> {
        let failed = |reason| RevocationError::File { path: path.to_owned(), reason };
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(error)),
        };
        let (denied, whole) = Self::parse(path, &bytes)?;
        let file = open_log(path).map_err(failed)?;
        if whole < bytes.len() {
            file.set_len(whole as u64).and_then(|()| file.sync_all()).map_err(failed)?;
        }
        Ok(Self {
            denied: ArcSwap::from_pointee(denied),
            log: Mutex::new(Log { path: path.to_owned(), file: Some(file) }),
            changes: watch::Sender::new(0),
        })
    }

    /// Whom the log in `bytes` denies, and how much of it is whole lines.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<(HashSet<DeviceId>, usize), RevocationError> {
        // A power cut leaves at most a torn last line; nobody was told of it.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let mut denied = HashSet::new();
        for (index, line) in
            bytes[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate()
        {
            let entry: Entry = serde_json::from_slice(line)
                .map_err(|_| RevocationError::Damaged { path: path.to_owned(), line: index + 1 })?;
            match entry.standing {
                Standing::Revoked => denied.insert(entry.device),
                Standing::Active => denied.remove(&entry.device),
            };
        }
        Ok((denied, whole))
    }

    /// Whether `device` may not connect.
    pub fn denies(&self, device: DeviceId) -> bool {
        self.denied.load().contains(&device)
    }

    /// Every device that may not connect.
    pub fn all(&self) -> Arc<HashSet<DeviceId>> {
        self.denied.load_full()
    }

    /// Wakes at every change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Notes durably how `device` stands, then makes it so for every connection, open ones too. Blocks for
    /// one sync of a file.
    pub fn stand(&self, device: DeviceId, standing: Standing, now: UtcMicros) -> Result<(), RevocationError> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.append(&Entry { at: now, device, standing })?;
        let mut denied = HashSet::clone(&self.denied.load());
        match standing {
            Standing::Revoked => denied.insert(device),
            Standing::Active => denied.remove(&device),
        };
        self.denied.store(Arc::new(denied));
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }
}

impl Log {
    fn append(&mut self, entry: &Entry) -> Result<(), RevocationError> {
        let failed = |reason| RevocationError::File { path: self.path.clone(), reason };
        let mut line = serde_json::to_vec(entry).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        let mut file = match self.file.take() {
            Some(file) => file,
            None => open_log(&self.path).map_err(failed)?,
        };
        let before = file.metadata().map_err(failed)?.len();
        let written = file.write_all(&line).and_then(|()| file.sync_data());
        if let Err(error) = written {
            let _ = file.set_len(before);
            return Err(failed(error));
        }
        self.file = Some(file);
        Ok(())
    }
}

fn open_log(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: DeviceId = DeviceId::from_bytes([7; 16]);

    #[test]
    fn a_revocation_survives_a_restart_and_so_does_its_undoing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("revocations.log");
        let now = UtcMicros::from_secs(1_790_000_000);
        Denylist::open(&path).unwrap().stand(DEVICE, Standing::Revoked, now).unwrap();
        let again = Denylist::open(&path).unwrap();
        assert!(again.denies(DEVICE));
        again.stand(DEVICE, Standing::Active, now).unwrap();
        assert!(!Denylist::open(&path).unwrap().denies(DEVICE));
    }

    #[test]
    fn a_torn_last_line_is_cut_off_and_a_damaged_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("revocations.log");
        Denylist::open(&path).unwrap().stand(DEVICE, Standing::Revoked, UtcMicros::default()).unwrap();
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, [good.as_slice(), b"{\"at\":"].concat()).unwrap();
        assert!(Denylist::open(&path).unwrap().denies(DEVICE));
        assert_eq!(std::fs::read(&path).unwrap(), good);
        std::fs::write(&path, [b"nonsense\n", good.as_slice()].concat()).unwrap();
        assert!(Denylist::open(&path).unwrap_err().to_string().contains("line 1"));
    }

    #[test]
    fn an_open_stream_hears_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let denylist = Denylist::open(&folder.path().join("revocations.log")).unwrap();
        let mut changes = denylist.changes();
        changes.mark_unchanged();
        denylist.stand(DEVICE, Standing::Revoked, UtcMicros::default()).unwrap();
        assert!(changes.has_changed().unwrap());
    }
}
