//! `backup`, `restore`.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bbt_domain::access::Actor;
use clap::Args;
use serde_json::Value as Json;

use super::{
    Failure, Output,
    ask::{ask, here},
    lists::print_json,
    table::cell,
};
use crate::{
    clock::{SharedClock, SystemClock},
    config::DataFolder,
    control::{self, Answer},
    operation::Operation,
    restore::{Revocations, restore},
};

/// What takes longer says how far it is, this often.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct BackupTo {
    /// A new file on the controller's machine. It holds the county's keys: keep it like them.
    file: PathBuf,
    #[command(flatten)]
    output: Output,
}

impl BackupTo {
    pub(super) async fn run(self, folder: &DataFolder) -> Result<(), Failure> {
        // The running controller has a working folder of its own.
        let file = std::path::absolute(&self.file)?;
        let made = make(folder, Operation::Backup { file }).await?;
        if self.output.json {
            return print_json(&made);
        }
        let text = |key: &str| cell(key, &made[key]);
        println!(
            "{} of {} holds {}: {} devices, {} lines of audit, {} entries of the ledger",
            text("file"),
            text("made_at"),
            text("county"),
            text("devices"),
            text("audit_lines"),
            text("ledger_entries")
        );
        println!(
            "it was opened and found whole; the issuing key and the key of sealed secrets are in it, the root's key is not"
        );
        print_problems(&made);
        Ok(())
    }
}

/// By the running controller, or by this process while none runs.
async fn make(folder: &DataFolder, operation: Operation) -> Result<Json, Failure> {
    let running = control::ask(&folder.socket(), &Operation::BackupProgress).await;
    if matches!(running, Ok(Some(_))) {
        let progress = async || match control::ask(&folder.socket(), &Operation::BackupProgress).await {
            Ok(Some(Answer::Ok(progress))) => progress,
            _ => Json::Null,
        };
        return watched(ask(folder, operation), progress).await;
    }
    let operations = here(folder).await?;
    let progress =
        async || operations.run(&Actor::Local, Operation::BackupProgress).await.unwrap_or_default();
    watched(async { Ok(operations.run(&Actor::Local, operation).await?) }, progress).await
}

/// Waits for `made`, and says on standard error how far it is.
async fn watched(
    made: impl Future<Output = Result<Json, Failure>>,
    progress: impl AsyncFn() -> Json,
) -> Result<Json, Failure> {
    tokio::pin!(made);
    loop {
        tokio::select! {
            made = &mut made => return made,
            () = tokio::time::sleep(PROGRESS_EVERY) => {}
        }
        let progress = progress().await;
        match (progress["done_bytes"].as_u64(), progress["total_bytes"].as_u64()) {
            (Some(done), Some(total)) if done < total => {
                eprintln!("copied {} of {} MiB", done >> 20, total >> 20);
            }
            (Some(_), Some(total)) if total > 0 => eprintln!("copied; looking at all of it"),
            _ => {}
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Restore {
    /// What `backup` wrote.
    file: PathBuf,
    /// The newest copy of the county's revocations.log, for a folder without one; "none" goes on without.
    #[arg(long, value_name = "LOG|none")]
    revocations: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

impl Restore {
    pub(super) async fn run(self, folder: &DataFolder) -> Result<(), Failure> {
        let revocations = match self.revocations {
            None => Revocations::Own,
            Some(word) if word.as_os_str() == "none" => Revocations::None,
            Some(log) => Revocations::Log(log),
        };
        let clock: SharedClock = Arc::new(SystemClock);
        let done = match restore(folder, &self.file, revocations, &clock).await {
            Err(error) if error.is_usage() => {
                clap::Error::raw(clap::error::ErrorKind::MissingRequiredArgument, format!("{error}\n")).exit()
            }
            done => done?,
        };
        if self.output.json {
            return print_json(&done);
        }
        let text = |key: &str| cell(key, &done[key]);
        println!("{} goes on in {} from {}", text("county"), folder.path().display(), text("made_at"));
        println!(
            "  devices {}, lines of audit {}, entries of the ledger {}",
            text("devices"),
            text("audit_lines"),
            text("ledger_entries")
        );
        if !done["old_database"].is_null() {
            println!("  the old database is kept as {}", text("old_database"));
        }
        if !done["old_pki"].is_null() {
            println!("  the old keys, which cannot be read, are kept in {}", text("old_pki"));
        }
        match done["revocations"].as_str() {
            Some("own") => println!("  revocations are those of the folder's own log"),
            Some("given") => println!("  revocations are those of the log given"),
            _ => println!(
                "  REVOCATIONS MAY BE MISSING from {} to {}: revoke again what was revoked then",
                text("revocations_missing_from"),
                text("revocations_missing_to")
            ),
        }
        println!("  tokens that were open are closed ({}): make new ones", text("tokens_closed"));
        println!(
            "  devices send again what they keep of the last 36 hours; one that was enrolled since has to be enrolled anew"
        );
        print_problems(&done);
        println!("next: bbt-controller serve --data {}", folder.path().display());
        Ok(())
    }
}

fn print_problems(told: &Json) {
    for problem in told["problems"].as_array().into_iter().flatten() {
        println!("  NOTE: {}", cell("", problem));
    }
}
