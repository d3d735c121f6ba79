//! A county for a test: the real `bbt-controller` on a data folder of its own.

use std::{
    ffi::OsStr,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

use crate::{
    contractor_stub::Contractor,
    moved_clock::MovedClock,
    program::{self, Running, STOP_DEADLINE, read_log},
    wait::{SOON, eventually},
};

/// The user that `init` makes.
pub const ADMIN: &str = "admin";

/// The password every test county gives to [`ADMIN`].
pub const PASSWORD: &str = "chalk-and-blackboard-1";

/// The code of the school that is made on first use, as by [`County::token`].
pub const SCHOOL: &str = "T001";

/// The name of that school.
pub const SCHOOL_NAME: &str = "测试小学";

/// With whom [`County::contract`] makes a contract.
pub const CONTRACTOR: &str = "维保公司";

/// The listeners, in the words of `[listen]` and `run/listen.json`.
const LISTENERS: [&str; 4] = ["agents", "enrollment", "console", "admin"];

/// A county on this machine. Dropping it kills the controller and removes its data.
///
/// Each county has a loopback address of its own. So the ports it leaves at a kill are still free when it comes
/// back, and its agents find it where it was.
#[derive(Debug)]
pub struct County {
    folder: TempDir,
    address: Ipv4Addr,
    environment: Vec<(String, String)>,
    wrapper: Vec<String>,
    listen: Option<Listen>,
    server: Option<Running>,
}

/// Where the listeners of a running controller are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Reports, mutual TLS.
    pub agents: SocketAddr,
    /// Enrolment.
    pub enrollment: SocketAddr,
    /// Console and API.
    pub console: SocketAddr,
    /// Health and metrics, plain.
    pub admin: SocketAddr,
}

/// What `token create --json` answers, as far as a device needs it.
#[derive(Clone, Debug)]
pub struct Token {
    /// The secret.
    pub token: String,
    /// SHA-256 of the root certificate, hex.
    pub ca_sha256: String,
    /// HOST:PORT of the enrolment listener.
    pub enrollment: String,
}

impl County {
    /// A county that serves.
    pub fn start() -> Result<Self> {
        let mut county = Self::init()?;
        county.serve()?;
        Ok(county)
    }

    /// A county after `init`; nothing runs yet.
    pub fn init() -> Result<Self> {
        Self::init_at(own_address())
    }

    /// The same at an address that is not this machine's own, for a controller that is started elsewhere.
    pub fn init_at(address: Ipv4Addr) -> Result<Self> {
        Self::init_in(address, Vec::new())
    }

    /// The same by a clock of its own, by which it goes on running.
    pub fn init_by(clock: &MovedClock) -> Result<Self> {
        let environment = clock.environment().map(|(key, value)| (key.to_owned(), value)).to_vec();
        Self::init_in(own_address(), environment)
    }

    fn init_in(address: Ipv4Addr, environment: Vec<(String, String)>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("bbt-county-").tempdir().context("making a folder")?;
        let county = Self { folder, address, environment, wrapper: Vec::new(), listen: None, server: None };
        let password = county.folder.path().join("password");
        fs::write(&password, PASSWORD).with_context(|| format!("writing {}", password.display()))?;
        let name = county.address.to_string();
        let init: [&OsStr; 7] = [
            "init".as_ref(),
            "--county".as_ref(),
            "测试县".as_ref(),
            "--name".as_ref(),
            name.as_ref(),
            "--admin-password-file".as_ref(),
            password.as_ref(),
        ];
        program::succeed(county.command()?.args(init), b"")?;
        Ok(county)
    }

    /// Gives the controller one more environment variable, from the next command on.
    pub fn set_environment(&mut self, key: &str, value: &str) {
        self.environment.push((key.to_owned(), value.to_owned()));
    }

    /// Has the controller run by `clock`, from the next command on.
    pub fn set_clock(&mut self, clock: &MovedClock) {
        self.environment.extend(clock.environment().map(|(key, value)| (key.to_owned(), value)));
    }

    /// Has another program start `serve`, from the next time on: its words, to which those of the controller are
    /// added.
    pub fn set_wrapper(&mut self, wrapper: Vec<String>) {
        self.wrapper = wrapper;
    }

