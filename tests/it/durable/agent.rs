//! The agent is killed at the very calls by which it makes things durable, from enrolment over the delivery of
//! 200 reports to the clean-up of what it keeps, and then started again: the device stays the same one, nothing
//! that was committed is lost or counted twice, and no start needs a hand.
//!
//! A walk under `strace` that is not disturbed lists the calls in their order. Then each k-th of them is the end
//! of a walk of a fresh device: `strace` kills the agent as it makes that call, before the call has its effect.
//! What follows a call is met before the next one. `strace` counts by thread and by call; the calls that matter
//! are made by two threads, of which one writes the spool and the other everything else.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context, Result, bail, ensure};
use bbt_tests::{
    agent::Agent,
    backlog::{self, Standing},
    chance::{Chance, FIRST_SEED, first_seed, number},
    county::{County, Token},
    record::{self, CountyRecord, Key, Spooled},
    wait::{SOON, eventually},
};

use crate::kills::{compare, drain};

/// What changes the disk for good, or makes such a change good. A name that this machine's kernel does not have is
/// passed over.
const CALLS: &str =
    "?fsync,?fdatasync,?pwrite64,?ftruncate,?rename,?renameat,?renameat2,?unlink,?unlinkat,?mkdir,?mkdirat";
/// Every how many calls the agent is killed; a variable of this name chooses otherwise.
const EVERY: &str = "BBT_TEST_DURABLE_EVERY";
/// Without that variable as many kills as this, so that the test ends within four minutes on a small machine.
const KILLS: usize = 72;
/// Walks side by side.
const WALKERS: usize = 3;

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

/// Where the agent is killed: at the n-th such call that one of its threads makes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Point {
    phase: Phase,
    call: String,
    nth: usize,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {} no. {}", self.phase, self.call, self.nth)
    }
}

/// What one walk left behind.
struct Walked {
    agent: Agent,
    added: BTreeMap<Key, Option<Vec<u8>>>,
    kept: BTreeMap<Key, Option<Vec<u8>>>,
}

#[test]
fn an_agent_killed_at_its_durable_calls_stays_the_same_device_and_loses_and_doubles_nothing() -> Result<()> {
    ensure_tracing_is_permitted()?;
    let seed = first_seed()?;
    let mut county = County::start()?;
    let points = list(&county, seed)?;
    let every = match number(EVERY)? {
        Some(every) => usize::try_from(every).unwrap_or(usize::MAX).max(1),
        None => points.len().div_ceil(KILLS),
    };
    println!(
        "seed {seed}, every {every}. of {} durable calls; again: {FIRST_SEED}={seed} {EVERY}={every} cargo test -p bbt-tests --test it durable",
        points.len()
    );
    let first = seed as usize % every;
    let chosen: Vec<Point> = points.iter().skip(first).step_by(every).cloned().collect();
    // As many uses as there are devices: one that used the token twice would leave none for the last.
    let token = county.token_with(&["--uses", &chosen.len().to_string()])?;

    let next = AtomicUsize::new(0);
    let reached = AtomicUsize::new(0);
    let walked = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let walkers: Vec<_> = (0..WALKERS)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let no = next.fetch_add(1, Ordering::Relaxed);
                        let Some(point) = chosen.get(no) else { return anyhow::Ok(()) };
                        let (one, killed) = walk(&token, point, &mut Chance::part(seed, no))
                            .with_context(|| format!("killed at {point}"))?;
                        reached.fetch_add(usize::from(killed), Ordering::Relaxed);
                        walked.lock().expect("a walker panicked").push((point, one));
                    }
                })
            })
            .collect();
        walkers.into_iter().try_for_each(|walker| walker.join().expect("a walker panicked"))
    })?;
    county.stop()?;

    let walked = walked.into_inner().expect("a walker panicked");
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
    for (point, one) in &walked {
        let (spool, kept) = one.spool_and_kept()?;
        compare(&record, one.agent.device_id()?, &spool, &one.added)
            .with_context(|| format!("killed at {point}"))?;
        ensure!(kept < one.kept.len(), "killed at {point}: nothing was cleaned up");
        reports += spool.len();
        cleaned_up += one.kept.len() - kept;
    }
    let reached = reached.into_inner();
    ensure!(2 * reached >= walked.len(), "only {reached} of {} walks were ended by a kill", walked.len());
    println!(
        "{reached} kills at durable calls, {} walks came to their end before the call; {reports} reports compared, \
         {cleaned_up} kept ones cleaned up",
        walked.len() - reached
    );
    Ok(())
}

/// The calls of a walk that nobody disturbs, in their order.
fn list(county: &County, seed: u64) -> Result<Vec<Point>> {
    let token = county.token()?;
    let mut walked = Walked::new()?;
    let trace = tempfile::NamedTempFile::new().context("making a file")?;
    let tracing = strace(trace.path(), &[]);
    let mut points = Vec::new();

    walked.agent.set_wrapper(tracing.clone());
    let output = walked.agent.try_enroll(&token)?;
    ensure!(output.status.success(), "enrolling under strace: {}", String::from_utf8_lossy(&output.stderr));
    read_trace(trace.path(), Phase::Enroll, &mut points)?;

    walked.agent.set_wrapper(Vec::new());
    walked.add_reports(&mut Chance::new(seed))?;
    walked.agent.set_wrapper(tracing);
    ensure!(!walked.run_to_its_end()?, "the agent was killed by nobody");
    read_trace(trace.path(), Phase::Run, &mut points)?;
    Ok(points)
}

