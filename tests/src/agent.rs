//! A device for a test: the real `bbt-agent` on a state folder of its own, reporting this machine.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
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

    /// An agent that the county knows; it does not run yet. Two of them in one county are one PC to it where this
    /// machine tells its hardware: see [`Agent::enroll_on_board`].
    pub fn enroll(county: &County) -> Result<Self> {
        Self::new()?.enrolled(county)
    }

    /// The same agent, which the county knows from now on.
    pub fn enrolled(self, county: &County) -> Result<Self> {
        let token = county.token()?;
        program::succeed(&mut self.enroll_command(&token)?, token.token.as_bytes())?;
        Ok(self)
    }

    /// An agent on a PC of its own: with the main board number `no` and no other hardware that is told.
    pub fn on_board(no: usize) -> Result<Self> {
        let mut agent = Self::new()?;
        let sys = agent.folder.path().join("sys");
        let board = sys.join("class/dmi/id");
        fs::create_dir_all(&board).with_context(|| format!("making {}", board.display()))?;
        for (file, value) in [
            ("product_uuid", format!("4c4c4544-0042-3510-8052-b4c04f4e{no:04x}\n")),
            ("board_serial", format!("{}\n", board_serial(no))),
        ] {
            fs::write(board.join(file), value).with_context(|| format!("writing {file}"))?;
        }
        let sys = sys.to_str().context("a path of words")?.to_owned();
        agent.set_environment("BBT_AGENT__ROOTS__SYS", &sys);
        Ok(agent)
    }

    /// The same, known to the county.
    pub fn enroll_on_board(county: &County, no: usize) -> Result<Self> {
        Self::on_board(no)?.enrolled(county)
    }

    /// Gives it what is on the disk of another one, as a copied disk image does. Neither may run.
    pub fn copy_disk(&self, image: &Agent) -> Result<()> {
        copy_folder(&image.state(), &self.state())
    }

    /// Starts `enroll` and does not wait for it: it asks until somebody says which device this is.
    pub fn start_enroll(&self, token: &Token) -> Result<Running> {
        let mut command = self.command("enroll")?;
        command.args(["--controller", &token.enrollment, "--ca-sha256", &token.ca_sha256]);
        command.args(["--token", &token.token]);
        Running::start(&mut command, &self.log_path())
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

/// The serial of the main board number `no`.
pub fn board_serial(no: usize) -> String {
    format!("PF0A{no:04}")
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("making {}", to.display()))?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_folder(&from, &to)?;
        } else {
            fs::copy(&from, &to).with_context(|| format!("copying {}", from.display()))?;
        }
    }
    Ok(())
}
