//! The state folder: who may use it, and how files in it are written.
//!
//! `identity/` holds what must never be lost, `spool/` what waits to be sent, `run/` what helps people and may
//! vanish, `canary` a number by which the county sees whether this disk falls back. All of it belongs to the agent's user alone: folders 0700 and files 0600; on Windows the folders are made
//! for the system, administrators and their maker, and files in them inherit that.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// The agent's state folder with its sub-folders made.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
}

/// Why the state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A folder could not be made or entered.
    #[error(
        "cannot {doing} {path}: {source}; run as the user that owns it, or name another folder with --state"
    )]
    Unusable {
        /// What was tried.
        doing: &'static str,
        /// On which path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Another agent works on it.
    #[error("another bbt-agent is using {path}; stop it first, or name another folder with --state")]
    Busy {
        /// The state folder.
        path: PathBuf,
    },
}

/// Where the state folder is when nobody says.
#[must_use]
pub fn default_state() -> PathBuf {
    if cfg!(windows) { program_data().join("bbt") } else { PathBuf::from("/var/lib/bbt-agent") }
}

/// Where the settings are when nobody says.
#[must_use]
pub fn default_config_file() -> PathBuf {
    if cfg!(windows) {
        program_data().join("bbt").join("agent.toml")
    } else {
        PathBuf::from("/etc/bbt/agent.toml")
    }
}

/// Where Windows has the data of programs that serve all users.
fn program_data() -> PathBuf {
    std::env::var_os("ProgramData").map_or_else(|| PathBuf::from(r"C:\ProgramData"), PathBuf::from)
}

/// Held by `run` and `enroll`; ends with the process, however that ends.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl Folder {
    /// Names the folder without touching it.
    pub fn at(root: &Path) -> Folder {
        Folder { root: root.to_owned() }
    }

    /// Makes what is missing and sees that it can be used.
    pub fn prepare(&self) -> Result<(), FolderError> {
        for path in [&self.root, &self.identity(), &self.spool(), &self.run()] {
            make_private(path).and_then(|()| fs::read_dir(path).map(drop)).map_err(|source| {
                FolderError::Unusable { doing: "use the folder", path: path.clone(), source }
            })?;
        }
        Ok(())
    }

    /// Sees that an existing folder can be read; a missing one is fine.
    pub fn probe(&self) -> Result<(), FolderError> {
        match fs::read_dir(&self.root) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FolderError::Unusable {
                doing: "read the folder",
                path: self.root.clone(),
                source: error,
            }),
            _ => Ok(()),
        }
    }

    /// Takes the folder for this process alone.
    pub fn lock(&self) -> Result<FolderLock, FolderError> {
        let path = self.lock_path();
        let unusable = |source| FolderError::Unusable { doing: "lock", path: self.lock_path(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        private(&mut options);
        let file = options.open(&path).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => Ok(FolderLock { _file: file }),
            Err(fs::TryLockError::WouldBlock) => Err(FolderError::Busy { path: self.root.clone() }),
            Err(fs::TryLockError::Error(source)) => Err(unusable(source)),
        }
    }

    /// Whether a process holds the lock now.
    pub fn in_use(&self) -> bool {
        let Ok(file) = File::open(self.lock_path()) else { return false };
        matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock))
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Key, certificate and what goes with them.
    pub fn identity(&self) -> PathBuf {
        self.root.join("identity")
    }

    /// The spool's database.
    pub fn spool(&self) -> PathBuf {
        self.root.join("spool")
    }

    /// Status and the mark of an orderly stop.
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// The state canary.
    pub fn canary(&self) -> PathBuf {
        self.root.join("canary")
    }

    fn lock_path(&self) -> PathBuf {
        self.root.join("lock")
    }
}

/// Replaces a file so that after a power cut either the old or the new content is there, and after the return
/// only the new.
pub fn write_durably(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = temporary(path);
    let mut file = create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Gives a file another name and folder, so that after the return a power cut leaves it there alone.
pub fn rename_durably(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    // The new name first: a cut between the two leaves both, which is better than none.
    [to, from].into_iter().filter_map(Path::parent).try_for_each(sync_folder)
}

/// Makes a folder for the agent alone, unless there is one, and sees that it stays.
pub fn make_private_folder(path: &Path) -> io::Result<()> {
    make_private(path)?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// The name of a file is on disk when its folder is.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Windows has no such call: its file system logs names before it acts on them.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Replaces a file so that a reader sees the old or the new content; a power cut may lose both.
pub fn write_swiftly(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = temporary(path);
    create(&temporary)?.write_all(content)?;
    fs::rename(&temporary, path)
}

/// Makes an empty file for the agent alone, unless there is one.
pub fn make_private_file(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    private(&mut options);
    options.open(path).map(drop)
}

/// The first of these folders and the files in them that other users may enter or read.
#[cfg(unix)]
pub fn open_to_others(folders: &[&Path]) -> io::Result<Option<PathBuf>> {
    use std::os::unix::fs::PermissionsExt;
    let is_open = |path: &Path| fs::metadata(path).map(|found| found.permissions().mode() & 0o077 != 0);
    for folder in folders {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if is_open(folder)? {
            return Ok(Some(folder.to_path_buf()));
        }
        for entry in entries {
            let path = entry?.path();
            match is_open(&path) {
                Ok(true) => return Ok(Some(path)),
                Ok(false) => {}
                // A running agent replaces its files.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(None)
}

/// Windows has lists of rights instead of these three digits; they are not looked at.
#[cfg(not(unix))]
pub fn open_to_others(_: &[&Path]) -> io::Result<Option<PathBuf>> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "lists of rights are not looked at on this system"))
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    private(&mut options);
    options.open(path)
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(0o600);
}

/// A file inherits the rights of its folder.
#[cfg(not(unix))]
fn private(_: &mut OpenOptions) {}

#[cfg(unix)]
fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(windows)]
use crate::platform::make_private_folder as make_private;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_agent_is_refused_while_the_first_runs() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::at(temp.path());
        folder.prepare().unwrap();
        assert!(!folder.in_use());
        let lock = folder.lock().unwrap();
        assert!(folder.in_use());
        assert!(matches!(folder.lock(), Err(FolderError::Busy { .. })));
        drop(lock);
        assert!(!folder.in_use());
        folder.lock().unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn files_belong_to_the_agent_alone() {
        use std::os::unix::fs::PermissionsExt;
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::at(&temp.path().join("state"));
        folder.prepare().unwrap();
        let file = folder.identity().join("key.pem");
        write_durably(&file, b"secret").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.identity()), 0o700);
        assert_eq!(mode(&file), 0o600);
        assert_eq!(fs::read(&file).unwrap(), b"secret");
    }
}
