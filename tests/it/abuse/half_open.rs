//! Peers that went without a word: their line is dead, so nothing of their end ever arrives.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bbt_tests::{
    county::County,
    lossy_net::LossyNet,
    wait::{SOON, eventually},
};

use super::process;

/// What is promised. On the injected clock it is asserted beside the accept loop.
const REAPED_WITHIN: Duration = Duration::from_secs(300);
/// Agents behind the line.
const AGENTS: u64 = 5;

#[test]
#[ignore = "waits for the five minutes that are promised; run it with --ignored"]
fn peers_that_went_without_a_word_are_given_up_and_their_descriptors_come_back() -> Result<()> {
    let net = LossyNet::lay()?;
    let mut county = net.county()?;
    let streams = |county: &County| {
        let status = county.json(["status"])?;
        status["live"]["streams"].as_u64().context("`status` tells of open streams")
    };
    let before = process::descriptors(&county)?;
    let mut agents = Vec::new();
    for _ in 0..AGENTS {
        let mut agent = net.agent_of(&county)?;
        agent.run()?;
        agents.push(agent);
    }
    eventually(SOON, "a stream of each", || {
        ensure!(streams(&county)? == AGENTS, "{} streams", streams(&county)?);
        Ok(())
    })?;

    net.lose_percent(100)?;
    for agent in &mut agents {
        agent.kill()?;
    }

    eventually(REAPED_WITHIN, "the end of the dead", || {
        county.ensure_running()?;
        ensure!(streams(&county)? == 0, "{} streams", streams(&county)?);
        let now = process::descriptors(&county)?;
        ensure!(now <= before, "{now} descriptors, {before} before");
        Ok(())
    })?;
    county.stop()
}
