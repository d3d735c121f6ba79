//! Wall clocks that jump while the programs run.

use anyhow::{Context, Result, ensure};
use bbt_domain::time::UtcMicros;
use bbt_tests::{
    agent::Agent,
    county::County,
    moved_clock::MovedClock,
    record,
    wait::{SOON, eventually, since_1970},
};

const DAY_SECS: i64 = 86_400;
/// How far two readings of one clock are apart on a machine that is busy with other tests.
const TOLERANCE_SECS: i64 = 120;

#[test]
fn a_clock_is_moved_under_a_running_agent_whose_schedule_goes_on() -> Result<()> {
    let clock = MovedClock::new()?;
    let county = County::start()?;
    let mut agent = Agent::enroll(&county)?;
    agent.set_clock(&clock);
    for (name, secs) in [("SAMPLE", "5"), ("FRAME", "5"), ("STATE", "10")] {
        agent.set_environment(&format!("BBT_AGENT__REPORT__{name}_SECS"), secs);
    }
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
