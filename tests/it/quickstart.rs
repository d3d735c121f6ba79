//! `deploy/quickstart.sh`, as a newcomer runs it: all but the build, which the tests have behind them.

use std::{
    net::TcpListener,
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context, Result, ensure};
use bbt_tests::{
    program::{binary, output},
    repository,
};
use tempfile::TempDir;

#[test]
fn it_ends_with_a_report_finds_what_runs_and_stops_what_it_started() -> Result<()> {
    let newcomer = Newcomer::new()?;

    let first = newcomer.succeeds(&[])?;
    assert!(first.contains("Started the controller"), "{first}");
    assert!(first.contains("The county has this machine's report"), "{first}");
    assert!(first.contains("Console   https://127.0.0.1:"), "{first}");
    let password = newcomer.data.path().join("admin-password");
    assert!(first.contains(&password.display().to_string()), "{first}");
    assert_eq!(mode_of(&password)?, 0o600);

    let second = newcomer.succeeds(&[])?;
    assert!(second.contains("The controller runs already"), "{second}");
    assert!(second.contains("The agent runs already"), "{second}");

    let stopped = newcomer.succeeds(&["--stop"])?;
    assert!(stopped.contains("Stopped the agent") && stopped.contains("Stopped the controller"), "{stopped}");
    let again = newcomer.succeeds(&["--stop"])?;
    assert!(again.contains("does not run"), "{again}");

    let third = newcomer.succeeds(&[])?;
    assert!(third.contains("Data of an earlier run found"), "{third}");
    assert!(third.contains("The county has this machine's report"), "{third}");
    Ok(())
}

#[test]
fn an_occupied_port_is_named_with_its_holder_and_the_remedy() -> Result<()> {
    let holder = TcpListener::bind("127.0.0.1:0").context("occupying a port")?;
    let occupied = holder.local_addr().context("asking for the port")?;
    let mut newcomer = Newcomer::new()?;
    newcomer.console = occupied.to_string();

    let refused = newcomer.run(&[])?;

    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("port {} is already in use by", occupied.port())), "{said}");
    assert!(said.contains(&format!("process {}", std::process::id())), "{said}");
    assert!(said.contains("BBT_CONTROLLER__LISTEN__CONSOLE=127.0.0.1:PORT"), "{said}");
    Ok(())
}

#[test]
fn what_it_does_not_know_is_refused_and_starts_nothing() -> Result<()> {
    let newcomer = Newcomer::new()?;
    assert_eq!(newcomer.run(&["--start"])?.status.code(), Some(2));
    assert_eq!(newcomer.run(&["--demo"])?.status.code(), Some(1));
    assert_eq!(std::fs::read_dir(newcomer.data.path()).context("listing the data")?.count(), 0);
    Ok(())
}

/// Somebody with a data folder of their own; what they started is stopped with them.
struct Newcomer {
    data: TempDir,
    console: String,
}

impl Newcomer {
    fn new() -> Result<Self> {
        let data = tempfile::Builder::new().prefix("bbt-quickstart-").tempdir().context("making a folder")?;
        Ok(Self { data, console: "127.0.0.1:0".to_owned() })
    }

    fn run(&self, arguments: &[&str]) -> Result<Output> {
        let programs = binary("bbt-controller")?;
        let mut command = Command::new(repository().join("deploy/quickstart.sh"));
        command
            .args(arguments)
            .env("BBT_QUICKSTART_DATA", self.data.path())
            .env("BBT_QUICKSTART_PROGRAMS", programs.parent().context("a program lies in a folder")?)
            .env("BBT_CONTROLLER__LISTEN__CONSOLE", &self.console);
        for listener in ["AGENTS", "ENROLLMENT", "ADMIN"] {
            command.env(format!("BBT_CONTROLLER__LISTEN__{listener}"), "127.0.0.1:0");
        }
        output(&mut command, b"")
    }

    fn succeeds(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        Ok(said)
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        drop(self.run(&["--stop"]));
    }
}

fn mode_of(path: &Path) -> Result<u32> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = path.metadata().with_context(|| format!("reading the mode of {}", path.display()))?;
    Ok(metadata.permissions().mode() & 0o777)
}
