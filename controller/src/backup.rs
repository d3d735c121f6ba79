//! `backup FILE`: the whole county in one file.
//!
//! In it are the database, the configuration, the revocation log and what lies in `pki/`: the issuing key and the
//! key that seals secrets, never the root's. It is written beside its place, opened and looked at
//! ([`bbt_store::backup`]), and only then gets its name: a file of that name is a backup that counts. One backup is
//! made at a time.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Mutex, TryLockError,
        atomic::{AtomicU64, Ordering},
    },
};

use bbt_domain::access::Actor;
use bbt_store::{
    StoreError,
    backup::{self, Backup, BackupError, Carried, Label},
};
use serde_json::{Value as Json, json};

use crate::{
    config::{DataFolder, FILE},
    context::Context,
    pki::{authority::Authority, hex},
};

/// The folder of keys and certificates, as a backup names it.
pub(crate) const PKI: &str = "pki";
/// The revocation log, as a backup names it.
pub(crate) const REVOCATIONS: &str = "revocations.log";

/// Why no backup was made; nothing is left of it.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// Copying or checking.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// There is a file of that name.
    #[error("{0} exists already and is not overwritten: name a new file")]
    Exists(PathBuf),
    /// Another one is being made.
    #[error("another backup is being made: wait for its end")]
    Busy,
    /// A file or folder.
    #[error("{path} cannot be {done}: {reason}")]
    File {
        /// Which.
        path: PathBuf,
        /// read, renamed
        done: &'static str,
        /// What the system says.
        reason: io::Error,
    },
    /// It was made, and the store could not note it.
    #[error("the backup was made, but not noted in the audit: {0}")]
    Audit(StoreError),
}

/// Makes backups, and knows how far the one under way is.
#[derive(Debug, Default)]
pub struct Backups {
    one: Mutex<()>,
    done_bytes: AtomicU64,
    total_bytes: AtomicU64,
}

impl Backups {
    /// Bytes copied and bytes in all, of the backup under way.
    pub fn progress(&self) -> (u64, u64) {
        (self.done_bytes.load(Ordering::Relaxed), self.total_bytes.load(Ordering::Relaxed))
    }

    /// Makes one at `file`, for `actor`. Blocks for as long as the disks need.
    pub fn make(
        &self,
        context: &Context,
        authority: &Authority,
        folder: &DataFolder,
        actor: &Actor,
        file: &Path,
    ) -> Result<Backup, MakeError> {
        let _one = match self.one.try_lock() {
            Ok(one) => one,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(MakeError::Busy),
        };
        if file.symlink_metadata().is_ok() {
            return Err(MakeError::Exists(file.to_owned()));
        }
        let mut beside = file.as_os_str().to_owned();
        beside.push(".unfinished");
        let beside = PathBuf::from(beside);
        // Of one that was cut off: it holds the lock no more, so nobody writes it.
        let _ = fs::remove_file(&beside);
        let label = Label::new(
            context.now(),
            context.county.name.clone(),
            hex(&authority.root_sha256()),
            env!("CARGO_PKG_VERSION").to_owned(),
        );
        let progress = |done, total| {
            self.done_bytes.store(done, Ordering::Relaxed);
            self.total_bytes.store(total, Ordering::Relaxed);
        };
        // The files after the database: a revocation is in the log before it is in the store.
        let made = backup::copy(&context.store, actor, &beside, &progress)
            .map_err(MakeError::from)
            .and_then(|()| Ok(backup::finish(&beside, &label, &carried(folder, authority)?)?))
            .and_then(|made| {
                let named = fs::rename(&beside, file).and_then(|()| sync_parent(file));
                let done = "given its name";
                named.map(|()| made).map_err(|reason| MakeError::File { path: file.to_owned(), done, reason })
            });
        if made.is_err() {
            // What cannot be removed lies there under no backup's name.
            let _ = fs::remove_file(&beside);
        }
        made
    }
}

/// The files that a backup carries beside the database.
fn carried(folder: &DataFolder, authority: &Authority) -> Result<Vec<Carried>, MakeError> {
    let failed = |path: &Path, reason| MakeError::File { path: path.to_owned(), done: "read", reason };
    let mut files = Vec::new();
    let mut carry = |name: String, path: &Path| match fs::read(path) {
        Ok(bytes) => {
            files.push(Carried { path: name, bytes });
            Ok(())
        }
        Err(reason) if reason.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(reason) => Err(failed(path, reason)),
    };
    carry(FILE.to_owned(), &folder.path().join(FILE))?;
    carry(REVOCATIONS.to_owned(), &folder.revocations())?;
    let pki = folder.pki();
    for entry in fs::read_dir(&pki).map_err(|reason| failed(&pki, reason))? {
        let path = entry.map_err(|reason| failed(&pki, reason))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let is_root_key = fs::read(&path).is_ok_and(|bytes| authority.is_root_key(&bytes));
        if path.is_file() && !is_root_key {
            carry(format!("{PKI}/{name}"), &path)?;
        }
    }
    Ok(files)
}

/// What is said of a backup.
pub fn describe(backup: &Backup, file: &Path) -> Json {
    json!({
        "file": file,
        "made_at": backup.label.made_at,
        "county": backup.county.name,
        "size_bytes": backup.bytes,
        "devices": backup.devices,
        "audit_lines": backup.audit_lines,
        "ledger_entries": backup.ledger_entries,
        "problems": backup.broken_chains,
    })
}

pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
