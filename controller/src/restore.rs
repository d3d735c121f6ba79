//! `restore FILE`: the county goes on from a backup.
//!
//! The folder is changed in three steps, so that a cut at any point leaves the old county or the new one:
//!
//! 1. The backup is looked at, and everything that will be put into the folder is laid into `DIR/restore/` and
//!    brought to disk: the database as it will go on, and the files that the folder lacks. Until here nothing of
//!    the county was touched; a left-over without [`READY`] is thrown away.
//! 2. `restore/ready` is written. It names what is set aside under which name. From here on the new county is
//!    the one: whoever opens the folder next finishes it.
//! 3. The old database (with its log, and keys that are not readable) is renamed to its name aside, then what was
//!    laid ready is renamed into its place, the database last, and `restore/` is removed. Each of these may be
//!    done again from the start.
//!
//! What the folder holds and can be read is newer than the backup and stays: configuration, keys, and above all the
//! revocation log, which is never rewound. The database does go back, and with it what it says of the past. What
//! must not go back is dealt with in [`county_restored`]: devices send again what they keep, because the
//! incarnation is another; browsers sign in anew; tokens that were open are closed, because nobody knows how often
//! they were used since. Serial numbers and the sets' codes are random, so none comes twice. Messages that were
//! delivered since the backup are delivered again under their old ids, by which their receivers know them.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use bbt_domain::{access::Actor, ids::Incarnation, time::UtcMicros};
use bbt_store::{
    OpenError, Store, StoreError,
    backup::{self, Backup, BackupError, Carried},
    meta::county_restored,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::{
    backup::{PKI, REVOCATIONS, describe, sync_parent},
    clock::SharedClock,
    config::{DataFolder, FILE},
    county::{CountyError, Lock},
    files,
    pki::{
        self, PkiError,
        authority::Authority,
        hex,
        revoke::{Denylist, RevocationError},
    },
};

/// Says that what is laid ready is whole.
const READY: &str = "ready";
/// The database as it is laid ready.
const DATABASE: &str = "county.db";
/// A database, its log and the log's index.
const DATABASE_FILES: [&str; 3] = ["", "-wal", "-shm"];

/// Where revocations come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocations {
    /// From the folder's own log.
    Own,
    /// From this log.
    Log(PathBuf),
    /// From the backup: what was revoked since is not known.
    None,
}

/// Why nothing was restored; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The folder.
    #[error(transparent)]
    County(#[from] CountyError),
    /// The controller runs.
    #[error("{0} is in use: stop the controller first, such as by `systemctl stop bbt-controller`")]
    Running(PathBuf),
    /// Keys.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// A revocation log.
    #[error(transparent)]
    Revocations(#[from] RevocationError),
    /// The database in the backup.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database in the backup.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file or folder.
    #[error("{path} cannot be {done}: {reason}")]
    File {
        /// Which.
        path: PathBuf,
        /// made, read, written, renamed, removed
        done: &'static str,
        /// What the system says.
        reason: io::Error,
    },
    /// The folder is of another county.
    #[error(
        "{folder} holds another county than the backup (root {found} instead of {expected}): restore into an empty folder, or name the right backup"
    )]
    Other {
        /// The data folder.
        folder: PathBuf,
        /// SHA-256 of its root.
        found: String,
        /// SHA-256 of the backup's root.
        expected: String,
    },
    /// Nobody said whom the county revoked since.
    #[error(
        "{0} holds no revocation log, so it is not known which devices were revoked after the backup: give the newest copy of revocations.log with --revocations LOG, or --revocations none to go on without"
    )]
    NoLog(PathBuf),
    /// A log was given where there is one.
    #[error("{0} is the county's own revocation log and newer than any copy: leave --revocations away")]
    OwnLog(PathBuf),
    /// The log that was given knows less than the backup.
    #[error("the revocation log {0} lacks what the backup's own log has: name the newest copy")]
    OlderLog(PathBuf),
}

impl RestoreError {
    /// Whether the command was given wrongly, and not something failed.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::NoLog(_) | Self::OwnLog(_))
    }
}

/// What [`READY`] says.
#[derive(Debug, Serialize, Deserialize)]
struct Ready {
    /// The old database's name aside; its log keeps its ending.
    database_aside: String,
    /// Where unreadable keys go.
    pki_aside: Option<String>,
}

