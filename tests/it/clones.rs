//! One identity on more than one PC, and one PC with more than one identity: images, re-imaging, theft.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use bbt_tests::{
    agent::{Agent, board_serial},
    county::County,
    device::{Device, reason},
    wait::{SOON, eventually},
};
use serde_json::Value;

/// PCs of one image, the first of them among them; `BBT_TEST_CLONES` for more.
const CLONES: usize = 5;
/// A revoked device is out within 5 s; three times that is asserted.
const OUT_WITHIN: Duration = Duration::from_secs(15);
/// A PC that waits for a person asks every 15 s.
const ASKS_WITHIN: Duration = Duration::from_secs(60);

#[test]
fn the_pcs_of_one_image_become_devices_of_their_own_and_the_first_one_keeps_its_place() -> Result<()> {
    let mut county = County::start()?;
    let mut pcs = vec![Agent::enroll_on_board(&county, 0)?];
    pcs[0].run()?;
    let original = text(&county.first_report()?, "id")?;
    // What waits in its spool is copied with its disk.
    county.stop()?;
    pcs[0].stop()?;
    let spool: Value = serde_json::from_slice(&pcs[0].output("spool list", ["--json"])?.stdout)?;
    let frames = spool["items"].as_array().context("a list")?;
    ensure!(frames.iter().any(|frame| frame["decided_at"].is_null()), "nothing waits: {spool}");
    for no in 1..clones() {
        let pc = Agent::on_board(no)?;
        pc.copy_disk(&pcs[0])?;
        pcs.push(pc);
    }

    // In the morning all are switched on, the clones first.
    county.serve()?;
    for pc in pcs.iter_mut().rev() {
        pc.run()?;
    }
    let waiting = eventually(SOON, "every clone to ask", || {
        let waiting = county.items(["device", "list", "--pending"])?;
        let ask = waiting.iter().filter(|request| request["asks"] == true).count();
        ensure!(ask == clones() - 1, "{ask} of {waiting:?}");
        Ok(waiting)
    })?;
    ensure!(waiting.iter().all(|request| request["kind"] == "clone" && request["device"] == *original));
    let kept = eventually(SOON, "the first one to report", || reports_as(&county, &original, 0))?;
    ensure!(county.devices()?.len() == 1, "who waits is no device");
    ensure!(kept["quarantined"] == 0, "a clone's reports are not the device's: {kept}");

    let approved = county.json(["device", "clones", &original, "--approve"])?;
    ensure!(approved["approved"] == clones() - 1, "{approved}");
    let devices = eventually(ASKS_WITHIN, "every PC to report as itself", || {
        let devices = county.devices()?;
        ensure!(devices.len() == clones(), "{} devices", devices.len());
        ensure!(devices.iter().all(|device| !device["last_report_at"].is_null()), "{devices:?}");
        Ok(devices)
    })?;
    let mut boards = BTreeSet::new();
    for device in &devices {
        let id = text(device, "id")?;
        let file = county.json(["device", "show", &id])?;
        boards.insert(text(&file["snapshot"]["hardware"]["board"], "serial")?);
        if id != original {
            ensure!(file["sibling_of"] == *original, "{file}");
            eventually(SOON, "what was copied with the disk to be told as a gap", || {
                let gaps = county.json(["device", "show", &id])?["gaps"].clone();
                let copied = gaps
                    .as_array()
                    .is_some_and(|gaps| gaps.iter().any(|gap| gap["reason"] == "other_identity"));
                ensure!(copied, "{gaps}");
                Ok(())
            })?;
        }
    }
    ensure!(boards == (0..clones()).map(board_serial).collect(), "each is itself: {boards:?}");
    reports_as(&county, &original, 0)?;
    ensure!(county.items(["set", "list"])?.len() == clones(), "one set each");
    for pc in &mut pcs {
        pc.ensure_running()?;
        pc.stop()?;
    }
    Ok(())
}

