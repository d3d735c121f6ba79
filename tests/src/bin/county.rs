//! A county for tests that are not written in Rust.
//!
//! Starts a county with fresh tokens; with `--agent`, a real agent on this machine, and waits for its first
//! committed report; with `--at-work`, more sets, a fault and its ticket, and waits until the contractor was told.
//! Prints one line of JSON with everything a test needs; ends with its standard input or on SIGTERM, and
//! everything it started ends with it.

use std::io::Write;

use anyhow::{Context, Result, bail};
use bbt_tests::{
    agent::Agent,
    at_work::AtWork,
    county::{ADMIN, County, PASSWORD},
};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

/// Single-use tokens handed out with the county: more than any one test needs.
const TOKENS: usize = 4;

fn main() -> Result<()> {
    let (mut with_agent, mut is_at_work) = (false, false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--agent" => with_agent = true,
            "--at-work" => is_at_work = true,
            _ => bail!("called with {argument:?}; what can be said is --agent and --at-work"),
        }
    }

    let mut county = County::init()?;
    if is_at_work {
        AtWork::set_rules(&mut county);
    }
    county.serve()?;
    let agent = if with_agent {
        let mut agent = Agent::enroll(&county)?;
        agent.run()?;
        Some(agent)
    } else {
        None
    };
    let device = agent.as_ref().map(|_| county.first_report()).transpose()?;
    let work = is_at_work.then(|| AtWork::start(&county)).transpose()?;

    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", description(&county, device, work.as_ref())?)
        .and_then(|()| stdout.flush())
        .context("printing where the county is")?;
    wait_for_the_end()
}

fn description(county: &County, device: Option<Value>, work: Option<&AtWork>) -> Result<Value> {
    let listen = county.listen()?;
    let tokens = (0..TOKENS).map(|_| county.token()).collect::<Result<Vec<_>>>()?;
    Ok(json!({
        "console": format!("https://{}", listen.console),
        "agents": listen.agents.to_string(),
        "enrollment": listen.enrollment.to_string(),
        "user": ADMIN,
        "password": PASSWORD,
        "ca_sha256": tokens[0].ca_sha256,
        "tokens": tokens.iter().map(|token| &token.token).collect::<Vec<_>>(),
        "data": county.data(),
        "device": device,
        "work": work.map(AtWork::description),
    }))
}

#[tokio::main(flavor = "current_thread")]
async fn wait_for_the_end() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let (closed, mut end_of_input) = tokio::sync::mpsc::channel::<()>(1);
    // A thread of its own, left behind at the end: a read of the standard input cannot be taken back.
    std::thread::spawn(move || {
        let _until_the_end = closed;
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink())
    });
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = end_of_input.recv() => {}
    }
    Ok(())
}
