//! A county for tests that are not written in Rust.
//!
//! Starts a county with fresh tokens and, with `--agent`, a real agent on this machine; waits for its first
//! committed report; prints one line of JSON with everything a test needs; ends with its standard input or on
//! SIGTERM, and everything it started ends with it.

use std::io::Write;

use anyhow::{Context, Result, bail};
use bbt_tests::{
    agent::Agent,
    county::{ADMIN, County, PASSWORD},
};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

/// Single-use tokens handed out with the county: more than any one test needs.
const TOKENS: usize = 4;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let with_agent = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => false,
        ["--agent"] => true,
        _ => bail!("called with {arguments:?}; the one thing to say is --agent"),
    };

    let county = County::start()?;
    let agent = if with_agent {
        let mut agent = Agent::enroll(&county)?;
        agent.run()?;
        Some(agent)
    } else {
        None
    };
    let device = agent.as_ref().map(|_| county.first_report()).transpose()?;

    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", description(&county, device)?)
        .and_then(|()| stdout.flush())
        .context("printing where the county is")?;
    wait_for_the_end()
}

fn description(county: &County, device: Option<Value>) -> Result<Value> {
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
        "device": device,
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
