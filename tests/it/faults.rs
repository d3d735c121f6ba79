//! From a full disk to the contractor's hands and back, by the real programs; and the same while the controller is
//! killed at any moment.

use std::{collections::BTreeSet, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use bbt_proto::report::v1 as wire;
use bbt_tests::{
    agent::Agent,
    chance::{Chance, FIRST_SEED, first_seed},
    contractor_stub::{Contractor, Received},
    county::{County, SCHOOL},
    device::Device,
    loop_disk::LoopDisk,
    pc::{self, GIB},
    wait::eventually,
};
use serde_json::Value;

/// For a fault, its ticket and its message, with the shortest intervals that the agent takes.
const STORY: Duration = Duration::from_secs(90);
/// Sets that tell of a full disk while the controller is killed.
const SETS: usize = 8;
const KILLS: u64 = 30;
/// How long the controller serves before it is killed: a start takes some hundred milliseconds, all stages
/// together half a second more.
const SERVED_MILLIS: std::ops::Range<u64> = 100..1_500;

/// A county whose rules wait for nothing, under contract with `contractor`.
fn county(contractor: &Contractor, raise_after_secs: u32) -> Result<County> {
    let mut county = County::init()?;
    for rule in ["DISK_RAISE_AFTER_SECS", "DISK_CLEAR_AFTER_SECS"] {
        county.set_environment(&format!("BBT_CONTROLLER__RULES__{rule}"), &raise_after_secs.to_string());
    }
    county.contract(contractor)?;
    county.serve()?;
    Ok(county)
}

/// The types of what the contractor was told of, each message once however often it came.
fn told(contractor: &Contractor) -> Result<Vec<String>> {
    let mut seen = BTreeSet::new();
    let messages = contractor.received().into_iter().filter(|message| seen.insert(message.id.clone()));
    messages.map(|message| Ok(body(&message)?["type"].as_str().context("a type")?.to_owned())).collect()
}

fn body(message: &Received) -> Result<Value> {
    serde_json::from_str(&message.body).context("reading a message")
}

#[test]
fn a_full_disk_is_one_ticket_in_the_contractors_hands_and_room_again_closes_it() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        println!("not run: mounting a disk of the test's own needs root");
        return Ok(());
    }
    let contractor = Contractor::start()?;
    let county = county(&contractor, 1)?;
    let disk = LoopDisk::mount()?;
    let mut agent = Agent::enroll(&county)?;
    for (name, secs) in [("SAMPLE", "5"), ("FRAME", "5"), ("STATE", "10")] {
        agent.set_environment(&format!("BBT_AGENT__REPORT__{name}_SECS"), secs);
    }
    agent.run()?;
    county.first_report()?;
    ensure!(county.items(["fault", "list"])?.is_empty(), "an empty disk is no fault");

    disk.fill()?;
    let ticket = eventually(STORY, "a ticket", || {
        let tickets = county.items(["ticket", "list"])?;
        tickets.first().cloned().context("no ticket")
    })?;
    let fault = county.items(["fault", "list"])?.remove(0);
    assert_eq!(fault["reason"]["mount_point"], disk.mount_point().to_str().context("words")?);
    let free = fault["reason"]["free_bytes"].as_u64().context("a size")?;
    ensure!(free < 1 << 20, "{free} bytes are said to be free of a disk that took nothing more");
    eventually(STORY, "the announcement", || {
        let told = told(&contractor)?;
        ensure!(told == ["ticket.opened"], "{told:?}");
        Ok(())
    })?;
    let message = contractor.received().remove(0);
    let data = &body(&message)?["data"];
    assert_eq!((&data["ticket"]["no"], &data["set"]["school_code"]), (&ticket["no"], &SCHOOL.into()));
    assert_eq!(data["reason"], fault["reason"], "the figures are in the contractor's hands");

    disk.free()?;
    let no = ticket["no"].as_str().context("a number")?;
    eventually(STORY, "the end of the ticket", || {
        let ticket = county.json(["ticket", "show", no])?;
        ensure!(ticket["state"] == "recovered", "it is {}", ticket["state"]);
        Ok(())
    })?;
    eventually(STORY, "the word that it is over", || {
        let told = told(&contractor)?;
        ensure!(told == ["ticket.opened", "ticket.recovered"], "{told:?}");
        Ok(())
    })?;
    assert_eq!(county.items(["ticket", "list", "--all"])?.len(), 1);
    assert_eq!(contractor.refused(), [] as [String; 0], "every message was signed as it should be");
    agent.stop()
}

#[test]
fn a_controller_killed_at_any_stage_makes_each_fault_ticket_and_message_once() -> Result<()> {
    let seed = first_seed()?;
    println!("seed {seed}; again: {FIRST_SEED}={seed} cargo test -p bbt-tests --test it killed_at_any_stage");
    let mut chance = Chance::new(seed);
    let contractor = Contractor::start()?;
    let mut county = county(&contractor, 0)?;
    let devices = (0..SETS).map(|_| Device::enroll(&county)).collect::<Result<Vec<_>>>()?;
    let mut told_full = 0;
    for kill in 0..KILLS {
        // One set more is full before most kills, so that every stage has something to do at each.
        if told_full < SETS && kill % 3 != 2 {
            devices[told_full].tell(wire::Kind::State, &full_disk())?;
            told_full += 1;
        }
        // How long it lives is what chance decides; nothing is waited for.
        thread::sleep(chance.millis(SERVED_MILLIS));
        county.ensure_running()?;
        county.kill()?;
        county.serve()?;
    }
    ensure!(told_full == SETS, "only {told_full} sets were full");

    eventually(STORY, "a delivered message for each ticket", || {
        let told = told(&contractor)?;
        ensure!(told.len() >= SETS, "{} so far", told.len());
        Ok(())
    })?;
    let faults = county.items(["fault", "list", "--all"])?;
    let tickets = county.items(["ticket", "list", "--all"])?;
    let of_sets = |items: &[Value]| -> BTreeSet<String> {
        items.iter().map(|item| item["set"]["code"].to_string()).collect()
    };
    assert_eq!((faults.len(), of_sets(&faults).len()), (SETS, SETS), "one fault each");
    assert_eq!((tickets.len(), of_sets(&tickets).len()), (SETS, SETS), "one ticket each");
    let numbers: BTreeSet<_> = tickets.iter().map(|ticket| ticket["no"].to_string()).collect();
    assert_eq!(numbers.len(), SETS, "no number twice");
    assert_eq!(told(&contractor)?, vec!["ticket.opened"; SETS], "one message each, whatever came twice");
    for ticket in &tickets {
        let no = ticket["no"].as_str().context("a number")?;
        let messages = county.json(["ticket", "show", no])?["messages"].clone();
        ensure!(messages.as_array().map(Vec::len) == Some(1), "ticket {no} has {messages}");
        ensure!(messages[0]["state"] == "delivered", "ticket {no} has {messages}");
    }
    println!("{KILLS} kills; {} deliveries of {SETS} messages", contractor.received().len());
    county.stop()
}

/// One of a hundred GiB is free.
fn full_disk() -> wire::State {
    let section = pc::disk(100 * GIB, GIB);
    wire::State { full: true, file_systems: Some(section), ..wire::State::default() }
}
