//! SQLite alone: what the controller's store does to its tables for a report, by nothing but a loop.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use bbt_tests::{chance::Chance, county::County, wait::since_1970};
use prost::bytes::Bytes;
use rusqlite::{Connection, MAIN_DB, OpenFlags, backup::Progress, params};
use tempfile::TempDir;

use crate::{CONTROLLER_CORE, Case, cost, samples};

/// Any: the same ids in every run.
const SEED: u64 = 7;
/// As the controller sets them.
const SETTINGS: &str = "PRAGMA journal_mode=wal; PRAGMA synchronous=2; PRAGMA foreign_keys=1;
    PRAGMA trusted_schema=0; PRAGMA cell_size_check=1; PRAGMA wal_autocheckpoint=4096; PRAGMA cache_size=-65536;";
const HISTORY: &str =
    "INSERT INTO history_frame (id, device_id, school_id, run_id, seq, at_us, time_basis, mono_us, body)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?8)";
const RUN: &str =
    "INSERT INTO run (device_id, run_id, school_id, below, ranges, offset_us, first_us, last_us)
     VALUES (?1, ?2, ?3, ?4, x'', 0, ?5, ?5)
     ON CONFLICT (device_id, run_id) DO UPDATE SET below = excluded.below, ranges = excluded.ranges,
         offset_us = excluded.offset_us, last_us = excluded.last_us";

/// One device of the loop.
struct Device {
    id: [u8; 16],
    school: [u8; 16],
    run: [u8; 16],
    seq: i64,
}

/// A copy of the county's database as it is now, for the loop to go on from: the same schools and devices, and
/// trees of the same depth.
pub(crate) struct Copy {
    folder: TempDir,
}

impl Copy {
    /// Takes the copy.
    pub(crate) fn of(county: &County) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("bbt-raw-").tempdir().context("making a folder")?;
        let copy = Self { folder };
        let county =
            Connection::open_with_flags(county.data().join("county.db"), OpenFlags::SQLITE_OPEN_READ_ONLY)
                .context("opening the county's database")?;
        county.backup(MAIN_DB, copy.path(), None::<fn(Progress)>).context("copying the county's database")?;
        Ok(copy)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("raw.db")
    }

    /// Reports of the `case` per second of processor time, `group` in each commit, tried for the time of `phase` on
    /// the controller's core.
    pub(crate) fn reports_per_core_sec(
        &self,
        case: Case,
        group: NonZeroUsize,
        phase: Duration,
    ) -> Result<f64> {
        thread::scope(|scope| {
            let measured = scope.spawn(|| {
                cost::pin_to(CONTROLLER_CORE)?;
                measure(&self.path(), case, group, phase)
            });
            measured.join().map_err(|_| anyhow!("raw SQLite panicked"))?
        })
    }
}

fn measure(path: &Path, case: Case, group: NonZeroUsize, phase: Duration) -> Result<f64> {
    let mut connection = Connection::open(path).context("opening the copy")?;
    connection.execute_batch(SETTINGS).context("setting up SQLite")?;
    let bodies = samples::bodies(case.samples);
    let mut chance = Chance::new(SEED);
    let mut devices = devices(&connection, case.connections, &mut chance)?;

    let mut reports: usize = 0;
    let (began, cpu_before) = (Instant::now(), cost::processor_time(&cost::this_thread())?);
    let first_id = since_1970()?.as_nanos();
    while began.elapsed() < phase {
        let tx = connection.transaction()?;
        for _ in 0..group.get() {
            let device = &mut devices[reports % case.connections];
            // Ids rise with time, as the controller's do.
            let id = ((first_id + reports as u128) << 64 | u128::from(chance.draw())).to_be_bytes();
            add(&tx, id, device, &bodies[reports % bodies.len()])?;
            reports += 1;
        }
        tx.commit()?;
    }
    let cpu = cost::processor_time(&cost::this_thread())? - cpu_before;
    Ok(reports as f64 / cpu.as_secs_f64())
}

fn devices(connection: &Connection, count: usize, chance: &mut Chance) -> Result<Vec<Device>> {
    let mut statement = connection.prepare("SELECT id, school_id FROM device LIMIT ?1")?;
    let rows = statement.query_map([count as i64], |row| {
        Ok(Device { id: row.get(0)?, school: row.get(1)?, run: chance.id(), seq: 0 })
    })?;
    rows.collect::<rusqlite::Result<_>>().context("reading the devices")
}

/// What one report changes.
fn add(connection: &Connection, id: [u8; 16], device: &mut Device, body: &Bytes) -> Result<()> {
    device.seq += 1;
    let Device { id: device_id, school, run, seq } = &*device;
    connection.prepare_cached(HISTORY)?.execute(params![
        id,
        device_id,
        school,
        run,
        seq,
        seq,
        seq,
        &body[..]
    ])?;
    connection.prepare_cached(RUN)?.execute(params![device_id, run, school, *seq + 1, seq])?;
    Ok(())
}
