//! Bad lines between a real agent and a real controller: whatever they do, every report arrives, and once.

use std::{collections::BTreeMap, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use bbt_tests::{
    agent::Agent,
    backlog::{self, Standing},
    chance::{Chance, FIRST_SEED, first_seed, number},
    county::County,
    faulty_link::{Cut, Direction, FaultyLink},
    lossy_net::LossyNet,
    record::{self, CountyRecord, Key},
    wait::{SOON, eventually},
};

use crate::{
    kills::{compare, drain},
    out_of_time::{connections, hasten},
};

/// How many connections are cut at a byte of chance.
const CUTS: &str = "BBT_TEST_CUTS";
const CUTS_IN_A_CHECK: u64 = 100;
/// Agents behind one line.
const AGENTS: usize = 10;
/// What waits in each agent's spool for each ten cuts: more than those cuts can let through.
const WAITING: (u64, usize) = (1_000, 2_500);
/// Where a connection is cut, in bytes: in the handshakes, in the first batch, later.
const CUT_AFTER: [std::ops::Range<u64>; 3] = [1..6_000, 6_000..140_000, 140_000..300_000];
/// Answers are few bytes.
const CUT_ANSWERS_AFTER: std::ops::Range<u64> = 1..6_000;
/// One cut in so many is noticed late: the other way still works for this long.
const UNNOTICED_ONCE_IN: u64 = 4;
const UNNOTICED: Duration = Duration::from_secs(1);
/// A connection over which less goes is cut after this time.
const CUT_AT_LATEST: Duration = Duration::from_secs(3);
/// The agent pauses up to 5 min after many failures in a row; ten of them come seldom.
const CUTTING: Duration = Duration::from_secs(120);

/// A line that needs some seconds for what waits, and what that is.
const NARROW_BYTES_PER_SEC: u64 = 60_000;
const FOR_A_NARROW_LINE: (u64, usize) = (300, 2_000);
/// Far below what the agent waits for an answer.
const STALL: Duration = Duration::from_secs(5);
/// How many packets are lost on either way, and for how long.
const LOSS_PERCENT: u32 = 20;
const LOSS: Duration = Duration::from_secs(20);
/// The agent's TCP user timeout is 30 s; it is noticed with the next frame, which is made every 5 s here.
const NOTICED_WITHIN: Duration = Duration::from_secs(35);

#[test]
fn whatever_byte_a_line_is_cut_at_every_report_arrives_once() -> Result<()> {
    let cuts = number(CUTS)?.unwrap_or(CUTS_IN_A_CHECK);
    let seed = first_seed()?;
    println!(
        "seed {seed}, {cuts} cuts; again: {FIRST_SEED}={seed} {CUTS}={cuts} cargo test -p bbt-tests --test it whatever_byte"
    );
    let mut chance = Chance::new(seed);
    let mut county = County::init()?;
    let link = FaultyLink::start(county.address())?;
    county.set_environment("BBT_CONTROLLER__PUBLIC__AGENTS", &link.address().to_string());
    county.serve()?;
    link.lead_to(county.listen()?.agents);
    link.delay(Duration::from_millis(5));
    let mut agents = Vec::new();
    for no in 0..AGENTS {
        let agent = Agent::enroll_on_board(&county, no)?;
        let (count, size_bytes) = WAITING;
        let count = count * (cuts / CUTS_IN_A_CHECK).max(1);
        let added = backlog::add(&agent, count, size_bytes, Standing::Waiting, &mut chance)?;
        agents.push((agent, added));
    }
    // Some ends are not met, because the agent ended the connection before.
    link.cut((0..2 * cuts).map(|_| cut(&mut chance)));
    for (agent, _) in &mut agents {
        hasten(agent);
        agent.run()?;
    }
    eventually(CUTTING * (cuts / CUTS_IN_A_CHECK).max(1) as u32, "the last cut", || {
        for (agent, _) in &mut agents {
            agent.ensure_running()?;
        }
        ensure!(link.cuts() >= cuts, "{} cuts so far", link.cuts());
        Ok(())
    })?;
    link.cut([]);
    for (agent, _) in &mut agents {
        agent.stop()?;
    }
    thread::scope(|scope| {
        let drains: Vec<_> = agents.iter_mut().map(|(agent, _)| scope.spawn(|| drain(agent))).collect();
        drains.into_iter().try_for_each(|drain| drain.join().expect("a thread of the test panicked"))
    })?;
    println!("{} cuts, {} connections", link.cuts(), link.connections());
    all_arrived_once(&mut county, &agents)
}

#[test]
fn a_narrow_line_that_stalls_for_a_while_is_waited_for_on_the_same_stream() -> Result<()> {
    let mut county = County::init()?;
    let link = FaultyLink::start(county.address())?;
    county.set_environment("BBT_CONTROLLER__PUBLIC__AGENTS", &link.address().to_string());
    county.serve()?;
    link.lead_to(county.listen()?.agents);
    link.narrow(NARROW_BYTES_PER_SEC);
    let mut agent = Agent::enroll(&county)?;
    let mut chance = Chance::new(first_seed()?);
    let (count, size_bytes) = FOR_A_NARROW_LINE;
    let added = backlog::add(&agent, count, size_bytes, Standing::Waiting, &mut chance)?;
    hasten(&mut agent);
    agent.run()?;
    let some_arrived = |of: u64| {
        eventually(SOON, "reports on a narrow line", || {
            let waiting = record::backlog(&agent)?;
            ensure!(waiting < of, "{waiting} wait");
            Ok(waiting)
        })
    };
    let before = some_arrived(count)?;
    link.stall(true);
    // As long as it takes to be sure that it is waited for.
    thread::sleep(STALL);
    link.stall(false);
    some_arrived(before)?;
    ensure!(connections(&agent) == 1, "{}", agent.log());
    agent.stop()?;
    drain(&mut agent)?;
    all_arrived_once(&mut county, &[(agent, added)])
}

#[test]
fn a_line_that_loses_every_fifth_packet_either_way_loses_no_report() -> Result<()> {
    let net = LossyNet::lay()?;
    let mut county = net.county()?;
    let mut agent = net.agent_of(&county)?;
    let mut chance = Chance::new(first_seed()?);
    let (count, size_bytes) = WAITING;
    let added = backlog::add(&agent, count, size_bytes, Standing::Waiting, &mut chance)?;
    hasten(&mut agent);

    net.lose_percent(LOSS_PERCENT)?;
    agent.run()?;
    // As long as the bar says; what arrives meanwhile is TCP's luck.
    thread::sleep(LOSS);
    let waited = record::backlog(&agent)?;
    agent.ensure_running()?;
    net.lose_percent(0)?;
    agent.stop()?;
    drain(&mut agent)?;
    println!("{waited} of {count} and more reports still waited after {LOSS:?} of loss");
    all_arrived_once(&mut county, &[(agent, added)])
}

#[test]
fn a_line_that_falls_silent_is_noticed_and_the_agent_opens_a_new_stream() -> Result<()> {
    let net = LossyNet::lay()?;
    let mut county = net.county()?;
    let mut agent = net.agent_of(&county)?;
    hasten(&mut agent);
    agent.run()?;
    county.first_report()?;
    let phase = |agent: &Agent| anyhow::Ok(agent.status()?["last_run"]["connection"].clone());
    eventually(SOON, "a status that tells of the stream", || {
        ensure!(phase(&agent)?["state"] == "connected", "{}", phase(&agent)?);
        Ok(())
    })?;

    net.lose_percent(100)?;
    eventually(3 * NOTICED_WITHIN, "an agent that knows that its line is silent", || {
        agent.ensure_running()?;
        let now = phase(&agent)?;
        ensure!(now["state"] != "connected", "{now}");
        Ok(())
    })?;
    net.lose_percent(0)?;

    eventually(3 * NOTICED_WITHIN, "a new stream", || {
        ensure!(connections(&agent) == 2, "{}", agent.log());
        Ok(())
    })?;
    agent.stop()?;
    drain(&mut agent)?;
    all_arrived_once(&mut county, &[(agent, BTreeMap::new())])
}

fn cut(chance: &mut Chance) -> Cut {
    let unnoticed = if chance.once_in(UNNOTICED_ONCE_IN) { UNNOTICED } else { Duration::ZERO };
    if chance.once_in(3) {
        let after_bytes = chance.within(CUT_ANSWERS_AFTER);
        return Cut { direction: Direction::Down, after_bytes, at_latest: CUT_AT_LATEST, unnoticed };
    }
    let range = CUT_AFTER[chance.within(0..CUT_AFTER.len() as u64) as usize].clone();
    Cut { direction: Direction::Up, after_bytes: chance.within(range), at_latest: CUT_AT_LATEST, unnoticed }
}

type Added = BTreeMap<Key, Option<Vec<u8>>>;

fn all_arrived_once(county: &mut County, agents: &[(Agent, Added)]) -> Result<()> {
    county.stop()?;
    let record = CountyRecord::read(county)?;
    ensure!(record.devices.len() == agents.len(), "{} devices", record.devices.len());
    ensure!(record.gaps == 0 && record.quarantined == 0, "reports were dropped or not read");
    for (agent, added) in agents {
        compare(&record, agent.device_id()?, &record::spool(agent)?, added).context("an agent")?;
    }
    Ok(())
}