/// Puts the county in the backup `file` into `folder`. What was done, as JSON.
pub async fn restore(
    folder: &DataFolder,
    file: &Path,
    revocations: Revocations,
    clock: &SharedClock,
) -> Result<Json, RestoreError> {
    let home = folder.path();
    files::private_folder(home).map_err(failed(home, "made"))?;
    let _lock = Lock::take(folder).map_err(|error| match error {
        CountyError::Locked(folder) => RestoreError::Running(folder),
        error => error.into(),
    })?;
    settle_locked(folder)?;
    let backup = Backup::open(file)?;
    let now = clock.now();
    let plan = Plan::new(folder, &backup, &revocations, now)?;

    let laid = folder.restoring();
    files::private_folder(&laid).map_err(failed(&laid, "made"))?;
    let incarnation = Incarnation::from_bytes(pki::random()?);
    let mut done = describe(&backup, file);
    done["revocations"] = json!(plan.revocations_from);
    if revocations == Revocations::None {
        done["revocations_missing_from"] = json!(backup.label.made_at);
        done["revocations_missing_to"] = json!(now);
    }
    done["tokens_closed"] = json!(lay_database(&backup, &laid, incarnation, &done, now).await?);
    for carried in &plan.files {
        lay(&laid.join(&carried.path), &carried.bytes)?;
    }
    sync_folders(&laid)?;

    let had_database = folder.database().exists();
    let ready = serde_json::to_vec(&plan.ready).map_err(|error| failed(&laid, "written")(error.into()))?;
    files::write_atomically(&laid.join(READY), &ready, 0o600).map_err(failed(&laid, "written"))?;
    settle_locked(folder)?;
    done["old_database"] = json!(had_database.then(|| home.join(&plan.ready.database_aside)));
    done["old_pki"] = json!(plan.ready.pki_aside.map(|name| home.join(name)));
    Ok(done)
}

/// Finishes or undoes what a restore that was cut off left in `folder`. To be called before anything of it is read.
pub fn settle(folder: &DataFolder) -> Result<(), RestoreError> {
    if !folder.restoring().exists() {
        return Ok(());
    }
    let _lock = Lock::take(folder)?;
    settle_locked(folder)
}

/// What is to be put into the folder.
struct Plan {
    files: Vec<Carried>,
    revocations_from: &'static str,
    ready: Ready,
}

impl Plan {
    fn new(
        folder: &DataFolder,
        backup: &Backup,
        revocations: &Revocations,
        now: UtcMicros,
    ) -> Result<Self, RestoreError> {
        let stamp = now.to_string().chars().filter(char::is_ascii_alphanumeric).collect::<String>();
        let pki_aside = has_foreign_keys(folder, backup)?.then(|| format!("{PKI}.before-{stamp}"));
        let (log, revocations_from) = log_for(folder, backup, revocations)?;
        let absent = |name: &str| !folder.path().join(name).exists();
        let mut files: Vec<Carried> = backup.files.clone();
        files.retain(|file| match file.path.strip_prefix(PKI) {
            // Keys belong together: all of the folder's, or all of the backup's.
            Some(_) => pki_aside.is_some() || absent(PKI),
            None => file.path == FILE && absent(FILE),
        });
        files.extend(log.map(|bytes| Carried { path: REVOCATIONS.to_owned(), bytes }));
        let ready = Ready { database_aside: format!("{DATABASE}.before-{stamp}"), pki_aside };
        Ok(Self { files, revocations_from, ready })
    }
}

/// Whether the folder has keys that nobody can read; keys of another county are refused.
fn has_foreign_keys(folder: &DataFolder, backup: &Backup) -> Result<bool, RestoreError> {
    if !folder.pki().exists() {
        return Ok(false);
    }
    let Ok(authority) = Authority::load(&folder.pki()) else { return Ok(true) };
    let found = hex(&authority.root_sha256());
    if found == backup.label.root_sha256 {
        return Ok(false);
    }
    let expected = backup.label.root_sha256.clone();
    Err(RestoreError::Other { folder: folder.path().to_owned(), found, expected })
}

/// The revocation log to be laid ready, if it is not there already, and where it is from.
fn log_for(
    folder: &DataFolder,
    backup: &Backup,
    revocations: &Revocations,
) -> Result<(Option<Vec<u8>>, &'static str), RestoreError> {
    let own = folder.revocations();
    // The copy may have caught the log in the middle of a line.
    let carried = || {
        let log = backup.files.iter().find(|file| file.path == REVOCATIONS);
        let mut bytes = log.map(|file| file.bytes.clone()).unwrap_or_default();
        bytes.truncate(Denylist::parse(Path::new(REVOCATIONS), &bytes)?.1);
        Ok::<_, RestoreError>(bytes)
    };
    match (own.exists(), revocations) {
        (true, Revocations::Log(_)) => Err(RestoreError::OwnLog(own)),
        (true, Revocations::Own | Revocations::None) => {
            // One that cannot be read would be found at the next start, when the old county is gone.
            Denylist::open(&own)?;
            Ok((None, "own"))
        }
        (false, Revocations::Own) => Err(RestoreError::NoLog(folder.path().to_owned())),
        (false, Revocations::None) => Ok((Some(carried()?), "backup")),
        (false, Revocations::Log(path)) => {
            let bytes = fs::read(path).map_err(failed(path, "read"))?;
            Denylist::parse(path, &bytes)?;
            if !bytes.starts_with(&carried()?) {
                return Err(RestoreError::OlderLog(path.clone()));
            }
            Ok((Some(bytes), "given"))
        }
    }
}

