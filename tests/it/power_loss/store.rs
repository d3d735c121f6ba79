use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, ensure};
use bbt_domain::{
    facts::{Software, StateReport, Told},
    ids::{DeviceId, RunId},
    report::{Body, Decision, Report},
};
use bbt_tests::{
    chance::Chance,
    county_store::{self, CountyStore, report},
    crash_vfs::{self, Moment, Recording},
    record::{CountyRecord, Id, Key, shown},
};

use super::{Planted, keep, moment, must_find, rounds};

const DEVICES: u8 = 3;
/// Groups of batches in one recording; those of a group are queued together and share commits.
const GROUPS: usize = 40;
const GROUP_BATCHES: std::ops::Range<u64> = 1..6;
const BATCH_REPORTS: std::ops::Range<u64> = 1..6;
/// Some fill a page of the database, some several.
const BODY_BYTES: std::ops::Range<u64> = 10..6_000;

#[test]
fn the_store_has_after_any_power_cut_all_that_it_had_committed() -> Result<()> {
    rounds("the_store_has_after", round)
}

#[test]
fn a_disk_that_lies_about_syncs_is_found_out_by_the_stores_crash_states() -> Result<()> {
    must_find(Planted::LyingDisk, round)
}

#[test]
fn a_report_that_is_acknowledged_before_it_is_synced_is_found_out_by_the_stores_crash_states() -> Result<()> {
    must_find(Planted::EarlyAnswer, round)
}

/// A batch that was handed in.
struct Batch {
    device: Id,
    /// Samples with their bytes, states without.
    reports: BTreeMap<Key, Option<Vec<u8>>>,
    /// From when on it was said to be committed.
    kept_from: Moment,
}

fn round(chance: &mut Chance, states: u64, planted: Planted) -> Result<()> {
    let folder = crash_vfs::folder()?;
    let recording = Recording::start(folder.path())?;
    planted.apply(&recording);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let (begun, batches) = runtime.block_on(work(folder.path(), &recording, planted, chance))?;
    for _ in 0..states {
        let cut = moment(&recording, begun, chance);
        let state = recording.crash(cut, chance).write()?;
        keep(next_start(state.path(), &batches, cut))
            .map_err(|error| error.context(format!("the power went after {cut} calls")))?;
    }
    Ok(())
}

/// Devices deliver in groups; between some of them the county is closed and opened again.
async fn work(
    folder: &Path,
    recording: &Recording,
    planted: Planted,
    chance: &mut Chance,
) -> Result<(Moment, Vec<Batch>)> {
    let mut county = CountyStore::create(folder).await?;
    let mut devices = Vec::new();
    for no in 1..=DEVICES {
        let (device, run) = (county.enroll(no).await?, RunId::from_bytes(chance.id()));
        county.open_session(device, run).await?;
        devices.push((device, run, 0));
    }
    let begun = recording.now();
    let mut batches = Vec::new();
    for _ in 0..GROUPS {
        if chance.once_in(8) {
            drop(county);
            county = CountyStore::open(folder)?;
        }
        let mut group = Vec::new();
        for _ in 0..chance.within(GROUP_BATCHES) {
            let (device, run, seq) = &mut devices[chance.within(0..u64::from(DEVICES)) as usize];
            let reports = (0..chance.within(BATCH_REPORTS)).map(|_| {
                *seq += 1;
                made(*device, *run, *seq, chance)
            });
            let reports: Vec<Report> = reports.collect();
            let batch = noted(*device, &reports);
            group.push((batch, county.submit(*device, *run, reports).await?));
        }
        let mut committed = Vec::new();
        for (batch, receipt) in group {
            let decisions = receipt.committed().await?;
            ensure!(decisions.iter().all(|one| *one == Decision::Committed), "{decisions:?}");
            committed.push(batch);
        }
        let kept_from = planted.kept_from(recording);
        batches.extend(committed.into_iter().map(|batch| Batch { kept_from, ..batch }));
    }
    Ok((begun, batches))
}

fn made(device: DeviceId, run: RunId, seq: u64, chance: &mut Chance) -> Report {
    let body = if chance.once_in(4) {
        let facts = Software { host_name: Some(format!("after {seq}")), ..Software::default() };
        let software = Some(Told { facts, problems: vec![] });
        Body::State(Box::new(StateReport { full: true, software, ..StateReport::default() }))
    } else {
        Body::Samples(chance.draw().to_le_bytes().repeat(chance.within(BODY_BYTES) as usize / 8 + 1))
    };
    report(device, run, seq, body)
}

fn noted(device: DeviceId, reports: &[Report]) -> Batch {
    let reports = reports.iter().map(|report| {
        let body = if let Body::Samples(body) = &report.body { Some(body.clone()) } else { None };
        ((*report.run.as_bytes(), report.seq), body)
    });
    Batch { device: *device.as_bytes(), reports: reports.collect(), kept_from: Moment::MAX }
}

/// The next start on a state finds what was committed, every batch whole or not at all, and nothing else.
fn next_start(folder: &Path, batches: &[Batch], cut: Moment) -> Result<()> {
    let path = folder.join(county_store::FILE_NAME);
    drop(CountyStore::open(folder)?);
    record_of(&path, batches, cut)?;
    bbt_tests::record::ensure_integrity(&path)
}

fn record_of(path: &Path, batches: &[Batch], cut: Moment) -> Result<()> {
    let record = CountyRecord::read_file(path)?;
    let mut histories: BTreeMap<Id, BTreeMap<Key, Vec<u8>>> = BTreeMap::new();
    for batch in batches {
        let history = histories.entry(batch.device).or_insert_with(|| record.history(batch.device));
        let there = batch.reports.keys().filter(|key| record.has_seen(batch.device, **key)).count();
        ensure!(
            there == 0 || there == batch.reports.len(),
            "{there} of {} reports are there",
            batch.reports.len()
        );
        let (first, _) = batch.reports.first_key_value().context("an empty batch")?;
        ensure!(there > 0 || batch.kept_from > cut, "{} was acknowledged and is lost", shown(*first));
        for (key, body) in &batch.reports {
            let wanted = body.as_ref().filter(|_| there > 0);
            ensure!(
                history.remove(key).as_ref() == wanted,
                "{} is not in history as it was made",
                shown(*key)
            );
        }
    }
    let more = histories.values().find_map(|history| history.keys().next());
    ensure!(
        more.is_none(),
        "{} is in history and was never made",
        more.map_or_else(String::new, |key| shown(*key))
    );
    Ok(())
}
