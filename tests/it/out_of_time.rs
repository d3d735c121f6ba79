//! Nobody is locked out by time: PCs whose clock stands anywhere or jumps, and PCs that slept past the end of their
//! certificate, come back without a visit, with all that they had to say.

use std::{collections::BTreeMap, fs, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use bbt_proto::report::v1::Kind;
use bbt_tests::{
    agent::Agent,
    county::County,
    moved_clock::MovedClock,
    record::{self, CountyRecord, Spooled},
    wait::{SOON, eventually},
};
use uuid::Uuid;

use crate::kills::{compare, drain};

const DAY_SECS: i64 = 86_400;
const DECADE_SECS: i64 = 3_652 * DAY_SECS;
/// A PC with a wrong clock is connected within a minute, and waited for three.
const CONNECTED_WITHIN: Duration = Duration::from_secs(3 * 60);
/// The life of a device's certificate.
const CERTIFICATE_DAYS: i64 = 180;
/// By then every device is to have a new one: a third of that, and ten days over which devices are spread.
const RENEWED_AFTER_DAYS: i64 = 71;

/// Where a clock is put.
#[derive(Clone, Copy, Debug)]
enum Position {
    /// So many seconds from the true time.
    Off(i64),
    /// So many seconds after 1970.
    Date(u64),
}

const POSITIONS: [Position; 5] = [
    Position::Date(86_400),
    Position::Off(DECADE_SECS),
    Position::Off(-3 * 3_600),
    Position::Date(2_147_483_600),
    Position::Off(-DECADE_SECS),
];

impl Position {
    fn put(self, clock: &MovedClock) -> Result<()> {
        match self {
            Position::Off(secs) => clock.shift(secs),
            Position::Date(secs) => clock.set(Duration::from_secs(secs)),
        }
    }
}

#[test]
fn a_pc_enrols_and_connects_wherever_its_clock_stands_when_it_starts() -> Result<()> {
    let clock = MovedClock::new()?;
    let mut county = County::start()?;
    let mut agent = eager()?;
    agent.set_clock(&clock);
    Position::Date(1_262_304_000).put(&clock)?;
    let enrolled = agent.try_enroll(&county.token()?)?;
    ensure!(enrolled.status.success(), "{}", String::from_utf8_lossy(&enrolled.stderr));

    for position in POSITIONS {
        position.put(&clock)?;
        let before = connections(&agent);
        agent.run()?;
        eventually(CONNECTED_WITHIN, "the connection of a PC with a wrong clock", || {
            agent.ensure_running()?;
            ensure!(connections(&agent) > before, "{position:?}: {}", agent.log());
            Ok(())
        })?;
        agent.stop()?;
    }
    ensure_whole(&mut county, &mut agent)
}

#[test]
fn a_pc_whose_clock_jumps_stays_connected_and_tells_everything_in_order() -> Result<()> {
    let clock = MovedClock::new()?;
    let mut county = County::start()?;
    let mut agent = Agent::enroll(&county)?;
    hasten(&mut agent);
    agent.set_clock(&clock);
    agent.run()?;
    county.first_report()?;

    for position in POSITIONS {
        position.put(&clock)?;
        let before = newest(&agent, |_| true)?;
        eventually(SOON, "a report that was made and stored after the jump", || {
            agent.ensure_running()?;
            ensure!(newest(&agent, |report| report.decided)? > before, "{position:?}: {}", agent.log());
            Ok(())
        })?;
    }
    assert_eq!(connections(&agent), 1, "{}", agent.log());
    agent.stop()?;
    ensure_whole(&mut county, &mut agent)
}

#[test]
fn a_pc_that_slept_past_its_certificates_end_comes_back_as_the_same_device() -> Result<()> {
    thread::scope(|scope| {
        let all = [1, 30, 400].map(|days| scope.spawn(move || sleep_and_come_back(CERTIFICATE_DAYS + days)));
        all.into_iter().try_for_each(|one| one.join().expect("a test of one sleep panicked"))
    })
}

#[test]
fn a_pc_that_comes_back_from_the_summer_renews_its_certificate() -> Result<()> {
    sleep_and_come_back(RENEWED_AFTER_DAYS)
}

#[test]
fn a_pc_whose_restore_card_brings_back_its_first_certificate_comes_back_every_time() -> Result<()> {
    let mut pair = Pair::asleep_for(RENEWED_AFTER_DAYS)?;
    let (identity, card) = (pair.agent.state().join("identity"), pair.agent.state().join("card"));
    let files = ["key.pem", "chain.pem"];
    fs::create_dir(&card)?;
    for name in files {
        fs::copy(identity.join(name), card.join(name))?;
    }
    for morning in 0..3 {
        for name in files {
            fs::copy(card.join(name), identity.join(name))?;
        }
        pair.come_back().with_context(|| format!("morning {morning}"))?;
        pair.agent.stop()?;
    }
    ensure_whole(&mut pair.county, &mut pair.agent)
}

/// A PC and its county meet again after so many days in which neither ran.
fn sleep_and_come_back(days: i64) -> Result<()> {
    let mut pair = Pair::asleep_for(days)?;
    pair.come_back().with_context(|| format!("{days} days"))?;
    pair.agent.stop()?;
    ensure_whole(&mut pair.county, &mut pair.agent)
}

/// A county and its only PC.
struct Pair {
    county: County,
    agent: Agent,
    /// Until when the PC's first certificate is good.
    first_end: String,
    _clock: MovedClock,
}

impl Pair {
    /// Enrolled so many days ago; since then only the county was started again.
    fn asleep_for(days: i64) -> Result<Self> {
        let clock = MovedClock::new()?;
        clock.shift(-days * DAY_SECS)?;
        let mut county = County::init_by(&clock)?;
        county.serve()?;
        let mut agent = eager()?;
        agent.set_clock(&clock);
        let enrolled = agent.try_enroll(&county.token()?)?;
        ensure!(enrolled.status.success(), "{}", String::from_utf8_lossy(&enrolled.stderr));
        let first_end = certificate_end(&agent)?;
        county.stop()?;

        clock.shift(0)?;
        county.serve()?;
        // A controller doubts a clock that leapt so far, until somebody said that it is right.
        county.cli(["clock", "accept"])?;
        Ok(Self { county, agent, first_end, _clock: clock })
    }

    /// Starts the PC and waits until it has another certificate and, with that, delivered what it had to say.
    fn come_back(&mut self) -> Result<()> {
        let before = connections(&self.agent);
        self.agent.run()?;
        eventually(CONNECTED_WITHIN, "a PC that comes back", || {
            self.agent.ensure_running()?;
            let (end, log) = (certificate_end(&self.agent)?, self.agent.log());
            ensure!(end > self.first_end, "the certificate is good until {end}: {log}");
            ensure!(connections(&self.agent) > before, "it is not connected: {log}");
            Ok(())
        })?;
        let device = self.county.first_report()?;
        assert_eq!(device["id"], Uuid::from_bytes(self.agent.device_id()?).to_string(), "the same device");
        Ok(())
    }
}

/// Until when the agent's certificate is good.
fn certificate_end(agent: &Agent) -> Result<String> {
    let status = agent.status()?;
    let end = status["device"]["certificate_expires_at"].as_str();
    end.map(str::to_owned).with_context(|| format!("no certificate: {status}"))
}

/// An agent that nobody knows yet and that has much to say.
fn eager() -> Result<Agent> {
    let mut agent = Agent::new()?;
    hasten(&mut agent);
    Ok(agent)
}

pub(crate) fn hasten(agent: &mut Agent) {
    for (name, secs) in [("SAMPLE", "5"), ("FRAME", "5"), ("STATE", "10")] {
        agent.set_environment(&format!("BBT_AGENT__REPORT__{name}_SECS"), secs);
    }
}

/// How often the agent was connected, over all its starts.
pub(crate) fn connections(agent: &Agent) -> usize {
    agent.log().matches("connected to the controller").count()
}

/// The highest number among such reports of an agent that had one run.
fn newest(agent: &Agent, such: impl Fn(&Spooled) -> bool) -> Result<Option<u64>> {
    let spool = record::spool(agent)?;
    Ok(spool.iter().filter(|(_, report)| such(report)).map(|((_, seq), _)| *seq).max())
}

/// Lets the agent tell what is left and compares both sides: nothing is lost or told twice, and what the county has
/// for the device's state is the newest of its newest run.
pub(crate) fn ensure_whole(county: &mut County, agent: &mut Agent) -> Result<()> {
    drain(agent)?;
    county.stop()?;
    let (device, spool) = (agent.device_id()?, record::spool(agent)?);
    let record = CountyRecord::read(county)?;
    ensure!(
        record.gaps == 0 && record.quarantined == 0,
        "{} gaps, {} set aside",
        record.gaps,
        record.quarantined
    );
    compare(&record, device, &spool, &BTreeMap::new())?;
    let state = record.state(device).context("the county has no state of the device")?;
    let of_run = spool.iter().filter(|((run, _), report)| *run == state.run && report.kind == Kind::State);
    let newest = of_run.map(|((_, seq), _)| *seq).max();
    assert_eq!(newest, Some(state.seq), "the county's state is the newest that was told");
    Ok(())
}
