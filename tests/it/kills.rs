//! Either program is killed at random moments under load, again and again: no report that the county committed
//! is lost, none is counted twice, and no start needs a hand.
//!
//! The kills come in rounds, each with a seed of its own and a county of its own, so that any share of a long
//! programme can be done at a time. Everything in a round follows from its seed, except what the machine's
//! scheduler makes of it.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use bbt_proto::report::v1::Kind;
use bbt_tests::{
    agent::Agent,
    backlog::{self, Standing},
    chance::{Chance, FIRST_SEED, first_seed, number},
    county::County,
    load_device::{Book, Control, LoadDevice},
    record::{self, CountyRecord, Key, Spooled, shown},
    wait::eventually,
};

/// How many agents are killed side by side: more than a small machine has cores, so that a kill also hits one
/// that waits for its turn.
const AGENTS: usize = 6;
/// Kills of agents in one round; what their spools keep of it stays far below its limit.
const AGENT_ROUND: u64 = 300;
/// How long most lives are: the start, the first inventory, the greeting, the delivery of what waited.
const SHORT_LIFE_MILLIS: std::ops::Range<u64> = 20..500;
/// Some lives are long enough for frames of samples at the shortest intervals, and their commit.
const LONG_LIFE_MILLIS: std::ops::Range<u64> = 6_000..14_000;
/// One life in so many is a long one.
const LONG_LIFE_ONCE_IN: u64 = 12;
/// Before one start in so many, reports are added that wait for it. The others find what the kill left.
const BACKLOG_ONCE_IN: u64 = 2;
/// As many reports are added; bodies of some 500 bytes are what a frame of samples has.
const BACKLOG_REPORTS: std::ops::Range<u64> = 5..100;
const BACKLOG_BODY_BYTES: usize = 500;
/// How many devices load the controller.
const DEVICES: usize = 12;
/// Kills of the controller in one round.
const CONTROLLER_ROUND: u64 = 40;
/// How long the controller serves before it is killed.
const SERVED_MILLIS: std::ops::Range<u64> = 50..2_000;
/// Before one orderly start in so many, a start is killed on its way.
const START_KILLED_ONCE_IN: u64 = 3;
/// When that is: a start takes some hundred milliseconds.
const STARTED_MILLIS: std::ops::Range<u64> = 5..500;
/// For all that waits to be delivered once nobody kills any more.
const DRAIN: Duration = Duration::from_secs(90);

#[test]
fn an_agent_killed_at_random_under_load_loses_and_doubles_nothing_it_was_told_is_committed() -> Result<()> {
    rounds("BBT_TEST_AGENT_KILLS", 300, AGENT_ROUND, "an_agent_killed", agent_round)
}

#[test]
fn a_controller_killed_at_random_under_load_keeps_all_it_committed_and_counts_nothing_twice() -> Result<()> {
    rounds("BBT_TEST_CONTROLLER_KILLS", 40, CONTROLLER_ROUND, "a_controller_killed", controller_round)
}

/// Runs rounds until there were as many kills as asked for.
fn rounds(
    variable: &str,
    default: u64,
    round_kills: u64,
    test: &str,
    round: impl Fn(u64, u64) -> Result<()>,
) -> Result<()> {
    let mut left = number(variable)?.unwrap_or(default);
    let mut seed = first_seed()?;
    while left > 0 {
        let kills = left.min(round_kills);
        println!(
            "seed {seed}, {kills} kills; again: {FIRST_SEED}={seed} {variable}={kills} cargo test -p bbt-tests --test it {test}"
        );
        round(seed, kills).with_context(|| format!("in the round with seed {seed}"))?;
        left -= kills;
        seed += 1;
    }
    Ok(())
}

