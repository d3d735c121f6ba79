//! Out of descriptors: the controller goes on with whom it has, and takes others again as soon as it can.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bbt_tests::{
    county::County,
    device::Device,
    wait::{SOON, eventually},
};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::{
    attacker::{Attacker, Loot, Port},
    honest::Honest,
    process,
};

/// Descriptors that are left.
const LEFT: usize = 20;

#[test]
fn a_controller_without_descriptors_keeps_whom_it_has_and_takes_others_again() -> Result<()> {
    let mut county = County::start()?;
    let devices = [Device::enroll(&county)?, Device::enroll(&county)?];
    let credentials = devices[0].credentials().context("an enrolled device has a certificate")?;
    let loot = std::sync::Arc::new(Loot::new(&county, devices[0].id, credentials)?);
    let mut honest = Honest::begin(&devices, &loot)?;
    let id = i32::try_from(county.id().context("it runs")?)?;
    let most = (process::descriptors(&county)? + LEFT) as u64;
    let limit = Rlimit { current: Some(most), maximum: Some(most) };
    prlimit(Pid::from_raw(id), Resource::Nofile, limit).context("lowering its limit")?;

    let from = Ipv4Addr::new(127, 4, 0, 1).into();
    let until = Instant::now() + Duration::from_secs(60);
    let attacker = Attacker { loot: &loot, port: Port::Agents, until, from, stolen: false };
    let mut held = Vec::new();
    eventually(SOON, "the end of its descriptors", || {
        held.push(attacker.tcp()?);
        ensure!(county.log().contains("out of file descriptors"), "{} are held", held.len());
        Ok(())
    })?;
    honest.devices_seen()?;
    let mut answers = [0; 2];
    eventually(SOON, "verdicts for who was there before", || {
        for (answers, seen) in answers.iter_mut().zip(honest.devices_seen()?) {
            *answers += seen.answers;
        }
        ensure!(answers.iter().all(|answers| *answers > 5), "{answers:?}");
        Ok(())
    })?;
    county.ensure_running()?;

    drop(held);
    eventually(SOON, "a place for somebody new", || devices[1].open().map(drop))?;
    county.ensure_running()?;
    let said = county.log().matches("out of file descriptors").count();
    ensure!(said <= 4, "once for each port and minute, and not {said} times");
    Ok(())
}