    /// Where it listens; the ports are its own choice.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Starts `serve` and waits until all listeners are ready: on free ports the first time, on the same ones
    /// after that.
    pub fn serve(&mut self) -> Result<()> {
        let listen_file = self.data().join("run/listen.json");
        match fs::remove_file(&listen_file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing {}", listen_file.display()));
            }
            _ => {}
        }
        let mut server = Running::start(&mut self.serve_command()?, &self.log_path())?;
        let ready = eventually(SOON, "the controller's listeners", || {
            // A controller that has ended will not become ready; its log is the reason to show.
            Ok(match server.ensure_running() {
                Err(ended) => Err(ended),
                Ok(()) => Ok(Listen::read(&listen_file)?),
            })
        })?;
        self.listen = Some(ready?);
        self.server = Some(server);
        Ok(())
    }

    /// Starts `serve` and ends it as a power cut would after `life`, wherever it is then. An error when it has
    /// ended by itself.
    pub fn serve_and_kill(&mut self, life: Duration) -> Result<()> {
        let mut server = Running::start(&mut self.serve_command()?, &self.log_path())?;
        thread::sleep(life);
        server.ensure_running()?;
        server.kill()
    }

    /// Ends the controller as a power cut would. No harm when nothing runs.
    pub fn kill(&mut self) -> Result<()> {
        self.server.take().map_or(Ok(()), Running::kill)
    }

    /// Asks the controller to end, which it must do in order and in time.
    pub fn stop(&mut self) -> Result<()> {
        self.server.take().context("the controller does not run")?.stop(STOP_DEADLINE)
    }

    /// Has the controller read anew what it reads at a start.
    pub fn hang_up(&self) -> Result<()> {
        self.server.as_ref().context("the controller does not run")?.hang_up()
    }

    /// An orderly end and a new start.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.serve()
    }

    /// The process id of the running controller.
    pub fn id(&self) -> Option<u32> {
        self.server.as_ref().map(Running::id)
    }

    /// An error with its log when the controller has ended by itself.
    pub fn ensure_running(&mut self) -> Result<()> {
        self.server.as_mut().context("the controller was not started")?.ensure_running()
    }

    /// Where it listens, or did last.
    pub fn listen(&self) -> Result<Listen> {
        self.listen.context("the county has not served yet")
    }

    /// Its data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Everything `serve` has said, over all its starts.
    pub fn log(&self) -> String {
        read_log(&self.log_path())
    }

    /// Runs one command of `bbt-controller` on the county's data, whatever comes of it.
    pub fn output<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<Output> {
        program::output(self.command()?.args(arguments), b"")
    }

    /// Runs one command, which must succeed, and gives what it prints.
    pub fn cli<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<String> {
        program::succeed(self.command()?.args(arguments), b"")
    }

    /// Runs one command with `--json`, which must succeed.
    pub fn json<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<Value> {
        program::json(self.command()?.args(arguments).arg("--json"), b"")
    }

    /// A fresh token for one device of [`SCHOOL`].
    pub fn token(&self) -> Result<Token> {
        self.token_with(&[])
    }

    /// A fresh token of [`SCHOOL`], with more arguments such as `--uses 5`.
    pub fn token_with(&self, arguments: &[&str]) -> Result<Token> {
        self.school()?;
        let answer = self.json(["token", "create", "--school", SCHOOL].iter().chain(arguments))?;
        let field = |name: &str| {
            let text = answer[name].as_str();
            text.map(str::to_owned).with_context(|| format!("`token create` gave no `{name}`: {answer}"))
        };
        Ok(Token { token: field("token")?, ca_sha256: field("ca_sha256")?, enrollment: field("enrollment")? })
    }

    /// Gives [`SCHOOL`] into the hands of `contractor`, who is told of its tickets.
    pub fn contract(&self, contractor: &Contractor) -> Result<()> {
        self.school()?;
        let secret = self.folder.path().join("secret-of-the-contractor");
        fs::write(&secret, contractor.secret()).with_context(|| format!("writing {}", secret.display()))?;
        let secret = secret.to_str().context("a path of words")?;
        let url = contractor.url();
        let mut command = vec!["contract", "add", "--contractor", CONTRACTOR, "--school", SCHOOL];
        command.extend(["--webhook", &url, "--secret-file", secret]);
        self.cli(command).map(drop)
    }

    /// The devices as `device list` shows them.
    pub fn devices(&self) -> Result<Vec<Value>> {
        self.items(["device", "list"])
    }

    /// What a command that lists something lists.
    pub fn items<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<Vec<Value>> {
        let list = self.json(arguments)?;
        list["items"].as_array().cloned().with_context(|| format!("no items: {list}"))
    }

    /// Waits until the county has exactly one device and holds a committed report of it; gives that device.
    pub fn first_report(&self) -> Result<Value> {
        eventually(SOON, "the first committed report", || {
            let devices = self.devices()?;
            match devices.as_slice() {
                [device] if !device["last_report_at"].is_null() => Ok(device.clone()),
                _ => anyhow::bail!("{devices:?}"),
            }
        })
    }

    /// Makes [`SCHOOL`] on first use.
    fn school(&self) -> Result<()> {
        if !self.items(["school", "list"])?.iter().any(|school| school["code"] == SCHOOL) {
            self.cli(["school", "add", "--code", SCHOOL, "--name", SCHOOL_NAME])?;
        }
        Ok(())
    }

    fn serve_command(&self) -> Result<Command> {
        let mut command = self.command_by(&self.wrapper)?;
        command.arg("serve");
        Ok(command)
    }

    fn command(&self) -> Result<Command> {
        self.command_by(&[])
    }

    fn command_by(&self, wrapper: &[String]) -> Result<Command> {
        let mut command = program::wrapped(wrapper, "bbt-controller")?;
        command.env("BBT_CONTROLLER_DATA", self.data()).env_remove("RUST_LOG");
        for name in LISTENERS {
            let port = self.listen.map_or(0, |listen| listen.named(name).port());
            let key = format!("BBT_CONTROLLER__LISTEN__{}", name.to_uppercase());
            command.env(key, format!("{}:{port}", self.address));
        }
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        Ok(command)
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("controller.log")
    }
}

impl Listen {
    fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let all: Value =
            serde_json::from_str(&text).with_context(|| format!("{} holds `{text}`", path.display()))?;
        let one = |name: &str| {
            let address = all[name].as_str().and_then(|text| text.parse().ok());
            address.with_context(|| format!("{} has no address for `{name}`: {text}", path.display()))
        };
        Ok(Self {
            agents: one("agents")?,
            enrollment: one("enrollment")?,
            console: one("console")?,
            admin: one("admin")?,
        })
    }

    fn named(&self, name: &str) -> SocketAddr {
        match name {
            "agents" => self.agents,
            "enrollment" => self.enrollment,
            "console" => self.console,
            _ => self.admin,
        }
    }
}

/// One of the 16 million addresses of the loopback network, none of the low ones that people use.
fn own_address() -> Ipv4Addr {
    let [a, b, c, ..] = Uuid::new_v4().into_bytes();
    Ipv4Addr::new(127, a.clamp(1, 254), b, c.clamp(1, 254))
}