fn agent_round(seed: u64, kills: u64) -> Result<()> {
    let mut county = County::start()?;
    let mut agents = (0..AGENTS).map(|no| Agent::enroll_on_board(&county, no)).collect::<Result<Vec<_>>>()?;
    let each = kills / AGENTS as u64;
    let more = kills % AGENTS as u64;
    let added = thread::scope(|scope| {
        let lives: Vec<_> = agents
            .iter_mut()
            .enumerate()
            .map(|(no, agent)| {
                let kills = each + u64::from((no as u64) < more);
                scope.spawn(move || agent_lives(agent, kills, &mut Chance::part(seed, no)))
            })
            .collect();
        lives
            .into_iter()
            .map(|life| life.join().expect("a thread of the test panicked"))
            .collect::<Result<Vec<_>>>()
    })?;
    county.stop()?;

    let record = CountyRecord::read(&county)?;
    ensure!(record.devices.len() == AGENTS, "{} devices instead of {AGENTS}", record.devices.len());
    ensure!(record.gaps == 0, "{} gaps though nothing had to be dropped", record.gaps);
    ensure!(record.quarantined == 0, "{} reports could not be read", record.quarantined);
    let (mut reports, mut samples, mut starts, mut contacts) = (0, 0, 0, 0);
    for (agent, added) in agents.iter().zip(&added) {
        let spool = record::spool(agent)?;
        compare(&record, agent.device_id()?, &spool, added)?;
        reports += spool.len();
        samples += spool.values().filter(|report| report.kind == Kind::Samples).count();
        let log = agent.log();
        starts += log.matches("agent started").count();
        contacts += log.matches("connected to the controller").count();
    }
    println!(
        "{kills} kills of {AGENTS} agents: {starts} starts got as far as their run, {contacts} to the controller; \
         {} reports added, {reports} reports compared, {samples} of them with their bytes",
        added.iter().map(BTreeMap::len).sum::<usize>()
    );
    Ok(())
}

/// Starts and kills an agent, then lets it deliver everything. Gives the reports that were added to its spool.
fn agent_lives(agent: &mut Agent, kills: u64, chance: &mut Chance) -> Result<BTreeMap<Key, Option<Vec<u8>>>> {
    for (name, secs) in [("SAMPLE", "5"), ("FRAME", "5"), ("STATE", "10")] {
        agent.set_environment(&format!("BBT_AGENT__REPORT__{name}_SECS"), secs);
    }
    let mut added = BTreeMap::new();
    for _ in 0..kills {
        if chance.once_in(BACKLOG_ONCE_IN) {
            let count = chance.within(BACKLOG_REPORTS);
            added.extend(backlog::add(agent, count, BACKLOG_BODY_BYTES, Standing::Waiting, chance)?);
        }
        agent.run()?;
        // How long it lives is what chance decides; nothing is waited for.
        thread::sleep(if chance.once_in(LONG_LIFE_ONCE_IN) {
            chance.millis(LONG_LIFE_MILLIS)
        } else {
            chance.millis(SHORT_LIFE_MILLIS)
        });
        agent.ensure_running()?;
        agent.kill()?;
    }
    drain(agent)?;
    Ok(added)
}

fn controller_round(seed: u64, kills: u64) -> Result<()> {
    let mut county = County::start()?;
    let agents = (0..DEVICES).map(|no| Agent::enroll_on_board(&county, no)).collect::<Result<Vec<_>>>()?;
    let control = Arc::new(Control::default());
    let devices = agents
        .iter()
        .enumerate()
        .map(|(no, agent)| LoadDevice::new(agent, Chance::part(seed, no), Arc::clone(&control)));
    let devices = devices.collect::<Result<Vec<_>>>()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let loads: Vec<_> = devices.into_iter().map(|device| runtime.spawn(device.run())).collect();
    let decided_at_all = || control.decided.load(Ordering::Relaxed);

    let mut chance = Chance::new(seed);
    let (mut killed, mut starts_killed, mut kills_under_load) = (0, 0, 0);
    while killed < kills {
        let before = decided_at_all();
        // How long it lives is what chance decides; nothing is waited for.
        thread::sleep(chance.millis(SERVED_MILLIS));
        county.ensure_running()?;
        county.kill()?;
        killed += 1;
        kills_under_load += u64::from(decided_at_all() > before);
        while killed < kills && chance.once_in(START_KILLED_ONCE_IN) {
            county.serve_and_kill(chance.millis(STARTED_MILLIS))?;
            killed += 1;
            starts_killed += 1;
        }
        county.serve()?;
        if let Some(broken) = loads.iter().position(|load| load.is_finished()) {
            // It ends only with an error before it is told to finish.
            anyhow::bail!(
                "device {broken} gave up: {:?}",
                runtime.block_on(loads.into_iter().nth(broken).expect("it was found"))
            );
        }
    }
    control.finish.store(true, Ordering::Relaxed);
    let books: Vec<Book> = runtime.block_on(async {
        let mut books = Vec::new();
        for load in loads {
            let book =
                tokio::time::timeout(DRAIN, load).await.context("what waited was not delivered in time")?;
            books.push(book.context("a device panicked")??);
        }
        Ok::<_, anyhow::Error>(books)
    })?;
    county.stop()?;

    let record = CountyRecord::read(&county)?;
    ensure!(record.devices.len() == DEVICES, "{} devices instead of {DEVICES}", record.devices.len());
    ensure!(record.quarantined == 0, "{} reports could not be read", record.quarantined);
    for book in &books {
        compare_book(&record, book)?;
    }
    let sum = |what: fn(&Book) -> u64| books.iter().map(what).sum::<u64>();
    println!(
        "{kills} kills of the controller, {kills_under_load} of them after it had decided something, {starts_killed} \
         during its start; {} contacts of {DEVICES} devices, {} reports compared, {} sent again after they were \
         decided",
        sum(|book| book.contacts),
        sum(|book| book.decided.len() as u64),
        sum(|book| book.known_again),
    );
    Ok(())
}