/// Lays the backup's database ready as it will go on; how many tokens that were open are closed.
async fn lay_database(
    backup: &Backup,
    laid: &Path,
    incarnation: Incarnation,
    detail: &Json,
    now: UtcMicros,
) -> Result<usize, RestoreError> {
    let path = laid.join(DATABASE);
    backup.unpack(&path)?;
    let store = Store::open(&path, now)?;
    let detail = detail.clone();
    let closed = store.write(move |tx| county_restored(tx, &Actor::Local, incarnation, &detail, now)).await?;
    drop(store);
    backup::fold(&path)?;
    Ok(closed)
}

fn lay(path: &Path, bytes: &[u8]) -> Result<(), RestoreError> {
    if let Some(folder) = path.parent() {
        files::private_folder(folder).map_err(failed(folder, "made"))?;
    }
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .map_err(failed(path, "written"))
}

fn sync_folders(laid: &Path) -> Result<(), RestoreError> {
    for name in [DATABASE, "pki/any"] {
        let path = laid.join(name);
        if path.parent().is_some_and(Path::exists) {
            sync_parent(&path).map_err(failed(&path, "written"))?;
        }
    }
    sync_parent(laid).map_err(failed(laid, "written"))
}

fn settle_locked(folder: &DataFolder) -> Result<(), RestoreError> {
    let laid = folder.restoring();
    match fs::read(laid.join(READY)) {
        Ok(bytes) => {
            let ready: Ready = serde_json::from_slice(&bytes)
                .map_err(|error| failed(&laid.join(READY), "read")(error.into()))?;
            take_over(folder, &ready)?;
        }
        Err(reason) if reason.kind() == io::ErrorKind::NotFound => {}
        Err(reason) => return Err(failed(&laid.join(READY), "read")(reason)),
    }
    // What says that it is ready goes first: the rest without it is a left-over.
    for remove in [fs::remove_file(laid.join(READY)), fs::remove_dir_all(&laid)] {
        if let Err(reason) = remove
            && reason.kind() != io::ErrorKind::NotFound
        {
            return Err(failed(&laid, "removed")(reason));
        }
    }
    sync_parent(&laid).map_err(failed(&laid, "removed"))
}

/// Step 3; done again from the start it goes on where it was cut off.
fn take_over(folder: &DataFolder, ready: &Ready) -> Result<(), RestoreError> {
    let (home, laid) = (folder.path(), folder.restoring());
    let database = laid.join(DATABASE);
    if !database.exists() {
        return Ok(());
    }
    let suffixed = |name: &str, suffix: &str| home.join(format!("{name}{suffix}"));
    for suffix in DATABASE_FILES {
        rename_if_there(&suffixed(DATABASE, suffix), &suffixed(&ready.database_aside, suffix))?;
    }
    let pki = laid.join(PKI);
    if pki.exists() {
        if let Some(aside) = &ready.pki_aside {
            rename_if_there(&folder.pki(), &home.join(aside))?;
        }
        rename_if_there(&pki, &folder.pki())?;
    }
    rename_if_there(&laid.join(REVOCATIONS), &folder.revocations())?;
    rename_if_there(&laid.join(FILE), &home.join(FILE))?;
    sync_parent(&folder.database()).map_err(failed(home, "written"))?;
    rename_if_there(&database, &folder.database())?;
    sync_parent(&folder.database()).map_err(failed(home, "written"))
}

fn rename_if_there(from: &Path, to: &Path) -> Result<(), RestoreError> {
    match fs::rename(from, to) {
        Err(reason) if reason.kind() != io::ErrorKind::NotFound => Err(failed(from, "renamed")(reason)),
        _ => Ok(()),
    }
}

fn failed(path: &Path, done: &'static str) -> impl FnOnce(io::Error) -> RestoreError {
    let path = path.to_owned();
    move |reason| RestoreError::File { path, done, reason }
}
