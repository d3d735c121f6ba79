//! One of our programs as a child: found beside the tests, its words kept in a file, ended with its owner.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::wait::{SOON, eventually};

/// The path of the program `name`, built with the same profile as the caller.
pub fn binary(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("asking for the path of the running test")?;
    // A test lies in target/<profile>/deps, a program of ours in target/<profile>.
    let folder = own
        .ancestors()
        .skip(1)
        .find(|folder| !folder.ends_with("deps"))
        .with_context(|| format!("{} has no folder", own.display()))?;
    let path = folder.join(name);
    ensure!(
        path.is_file(),
        "{} is missing; `cargo build -p bbt-controller -p bbt-agent` makes it",
        path.display()
    );
    Ok(path)
}

/// The program `name`, started by another program that has these words of its own; none starts it directly.
pub fn wrapped(wrapper: &[String], name: &str) -> Result<Command> {
    let program = binary(name)?;
    Ok(match wrapper.split_first() {
        Some((wrapper, words)) => {
            let mut command = Command::new(wrapper);
            command.args(words).arg(program);
            command
        }
        None => Command::new(program),
    })
}

/// Runs `command` to its end, with `input` on its standard input.
pub fn output(command: &mut Command, input: &[u8]) -> Result<Output> {
    let shown = shown(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {shown}"))?;
    let mut stdin = child.stdin.take().context("the child has a standard input")?;
    let input = input.to_owned();
    // From a thread of its own: a child that does not read must not hold us up, one that ends early may.
    let writer = thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().with_context(|| format!("waiting for {shown}"))?;
    drop(writer.join());
    Ok(output)
}

/// Runs `command`, which must end with 0, and gives its standard output.
pub fn succeed(command: &mut Command, input: &[u8]) -> Result<String> {
    let output = output(command, input)?;
    ensure!(
        output.status.success(),
        "{} ended with {}: {}",
        shown(command),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    String::from_utf8(output.stdout).with_context(|| format!("{} printed what is no UTF-8", shown(command)))
}

/// Runs `command`, which must end with 0 and print one JSON document.
pub fn json(command: &mut Command, input: &[u8]) -> Result<Value> {
    let text = succeed(command, input)?;
    serde_json::from_str(&text).with_context(|| format!("{} printed no JSON: {text}", shown(command)))
}

fn shown(command: &Command) -> String {
    let words: Vec<_> = [command.get_program()].into_iter().chain(command.get_args()).collect();
    format!("`{}`", words.join(OsStr::new(" ")).to_string_lossy())
}

/// A program that goes on until it is told to stop. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Running {
    /// Starts `command`; everything it says is added to the file `log`.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let name = shown(command);
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("opening the log {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("sharing the log")?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self { child, name, log: log.to_owned() })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended; `None` while it runs.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("asking after {}", self.name))
    }

    /// An error with the log when it has ended by itself.
    pub fn ensure_running(&mut self) -> Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}; it said:\n{}", self.name, read_log(&self.log)),
        }
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill().with_context(|| format!("killing {}", self.name))?;
        self.child.wait().with_context(|| format!("waiting for {}", self.name))?;
        Ok(())
    }

    /// Asks it to read anew what it reads at a start.
    pub fn hang_up(&self) -> Result<()> {
        let id = Pid::from_child(&self.child);
        kill_process(id, Signal::HUP).with_context(|| format!("sending SIGHUP to {}", self.name))
    }

    /// Asks it to end.
    pub fn ask_to_stop(&self) -> Result<()> {
        let id = Pid::from_child(&self.child);
        kill_process(id, Signal::TERM).with_context(|| format!("sending SIGTERM to {}", self.name))
    }

    /// Asks it to end and insists that it does so in order, within `deadline`.
    pub fn stop(mut self, deadline: Duration) -> Result<()> {
        self.ensure_running()?;
        self.ask_to_stop()?;
        let what = format!("the orderly end of {}", self.name);
        let status = eventually(deadline, &what, || self.ended()?.context("it still runs"))?;
        ensure!(
            status.success(),
            "{} ended with {status} after SIGTERM; it said:\n{}",
            self.name,
            read_log(&self.log)
        );
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What a program has said so far; empty before its first start.
pub fn read_log(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// Time for an orderly end.
pub const STOP_DEADLINE: Duration = SOON;
