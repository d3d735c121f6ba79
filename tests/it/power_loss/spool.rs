use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
};

use anyhow::{Result, ensure};
use bbt_agent::{
    identity::clock::Stamp,
    spool::{BATCH_MAX_BYTES, Class, Draft, Fate, Limits, Origin, Spool},
};
use bbt_proto::report::v1::{self as wire, GapReason, Kind};
use bbt_tests::{
    chance::Chance,
    crash_vfs::{self, Moment, Recording},
    record::{self, Key, shown},
};
use prost::Message;
use rusqlite::{Connection, OpenFlags};

use super::{Planted, keep, moment, must_find, rounds};

/// Steps of one recording.
const STEPS: usize = 150;
/// So small that frames are dropped and gaps told, and the log is folded back many times.
const LIMITS: Limits = Limits { max_bytes: 150_000, max_age_micros: 6 * 3_600_000_000 };
/// Bodies of up to so many bytes: some fill a page of the database, some several.
const BODY_BYTES: std::ops::Range<u64> = 10..9_000;
/// Between two steps.
const STEP_SECS: std::ops::Range<u64> = 1..600;

#[test]
fn a_spool_has_after_any_power_cut_all_that_it_had_committed() -> Result<()> {
    rounds("a_spool_has_after", round)
}

#[test]
fn a_disk_that_lies_about_syncs_is_found_out_by_the_spools_crash_states() -> Result<()> {
    must_find(Planted::LyingDisk, round)
}

#[test]
fn a_frame_that_is_sent_before_it_is_synced_is_found_out_by_the_spools_crash_states() -> Result<()> {
    must_find(Planted::EarlyAnswer, round)
}

/// What a spool holds, in full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Holding {
    /// Whether it is decided, and a hash of its bytes.
    frames: BTreeMap<Key, (bool, u64)>,
    /// Class, run, reason, first and last number, count.
    gaps: Vec<(i64, record::Id, i64, i64, i64, u64)>,
    /// How many dropped frames are told in gap frames, by the frame.
    told: BTreeMap<Key, u64>,
}

impl Holding {
    fn read(folder: &Path) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(folder.join("spool.db"), flags)?;
        let mut holding = Self::default();
        let mut frames = db.prepare("SELECT run_id, seq, decided_micros IS NOT NULL, bytes FROM frame")?;
        let mut rows = frames.query([])?;
        while let Some(row) = rows.next()? {
            let key = (row.get(0)?, row.get::<_, i64>(1)? as u64);
            let bytes = row.get_ref(3)?.as_blob()?;
            let frame = wire::Frame::decode(bytes)?;
            if frame.kind() == Kind::Gap {
                holding.told.insert(key, wire::Gap::decode(frame.body)?.count);
            }
            let mut hasher = DefaultHasher::new();
            bytes.hash(&mut hasher);
            holding.frames.insert(key, (row.get(2)?, hasher.finish()));
        }
        let mut gaps =
            db.prepare("SELECT class, run_id, reason, first_seq, last_seq, count FROM gap ORDER BY 1, 2, 3")?;
        let rows = gaps.query_map([], |row| {
            Ok((
                row.get(0)?,
                row.get(1)?,
                row.get(2)?,
                row.get(3)?,
                row.get(4)?,
                row.get::<_, i64>(5)? as u64,
            ))
        })?;
        holding.gaps = rows.collect::<rusqlite::Result<_>>()?;
        Ok(holding)
    }
}

/// A spool at work, and what is known of it.
struct Work<'a> {
    folder: &'a Path,
    recording: &'a Recording,
    planted: Planted,
    chance: &'a mut Chance,
    spool: Option<Spool>,
    run: record::Id,
    secs: i64,
    /// What the spool held at each moment at which it had said that something is kept.
    marks: Vec<(Moment, Holding)>,
    /// Frames given to it.
    made: u64,
    /// Frames that the controller decided, gaps with what they tell.
    decided: BTreeMap<Key, u64>,
}

fn round(chance: &mut Chance, states: u64, planted: Planted) -> Result<()> {
    let folder = crash_vfs::folder()?;
    let recording = Recording::start(folder.path())?;
    planted.apply(&recording);
    let mut work = Work {
        folder: folder.path(),
        recording: &recording,
        planted,
        chance,
        spool: None,
        run: [0; 16],
        secs: 1_000_000_000,
        marks: vec![(0, Holding::default())],
        made: 0,
        decided: BTreeMap::new(),
    };
    work.restart()?;
    let begun = recording.now();
    for _ in 0..STEPS {
        work.step()?;
    }
    work.spool = None;
    let Work { marks, secs, .. } = work;
    ensure!(marks.iter().any(|(_, holding)| !holding.told.is_empty()), "no gap was told");

    for _ in 0..states {
        let cut = moment(&recording, begun, chance);
        let state = recording.crash(cut, chance).write()?;
        let kept = marks.partition_point(|(from, _)| *from <= cut) - 1;
        // What was under way may be there as well.
        let possible: Vec<&Holding> = marks[kept..].iter().take(2).map(|(_, holding)| holding).collect();
        keep(next_start(state.path(), &possible, secs))
            .map_err(|error| error.context(format!("the power went after {cut} calls")))?;
    }
    Ok(())
}

