//! The thin line: a report of this machine arrives at the county and stays there.

use anyhow::Result;
use bbt_tests::{agent::Agent, county::County};

#[test]
fn a_report_of_this_machine_arrives_and_stays() -> Result<()> {
    let mut county = County::start()?;
    let mut agent = Agent::enroll(&county)?;
    agent.run()?;
    let device = county.first_report()?;

    agent.kill()?;
    county.kill()?;
    county.serve()?;

    let after = county.first_report()?;
    assert_eq!(after["id"], device["id"]);
    assert!(after["last_report_at"].as_str() >= device["last_report_at"].as_str(), "{device} became {after}");
    Ok(())
}

#[test]
fn an_orderly_end_is_one_and_the_county_comes_back_where_it_was() -> Result<()> {
    let mut county = County::start()?;
    let mut agent = Agent::enroll(&county)?;
    agent.run()?;
    county.first_report()?;
    let before = county.listen()?;

    county.restart()?;
    agent.stop()?;

    assert_eq!(county.listen()?, before);
    Ok(())
}
