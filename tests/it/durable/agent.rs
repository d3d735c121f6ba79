//! The agent, from enrolment over the delivery of 200 reports to the clean-up of what it keeps.

use std::{collections::BTreeMap, fmt, process::ExitStatus};

use anyhow::{Result, bail, ensure};
use bbt_tests::{
    agent::Agent,
    backlog::{self, Standing},
    chance::{Chance, first_seed},
    county::{County, Token},
    failing_calls::{Call, Failure, Trace, was_killed},
    record::{self, CountyRecord, Key, Spooled},
    wait::eventually,
};

use super::{choose, walk_all};
use crate::kills::{compare, compare_arrived, drain};

/// Walks for kill, failing disk, full disk and short write, so that all end within three minutes on a small machine.
const WALKS: [usize; 4] = [26, 12, 10, 8];
/// A disk that failed is tried again after 10 s.
const RUN_WITHIN: std::time::Duration = std::time::Duration::from_secs(90);

/// The reports that wait when `run` starts, and their size.
const WAITING: (u64, usize) = (200, 2_500);
/// The reports that were delivered before and are kept, and their size. Together with the others they are over
/// the spool's limit, so some of them are cleaned up.
const KEPT: (u64, usize) = (120, 6_000);
/// The least limit that the agent takes.
const SPOOL_MAX_BYTES: &str = "1048576";

/// One command of the walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Enroll,
    Run,
}

/// Where the agent fails.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Point {
    phase: Phase,
    call: Call,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {}", self.phase, self.call)
    }
}

/// What one walk left behind.
struct Walked {
    agent: Agent,
    added: BTreeMap<Key, Option<Vec<u8>>>,
    kept: BTreeMap<Key, Option<Vec<u8>>>,
}

#[test]
fn an_agent_that_fails_at_its_durable_calls_stays_the_same_device_and_loses_and_doubles_nothing() -> Result<()>
{
    let seed = first_seed()?;
    let mut county = County::start()?;
    let points = list(&county, seed)?;
    let chosen = choose(&points, WALKS, "an_agent_that_fails")?;
    // As many uses as there are devices: one that used the token twice would leave none for the last.
    let token = county.token_with(&["--uses", &chosen.len().to_string()])?;
    let walked = walk_all(&chosen, |no, point, failure| {
        walk(&token, no + 1, point, failure, &mut Chance::part(seed, no))
    })?;
    county.stop()?;

    let record = CountyRecord::read(&county)?;
    // One of them is the device of the walk that listed the calls.
    ensure!(
        record.devices.len() == walked.len() + 1,
        "{} devices enrolled and the county knows {}",
        walked.len() + 1,
        record.devices.len()
    );
    ensure!(record.gaps == 0 && record.quarantined == 0, "reports were dropped or not read");
    let (mut reports, mut cleaned_up) = (0, 0);
    for (failure, place, (one, _)) in &walked {
        let (spool, kept) = one.spool_and_kept()?;
        let device = one.agent.device_id()?;
        // What a disk did not take was sent from memory; once decided, the device forgets it.
        let compared = match failure {
            Failure::Kill => compare(&record, device, &spool, &one.added),
            _ => compare_arrived(&record, device, &spool, &one.added),
        };
        compared.map_err(|error| error.context(place.clone()))?;
        ensure!(kept < one.kept.len(), "{place}: nothing was cleaned up");
        reports += spool.len();
        cleaned_up += one.kept.len() - kept;
    }
    let kills = || walked.iter().filter(|(failure, ..)| *failure == Failure::Kill);
    let reached = kills().filter(|(.., (_, reached))| *reached).count();
    ensure!(
        2 * reached >= kills().count(),
        "only {reached} of {} walks were ended by a kill",
        kills().count()
    );
    println!(
        "{} walks, {reached} ended by a kill; {reports} reports compared, {cleaned_up} kept ones cleaned up",
        walked.len()
    );
    Ok(())
}

