//! A wall clock that is moved while the program that reads it runs, by libfaketime.
//!
//! A program started with [`MovedClock::environment`] reads this machine's clock and adds the shift that stands in
//! a file, so the next look after [`MovedClock::shift`] sees another date. Only what glibc is asked is moved:
//! monotonic time stays true, and with it every sleep, deadline and schedule of the standard library and of tokio
//! (they wait for relative spans, or by futex, which libfaketime leaves alone). Dates of files stay true too.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::wait::since_1970;

/// Debian's package `faketime` puts it below a folder of the architecture. This variant guards its own state
/// against a program's threads.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";
const LIBRARY_FOLDERS: &str = "/usr/lib";
/// Where libfaketime leaves two small files for each process that was killed, each with its process id at the end.
const SHARED_MEMORY: &str = "/dev/shm";
const LEFTOVERS: [&str; 2] = ["faketime_shm_", "sem.faketime_sem_"];

/// A clock of a test's own; any number of programs may run by it.
#[derive(Debug)]
pub struct MovedClock {
    folder: TempDir,
    library: PathBuf,
}

impl MovedClock {
    /// A clock that is right.
    pub fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("bbt-clock-").tempdir().context("making a folder")?;
        let clock = Self { folder, library: library()? };
        clock.shift(0)?;
        Ok(clock)
    }

    /// What a program is started with to run by this clock: for `set_environment` of an agent or a county.
    pub fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file().display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("NO_FAKE_STAT", "1".to_owned()),
        ]
    }

    /// From now on the clock is so many seconds before (less than 0) or after the true time.
    pub fn shift(&self, secs: i64) -> Result<()> {
        // Whole and at once: a program may read it at any moment.
        let fresh = self.folder.path().join("fresh");
        fs::write(&fresh, format!("{secs:+}\n")).with_context(|| format!("writing {}", fresh.display()))?;
        fs::rename(&fresh, self.file()).context("moving a clock")
    }

    /// From now on the clock goes on from `date`, counted from 1970.
    pub fn set(&self, date: Duration) -> Result<()> {
        self.shift(date.as_secs() as i64 - since_1970()?.as_secs() as i64)
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("shift")
    }
}

impl Drop for MovedClock {
    fn drop(&mut self) {
        // A process that ended by itself has taken its own away; those of a running one stay.
        for entry in fs::read_dir(SHARED_MEMORY).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| LEFTOVERS.iter().find_map(|of| name.strip_prefix(of)));
            if id.is_some_and(|id| !PathBuf::from(format!("/proc/{id}")).exists()) {
                drop(fs::remove_file(entry.path()));
            }
        }
    }
}

fn library() -> Result<PathBuf> {
    let folders = fs::read_dir(LIBRARY_FOLDERS).with_context(|| format!("listing {LIBRARY_FOLDERS}"))?;
    let mut found = folders.flatten().map(|folder| folder.path().join(LIBRARY)).filter(|path| path.is_file());
    found
        .next()
        .with_context(|| format!("{LIBRARY_FOLDERS}/*/{LIBRARY} is missing; install the package `faketime`"))
}