/// Compares what the county has of a device with its book.
pub(crate) fn compare_book(record: &CountyRecord, book: &Book) -> Result<()> {
    let seen = record.seen(book.device)?;
    let history = record.history(book.device);
    for (key, made) in &book.decided {
        ensure!(seen.contains(key), "{} was decided and the county does not have it", shown(*key));
        let body = (made.kind == Kind::Samples).then_some(&made.body);
        ensure!(history.get(key) == body, "{} is not in history as it was sent", shown(*key));
    }
    if let Some(key) = seen.iter().find(|key| !book.decided.contains_key(key)) {
        anyhow::bail!("the county has {}, which the device was not told of", shown(*key));
    }
    let state = record.state(book.device).context("a device without a state")?;
    ensure!(state.run == book.run, "the state is not of the run with the newest session");
    let of_run = book.decided.range((book.run, 0)..=(book.run, u64::MAX));
    let newest = of_run.rev().find(|(_, made)| made.kind == Kind::State).map(|(key, _)| *key);
    let newest_seq = newest.map_or(0, |(_, seq)| seq);
    ensure!(state.seq == newest_seq, "the state is of report {}, not {newest_seq}", state.seq);
    if let Some(key) = newest {
        ensure!(state.snapshot.contains(&shown(key)), "{} does not stand in the state", shown(key));
    }
    Ok(())
}

/// Lets an agent deliver all that it has, what it adds meanwhile too, and ends it in order, which leaves nothing
/// but the last seconds of usage.
pub(crate) fn drain(agent: &mut Agent) -> Result<()> {
    eventually(DRAIN, "an agent with nothing left to deliver", || {
        agent.run()?;
        eventually(DRAIN, "the delivery of all that waits", || {
            agent.ensure_running()?;
            let waiting = record::backlog(agent)?;
            ensure!(waiting == 0, "{waiting} reports wait; the agent said:\n{}", agent.log());
            Ok(())
        })?;
        agent.stop()?;
        let waiting = record::backlog_but_usage(agent)?;
        ensure!(waiting == 0, "{waiting} reports were made after the last delivery");
        Ok(())
    })
}

/// Compares what the county has of a device with what the device knows to be decided. The two are the same, the
/// bytes of samples too, and all that was added is among it. Only usage that an orderly stop left may still wait.
pub(crate) fn compare(
    record: &CountyRecord,
    device: record::Id,
    spool: &BTreeMap<Key, Spooled>,
    added: &BTreeMap<Key, Option<Vec<u8>>>,
) -> Result<()> {
    compare_arrived(record, device, spool, added)?;
    let seen = record.seen(device)?;
    if let Some(key) = seen.iter().find(|key| !spool.contains_key(key)) {
        anyhow::bail!("the county has {}, which the device does not know", shown(*key));
    }
    Ok(())
}

/// The same for a device that may have forgotten what it delivered.
pub(crate) fn compare_arrived(
    record: &CountyRecord,
    device: record::Id,
    spool: &BTreeMap<Key, Spooled>,
    added: &BTreeMap<Key, Option<Vec<u8>>>,
) -> Result<()> {
    let seen = record.seen(device)?;
    let history = record.history(device);
    for (key, report) in spool {
        if !report.decided {
            ensure!(report.kind == Kind::Usage && !seen.contains(key), "{} still waits", shown(*key));
            continue;
        }
        ensure!(seen.contains(key), "{} was decided and the county does not have it", shown(*key));
        let body = (report.kind == Kind::Samples).then_some(&report.body);
        ensure!(history.get(key) == body, "{} is not in history as it was sent", shown(*key));
    }
    for (key, body) in added {
        ensure!(seen.contains(key), "{} was on disk and the county does not have it", shown(*key));
        ensure!(history.get(key) == body.as_ref(), "{} is not in history as it was made", shown(*key));
    }
    Ok(())
}
