//! What lies on disk at either side, read without the programs: the county's record and a device's spool.
//!
//! Tests compare the two. The county must hold what a device was told is committed, each report once; the
//! device keeps its decided reports for a day and a half, so its spool tells what it was told.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use bbt_domain::seen::Seen;
use bbt_proto::report::v1 as wire;
use prost::Message;
use rusqlite::{Connection, OpenFlags, Row};

use crate::{agent::Agent, county::County, county_store};

/// 16 raw bytes of a device or a run.
pub type Id = [u8; 16];

/// Which report of a device: its run and its number there.
pub type Key = (Id, u64);

/// The county's record after an orderly end of the controller.
#[derive(Debug, Default)]
pub struct CountyRecord {
    runs: HashMap<Id, BTreeMap<Id, Seen>>,
    history: HashMap<Id, BTreeMap<Key, Vec<u8>>>,
    states: HashMap<Id, CurrentState>,
    /// Every device the county knows.
    pub devices: BTreeSet<Id>,
    /// Reports that devices said they had to drop.
    pub gaps: u64,
    /// Reports that could not be read.
    pub quarantined: u64,
}

/// The latest state of a device.
#[derive(Clone, Debug)]
pub struct CurrentState {
    /// The run that opened the newest session.
    pub run: Id,
    /// The last report that changed it.
    pub seq: u64,
    /// As the store keeps it.
    pub snapshot: String,
}

impl CountyRecord {
    /// Reads the record. A report that stands in it twice, or that history holds and the table of seen ones
    /// does not, is an error.
    pub fn read(county: &County) -> Result<Self> {
        Self::read_file(&county.data().join(county_store::FILE_NAME))
    }

    /// The same of a database that nobody writes.
    pub fn read_file(path: &Path) -> Result<Self> {
        let db = open(path)?;
        let mut record = Self {
            devices: column(&db, "SELECT id FROM device")?.into_iter().collect(),
            gaps: count(&db, "SELECT count(*) FROM gap")?,
            quarantined: count(&db, "SELECT count(*) FROM quarantine")?,
            ..Self::default()
        };
        let mut runs = db.prepare("SELECT device_id, run_id, below, ranges FROM run")?;
        let mut rows = runs.query([])?;
        while let Some(row) = rows.next()? {
            let (device, run, below, ranges): (Id, Id, u64, Vec<u8>) =
                (row.get(0)?, row.get(1)?, number(row, 2)?, row.get(3)?);
            let seen = Seen::from_parts(below, &ranges).context("a run's seen reports cannot be read")?;
            record.runs.entry(device).or_default().insert(run, seen);
        }
        let mut history = db.prepare("SELECT device_id, run_id, seq, body FROM history_frame")?;
        let mut rows = history.query([])?;
        while let Some(row) = rows.next()? {
            let (device, run, seq, body): (Id, Id, u64, Vec<u8>) =
                (row.get(0)?, row.get(1)?, number(row, 2)?, row.get(3)?);
            ensure!(record.has_seen(device, (run, seq)), "{} is stored and not seen", shown((run, seq)));
            let before = record.history.entry(device).or_default().insert((run, seq), body);
            ensure!(before.is_none(), "{} is stored twice", shown((run, seq)));
        }
        let mut states = db.prepare("SELECT device_id, run_id, snapshot_seq, snapshot FROM device_state")?;
        let mut rows = states.query([])?;
        while let Some(row) = rows.next()? {
            let snapshot = row.get::<_, Option<String>>(3)?.unwrap_or_default();
            record
                .states
                .insert(row.get(0)?, CurrentState { run: row.get(1)?, seq: number(row, 2)?, snapshot });
        }
        Ok(record)
    }

    /// Whether the county took note of a report.
    pub fn has_seen(&self, device: Id, (run, seq): Key) -> bool {
        self.runs.get(&device).and_then(|runs| runs.get(&run)).is_some_and(|seen| seen.contains(seq))
    }