/// A device's way from enrolment to an empty backlog, with a kill at `point`. Whether there was one; the calls of
/// two walks are not quite the same.
fn walk(token: &Token, point: &Point, chance: &mut Chance) -> Result<(Walked, bool)> {
    let mut walked = Walked::new()?;
    let mut killed = false;
    let inject = format!("inject={}:signal=KILL:when={}", point.call, point.nth);
    let killing = strace(Path::new("/dev/null"), &["-e", &inject]);
    if point.phase == Phase::Enroll {
        walked.agent.set_wrapper(killing.clone());
        let output = walked.agent.try_enroll(token)?;
        killed = was_killed(output.status);
        ensure!(killed || output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        walked.agent.set_wrapper(Vec::new());
    }
    // A kill may have come after the last file was in its place; then there is no more to do.
    if walked.agent.device_id().is_err() {
        let output = walked.agent.try_enroll(token)?;
        ensure!(output.status.success(), "enrolling again: {}", String::from_utf8_lossy(&output.stderr));
    }
    walked.add_reports(chance)?;
    if point.phase == Phase::Run {
        walked.agent.set_wrapper(killing);
        killed = walked.run_to_its_end()?;
        walked.agent.set_wrapper(Vec::new());
    }
    drain(&mut walked.agent)?;
    Ok((walked, killed))
}

impl Walked {
    fn new() -> Result<Self> {
        let mut agent = Agent::new()?;
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

    /// Lets the agent run until nothing waits any more, then end in order. True if it was killed on its way.
    fn run_to_its_end(&mut self) -> Result<bool> {
        self.agent.run()?;
        let mut asked = false;
        let status = eventually(SOON, "the end of the agent", || {
            if let Some(status) = self.agent.ended()? {
                return Ok(status);
            }
            if !asked && record::backlog(&self.agent)? == 0 {
                self.agent.ask_to_stop()?;
                asked = true;
            }
            bail!("it runs; it said:\n{}", self.agent.log())
        })?;
        ensure!(
            was_killed(status) || (asked && status.success()),
            "it ended with {status}; it said:\n{}",
            self.agent.log()
        );
        Ok(was_killed(status))
    }

    /// What the county must have, and how many are still kept of those that it never got.
    fn spool_and_kept(&self) -> Result<(BTreeMap<Key, Spooled>, usize)> {
        let (kept, real): (BTreeMap<_, _>, BTreeMap<_, _>) =
            record::spool(&self.agent)?.into_iter().partition(|(key, _)| self.kept.contains_key(key));
        Ok((real, kept.len()))
    }
}

fn was_killed(status: std::process::ExitStatus) -> bool {
    status.signal() == Some(9)
}

/// `strace` with the agent as its parent's child, so that who starts it can end it and sees how it ended.
fn strace(output: &Path, more: &[&str]) -> Vec<String> {
    let output = output.display().to_string();
    let trace = format!("trace={CALLS}");
    let words = [
        "strace",
        "-D",
        "-f",
        "--quiet=attach,personality",
        "-o",
        &output,
        "-e",
        &trace,
        "-e",
        "signal=none",
    ];
    words.iter().chain(more).map(|word| (*word).to_owned()).collect()
}

/// Adds the calls of a finished trace, each with its number among those of its thread.
fn read_trace(path: &Path, phase: Phase, points: &mut Vec<Point>) -> Result<()> {
    // strace may end a moment after the agent; the last that it writes is the end of the agent's first thread,
    // which is the one that makes the folders.
    let text = eventually(SOON, "the end of the trace", || {
        let text = std::fs::read_to_string(path).context("reading what strace wrote")?;
        let of = |sought: &str| text.lines().rfind(|line| line.contains(sought)).map(thread_of);
        ensure!(of("mkdir").is_some() && of("mkdir") == of("+++ exited with 0"), "it goes on:\n{text}");
        Ok(text)
    })?;
    let mut counts: HashMap<(&str, &str), usize> = HashMap::new();
    for line in text.lines() {
        let thread = thread_of(line);
        let rest = &line[thread.len()..];
        // The rest of an interrupted call, and the end of a thread, begin otherwise.
        let Some((call, _)) = rest.trim_start().split_once('(') else { continue };
        if call.is_empty() || !call.chars().all(|letter| letter.is_ascii_alphanumeric()) {
            continue;
        }
        let nth = counts.entry((thread, call)).and_modify(|count| *count += 1).or_insert(1);
        points.push(Point { phase, call: call.to_owned(), nth: *nth });
    }
    ensure!(!counts.is_empty(), "strace saw no durable call in {phase:?}");
    Ok(())
}

fn thread_of(line: &str) -> &str {
    line.split_whitespace().next().unwrap_or_default()
}

fn ensure_tracing_is_permitted() -> Result<()> {
    let remedy = "install strace and run this test where processes may trace their children (ptrace)";
    let output = Command::new("strace")
        .args(["-D", "-f", "-qq", "-e", "trace=none", "true"])
        .output()
        .with_context(|| format!("cannot start strace: {remedy}"))?;
    ensure!(
        output.status.success() && output.stderr.is_empty(),
        "strace cannot trace here ({}): {remedy}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
