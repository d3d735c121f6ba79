//! What the county tells its devices, by the real programs: pushed at once, taken or rejected as a whole, kept.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use bbt_proto::report::v1::{self as wire, config_outcome::Outcome};
use bbt_tests::{
    agent::Agent,
    county::County,
    device::{Device, Stream},
    loop_disk::LoopDisk,
    program,
    wait::eventually,
};
use serde_json::Value;
use uuid::Uuid;

/// A change reaches open streams within ten seconds; three times that on a loaded machine.
const PUSHED: Duration = Duration::from_secs(30);
/// Two weeks from whatever day on have ten days of lessons.
const LESSON_DAYS: usize = 10;
const SECRET: &str = "projector/1/password";
const CANARY: &str = "swordfish-4711-canary";

fn configuration(county: &County, device: &str) -> Result<Value> {
    Ok(county.json(["device", "show", device])?["configuration"].take())
}

/// The revision of the change.
fn set(county: &County, arguments: &[&str]) -> Result<u64> {
    let told = county.json([&["configuration", "set"], arguments].concat())?;
    told["revision"].as_u64().with_context(|| format!("nothing was changed: {told}"))
}

fn expect_applied(county: &County, device: &str, revision: u64) -> Result<()> {
    eventually(PUSHED, "a configuration in force", || {
        let told = configuration(county, device)?;
        ensure!(told["applied"]["revision"] == revision && told["rejected"].is_null(), "{told}");
        Ok(())
    })
}

/// Waits until the agent says this of a value.
fn expect_in_force(agent: &Agent, key: &str, value: u64, source: &str) -> Result<()> {
    eventually(PUSHED, key, || {
        let status = agent.status()?;
        let values = status["last_run"]["configuration"]["values"].as_array().context("no values")?;
        let found = values.iter().find(|found| found["key"] == key).context("no such value")?;
        ensure!(found["value"] == value && found["source"] == source, "{found}");
        Ok(())
    })
}

/// A device of the county that runs, as the county names it.
fn running(county: &County) -> Result<(Agent, String)> {
    let mut agent = Agent::enroll(county)?;
    let device = Uuid::from_bytes(agent.device_id()?).to_string();
    agent.run()?;
    county.first_report()?;
    Ok((agent, device))
}

/// A stream that a device opens while it holds `revision`.
fn opened(device: &Device, revision: u64) -> Result<Stream> {
    let greeting = wire::Open { config_revision: revision, ..device.greeting(Uuid::new_v4()) };
    Ok(device.try_open(greeting)??)
}

/// A folder that lies on another disk; on its own again when dropped.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn over(folder: &'a Path, disk: &LoopDisk) -> Result<Self> {
        program::succeed(Command::new("mount").arg("--bind").arg(disk.mount_point()).arg(folder), b"")?;
        Ok(Self(folder))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

/// The files below `folder` that have `needle` in them.
fn files_with(folder: &Path, needle: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let kind = fs::symlink_metadata(&path)?.file_type();
        if kind.is_dir() {
            found.extend(files_with(&path, needle)?);
        } else if kind.is_file()
            && fs::read(&path)?.windows(needle.len()).any(|window| window == needle.as_bytes())
        {
            found.push(path.display().to_string());
        }
    }
    Ok(found)
}

#[test]
fn a_change_reaches_an_open_stream_a_bad_one_is_rejected_and_the_last_good_survives_a_restart() -> Result<()>
{
    if !rustix::process::geteuid().is_root() {
        println!("not run: mounting a disk of the test's own needs root");
        return Ok(());
    }
    let mut county = County::start()?;
    let mut agent = Agent::enroll(&county)?;
    let device = Uuid::from_bytes(agent.device_id()?).to_string();
    let disk = LoopDisk::mount()?;
    let spool = agent.state().join("spool");
    fs::create_dir_all(&spool)?;
    let _mounted = Mounted::over(&spool, &disk)?;
    agent.run()?;
    county.first_report()?;

    let good = set(&county, &["sample_interval_secs=30"])?;
    expect_applied(&county, &device, good)?;
    expect_in_force(&agent, "sample_interval_secs", 30, "county")?;

    // Only the device knows that its disk has no room for that.
    set(&county, &["--device", &device, "sample_interval_secs=20", "spool_max_bytes=67108864"])?;
    let told = eventually(PUSHED, "a rejection", || {
        let told = configuration(&county, &device)?;
        ensure!(told["rejected"].is_object(), "{told}");
        Ok(told)
    })?;
    assert_eq!(told["rejected"]["key"], "spool_max_bytes");
    ensure!(
        told["rejected"]["reason"].as_str().is_some_and(|why| why.contains("half of the disk")),
        "{told}"
    );
    assert_eq!(told["applied"]["revision"], good);
    assert_eq!(county.json(["status"])?["devices_rejecting_configuration"], 1);

    // In force before any contact.
    agent.stop()?;
    county.stop()?;
    agent.run()?;
    expect_in_force(&agent, "sample_interval_secs", 30, "county")?;

    county.serve()?;
    let mended = set(&county, &["--device", &device, "spool_max_bytes=16777216"])?;
    expect_applied(&county, &device, mended)?;
    expect_in_force(&agent, "sample_interval_secs", 20, "county")?;
    expect_in_force(&agent, "spool_max_bytes", 16 << 20, "county")?;
    assert_eq!(county.json(["status"])?["devices_rejecting_configuration"], 0);
    Ok(())
}

