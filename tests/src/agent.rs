//! A device for a test: the real `bbt-agent` on a state folder of its own, reporting this machine.

use std::{
    ffi::OsStr,
    fs,
    path::PathBuf,
    process::{Command, ExitStatus, Output},
};

use anyhow::{Context, Result};
use bbt_agent::{folder::Folder, identity::keystore};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    county::{County, Token},
    moved_clock::MovedClock,
    program::{self, Running, STOP_DEADLINE, read_log},
};

/// An agent on this machine. Dropping it kills it and removes its state.
#[derive(Debug)]
pub struct Agent {
    folder: TempDir,
    environment: Vec<(String, String)>,
    wrapper: Vec<String>,
    process: Option<Running>,
}

impl Agent {
    /// An agent that nobody knows yet.
    pub fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("bbt-agent-").tempdir().context("making a folder")?;
        // A file of its own, so that one in /etc of this machine changes nothing.
        let config = folder.path().join("agent.toml");
        fs::write(&config, "").with_context(|| format!("writing {}", config.display()))?;
        Ok(Self { folder, environment: Vec::new(), wrapper: Vec::new(), process: None })
    }

    /// An agent that the county knows; it does not run yet.
    pub fn enroll(county: &County) -> Result<Self> {
        let agent = Self::new()?;
        let token = county.token()?;
        program::succeed(&mut agent.enroll_command(&token)?, token.token.as_bytes())?;
        Ok(agent)
    }

    /// Tries to enrol with `token`, whatever comes of it.
    pub fn try_enroll(&self, token: &Token) -> Result<Output> {
        program::output(&mut self.enroll_command(token)?, token.token.as_bytes())
    }

    /// Gives the agent one more environment variable, from the next command on.
    pub fn set_environment(&mut self, key: &str, value: &str) {
        self.environment.push((key.to_owned(), value.to_owned()));
    }

    /// Has the agent run by `clock`, from the next command on.
    pub fn set_clock(&mut self, clock: &MovedClock) {
        self.environment.extend(clock.environment().map(|(key, value)| (key.to_owned(), value)));
    }

    /// Has another program start the agent, from the next command on: its words, to which those of the agent are
    /// added. None ends it.
    pub fn set_wrapper(&mut self, wrapper: Vec<String>) {
        self.wrapper = wrapper;
    }

    /// Starts `run`, without waiting for anything.
    pub fn run(&mut self) -> Result<()> {
        self.process = Some(Running::start(&mut self.command("run")?, &self.log_path())?);
        Ok(())
    }

    /// Ends it as a power cut would. No harm when it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), Running::kill)
    }

    /// Asks it to end, which it must do in order and in time.
    pub fn stop(&mut self) -> Result<()> {
        self.process.take().context("the agent does not run")?.stop(STOP_DEADLINE)
    }

    /// Asks it to end and does not insist.
    pub fn ask_to_stop(&self) -> Result<()> {
        self.process.as_ref().context("the agent does not run")?.ask_to_stop()
    }

    /// How it ended; `None` while it runs.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.process.as_mut().context("the agent was not started")?.ended()
    }

    /// The process id of the running agent.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Running::id)
    }

    /// An error with its log when the agent has ended by itself.
    pub fn ensure_running(&mut self) -> Result<()> {
        self.process.as_mut().context("the agent was not started")?.ensure_running()
    }

    /// What `status` tells.
    pub fn status(&self) -> Result<Value> {
        program::json(self.command("status")?.arg("--json"), b"")
    }

    /// What one pass of the collectors finds on this machine.
    pub fn collect(&self) -> Result<Value> {
        program::json(self.command("collect")?.arg("--json"), b"")
    }

    /// Runs one command of `bbt-agent` on the agent's state, whatever comes of it.
    pub fn output<S: AsRef<OsStr>>(
        &self,
        command: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Output> {
        program::output(self.command(command)?.args(arguments), b"")
    }

    /// A command such as `run` with the agent's folders, to be started by other means.
    pub fn command(&self, name: &str) -> Result<Command> {
        let mut command = program::wrapped(&self.wrapper, "bbt-agent")?;
        command.args(name.split(' '));
        command.arg("--state").arg(self.state()).arg("--config").arg(self.folder.path().join("agent.toml"));
        command.env_remove("RUST_LOG");
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        Ok(command)
    }

    /// The id under which it is enrolled.
    pub fn device_id(&self) -> Result<[u8; 16]> {
        Ok(keystore::load(&Folder::at(&self.state()))?.device_id.into_bytes())
    }

    /// Its state folder.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Everything `run` has said, over all its starts.
    pub fn log(&self) -> String {
        read_log(&self.log_path())
    }

    fn enroll_command(&self, token: &Token) -> Result<Command> {
        let mut command = self.command("enroll")?;
        command.args([
            "--controller",
            &token.enrollment,
            "--ca-sha256",
            &token.ca_sha256,
            "--token-file",
            "-",
        ]);
        Ok(command)
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("agent.log")
    }
}
