//! SQLite alone: what the controller's store does to its tables for a report, by nothing but a loop.

use std::{
    num::NonZeroUsize,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use bbt_domain::time::UtcMicros;
use bbt_store::Store;
use bbt_tests::chance::Chance;
use prost::bytes::Bytes;
use rusqlite::{Connection, params};

use crate::{CONTROLLER_CORE, Case, cost, samples};

/// Any: the same devices in every run.
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
    run: [u8; 16],
    seq: i64,
}

/// Reports of the `case` per second of processor time, `group` in each commit, tried for the time of `phase` on the
/// controller's core.
pub(crate) fn reports_per_core_sec(case: Case, group: NonZeroUsize, phase: Duration) -> Result<f64> {
    let measured = thread::spawn(move || {
        cost::pin_to(CONTROLLER_CORE)?;
        measure(case, group, phase)
    });
    measured.join().map_err(|_| anyhow!("raw SQLite panicked"))?
}

fn measure(case: Case, group: NonZeroUsize, phase: Duration) -> Result<f64> {
    let folder = tempfile::Builder::new().prefix("bbt-raw-").tempdir().context("making a folder")?;
    let path = folder.path().join("raw.db");
    // The store makes its tables and is closed.
    drop(Store::open(&path, UtcMicros::from_micros(0)).context("making the tables")?);
    let mut connection = Connection::open(&path).context("opening the tables")?;
    connection.execute_batch(SETTINGS).context("setting up SQLite")?;
    let mut chance = Chance::new(SEED);
    let bodies = samples::bodies(case.samples);
    let school = chance.id();
    let mut devices = add_devices(&mut connection, school, case.connections, &mut chance)?;

    let mut reports: usize = 0;
    let (began, cpu_before) = (Instant::now(), cost::processor_time(&cost::this_thread())?);
    while began.elapsed() < phase {
        let tx = connection.transaction()?;
        for _ in 0..group.get() {
            let device = &mut devices[reports % case.connections];
            add(&tx, school, device, &bodies[reports % bodies.len()], reports, &mut chance)?;
            reports += 1;
        }
        tx.commit()?;
    }
    let cpu = cost::processor_time(&cost::this_thread())? - cpu_before;
    Ok(reports as f64 / cpu.as_secs_f64())
}

fn add_devices(
    connection: &mut Connection,
    school: [u8; 16],
    count: usize,
    chance: &mut Chance,
) -> Result<Vec<Device>> {
    let tx = connection.transaction()?;
    tx.execute("INSERT INTO school (id, code, name, created_us) VALUES (?1, 'S', 'S', 0)", [school])?;
    let devices: Vec<Device> =
        (0..count).map(|_| Device { id: chance.id(), run: chance.id(), seq: 0 }).collect();
    for device in &devices {
        tx.execute(
            "INSERT INTO device (id, school_id, standing, standing_us, standing_why, enrolled_us)
             VALUES (?1, ?2, 'active', 0, '', 0)",
            params![device.id, school],
        )?;
    }
    tx.commit()?;
    Ok(devices)
}

/// What one report changes. Ids rise with time, as the controller's do.
fn add(
    connection: &Connection,
    school: [u8; 16],
    device: &mut Device,
    body: &Bytes,
    no: usize,
    chance: &mut Chance,
) -> Result<()> {
    device.seq += 1;
    let id = (u128::from(no as u64) << 64 | u128::from(chance.draw())).to_be_bytes();
    let at = no as i64;
    connection.prepare_cached(HISTORY)?.execute(params![
        id,
        device.id,
        school,
        device.run,
        device.seq,
        at,
        at,
        &body[..]
    ])?;
    connection.prepare_cached(RUN)?.execute(params![device.id, device.run, school, device.seq + 1, at])?;
    Ok(())
}
