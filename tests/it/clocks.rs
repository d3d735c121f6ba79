//! Wall clocks that jump while the programs run.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bbt_domain::time::UtcMicros;
use bbt_tests::{
    agent::Agent,
    chance::{Chance, FIRST_SEED, first_seed, number},
    county::County,
    moved_clock::MovedClock,
    record,
    wait::{SOON, eventually, since_1970},
};

use crate::out_of_time::{connections, ensure_whole, hasten};

const DAY_SECS: i64 = 86_400;
/// How far two readings of one clock are apart on a machine that is busy with other tests.
const TOLERANCE_SECS: i64 = 120;

/// How often a clock jumps in each of the tests of jumps.
const JUMPS: &str = "BBT_TEST_CLOCK_JUMPS";
const JUMPS_IN_A_CHECK: u64 = 8;
const DECADE_SECS: i64 = 3_652 * DAY_SECS;
/// Connected again within a minute, and waited for three.
const CONNECTED_WITHIN: Duration = Duration::from_secs(3 * 60);

/// Where a clock is put.
#[derive(Clone, Copy, Debug)]
enum Position {
    /// So many seconds from the true time.
    Off(i64),
    /// So many seconds after 1970.
    Date(u64),
}

/// The first jumps of each test; what follows is chance within ten years.
const POSITIONS: [Position; 8] = [
    Position::Off(5 * 3_600),
    Position::Off(-3 * 3_600),
    Position::Date(86_400),
    Position::Off(DECADE_SECS),
    Position::Date(2_147_483_600),
    Position::Off(40 * DAY_SECS),
    Position::Off(-DECADE_SECS),
    Position::Off(0),
];

#[test]
fn a_controller_whose_clock_jumps_goes_on_taking_reports_and_lets_its_devices_in() -> Result<()> {
    let clock = MovedClock::new()?;
    let county = County::init_by(&clock)?;
    jumps(&clock, county, false)
}

#[test]
fn both_clocks_jump_and_nothing_is_lost_or_out_of_order() -> Result<()> {
    let clock = MovedClock::new()?;
    let county = County::init_by(&clock)?;
    jumps(&clock, county, true)
}

/// After each jump a report is stored on the stream that was open, and then on one of a new run.
fn jumps(clock: &MovedClock, mut county: County, both: bool) -> Result<()> {
    let (seed, count) = (first_seed()?, number(JUMPS)?.unwrap_or(JUMPS_IN_A_CHECK));
    println!(
        "seed {seed}; again: {FIRST_SEED}={seed} {JUMPS}={count} cargo test -p bbt-tests --test it clocks"
    );
    let mut chance = Chance::new(seed);
    let by_chance = std::iter::repeat_with(|| {
        Position::Off(chance.within(0..2 * DECADE_SECS as u64) as i64 - DECADE_SECS)
    });
    county.serve()?;
    let mut agent = Agent::enroll(&county)?;
    hasten(&mut agent);
    if both {
        agent.set_clock(clock);
    }
    agent.run()?;
    county.first_report()?;
    for position in POSITIONS.into_iter().chain(by_chance).take(count as usize) {
        let decided = decided(&agent)?;
        match position {
            Position::Off(secs) => clock.shift(secs)?,
            Position::Date(secs) => clock.set(Duration::from_secs(secs))?,
        }
        stored_since(&mut agent, decided).with_context(|| format!("{position:?}, on the open stream"))?;
        agent.stop()?;
        let (connected, decided) = (connections(&agent), self::decided(&agent)?);
        agent.run()?;
        stored_since(&mut agent, decided).with_context(|| format!("{position:?}, by a new run"))?;
        ensure!(connections(&agent) > connected, "{}", agent.log());
    }
    clock.shift(0)?;
    agent.stop()?;
    ensure_whole(&mut county, &mut agent)
}

/// How many reports the agent knows to be stored.
fn decided(agent: &Agent) -> Result<usize> {
    Ok(record::spool(agent)?.values().filter(|report| report.decided).count())
}

fn stored_since(agent: &mut Agent, before: usize) -> Result<()> {
    eventually(CONNECTED_WITHIN, "a report that is stored after the jump", || {
        agent.ensure_running()?;
        let now = decided(agent)?;
        ensure!(now > before, "{now} are, as before; the agent said:\n{}", agent.log());
        Ok(())
    })
}

#[test]
fn a_clock_is_moved_under_a_running_agent_whose_schedule_goes_on() -> Result<()> {
    let clock = MovedClock::new()?;
    let county = County::start()?;
    let mut agent = Agent::enroll(&county)?;
    agent.set_clock(&clock);
    hasten(&mut agent);
    agent.run()?;
    county.first_report()?;

    for days in [1, -1] {
        clock.shift(days * DAY_SECS)?;
        // The run's next report after the shift, and one more: the agent's sleeps last as long as before.
        for _ in 0..2 {
            let before = newest(&agent)?.0;
            eventually(SOON, "a report dated by the moved clock", || {
                agent.ensure_running()?;
                let (seq, wall_micros) = newest(&agent)?;
                ensure!(seq > before, "report {seq} is the newest");
                let shown = wall_micros / 1_000_000 - since_1970()?.as_secs() as i64;
                ensure!((shown - days * DAY_SECS).abs() < TOLERANCE_SECS, "dated {shown} s from now");
                Ok(())
            })?;
        }
    }
    agent.stop()
}

#[test]
fn a_clock_is_moved_under_a_running_controller() -> Result<()> {
    let clock = MovedClock::new()?;
    let mut county = County::init()?;
    county.set_clock(&clock);
    county.serve()?;

    for (code, days) in [("T7", 0), ("T8", 3), ("T9", 5)] {
        clock.shift(days * DAY_SECS)?;
        county.cli(["school", "add", "--code", code, "--name", "远方小学"])?;
        let schools = county.items(["school", "list"])?;
        let school = schools.iter().find(|school| school["code"] == code).context("the school is listed")?;
        let added = school["created_at"].as_str().context("with its date")?;
        let (earliest, latest) = (in_days(days - 1)?, in_days(days + 1)?);
        ensure!(*earliest < *added && *added < *latest, "added {added} by a clock {days} days ahead");
    }
    county.stop()
}

/// A date as the controller prints it, so many days from now.
fn in_days(days: i64) -> Result<String> {
    Ok(UtcMicros::from_secs(since_1970()?.as_secs() as i64 + days * DAY_SECS).to_string())
}

/// Number and date of the newest report in an agent's spool.
fn newest(agent: &Agent) -> Result<(u64, i64)> {
    let spool = record::spool(agent)?;
    let newest = spool.iter().max_by_key(|((_, seq), _)| *seq).context("an empty spool")?;
    Ok((newest.0.1, newest.1.wall_micros))
}
