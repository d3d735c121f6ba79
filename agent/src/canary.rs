//! The state canary: a number from the controller that is kept on disk. Whoever comes back with an older one after a
//! start of the system has a disk that falls back, by which the county knows a restore card.

use std::{
    fs, io,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::folder::{self, Folder};

/// The number on disk.
#[derive(Debug)]
pub struct Canary {
    path: PathBuf,
    kept: AtomicU64,
}

impl Canary {
    /// What is on disk at a start; a file that cannot be read is none.
    pub fn load(state: &Folder) -> Canary {
        let path = state.canary();
        let kept = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        Canary { path, kept: AtomicU64::new(kept) }
    }

    /// The number, 0 for none.
    pub fn number(&self) -> u64 {
        self.kept.load(Ordering::Relaxed)
    }

    /// Keeps a number; it is on disk when this returns.
    pub fn keep(&self, number: u64) -> io::Result<()> {
        folder::write_durably(&self.path, number.to_string().as_bytes())?;
        self.kept.store(number, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_outlives_the_start_and_a_damaged_file_is_none() {
        let temp = tempfile::tempdir().unwrap();
        let state = Folder::at(temp.path());
        state.prepare().unwrap();
        assert_eq!(Canary::load(&state).number(), 0);
        Canary::load(&state).keep(7).unwrap();
        assert_eq!(Canary::load(&state).number(), 7);
        fs::write(state.canary(), "seven").unwrap();
        assert_eq!(Canary::load(&state).number(), 0);
    }
}
