//! The county does not answer for three days of school. The agent's schedule and spool go on by a clock of the
//! test's own; then the real store takes what waits, at the speed that one device may have.

use std::{collections::BTreeMap, fs, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use bbt_agent::{
    identity::clock::Clock,
    platform::{Now, Platform, Roots, fake::FakePlatform},
    schedule::{Intervals, Schedule, Task},
    spool::{BATCH_MAX_BYTES, Class, Draft, Fate, FrameKey, Limits, Origin, Spool},
};
use bbt_controller::grpc::convert;
use bbt_domain::{
    ids::{DeviceId, RunId},
    report::{Body, Decision},
};
use bbt_proto::report::v1::{self as wire, Kind};
use bbt_tests::{
    backlog,
    chance::{Chance, first_seed},
    county_store::{self, CountyStore},
    crash_vfs,
    record::{CountyRecord, Key},
};
use prost::Message;

const OUTAGE: Duration = Duration::from_secs(3 * 86_400);
/// What a device may send for long (`limits.device_bytes_per_sec`).
const BYTES_PER_SEC: f64 = 65_536.0;
/// A frame of samples of a PC at work.
const FRAME_BYTES: usize = 900;
/// One look for changed state in so many finds one.
const CHANGED_ONCE_IN: u64 = 60;
/// A second frame's worth of memory for each frame that waited would be some MiB; a spool that lives on disk needs
/// its pages and buffers only.
const MORE_MEMORY_BYTES: u64 = 2 << 20;
/// While the backlog is drained a report is made this often.
const LIVE_EVERY: Duration = Duration::from_secs(2);
/// A report of state overtakes the backlog: it waits for the batches under way at most, which are 256 KiB.
const STATE_WAITS: Duration = Duration::from_secs(4);

#[test]
fn after_three_days_without_a_county_everything_arrives_once_and_live_state_is_not_held_up() -> Result<()> {
    let left = outage(Limits { max_bytes: 64 << 20, max_age_micros: 30 * 86_400_000_000 })?;
    ensure!(left.lost == 0, "{} reports were dropped though there was room", left.lost);
    Ok(())
}

#[test]
fn after_three_days_with_too_small_a_spool_what_was_dropped_is_counted_and_the_rest_arrives() -> Result<()> {
    let left = outage(Limits { max_bytes: 300_000, max_age_micros: 30 * 86_400_000_000 })?;
    ensure!(left.lost > 100, "only {} reports were dropped", left.lost);
    Ok(())
}

/// What came of it.
struct Outcome {
    lost: u64,
}

/// An agent in the test's time.
struct Device {
    platform: Arc<FakePlatform>,
    clock: Arc<Clock>,
    spool: Spool,
    limits: Limits,
    chance: Chance,
    /// Every report that was made, with what it is.
    made: BTreeMap<Key, Kind>,
    run: [u8; 16],
}

fn outage(limits: Limits) -> Result<Outcome> {
    let folder = crash_vfs::folder()?;
    let (spool_folder, county_folder) = (folder.path().join("spool"), folder.path().join("county"));
    fs::create_dir(&spool_folder)?;
    fs::create_dir(&county_folder)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let county = runtime.block_on(CountyStore::create(&county_folder))?;
    let id = runtime.block_on(county.enroll(1))?;

    let mut chance = Chance::new(first_seed()?);
    let platform = Arc::new(FakePlatform::new(Roots::system(), 1));
    let clock = Arc::new(Clock::new(platform.clone()));
    clock.accept(platform.now().wall_micros);
    let run = chance.id();
    let boot = wire::OsBoot { id: vec![1; 16], started_mono_micros: 0, clean_stop: None };
    let origin = Origin { run_id: run, device_id: *id.as_bytes(), os_boot: boot };
    let spool = Spool::open(&spool_folder, origin, limits, &clock.stamp());
    let mut device = Device { platform, clock, spool, limits, chance, made: BTreeMap::new(), run };

    device.live_alone(OUTAGE)?;
    runtime.block_on(county.open_session(id, RunId::from_bytes(run)))?;
    device.drain(&runtime, &county, id)?;
    drop(county);

    let record = CountyRecord::read_file(&county_folder.join(county_store::FILE_NAME))?;
    let lost = lost(&county_folder)?;
    let arrived = record.history(*id.as_bytes());
    let seen = device.made.keys().filter(|key| record.has_seen(*id.as_bytes(), **key)).count() as u64;
    ensure!(record.quarantined == 0, "{} reports could not be read", record.quarantined);
    ensure!(
        seen + lost == device.made.len() as u64,
        "{} reports were made, {seen} arrived, {lost} are told as lost",
        device.made.len()
    );
    let strange = arrived.keys().find(|key| device.made.get(*key) != Some(&Kind::Samples));
    ensure!(strange.is_none(), "history has what was not made: {strange:?}");
    Ok(Outcome { lost })
}

impl Device {
    /// Nobody answers.
    fn live_alone(&mut self, span: Duration) -> Result<()> {
        let start = self.platform.now().mono_micros;
        let end = start + span.as_micros() as i64;
        let mut schedule = Schedule::new(Intervals::default(), start, self.chance.draw());
        let mut memory = None;
        loop {
            let Now { wall_micros, mono_micros } = self.platform.now();
            if mono_micros >= end {
                break;
            }
            let due = schedule.next_due().max(mono_micros);
            self.platform.set_now(Now { wall_micros: wall_micros + due - mono_micros, mono_micros: due });
            for task in schedule.due(due, None) {
                self.perform(task)?;
            }
            let now = self.clock.stamp();
            if self.spool.commit_within(&now).is_some_and(|wait| wait.is_zero()) || due % 5_000_000 == 0 {
                self.spool.commit(&now);
            }
            // Counted from the end of the first day on, when every buffer had its use.
            if memory.is_none() && due - start > 86_400_000_000 {
                memory = Some(resident_bytes()?);
            }
        }
        self.spool.commit(&self.clock.stamp());
        let summary = self.spool.summary();
        ensure!(summary.trouble.is_none(), "{:?}", summary.trouble);
        let bytes = summary.backlog_total().bytes + summary.kept.bytes;
        ensure!(bytes <= self.limits.max_bytes, "the spool has {bytes} bytes");
        let before = memory.context("an outage of more than a day")?;
        let more = resident_bytes()?.saturating_sub(before);
        ensure!(more < MORE_MEMORY_BYTES, "two days took {more} bytes of memory");
        Ok(())
    }

    fn perform(&mut self, task: Task) -> Result<()> {
        match task {
            Task::Reading | Task::Sample => Ok(()),
            Task::Frame => self.append(Class::History, Kind::Samples),
            Task::StateCheck if !self.chance.once_in(CHANGED_ONCE_IN) => Ok(()),
            Task::StateCheck | Task::Inventory => self.append(Class::State, Kind::State),
        }
    }

    fn append(&mut self, class: Class, kind: Kind) -> Result<()> {
        let body = if kind == Kind::Samples {
            backlog::samples(FRAME_BYTES, &mut self.chance).encode_to_vec()
        } else {
            backlog::state("outage", self.made.len() as u64).encode_to_vec()
        };
        let seq = self.spool.append(Draft { class, kind, body: body.into() }, &self.clock.stamp())?;
        self.made.insert((self.run, seq), kind);
        Ok(())
    }

    /// The county is back: everything goes there at the speed that is permitted, while new reports are made.
    fn drain(&mut self, runtime: &tokio::runtime::Runtime, county: &CountyStore, id: DeviceId) -> Result<()> {
        let mut next_live = self.platform.now().mono_micros;
        let mut since: BTreeMap<FrameKey, i64> = BTreeMap::new();
        let mut longest = Duration::ZERO;
        let mut left = self.spool.summary().backlog_total();
        loop {
            let now = self.clock.stamp();
            if now.mono_micros >= next_live && left.frames > 0 {
                self.append(Class::State, Kind::State)?;
                self.append(Class::History, Kind::Samples)?;
                self.spool.commit(&now);
                let (key, _) =
                    self.made.iter().rev().find(|(_, kind)| **kind == Kind::State).context("a state")?;
                since.insert(FrameKey { run_id: key.0, seq: key.1 }, now.mono_micros);
                next_live += LIVE_EVERY.as_micros() as i64;
            }
            let batch = self.spool.next_batch(None, BATCH_MAX_BYTES, &now);
            if batch.is_empty() {
                break;
            }
            let keys: Vec<FrameKey> = batch.iter().map(|(key, _)| *key).collect();
            let bytes: usize = batch.iter().map(|(_, frame)| frame.encoded_len()).sum();
            self.platform.advance(Duration::from_secs_f64(bytes as f64 / BYTES_PER_SEC));
            let reports = batch
                .into_iter()
                .enumerate()
                .map(|(index, (_, frame))| convert::report(index, frame))
                .collect::<Result<Vec<_>, _>>()?;
            ensure!(!reports.iter().any(|one| matches!(one.body, Body::Unreadable { .. })), "unreadable");
            let decided = runtime.block_on(county.deliver(id, RunId::from_bytes(self.run), reports))?;
            ensure!(decided.iter().all(|one| *one == Decision::Committed), "{decided:?}");
            let decided: Vec<_> = keys.iter().map(|key| (*key, Fate::Keep)).collect();
            let now = self.clock.stamp();
            self.spool.decide(&decided, Some(now.guarded_micros), &now);
            for key in &keys {
                if let Some(made) = since.remove(key) {
                    longest = longest.max(Duration::from_micros((now.mono_micros - made) as u64));
                }
            }
            left = self.spool.summary().backlog_total();
        }
        ensure!(since.is_empty(), "{} live reports did not arrive", since.len());
        ensure!(longest <= STATE_WAITS, "a report of state waited {longest:?} behind the backlog");
        Ok(())
    }
}

/// How many reports the county knows to be lost.
fn lost(county: &std::path::Path) -> Result<u64> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let db = rusqlite::Connection::open_with_flags(county.join(county_store::FILE_NAME), flags)?;
    Ok(db.query_row("SELECT coalesce(sum(lost), 0) FROM gap", [], |row| row.get::<_, i64>(0))? as u64)
}

/// Memory of this process that is not shared with files.
fn resident_bytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("reading this process's status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("no RssAnon")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().context("RssAnon is no number")?;
    Ok(kib << 10)
}
