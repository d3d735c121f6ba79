//! `seal`: makes a disk ready to be copied to other PCs. What makes this PC itself goes: key, certificate, what
//! the county told it (secrets are among that), reports that wait, what was remembered of the last start. The settings
//! stay, and so does the program.
//!
//! A copied disk that still had a key would be a clone of this PC to the county; it is told apart there, and a person
//! has to look at each. A sealed one enrols as a PC of its own, with a token that comes on a stick and not on the disk.

use std::{fs, io, path::PathBuf};

use crate::folder::{Folder, FolderError};

/// Why a state folder was not sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The folder cannot be used, or an agent runs on it.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Something could not be removed.
    #[error(
        "cannot remove {path}: {source}; the disk is not ready to be copied before it is gone: run `seal` again"
    )]
    Remove {
        /// What stays.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Removes what must not be copied, the key first; gives what was there.
pub fn seal(state: &Folder) -> Result<Vec<PathBuf>, SealError> {
    state.probe()?;
    if !state.root().exists() {
        return Ok(Vec::new());
    }
    let _lock = state.lock()?;
    let mut removed = Vec::new();
    for path in [state.identity(), state.configuration(), state.spool(), state.run(), state.canary()] {
        let gone = match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(error) => Err(error),
        };
        match gone {
            Ok(()) => removed.push(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (),
            Err(source) => return Err(SealError::Remove { path, source }),
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_this_pc_is_left() {
        let temp = tempfile::tempdir().unwrap();
        let state = Folder::at(&temp.path().join("state"));
        assert!(seal(&state).unwrap().is_empty(), "there is nothing yet");
        state.prepare().unwrap();
        for file in [
            state.identity().join("key.pem"),
            state.identity().join("device.json"),
            state.configuration().join("told"),
            state.spool().join("spool.db"),
            state.run().join("boot.json"),
            state.canary(),
        ] {
            fs::write(file, "secret").unwrap();
        }
        assert_eq!(seal(&state).unwrap().len(), 5);
        let left: Vec<_> =
            fs::read_dir(state.root()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["lock"]);
        assert!(seal(&state).unwrap().is_empty(), "and once more is no harm");
    }

    #[test]
    fn an_agent_that_runs_keeps_it() {
        let temp = tempfile::tempdir().unwrap();
        let state = Folder::at(temp.path());
        state.prepare().unwrap();
        let _running = state.lock().unwrap();
        assert!(matches!(seal(&state), Err(SealError::Folder(FolderError::Busy { .. }))));
        assert!(state.identity().exists());
    }
}