/// The calls of a walk that nobody disturbs, in their order.
fn list(county: &County, seed: u64) -> Result<Vec<Point>> {
    let token = county.token()?;
    let mut walked = Walked::new(0)?;
    let of =
        |phase, trace: &Trace| anyhow::Ok(trace.calls()?.into_iter().map(move |call| Point { phase, call }));

    let enrolling = Trace::new()?;
    walked.agent.set_wrapper(enrolling.wrapper());
    let output = walked.agent.try_enroll(&token)?;
    ensure!(output.status.success(), "enrolling under strace: {}", String::from_utf8_lossy(&output.stderr));
    let mut points: Vec<Point> = of(Phase::Enroll, &enrolling)?.collect();

    walked.agent.set_wrapper(Vec::new());
    walked.add_reports(&mut Chance::new(seed))?;
    let running = Trace::new()?;
    walked.agent.set_wrapper(running.wrapper());
    let end = walked.run_to_its_end()?;
    ensure!(end.success(), "the agent ended with {end}");
    points.extend(of(Phase::Run, &running)?);
    Ok(points)
}

/// A device's way from enrolment to an empty backlog, with a failure at `point`. Whether it was killed there; the calls
/// of two walks are not quite the same.
fn walk(
    token: &Token,
    no: usize,
    point: &Point,
    failure: Failure,
    chance: &mut Chance,
) -> Result<(Walked, bool)> {
    let mut walked = Walked::new(no)?;
    let mut killed = false;
    if point.phase == Phase::Enroll {
        walked.agent.set_wrapper(point.call.failing(failure));
        let output = walked.agent.try_enroll(token)?;
        killed = was_killed(output.status);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let failed_in_words = failure != Failure::Kill && output.status.code() == Some(1) && !told.is_empty();
        ensure!(killed || failed_in_words || output.status.success(), "{}: {told}", output.status);
        walked.agent.set_wrapper(Vec::new());
    }
    // A failure may have come after the last file was in its place; then there is no more to do.
    if walked.agent.device_id().is_err() {
        let output = walked.agent.try_enroll(token)?;
        ensure!(output.status.success(), "enrolling again: {}", String::from_utf8_lossy(&output.stderr));
    }
    walked.add_reports(chance)?;
    if point.phase == Phase::Run {
        walked.agent.set_wrapper(point.call.failing(failure));
        let end = walked.run_to_its_end()?;
        killed = was_killed(end);
        // An agent that cannot go on says so and ends; its system starts it again.
        let gave_up = failure != Failure::Kill && end.code() == Some(1);
        ensure!(killed || gave_up || end.success(), "it ended with {end}; it said:\n{}", walked.agent.log());
        walked.agent.set_wrapper(Vec::new());
    }
    drain(&mut walked.agent)?;
    Ok((walked, killed))
}

impl Walked {
    fn new(no: usize) -> Result<Self> {
        let mut agent = Agent::on_board(no)?;
        agent.set_environment("BBT_AGENT__SPOOL__MAX_BYTES", SPOOL_MAX_BYTES);
        Ok(Self { agent, added: BTreeMap::new(), kept: BTreeMap::new() })
    }

    fn add_reports(&mut self, chance: &mut Chance) -> Result<()> {
        let (count, size_bytes) = KEPT;
        self.kept = backlog::add(&self.agent, count, size_bytes, Standing::Delivered, chance)?;
        let (count, size_bytes) = WAITING;
        self.added = backlog::add(&self.agent, count, size_bytes, Standing::Waiting, chance)?;
        Ok(())
    }

    /// Lets the agent run until nothing waits any more, then end in order, unless it ends before.
    fn run_to_its_end(&mut self) -> Result<ExitStatus> {
        self.agent.run()?;
        let mut asked = false;
        eventually(RUN_WITHIN, "the end of the agent", || {
            if let Some(status) = self.agent.ended()? {
                return Ok(status);
            }
            if !asked && record::backlog(&self.agent)? == 0 {
                self.agent.ask_to_stop()?;
                asked = true;
            }
            bail!("it runs; it said:\n{}", self.agent.log())
        })
    }

    /// What the county must have, and how many are still kept of those that it never got.
    fn spool_and_kept(&self) -> Result<(BTreeMap<Key, Spooled>, usize)> {
        let (kept, real): (BTreeMap<_, _>, BTreeMap<_, _>) =
            record::spool(&self.agent)?.into_iter().partition(|(key, _)| self.kept.contains_key(key));
        Ok((real, kept.len()))
    }
}
