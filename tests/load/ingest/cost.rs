//! What the kernel and the database say about what something cost.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bbt_tests::county::County;
use rusqlite::{Connection, OpenFlags};
use rustix::{
    param::clock_ticks_per_second,
    thread::{CpuSet, sched_setaffinity},
};

/// Appends that are timed: enough for a 99th percentile, done in a second.
const APPENDS: usize = 1_000;
/// A page of most file systems.
const APPEND_BYTES: usize = 4 << 10;

/// Lets the calling thread, and what it starts from now on, run on this core only.
pub(crate) fn pin_to(core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores)
        .with_context(|| format!("moving to core {core}: this takes a machine of two"))
}

/// Where the kernel tells about a process.
pub(crate) fn process(id: u32) -> PathBuf {
    format!("/proc/{id}").into()
}

/// Where the kernel tells about the calling thread.
pub(crate) fn this_thread() -> PathBuf {
    "/proc/thread-self".into()
}

/// User and system time of a process or thread so far.
pub(crate) fn processor_time(of: &Path) -> Result<Duration> {
    let text = read(&of.join("stat"))?;
    // The name in parentheses may hold anything; utime and stime are the 12th and 13th word after it.
    let words = text.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect::<Vec<_>>());
    let ticks =
        |words: &[&str]| Some(words.get(11)?.parse::<u64>().ok()? + words.get(12)?.parse::<u64>().ok()?);
    let ticks = words.and_then(|words| ticks(&words)).with_context(|| format!("{text} has no times"))?;
    Ok(Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64))
}

/// Memory that a process shares with nobody and that comes from no file.
pub(crate) fn anonymous_bytes(process_id: u32) -> Result<u64> {
    let text = read(&process(process_id).join("status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB"));
    let kib = line.and_then(|kib| kib.parse::<u64>().ok());
    Ok(kib.with_context(|| format!("{text} has no RssAnon"))? << 10)
}

/// How long each of some appends took to be on the disk of `folder`.
pub(crate) fn synced_appends(folder: &Path) -> Result<Vec<Duration>> {
    let path = folder.join("appends");
    let mut file = File::create_new(&path).with_context(|| format!("making {}", path.display()))?;
    let times = (0..APPENDS).map(|_| {
        let began = Instant::now();
        file.write_all(&[7; APPEND_BYTES])?;
        file.sync_data()?;
        Ok(began.elapsed())
    });
    let times = times.collect::<std::io::Result<_>>().with_context(|| format!("writing {}", path.display()));
    fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    times
}

/// Commits of the controller's store so far, and the writes in them.
pub(crate) fn commits(county: &County) -> Result<(u64, u64)> {
    let address = county.listen()?.admin;
    let mut stream = TcpStream::connect(address).context("asking for the metrics")?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text).context("reading the metrics")?;
    let value = |name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        found.with_context(|| format!("the metrics have no {name}: {text}"))
    };
    Ok((value("bbt_store_commits_total ")?, value("bbt_store_writes_total ")?))
}

/// Bytes that history and its indexes take in the county's database.
pub(crate) fn history_bytes(county: &County) -> Result<u64> {
    let path = county.data().join("county.db");
    let connection = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .with_context(|| format!("opening {}", path.display()))?;
    let bytes: i64 = connection
        .query_row(
            "SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE aggregate = 1
             AND name IN (SELECT name FROM sqlite_schema WHERE tbl_name = 'history_frame')",
            [],
            |row| row.get(0),
        )
        .context("measuring the tables")?;
    u64::try_from(bytes).context("tables have a size")
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}
