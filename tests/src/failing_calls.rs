//! Durable calls of a real program that fail: `strace` lists those of a run that nobody disturbs, and has the n-th of
//! another run fail in one of four ways.
//!
//! What follows a call is met before the next one. `strace` counts by thread and by call; what must be durable is
//! written by one thread each: the agent's spool and its other files, the controller's store.

use std::{
    collections::HashMap,
    fmt, fs,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, ExitStatus},
};

use anyhow::{Context, Result, ensure};
use tempfile::NamedTempFile;

use crate::wait::{SOON, eventually};

/// What changes the disk for good, or makes such a change good. A name that this machine's kernel does not have is
/// passed over.
const CALLS: &str =
    "?fsync,?fdatasync,?pwrite64,?ftruncate,?rename,?renameat,?renameat2,?unlink,?unlinkat,?mkdir,?mkdirat";

/// How a call fails. None of them has an effect on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The program is killed as it makes the call.
    Kill,
    /// The disk fails.
    Io,
    /// The disk is full.
    NoSpace,
    /// Nothing of what was to be written is, and no error is told. Other calls fail as on a failing disk.
    ShortWrite,
}

impl Failure {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Kill, Self::Io, Self::NoSpace, Self::ShortWrite];

    fn injected(self, call: &str) -> &'static str {
        match self {
            Self::Kill => "signal=KILL",
            Self::ShortWrite if call == "pwrite64" => "retval=0",
            Self::Io | Self::ShortWrite => "error=EIO",
            Self::NoSpace => "error=ENOSPC",
        }
    }
}

/// The n-th such call that one of the program's threads makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The system's name for it.
    pub name: String,
    /// Counted from 1.
    pub nth: usize,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} no. {}", self.name, self.nth)
    }
}

impl Call {
    /// What starts a program in which this call fails: for `set_wrapper`.
    pub fn failing(&self, failure: Failure) -> Vec<String> {
        let inject = format!("inject={}:{}:when={}", self.name, failure.injected(&self.name), self.nth);
        strace(Path::new("/dev/null"), &["-e", &inject])
    }
}

/// The calls of a run that nobody disturbs.
#[derive(Debug)]
pub struct Trace(NamedTempFile);

impl Trace {
    /// An error where processes may not be traced.
    pub fn new() -> Result<Self> {
        ensure_tracing_is_permitted()?;
        Ok(Self(NamedTempFile::new().context("making a file")?))
    }

    /// What starts the program whose calls are listed.
    pub fn wrapper(&self) -> Vec<String> {
        strace(self.0.path(), &[])
    }

    /// The calls of the program, which has ended in order, in their order.
    pub fn calls(&self) -> Result<Vec<Call>> {
        // strace may end a moment after the program; the last that it writes is the end of the first thread, which is
        // the one that made the first call.
        let text = eventually(SOON, "the end of the trace", || {
            let text = fs::read_to_string(self.0.path()).context("reading what strace wrote")?;
            let of = |sought: &str| text.lines().rfind(|line| line.contains(sought)).map(thread_of);
            let first = text.lines().find(|line| line.contains('(')).map(thread_of);
            ensure!(first.is_some() && of("+++ exited with 0") == first, "it goes on:\n{text}");
            Ok(text)
        })?;
        let mut counts: HashMap<(&str, &str), usize> = HashMap::new();
        let mut calls = Vec::new();
        for line in text.lines() {
            let thread = thread_of(line);
            let rest = &line[thread.len()..];
            // The rest of an interrupted call, and the end of a thread, begin otherwise.
            let Some((name, _)) = rest.trim_start().split_once('(') else { continue };
            if name.is_empty() || !name.chars().all(|letter| letter.is_ascii_alphanumeric()) {
                continue;
            }
            let nth = counts.entry((thread, name)).and_modify(|count| *count += 1).or_insert(1);
            calls.push(Call { name: name.to_owned(), nth: *nth });
        }
        ensure!(!calls.is_empty(), "strace saw no durable call");
        Ok(calls)
    }
}

/// Whether a program's end was a kill.
pub fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(9)
}

/// `strace` with the program as its parent's child, so that who starts it can end it and sees how it ended.
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
