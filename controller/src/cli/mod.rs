//! The command line: one file per group of commands.
//!
//! Commands that ask or change something are [operations](crate::operation::Operation). They go to the running
//! controller through its socket; while none runs they are done here, under the data folder's lock. Never two
//! writers.

mod ask;
mod backup;
mod check;
mod devices;
mod init;
mod keys;
mod ledger;
mod lists;
mod table;
mod work;

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::{Args, Parser, Subcommand};

use crate::{app, clock::SystemClock, config::DataFolder, telemetry};

/// The county controller of bbt: enrols classroom devices, takes their reports, shows what is known.
#[derive(Debug, Parser)]
#[command(name = "bbt-controller", version, disable_help_subcommand = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Folder of the county's data.
    #[arg(
        long,
        global = true,
        env = "BBT_CONTROLLER_DATA",
        default_value = "/var/lib/bbt-controller",
        value_name = "DIR"
    )]
    data: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a county: keys, store, configuration and the account "admin".
    Init(init::Init),
    /// Serve devices and people until told to stop.
    Serve,
    /// How the controller is.
    Status(Output),
    /// Whether configuration, keys, store, audit and ledger are whole.
    Check(check::Check),
    /// Copy the whole county, keys too, into one file.
    Backup(backup::BackupTo),
    /// Put the county back from a backup; the controller must not run.
    Restore(backup::Restore),
    /// Schools.
    #[command(subcommand)]
    School(lists::School),
    /// Tokens that let devices enrol.
    #[command(subcommand)]
    Token(lists::Token),
    /// Devices.
    #[command(subcommand)]
    Device(devices::Device),
    /// Rooms.
    #[command(subcommand)]
    Room(work::Room),
    /// Sets: what stands in a room and is counted as one.
    #[command(subcommand)]
    Set(work::Set),
    /// Contracts with maintenance contractors.
    #[command(subcommand)]
    Contract(work::Contract),
    /// Faults.
    #[command(subcommand)]
    Fault(work::Fault),
    /// Tickets.
    #[command(subcommand)]
    Ticket(work::Ticket),
    /// What the county owns.
    #[command(subcommand)]
    Asset(ledger::Asset),
    /// The ledger that its cards are made of.
    #[command(subcommand)]
    Ledger(ledger::Ledger),
    /// The county's certificate authority.
    #[command(subcommand)]
    Ca(keys::Ca),
    /// The controller's clock.
    #[command(subcommand)]
    Clock(keys::Clock),
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, Args)]
struct Output {
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// Why a command failed: one sentence with what was tried, on what, and what to do next.
#[derive(Debug)]
pub struct Failure(String);

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Does what the arguments say.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    // Keys, the store and its logs are the controller's account's alone, in whatever folder they lie.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let folder = DataFolder::new(arguments.data);
    crate::restore::settle(&folder)?;
    match arguments.command {
        Command::Init(init) => one_thread()?.block_on(init.run(&folder)),
        Command::Serve => serve(&folder),
        Command::Status(output) => one_thread()?.block_on(lists::status(&folder, output)),
        Command::Check(check) => one_thread()?.block_on(check.run(&folder)),
        Command::Backup(backup) => one_thread()?.block_on(backup.run(&folder)),
        Command::Restore(restore) => one_thread()?.block_on(restore.run(&folder)),
        Command::School(command) => one_thread()?.block_on(command.run(&folder)),
        Command::Token(command) => one_thread()?.block_on(command.run(&folder)),
        Command::Device(command) => one_thread()?.block_on(command.run(&folder)),
        Command::Room(command) => one_thread()?.block_on(command.run(&folder)),
        Command::Set(command) => one_thread()?.block_on(command.run(&folder)),
        Command::Contract(command) => one_thread()?.block_on(command.run(&folder)),
        Command::Fault(command) => one_thread()?.block_on(command.run(&folder)),
        Command::Ticket(command) => one_thread()?.block_on(command.run(&folder)),
        Command::Asset(command) => one_thread()?.block_on(command.run(&folder)),
        Command::Ledger(command) => one_thread()?.block_on(command.run(&folder)),
        Command::Ca(command) => one_thread()?.block_on(command.run(&folder)),
        Command::Clock(command) => one_thread()?.block_on(command.run(&folder)),
    }
}

fn serve(folder: &DataFolder) -> Result<(), Failure> {
    // A bad configuration is told before anything is logged in its format.
    let config = crate::config::Config::load(folder.path())?;
    let log = telemetry::log(&config.log);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(app::run(folder, Arc::new(SystemClock), Some(log)));
    // Whatever still blocks (a hash, a sync) has had its time.
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(served?)
}

fn one_thread() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
