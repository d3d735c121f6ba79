//! Does this disk write before it says so?

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};

/// An fsync faster than this did not reach a medium (a consumer SSD needs 0.1 ms and more): a write cache
/// answers, and what it was told may be gone after a power cut.
const TOO_FAST: Duration = Duration::from_micros(50);
/// Writes measured; the median counts.
const ROUNDS: usize = 9;
/// One page.
const PAGE_BYTES: usize = 4_096;

/// The median time of a 4 KiB append and fdatasync in a folder.
#[derive(Clone, Copy, Debug)]
pub struct FsyncProbe {
    /// Median of a few rounds.
    pub median: Duration,
}

impl FsyncProbe {
    /// Measures in `folder` with a file that is removed again.
    pub fn measure(folder: &Path) -> io::Result<Self> {
        let path = folder.join("fsync-probe.tmp");
        let result = (|| {
            let mut file = File::create(&path)?;
            let mut times = Vec::with_capacity(ROUNDS);
            for _ in 0..ROUNDS {
                let started = Instant::now();
                file.write_all(&[0; PAGE_BYTES])?;
                file.sync_data()?;
                times.push(started.elapsed());
            }
            times.sort();
            Ok(Self { median: times[ROUNDS / 2] })
        })();
        let _ = std::fs::remove_file(&path);
        result
    }

    /// Whether the disk answers faster than it can write.
    pub fn is_suspicious(&self) -> bool {
        self.median < TOO_FAST
    }
}
