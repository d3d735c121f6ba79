//! `device`: what is known of devices, who waits to be one, and what becomes of them.

use bbt_domain::identity::{Ruling, Standing, StandingKind};
use clap::Subcommand;
use serde_json::json;

use super::{
    Failure, Output,
    ask::{ask, ask_all},
    lists::{print_json, print_list, print_tree},
    table::cell,
};
use crate::{config::DataFolder, operation::Operation};

#[derive(Debug, Subcommand)]
pub(super) enum Device {
    /// List devices.
    List {
        /// PCs that wait for somebody to say which device they are, instead.
        #[arg(long)]
        pending: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Everything known of one device.
    Show {
        /// The device.
        id: String,
        #[command(flatten)]
        output: Output,
    },
    /// Say which device a waiting PC is; without more words, it is a device of its own.
    Approve(Approve),
    /// Take a device's access away: it is cut off within seconds and cannot come back.
    Revoke {
        #[command(flatten)]
        stand: Stand,
        /// It was stolen.
        #[arg(long)]
        stolen: bool,
    },
    /// Give a device its access back.
    Unrevoke(Stand),
    /// Take the access of a device away that is used no longer; it is not held against newcomers.
    Retire(Stand),
    /// Mark a device whose disk falls back at each start: it comes back by itself when it forgot its key.
    Freeze(Named),
    /// Take that back.
    Thaw(Named),
    /// List the PCs that showed the identity of a device and are others.
    Clones {
        /// The device.
        id: String,
        /// Make each of them that waits a device of its own.
        #[arg(long)]
        approve: bool,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Approve {
    /// The request, from `device list --pending`.
    id: String,
    /// It is this device: that one keeps set and history and gets the new key.
    #[arg(long, value_name = "DEVICE")]
    same: Option<String>,
    /// Turn it away.
    #[arg(long, conflicts_with = "same")]
    refuse: bool,
    /// Take back what was said, before the PC took it.
    #[arg(long, conflicts_with_all = ["same", "refuse"])]
    undo: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Args)]
pub(super) struct Stand {
    /// The device.
    id: String,
    /// Why, for the audit.
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Args)]
pub(super) struct Named {
    /// The device.
    id: String,
    #[command(flatten)]
    output: Output,
}

impl Device {
    pub(super) async fn run(self, folder: &DataFolder) -> Result<(), Failure> {
        match self {
            Self::List { pending: false, output } => list(folder, output).await,
            Self::List { pending: true, output } => pending(folder, output).await,
            Self::Show { id, output } => {
                let device = ask(folder, Operation::DeviceShow { id }).await?;
                if output.json {
                    return print_json(&device);
                }
                print_tree(&device, 0);
                Ok(())
            }
            Self::Approve(approve) => approve.run(folder).await,
            Self::Revoke { stand, stolen: false } => {
                stand.run(folder, Standing::Revoked, StandingKind::Plain).await
            }
            Self::Revoke { stand, stolen: true } => {
                stand.run(folder, Standing::Revoked, StandingKind::Stolen).await
            }
            Self::Unrevoke(stand) => stand.run(folder, Standing::Active, StandingKind::Plain).await,
            Self::Retire(stand) => stand.run(folder, Standing::Revoked, StandingKind::Retired).await,
            Self::Freeze(named) => named.freeze(folder, true).await,
            Self::Thaw(named) => named.freeze(folder, false).await,
            Self::Clones { id, approve: true, output } => {
                let answer = ask(folder, Operation::SiblingsApprove { id }).await?;
                if output.json {
                    return print_json(&answer);
                }
                println!("{} PCs become devices of their own", cell("", &answer["approved"]));
                Ok(())
            }
            Self::Clones { id, approve: false, output } => {
                let answer = ask(folder, Operation::SiblingsList { id }).await?;
                let items = answer["items"].as_array().cloned().unwrap_or_default();
                print_list(&items, WAITING_COLUMNS, output, "no other PC showed the identity of this device")
            }
        }
    }
}

/// Of a list of PCs that wait.
const WAITING_COLUMNS: &[(&str, &str)] = &[
    ("ID", "id"),
    ("KIND", "kind"),
    ("SCHOOL", "school_name"),
    ("HOST", "host_name"),
    ("ADDRESS", "address"),
    ("FIRST", "first_at"),
    ("LAST", "last_at"),
    ("RULING", "ruling"),
    ("DEVICE", "decided_device"),
];

async fn list(folder: &DataFolder, output: Output) -> Result<(), Failure> {
    let devices = ask_all(folder, |after| Operation::DeviceList { after }).await?;
    let columns = [
        ("ID", "id"),
        ("SCHOOL", "school_name"),
        ("STANDING", "standing"),
        ("HOST", "host_name"),
        ("PROCESSOR", "processor"),
        ("MEMORY", "memory_bytes"),
        ("LAST REPORT", "last_report_at"),
    ];
    let empty = "no devices yet: bbt-controller token create --school CODE";
    print_list(&devices, &columns, output, empty)
}

async fn pending(folder: &DataFolder, output: Output) -> Result<(), Failure> {
    let waiting = ask_all(folder, |after| Operation::AdmissionList { after }).await?;
    let empty = "nothing waits: PCs come here whose hardware or identity is that of a known device";
    print_list(&waiting, WAITING_COLUMNS, output, empty)
}

impl Approve {
    async fn run(self, folder: &DataFolder) -> Result<(), Failure> {
        let Self { id, same, refuse, undo, output } = self;
        let operation = match (same, refuse, undo) {
            (_, _, true) => Operation::AdmissionUndo { id },
            (Some(device), ..) => {
                Operation::AdmissionDecide { id, ruling: Ruling::Same, device: Some(device) }
            }
            (None, true, _) => Operation::AdmissionDecide { id, ruling: Ruling::Refused, device: None },
            (None, false, _) => Operation::AdmissionDecide { id, ruling: Ruling::New, device: None },
        };
        let answer = ask(folder, operation).await?;
        if output.json {
            return print_json(&answer);
        }
        let says = match answer["ruling"].as_str() {
            None => "waits again".to_owned(),
            Some("same") => format!("is device {}", cell("", &answer["decided_device"])),
            Some("new") => "becomes a device of its own when it next asks".to_owned(),
            Some(_) => "is turned away".to_owned(),
        };
        println!("request {} {says}", cell("", &answer["id"]));
        Ok(())
    }
}

impl Named {
    async fn freeze(self, folder: &DataFolder, frozen: bool) -> Result<(), Failure> {
        let answer = ask(folder, Operation::DeviceFreeze { id: self.id, frozen }).await?;
        if self.output.json {
            return print_json(&answer);
        }
        let is = if frozen { "of the frozen class" } else { "not of the frozen class" };
        println!("device {} is {is}{}", cell("", &answer["id"]), already(&answer));
        Ok(())
    }
}

impl Stand {
    async fn run(self, folder: &DataFolder, standing: Standing, kind: StandingKind) -> Result<(), Failure> {
        let operation = Operation::DeviceStand { id: self.id, standing, kind, reason: self.reason };
        let answer = ask(folder, operation).await?;
        if self.output.json {
            return print_json(&answer);
        }
        println!(
            "device {} is {}{}",
            cell("", &answer["id"]),
            cell("", &answer["standing"]),
            already(&answer)
        );
        Ok(())
    }
}

fn already(answer: &serde_json::Value) -> &'static str {
    if answer["changed"] == json!(true) { "" } else { " already" }
}
