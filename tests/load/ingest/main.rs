//! What the controller's ingest costs, beside SQLite alone doing the same to the same tables on the same disk.
//!
//! Devices with certificates of a real county deliver samples of twelve values to the real `bbt-controller` over
//! loopback and mutual TLS, as fast as it decides about them within the window that it grants: first over 100, then
//! over 1,000 connections, each with single reports (one sample, one report in a batch) and with frames of 60
//! samples. The controller has the first core for itself, the devices have the second.
//!
//!     cargo build --release -p bbt-controller -p bbt-tests --bin bbt-controller --bin ingest
//!     target/release/ingest [--seconds 8]
//!
//! The figure is reports decided as committed per core-second: per second of the processor time of the controller's
//! process, user and system together. A wall time says little on a machine that others use too. The anchors, taken in
//! the same run:
//!
//! - **raw SQLite**: a loop without network, TLS or protobuf that adds the same reports to a copy of the county's
//!   database with the same settings (WAL, `synchronous=FULL`), as many in a transaction as the controller had. It keeps
//!   each run's row, as the controller does, so that both know a report that comes twice. The ratio to it is what the
//!   way from the wire to the table leaves of the disk's engine.
//! - **fdatasync**: the time to append 4 KiB to a file on that disk and have it there. No promise that is kept by a
//!   commit can be answered sooner. The time to the ack is taken in a second phase, at half of the rate just seen:
//!   devices that send as fast as they may mostly wait for each other.
//!
//! One setting is not as shipped: the bytes that a device may send in a second, which keep one device from taking what
//! belongs to all. Here a hundred of them are to fill a core. Phases end by their time, so everything ends by itself.

mod cost;
mod devices;
mod raw;
mod samples;

use std::{
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bbt_tests::{county::County, device::runtime};

use devices::{Fleet, Load};

/// The controller's core, and then that of raw SQLite.
const CONTROLLER_CORE: usize = 0;
/// The devices' core.
const DEVICES_CORE: usize = 1;
/// Devices that are enrolled, all of which connect in the larger half of the cases.
const DEVICES: usize = 1_000;
/// Seconds of a phase unless it is said otherwise: some hundred thousand reports.
const PHASE_SECS: u64 = 8;
/// More would say no more.
const PHASE_SECS_AT_MOST: u64 = 60;
/// The setting and its value here: far beyond what a device sends.
const DEVICE_SPEED: (&str, &str) = ("BBT_CONTROLLER__LIMITS__DEVICE_BYTES_PER_SEC", "1000000000");

const CASES: [Case; 4] = [
    Case { connections: 100, samples: 1 },
    Case { connections: 100, samples: 60 },
    Case { connections: DEVICES, samples: 1 },
    Case { connections: DEVICES, samples: 60 },
];

/// What is delivered, and over how many connections.
#[derive(Clone, Copy, Debug)]
struct Case {
    connections: usize,
    /// In each report.
    samples: usize,
}

/// What came of a case.
struct Outcome {
    case: Case,
    /// Reports per second of the controller's processor time.
    per_core_sec: f64,
    /// The part of the wall time in which the controller used its core.
    busy: f64,
    /// Batches in one commit, on average.
    group: f64,
    /// Reports per second of the raw loop's processor time.
    raw_per_core_sec: f64,
    /// From sending to the ack, at half of the rate.
    ack: Percentiles,
    /// Bytes of a sample on the wire, in the body of its report.
    sent_bytes: f64,
    /// Bytes of a sample in the county's database, indexes included.
    stored_bytes: f64,
}

/// How long something took.
#[derive(Clone, Copy, Debug)]
struct Percentiles {
    p50: Duration,
    p99: Duration,
}

fn main() -> Result<()> {
    let phase = phase()?;
    let mut county = County::init()?;
    county.set_environment(DEVICE_SPEED.0, DEVICE_SPEED.1);
    // A child inherits the core of the thread that starts it, and so do threads.
    cost::pin_to(CONTROLLER_CORE)?;
    county.serve()?;
    cost::pin_to(DEVICES_CORE)?;
    let controller = county.id().context("the controller runs")?;

    eprintln!("enrolling {DEVICES} devices");
    let fleet = Fleet::enroll(&county, DEVICES)?;
    let idle = idle_memory(&fleet, controller)?;
    let sync = Percentiles::of(cost::synced_appends(&county.data())?)?;
    let mut outcomes = Vec::new();
    for case in CASES {
        eprintln!("{} connections, {} samples in a report", case.connections, case.samples);
        outcomes.push(measure(case, &county, controller, &fleet, phase)?);
    }
    county.stop()?;

    print(&outcomes, sync, idle);
    Ok(())
}

fn phase() -> Result<Duration> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let secs = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => PHASE_SECS,
        ["--seconds", secs] => secs.parse().with_context(|| format!("--seconds {secs}: give a number"))?,
        _ => bail!("called with {arguments:?}; the one thing to say is --seconds N"),
    };
    ensure!(
        (1..=PHASE_SECS_AT_MOST).contains(&secs),
        "--seconds {secs}: a phase has from 1 to {PHASE_SECS_AT_MOST}"
    );
    Ok(Duration::from_secs(secs))
}