#[test]
fn a_pc_that_was_installed_anew_becomes_its_device_again_once_a_person_says_so() -> Result<()> {
    let county = County::start()?;
    let mut before = Agent::enroll_on_board(&county, 1)?;
    before.run()?;
    let device = text(&county.first_report()?, "id")?;
    before.stop()?;

    let mut anew = Agent::on_board(1)?;
    let token = county.token()?;
    let asking = anew.start_enroll(&token)?;
    let request = eventually(SOON, "it to wait", || {
        let waiting = county.items(["device", "list", "--pending"])?;
        ensure!(waiting.len() == 1, "{waiting:?}");
        Ok(waiting[0].clone())
    })?;
    ensure!(request["kind"] == "enrollment" && request["matches"][0]["device"] == *device, "{request}");
    ensure!(request["matches"][0]["likeness"] == "same", "{request}");
    eventually(SOON, "the agent to say so", || {
        ensure!(anew.log().contains("The county knows this PC."), "{}", anew.log());
        Ok(())
    })?;
    // Cut off while it waits, it goes on with the same key.
    asking.kill()?;
    county.cli(["device", "approve", &text(&request, "id")?, "--same", &device])?;
    let output = anew.try_enroll(&token)?;
    ensure!(output.status.success(), "{output:?}");

    anew.run()?;
    eventually(SOON, "it to report", || reports_as(&county, &device, 1))?;
    ensure!(
        county.devices()?.len() == 1 && county.items(["set", "list"])?.len() == 1,
        "the same device, the same set"
    );
    ensure!(county.items(["device", "list", "--pending"])?.is_empty(), "nothing is left to be said");
    anew.stop()
}

#[test]
fn a_sealed_disk_holds_nothing_of_its_pc_and_its_copies_enrol_by_themselves() -> Result<()> {
    let county = County::start()?;
    let mut image = Agent::enroll_on_board(&county, 1)?;
    image.run()?;
    let device = text(&county.first_report()?, "id")?;
    let refused = image.output("seal", [""; 0])?;
    ensure!(!refused.status.success(), "an agent that runs is not sealed: {refused:?}");
    image.stop()?;
    let sealed = image.output("seal", [""; 0])?;
    ensure!(sealed.status.success(), "{sealed:?}");
    let left: Vec<_> =
        std::fs::read_dir(image.state())?.map(|entry| Ok(entry?.file_name())).collect::<Result<_>>()?;
    ensure!(left == ["lock"], "{left:?}");
    let run = image.output("run", [""; 0])?;
    let said = String::from_utf8_lossy(&run.stderr);
    ensure!(
        !run.status.success() && said.contains("not enrolled") && said.contains("bbt-agent enroll"),
        "{said}"
    );

    let copy = Agent::on_board(2)?;
    copy.copy_disk(&image)?;
    let enrolled = copy.try_enroll(&county.token()?)?;
    ensure!(enrolled.status.success(), "{enrolled:?}");
    let devices = county.devices()?;
    ensure!(devices.len() == 2 && devices.iter().any(|one| one["id"] == *device), "{devices:?}");
    Ok(())
}

#[test]
fn a_stolen_device_is_out_at_once_and_back_when_that_is_taken_back() -> Result<()> {
    let county = County::start()?;
    let device = Device::enroll(&county)?;
    let mut stream = device.open()?;
    let id = device.id.to_string();
    let began = std::time::Instant::now();
    county.cli(["device", "revoke", &id, "--stolen", "--reason", "报案号 12"])?;
    let ended = stream.ended()?;
    ensure!(reason(&ended) == "revoked", "{ended}");
    ensure!(began.elapsed() < OUT_WITHIN, "{:?}", began.elapsed());
    let file = county.json(["device", "show", &id])?;
    ensure!(file["standing_kind"] == "stolen" && file["standing_reason"] == "报案号 12", "{file}");
    county.cli(["device", "unrevoke", &id])?;
    device.open()?;
    let file = county.json(["device", "show", &id])?;
    ensure!(file["standing_kind"] == "plain" && file["standing"] == "active", "{file}");
    Ok(())
}

fn clones() -> usize {
    std::env::var("BBT_TEST_CLONES").ok().and_then(|count| count.parse().ok()).unwrap_or(CLONES)
}

/// The device's file, when the PC with the board `no` reports as it since the last start of the county.
fn reports_as(county: &County, device: &str, no: usize) -> Result<Value> {
    let file = county.json(["device", "show", device])?;
    ensure!(!file["session"].is_null(), "no session: {file}");
    let evidence = file["evidence"].as_array().context("no evidence")?;
    let boards: Vec<_> = evidence.iter().filter(|one| one["kind"] == "board_serial").collect();
    ensure!(boards.len() == 1 && boards[0]["value"] == board_serial(no), "{evidence:?}");
    Ok(file)
}

fn text(document: &Value, key: &str) -> Result<String> {
    let text = document[key].as_str().map(str::to_owned);
    text.with_context(|| format!("no {key} in {document}"))
}