    /// Every report of a device that the county took note of. Runs whose numbers have holes are an error: a
    /// device that has nothing left to send has sent them all.
    pub fn seen(&self, device: Id) -> Result<BTreeSet<Key>> {
        let mut all = BTreeSet::new();
        for (run, seen) in self.runs.get(&device).into_iter().flatten() {
            ensure!(
                seen.ranges_to_bytes().is_empty(),
                "of run {} everything below {} was seen, then there is a hole",
                hex(run),
                seen.below()
            );
            all.extend((1..seen.below()).map(|seq| (*run, seq)));
        }
        Ok(all)
    }

    /// The reports of a device that stand in its history, with their bytes.
    pub fn history(&self, device: Id) -> BTreeMap<Key, Vec<u8>> {
        self.history.get(&device).cloned().unwrap_or_default()
    }

    /// The latest state of a device.
    pub fn state(&self, device: Id) -> Option<&CurrentState> {
        self.states.get(&device)
    }
}

/// One report in a spool.
#[derive(Clone, Debug, PartialEq)]
pub struct Spooled {
    /// What it is.
    pub kind: wire::Kind,
    /// Its content.
    pub body: Vec<u8>,
    /// When it was made, by the device's own clock.
    pub wall_micros: i64,
    /// Whether the controller decided about it.
    pub decided: bool,
}

/// The reports in an agent's spool; the agent may be running. Drops that were not told yet are an error, and so
/// is a database that the agent had to set aside.
pub fn spool(agent: &Agent) -> Result<BTreeMap<Key, Spooled>> {
    let folder = agent.state().join("spool");
    for name in ["damaged.db", "newer.db"] {
        ensure!(!folder.join(name).exists(), "the agent has set its spool aside as {name}");
    }
    let db = open(&folder.join("spool.db"))?;
    ensure!(count(&db, "SELECT count(*) FROM gap")? == 0, "the agent has dropped reports");
    let mut frames = db.prepare("SELECT run_id, seq, decided_micros IS NOT NULL, bytes FROM frame")?;
    let mut rows = frames.query([])?;
    let mut all = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let key = (row.get(0)?, number(row, 1)?);
        let frame = wire::Frame::decode(row.get_ref(3)?.as_blob()?)
            .with_context(|| format!("reading {}", shown(key)))?;
        let spooled = Spooled {
            kind: frame.kind(),
            body: frame.body.to_vec(),
            wall_micros: frame.wall_micros,
            decided: row.get(2)?,
        };
        all.insert(key, spooled);
    }
    Ok(all)
}

/// How many reports wait in an agent's spool; the agent may be running.
pub fn backlog(agent: &Agent) -> Result<u64> {
    let db = open(&agent.state().join("spool/spool.db"))?;
    count(&db, "SELECT count(*) FROM frame WHERE decided_micros IS NULL")
}

/// The same without usage, the rest of which an orderly stop leaves for the next run.
pub fn backlog_but_usage(agent: &Agent) -> Result<u64> {
    let db = open(&agent.state().join("spool/spool.db"))?;
    let usage = wire::Kind::Usage as i32;
    count(&db, &format!("SELECT count(*) FROM frame WHERE decided_micros IS NULL AND kind <> {usage}"))
}

/// An error when SQLite finds fault with a database.
pub fn ensure_integrity(path: &Path) -> Result<()> {
    let finding: String = open(path)?.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    ensure!(finding == "ok", "{}: {finding}", path.display());
    Ok(())
}

/// A report in words.
pub fn shown((run, seq): Key) -> String {
    format!("report {seq} of run {}", hex(&run))
}

fn hex(id: &Id) -> String {
    uuid::Uuid::from_bytes(*id).simple().to_string()
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

fn count(db: &Connection, query: &str) -> Result<u64> {
    Ok(db.query_row(query, [], |row| number(row, 0))?)
}

fn column(db: &Connection, query: &str) -> Result<Vec<Id>> {
    Ok(db.prepare(query)?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
}

fn open(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db =
        Connection::open_with_flags(path, flags).with_context(|| format!("opening {}", path.display()))?;
    db.busy_timeout(crate::wait::SOON)?;
    Ok(db)
}