/// The next start on a state finds what was kept and goes on.
fn next_start(folder: &Path, possible: &[&Holding], secs: i64) -> Result<()> {
    let now = at(secs);
    let mut spool = Spool::open(folder, origin([0xff; 16]), LIMITS, &now);
    ensure!(spool.summary().trouble.is_none(), "{:?}", spool.summary().trouble);
    let found = Holding::read(folder)?;
    if !possible.contains(&&found) {
        let kept = possible[0];
        let lost = kept.frames.iter().find(|(key, frame)| found.frames.get(key) != Some(frame));
        anyhow::bail!(
            "it holds {} frames and {} gaps, {} and {} were kept; {} is another or lost",
            found.frames.len(),
            found.gaps.len(),
            kept.frames.len(),
            kept.gaps.len(),
            lost.map_or_else(|| "none".to_owned(), |(key, _)| shown(*key)),
        );
    }
    record::ensure_integrity(&folder.join("spool.db"))?;
    spool.append(Draft { class: Class::State, kind: Kind::State, body: vec![1].into() }, &now)?;
    spool.commit(&now);
    ensure!(spool.summary().trouble.is_none(), "{:?}", spool.summary().trouble);
    Ok(())
}

impl Work<'_> {
    /// One thing that an agent does, in one transaction.
    fn step(&mut self) -> Result<()> {
        self.secs += self.chance.within(STEP_SECS) as i64;
        match self.chance.within(0..20) {
            0 => self.restart()?,
            1 => self.welcomed()?,
            2..=8 => self.deliver()?,
            _ => self.append()?,
        }
        self.mark()
    }

    fn restart(&mut self) -> Result<()> {
        self.spool = None;
        self.run = self.chance.id();
        let spool = Spool::open(self.folder, origin(self.run), LIMITS, &at(self.secs));
        ensure!(spool.summary().trouble.is_none(), "{:?}", spool.summary().trouble);
        self.spool = Some(spool);
        Ok(())
    }

    fn append(&mut self) -> Result<()> {
        let now = at(self.secs);
        for _ in 0..self.chance.within(1..6) {
            let class = Class::ALL[self.chance.within(0..3) as usize];
            let length = self.chance.within(BODY_BYTES) as usize;
            let body = self.chance.draw().to_le_bytes().repeat(length / 8 + 1);
            self.spool().append(Draft { class, kind: Kind::Samples, body: body.into() }, &now)?;
            self.made += 1;
        }
        self.spool().commit(&now);
        Ok(())
    }

    fn deliver(&mut self) -> Result<()> {
        let now = at(self.secs);
        let batch = self.spool().next_batch(None, BATCH_MAX_BYTES, &now);
        // Gaps are told in a transaction of their own.
        self.mark()?;
        let mut fates = Vec::new();
        for (key, frame) in batch {
            let gap = frame.kind() == Kind::Gap;
            let fate = match self.chance.within(0..10) {
                0 if !gap => Fate::Drop(GapReason::Rejected),
                1..=2 => continue,
                _ => Fate::Keep,
            };
            if fate == Fate::Keep {
                let told = if gap { wire::Gap::decode(frame.body)?.count } else { 0 };
                self.decided.insert((key.run_id, key.seq), told);
            }
            fates.push((key, fate));
        }
        self.spool().decide(&fates, Some(now.guarded_micros), &now);
        self.spool().release();
        Ok(())
    }

    /// A controller that was restored asks for everything again.
    fn welcomed(&mut self) -> Result<()> {
        let now = at(self.secs);
        let incarnation = self.chance.id().to_vec();
        let before = self.spool().contact().incarnation.is_some();
        self.spool().welcomed(incarnation, 60, Some(now.guarded_micros), &now);
        if before {
            let held = Holding::read(self.folder)?;
            self.decided.retain(|key, _| !held.frames.contains_key(key));
        }
        Ok(())
    }

    /// Whatever was done until now counts as kept, and adds up: each frame is there, was decided, or is told.
    fn mark(&mut self) -> Result<()> {
        let holding = Holding::read(self.folder)?;
        let own = |key: &&Key| !holding.told.contains_key(*key);
        let there = holding.frames.keys().filter(own).filter(|key| !self.decided.contains_key(*key)).count();
        let decided = self.decided.values().filter(|told| **told == 0).count();
        let told: u64 =
            holding.told.iter().filter(|(key, _)| !self.decided.contains_key(*key)).map(|(_, n)| n).sum();
        let told_before: u64 = self.decided.values().sum();
        let untold: u64 = holding.gaps.iter().map(|gap| gap.5).sum();
        let all = there as u64 + decided as u64 + told + told_before + untold;
        ensure!(
            all == self.made,
            "{} frames were made; {there} wait, {decided} are decided, {} are told as dropped, {untold} not yet",
            self.made,
            told + told_before
        );
        let kept_from = self.planted.kept_from(self.recording);
        self.marks.push((kept_from, holding));
        Ok(())
    }

    fn spool(&mut self) -> &mut Spool {
        self.spool.as_mut().expect("it is open between two restarts")
    }
}

fn origin(run_id: record::Id) -> Origin {
    Origin { run_id, device_id: [9; 16], os_boot: wire::OsBoot::default() }
}

fn at(secs: i64) -> Stamp {
    let micros = secs * 1_000_000;
    Stamp { wall_micros: micros, mono_micros: micros, guarded_micros: micros, signed: true }
}