#[test]
fn a_live_look_brings_samples_within_seconds_and_ends_by_itself() -> Result<()> {
    let county = County::start()?;
    let (agent, device) = running(&county)?;
    expect_in_force(&agent, "frame_interval_secs", 300, "built_in")?;
    let frames = || -> Result<u64> {
        county.json(["device", "show", &device])?["history_frames"].as_u64().context("a count")
    };
    let before = frames()?;
    county.json(["device", "live", &device, "--for", "20s"])?;
    expect_in_force(&agent, "sample_interval_secs", 5, "live")?;
    eventually(PUSHED, "a frame of samples", || {
        ensure!(frames()? > before, "none came");
        Ok(())
    })?;
    expect_in_force(&agent, "sample_interval_secs", 60, "built_in")?;
    eventually(PUSHED, "the end of it at the county", || {
        ensure!(configuration(&county, &device)?["live"].is_null(), "it goes on");
        Ok(())
    })
}

#[test]
fn a_secret_is_told_to_its_device_alone_is_nowhere_in_clear_and_goes_when_withdrawn() -> Result<()> {
    let county = County::start()?;
    let (agent, device) = running(&county)?;
    let other = Device::enroll(&county)?;
    let mut stream = opened(&other, 0)?;
    let told = stream.config()?;
    stream.say(told.revision, Outcome::Applied(true))?;

    let folder = tempfile::tempdir()?;
    let file = folder.path().join("secret");
    fs::write(&file, format!("{CANARY}\n"))?;
    let file = file.to_str().context("a path")?;
    county.cli(["device", "secret", "set", &device, SECRET, "--secret-file", file])?;
    let kept = agent.state().join("configuration");
    eventually(PUSHED, "the secret at its device", || {
        ensure!(files_with(&kept, CANARY)?.len() == 1, "it did not come");
        Ok(())
    })?;
    let mode = fs::metadata(kept.join("in_force"))?.permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(files_with(&agent.state(), CANARY)?.len(), 1, "in that file alone");
    let shown = configuration(&county, &device)?;
    assert_eq!(shown["secrets"][0]["name"], SECRET);

    // What the other device is told next is a change of its own, without a secret.
    set(&county, &["--device", &other.id.to_string(), "sample_interval_secs=45"])?;
    let told = stream.config()?;
    assert_eq!(told.values.unwrap_or_default().sample_interval_secs, Some(45));
    ensure!(told.secrets.is_empty(), "{:?}", told.secrets);

    assert_eq!(files_with(&county.data(), CANARY)?, Vec::<String>::new());
    let said = [county.log(), agent.log(), shown.to_string(), serde_json::to_string(&agent.status()?)?];
    ensure!(said.iter().all(|text| !text.contains(CANARY)), "a secret was printed");

    county.cli(["device", "secret", "withdraw", &device, SECRET])?;
    eventually(PUSHED, "the secret gone", || {
        ensure!(files_with(&agent.state(), CANARY)?.is_empty(), "it is still there");
        Ok(())
    })
}

#[test]
fn a_device_is_told_what_it_does_not_hold_once_on_a_stream_with_the_lessons_ahead() -> Result<()> {
    let county = County::start()?;
    let device = Device::enroll(&county)?;
    let id = device.id.to_string();
    let mut stream = opened(&device, 0)?;
    let first = stream.config()?;
    assert_eq!(first.lessons.len(), LESSON_DAYS);
    ensure!(first.lessons.iter().all(|span| span.to_unix_secs - span.from_unix_secs == 9 * 3_600));
    stream.say(first.revision, Outcome::Applied(true))?;
    expect_applied(&county, &id, first.revision)?;

    let second = set(&county, &["sample_interval_secs=120"])?;
    assert_eq!(stream.config()?.revision, second);
    let rejected = wire::Rejected { key: "sample_interval_secs".into(), reason: "not today".into() };
    stream.say(second, Outcome::Rejected(rejected))?;
    eventually(PUSHED, "a rejection", || {
        let told = configuration(&county, &id)?;
        ensure!(told["rejected"]["reason"] == "not today", "{told}");
        Ok(())
    })?;
    // An answer to something else changes nothing.
    stream.say(second, Outcome::Applied(true))?;
    let third = set(&county, &["frame_interval_secs=600"])?;
    assert_eq!(stream.config()?.revision, third, "what was rejected did not come again");
    assert_eq!(configuration(&county, &id)?["rejected"]["revision"], second);
    drop(stream);

    // A restore card rolled it back: it is told what it lost.
    let mut stream = opened(&device, first.revision)?;
    assert_eq!(stream.config()?.revision, third);
    drop(stream);
    // It holds what there is: the next thing it is told is the next change.
    let mut stream = opened(&device, third)?;
    expect_applied(&county, &id, third)?;
    let fourth = set(&county, &["frame_interval_secs=900"])?;
    assert_eq!(stream.config()?.revision, fourth);
    Ok(())
}