/// Bytes of memory of its own that the controller has for each open stream on which nothing is said.
fn idle_memory(fleet: &Fleet, controller: u32) -> Result<f64> {
    let before = cost::anonymous_bytes(controller)?;
    let connected = fleet.connect(DEVICES, 1)?;
    let after = cost::anonymous_bytes(controller)?;
    drop(connected);
    Ok(after.saturating_sub(before) as f64 / DEVICES as f64)
}

fn measure(case: Case, county: &County, controller: u32, fleet: &Fleet, phase: Duration) -> Result<Outcome> {
    let copy = raw::Copy::of(county)?;
    let mut connected = fleet.connect(case.connections, case.samples)?;
    let stored_before = cost::history_bytes(county)?;

    let (commits_before, writes_before) = cost::commits(county)?;
    let (began, cpu_before) = (Instant::now(), cost::processor_time(&cost::process(controller))?);
    let full = runtime().block_on(connected.run(Load::AsFastAsDecided, phase))?;
    let cpu = cost::processor_time(&cost::process(controller))? - cpu_before;
    let wall = began.elapsed();
    let (commits, writes) = cost::commits(county)?;
    let group = (writes - writes_before) as f64 / (commits - commits_before).max(1) as f64;

    let every = wall.mul_f64(2.0 * case.connections as f64 / full.len() as f64);
    let half = runtime().block_on(connected.run(Load::Every(every), phase))?;
    drop(connected);

    let delivered = (full.len() + half.len()) * case.samples;
    let stored = cost::history_bytes(county)? - stored_before;
    let batches = NonZeroUsize::new(group.round() as usize).unwrap_or(NonZeroUsize::MIN);
    let raw_per_core_sec = copy.reports_per_core_sec(case, batches, phase)?;
    Ok(Outcome {
        case,
        per_core_sec: full.len() as f64 / cpu.as_secs_f64(),
        busy: cpu.as_secs_f64() / wall.as_secs_f64(),
        group,
        raw_per_core_sec,
        ack: Percentiles::of(half)?,
        sent_bytes: samples::mean_bytes(case.samples),
        stored_bytes: stored as f64 / delivered as f64,
    })
}

impl Percentiles {
    fn of(mut times: Vec<Duration>) -> Result<Self> {
        times.sort_unstable();
        let at =
            |percent: usize| times.get(times.len() * percent / 100).copied().context("nothing was timed");
        Ok(Self { p50: at(50)?, p99: at(99)? })
    }
}

fn print(outcomes: &[Outcome], sync: Percentiles, idle_bytes: f64) {
    let rows = outcomes.iter().map(|outcome| COLUMNS.map(|(.., cell)| cell(outcome, sync)));
    let headings =
        [COLUMNS.map(|(above, ..)| above.to_owned()), COLUMNS.map(|(_, below, _)| below.to_owned())];
    let lines: Vec<_> = headings.into_iter().chain(rows).collect();
    let widths: Vec<usize> =
        (0..COLUMNS.len()).map(|at| lines.iter().map(|line| line[at].len()).max().unwrap_or(0)).collect();
    for line in lines {
        let cells: Vec<_> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}")).collect();
        println!("{}", cells.join("  "));
    }
    println!("append of 4 KiB with fdatasync: p50 {} ms, p99 {} ms", millis(sync.p50), millis(sync.p99));
    println!("anonymous memory per idle connection: {:.1} KiB, of {DEVICES}", idle_bytes / 1024.0);
}

/// What stands in a column for an outcome, given the times of synced appends.
type Cell = fn(&Outcome, Percentiles) -> String;

/// The table: two lines of heading, and what stands below.
const COLUMNS: [(&str, &str, Cell); 13] = [
    ("", "connections", |outcome, _| outcome.case.connections.to_string()),
    ("samples", "a report", |outcome, _| outcome.case.samples.to_string()),
    ("reports", "per core-s", |outcome, _| format!("{:.0}", outcome.per_core_sec)),
    ("samples", "per core-s", |outcome, _| {
        format!("{:.0}", outcome.per_core_sec * outcome.case.samples as f64)
    }),
    ("raw SQLite:", "reports per core-s", |outcome, _| format!("{:.0}", outcome.raw_per_core_sec)),
    ("ratio", "to raw", |outcome, _| format!("{:.2}", outcome.per_core_sec / outcome.raw_per_core_sec)),
    ("core", "used", |outcome, _| format!("{:.0} %", outcome.busy * 100.0)),
    ("batches", "a commit", |outcome, _| format!("{:.0}", outcome.group)),
    ("ack p50", "ms", |outcome, _| millis(outcome.ack.p50)),
    ("ack p99", "ms", |outcome, _| millis(outcome.ack.p99)),
    ("of sync", "p99", |outcome, sync| {
        format!("{:.1}", outcome.ack.p99.as_secs_f64() / sync.p99.as_secs_f64())
    }),
    ("B a sample", "sent", |outcome, _| format!("{:.1}", outcome.sent_bytes)),
    ("B a sample", "stored", |outcome, _| format!("{:.1}", outcome.stored_bytes)),
];

fn millis(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1e3)
}
