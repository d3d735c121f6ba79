//! Classroom PCs with a restore card: every morning the state of the image, and yet the same devices come back
//! without a visit, whatever the age of the image.

use std::{collections::BTreeSet, thread};

use anyhow::{Context, Result, ensure};
use bbt_tests::{
    agent::Agent,
    backlog::{self, Standing},
    chance::{Chance, first_seed, number},
    county::County,
    moved_clock::MovedClock,
    record::{self, CountyRecord},
    restore_card::FrozenPc,
    wait::{SOON, eventually},
};

/// PCs of each age, and how often each starts.
const PCS: &str = "BBT_TEST_FROZEN_PCS";
const PCS_IN_A_CHECK: u64 = 5;
const STARTS: &str = "BBT_TEST_FROZEN_STARTS";
const STARTS_IN_A_CHECK: u64 = 5;
/// The promise is the window that the controller gave, a second for so few devices, plus 30 s; three times that.
const BACK_WITHIN: std::time::Duration = SOON.saturating_mul(3);
const DAY_SECS: i64 = 86_400;
/// An image of this age has a certificate that is to be renewed, from day 60 on, at each start anew.
const AGED_DAYS: i64 = 100;
/// The controller's clock takes no larger step without a word from a person.
const STEP_DAYS: i64 = 25;
/// Reports in the spool of an image: every start sends them again.
const IN_THE_IMAGE: (u64, usize) = (50, 500);

#[test]
fn a_frozen_pc_with_a_fresh_image_comes_back_at_every_start_as_the_same_device() -> Result<()> {
    let county = County::start()?;
    let pcs = enroll(&county, |_| Ok(()))?;
    come_back(county, pcs, 0)
}

#[test]
fn a_frozen_pc_with_frames_in_its_image_tells_them_once_however_often_it_starts() -> Result<()> {
    let county = County::start()?;
    let seed = first_seed()?;
    let mut chance = Chance::new(seed);
    let (count, size_bytes) = IN_THE_IMAGE;
    let pcs = enroll(&county, |agent| {
        backlog::add(agent, count, size_bytes, Standing::Waiting, &mut chance).map(drop)
    })?;
    come_back(county, pcs, count)
}

#[test]
fn a_frozen_pc_whose_image_has_an_old_certificate_comes_back_at_every_start() -> Result<()> {
    let clock = MovedClock::new()?;
    clock.shift(-AGED_DAYS * DAY_SECS)?;
    let mut county = County::init_by(&clock)?;
    county.serve()?;
    let pcs = enroll(&county, |_| Ok(()))?;
    let mut days = AGED_DAYS;
    while days > 0 {
        days = (days - STEP_DAYS).max(0);
        county.stop()?;
        clock.shift(-days * DAY_SECS)?;
        county.serve()?;
    }
    come_back(county, pcs, 0)
}

/// PCs that the county knows, each with an image of its agent after `prepare`.
fn enroll(county: &County, mut prepare: impl FnMut(&Agent) -> Result<()>) -> Result<Vec<FrozenPc>> {
    let pcs = number(PCS)?.unwrap_or(PCS_IN_A_CHECK);
    (0..pcs)
        .map(|no| {
            let agent = Agent::enroll_on_board(county, no as usize)?;
            prepare(&agent)?;
            FrozenPc::freeze(agent)
        })
        .collect()
}

/// Starts every PC again and again. The county has one device and one set of each in the end, what the image had
/// once, and no fault.
fn come_back(mut county: County, mut pcs: Vec<FrozenPc>, in_the_image: u64) -> Result<()> {
    let starts = number(STARTS)?.unwrap_or(STARTS_IN_A_CHECK);
    let known = devices(&county)?;
    ensure!(known.len() == pcs.len(), "{} devices for {} PCs", known.len(), pcs.len());
    thread::scope(|scope| {
        let lives: Vec<_> = pcs
            .iter_mut()
            .map(|pc| {
                scope.spawn(move || {
                    (0..starts).try_for_each(|start| morning(pc).with_context(|| format!("start {start}")))
                })
            })
            .collect();
        lives.into_iter().try_for_each(|life| life.join().expect("a thread of the test panicked"))
    })?;

    ensure!(devices(&county)? == known, "the devices are not the same any more");
    let found = county.devices()?.iter().filter(|device| device["frozen"] == true).count();
    ensure!(found == pcs.len(), "{found} of {} restore cards were found", pcs.len());
    let sets = county.items(["set", "list"])?;
    ensure!(sets.len() == pcs.len(), "{} sets for {} PCs", sets.len(), pcs.len());
    let faults = county.items(["fault", "list"])?;
    ensure!(faults.is_empty(), "false alarms: {faults:?}");
    county.stop()?;
    let record = CountyRecord::read(&county)?;
    ensure!(record.quarantined == 0 && record.gaps == 0, "reports were set aside or dropped");
    for pc in &pcs {
        let told = record.history(pc.device_id()?).len() as u64;
        // One report in eight is a state, the others are in history.
        ensure!(told == in_the_image - in_the_image / 8, "{told} samples of the image are in history");
    }
    Ok(())
}

/// One day: the PC starts, tells what it has, and the power goes.
fn morning(pc: &mut FrozenPc) -> Result<()> {
    let greetings =
        |pc: &mut FrozenPc| anyhow::Ok(pc.agent()?.log().matches("connected to the controller").count());
    let before = greetings(pc)?;
    pc.start()?;
    eventually(BACK_WITHIN, "a frozen PC that has told all it has", || {
        pc.agent()?.ensure_running()?;
        ensure!(greetings(pc)? > before, "it was not greeted; it said:\n{}", pc.agent()?.log());
        let waiting = record::backlog(pc.agent()?)?;
        ensure!(waiting == 0, "{waiting} reports wait");
        Ok(())
    })?;
    pc.cut_power()
}

/// The ids of all devices.
fn devices(county: &County) -> Result<BTreeSet<String>> {
    let devices = county.devices()?;
    devices
        .iter()
        .map(|device| device["id"].as_str().map(str::to_owned).context("a device without an id"))
        .collect()
}
