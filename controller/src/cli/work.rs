//! `room`, `set`, `contract`, `fault`, `ticket`: ask, and print what comes.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value as Json, json};

use super::{
    Failure, Output,
    ask::{ask, ask_all},
    lists::{print_json, print_list, print_tree},
    table::cell,
};
use crate::{
    config::DataFolder,
    contractor::WebhookSecret,
    operation::{Operation, Secret},
};

#[derive(Debug, Subcommand)]
pub(super) enum Room {
    /// Add a room.
    Add {
        /// Code of its school.
        #[arg(long, value_name = "CODE")]
        school: String,
        /// Building, floor and number, as people say it.
        #[arg(long)]
        name: String,
        /// classroom, multimedia, laboratory, preparation, office, computer or capture.
        #[arg(long, default_value = "classroom")]
        kind: String,
        #[command(flatten)]
        output: Output,
    },
    /// List rooms.
    List {
        /// Of this school alone.
        #[arg(long, value_name = "CODE")]
        school: Option<String>,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Set {
    /// List sets.
    List {
        /// Of this school alone.
        #[arg(long, value_name = "CODE")]
        school: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Everything known of one set.
    Show {
        /// Its id, or the code on its label.
        id: String,
        #[command(flatten)]
        output: Output,
    },
    /// Put a set into a room of its school.
    Bind {
        /// Its id, or the code on its label.
        id: String,
        /// The room's id, or SCHOOL/NAME.
        #[arg(long)]
        room: String,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Contract {
    /// Add a contract with a maintenance contractor.
    Add {
        /// As people call the contractor.
        #[arg(long, value_name = "NAME")]
        contractor: String,
        /// Code of a school whose sets it mends; may be given more than once.
        #[arg(long, value_name = "CODE", required = true)]
        school: Vec<String>,
        /// Where it is told of tickets (Standard Webhooks).
        #[arg(long, value_name = "URL", requires = "secret_file")]
        webhook: Option<String>,
        /// File with the secret that messages are signed with: whsec_ and base64.
        #[arg(long, value_name = "FILE", requires = "webhook")]
        secret_file: Option<PathBuf>,
        #[command(flatten)]
        output: Output,
    },
    /// List contracts.
    List(Output),
}

#[derive(Debug, Subcommand)]
pub(super) enum Fault {
    /// List faults.
    List {
        /// Those that are over, too.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Ticket {
    /// List tickets.
    List {
        /// Those that are closed, too.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Everything about one ticket.
    Show {
        /// Its id or number.
        id: String,
        #[command(flatten)]
        output: Output,
    },
}

impl Room {
    pub(super) async fn run(self, folder: &DataFolder) -> Result<(), Failure> {
        match self {
            Self::Add { school, name, kind, output } => {
                let room = ask(folder, Operation::RoomAdd { school, name, kind }).await?;
                if output.json {
                    return print_json(&room);
                }
                let text = |key: &str| cell("", &room[key]);
                println!("room {}/{} was added: {}", text("school_code"), text("name"), text("id"));
                Ok(())
            }
            Self::List { school, output } => {
                let rooms =
                    ask_all(folder, |after| Operation::RoomList { school: school.clone(), after }).await?;
                let columns = [
                    ("SCHOOL", "school_code"),
                    ("NAME", "name"),
                    ("KIND", "kind"),
                    ("SETS", "sets"),
                    ("ID", "id"),
                ];
                let empty = "no rooms yet: bbt-controller room add --school CODE --name NAME";
                print_list(&rooms, &columns, output, empty)
            }
        }
    }
}

impl Set {
    pub(super) async fn run(self, folder: &DataFolder) -> Result<(), Failure> {
        match self {
            Self::List { school, output } => {
                let list = |after| Operation::SetList { school: school.clone(), after };
                let sets = ask_all(folder, list).await?;
                if output.json {
                    return print_list(&sets, &[], output, "");
                }
                let columns = [
                    ("CODE", "code"),
                    ("SCHOOL", "school_name"),
                    ("ROOM", "room"),
                    ("STATE", "state"),
                    ("HOST", "host_name"),
                    ("PROCESSOR", "processor"),
                    ("LAST REPORT", "last_report_at"),
                ];
                let rows: Vec<Json> = sets.iter().map(row).collect();
                let empty = "no sets yet: each device that enrols gets one; bbt-controller token create --school CODE";
                print_list(&rows, &columns, output, empty)
            }
            Self::Show { id, output } => {
                print_whole(&ask(folder, Operation::SetShow { set: id }).await?, output)
            }
            Self::Bind { id, room, output } => {
                let set = ask(folder, Operation::SetBind { set: id, room }).await?;
                if output.json {
                    return print_json(&set);
                }
                let place = &set["place"]["room_name"];
                println!("set {} stands in {} now", cell("", &set["code"]), cell("", place));
                Ok(())
            }
        }
    }
}

/// A set as a row: of its devices the first is shown, and there is seldom another.
fn row(set: &Json) -> Json {
    let device = &set["devices"][0];
    json!({
        "code": set["code"],
        "school_name": set["school_name"],
        "room": set["place"]["room_name"],
        "state": set["state"],
        "host_name": device["host_name"],
        "processor": device["processor"],
        "last_report_at": device["last_report_at"],
    })
}

impl Contract {
    pub(super) async fn run(self, folder: &DataFolder) -> Result<(), Failure> {
        match self {
            Self::Add { contractor, school, webhook, secret_file, output } => {
                let webhook = webhook
                    .zip(secret_file)
                    .map(|(url, file)| read_secret(&file).map(|secret| (url, secret)));
                let operation =
                    Operation::ContractAdd { contractor, schools: school, webhook: webhook.transpose()? };
                let contract = ask(folder, operation).await?;
                if output.json {
                    return print_json(&contract);
                }
                let told = if contract["webhook_url"].is_null() { ", who is told nothing" } else { "" };
                println!(
                    "contract with {}{told}: {}",
                    cell("", &contract["contractor"]),
                    cell("", &contract["id"])
                );
                Ok(())
            }
            Self::List(output) => {
                let contracts = ask_all(folder, |_| Operation::ContractList).await?;
                let columns = [
                    ("CONTRACTOR", "contractor"),
                    ("SCHOOLS", "schools"),
                    ("OPEN TICKETS", "tickets_open"),
                    ("WEBHOOK", "webhook_url"),
                    ("ID", "id"),
                ];
                let empty = "no contracts yet: bbt-controller contract add --contractor NAME --school CODE";
                print_list(&contracts, &columns, output, empty)
            }
        }
    }
}

/// Read here, by the rights of whoever gives the command.
fn read_secret(file: &std::path::Path) -> Result<Secret, Failure> {
    WebhookSecret::read(file)?;
    let text = std::fs::read_to_string(file)?;
    Ok(Secret::new(&text))
}

impl Fault {
    pub(super) async fn run(self, folder: &DataFolder) -> Result<(), Failure> {
        let Self::List { all, output } = self;
        let faults = ask_all(folder, |after| Operation::FaultList { with_past: all, after }).await?;
        if output.json {
            return print_list(&faults, &[], output, "");
        }
        let columns = [
            ("KIND", "kind"),
            ("STATE", "state"),
            ("SINCE", "since"),
            ("SCHOOL", "school_name"),
            ("ROOM", "room_name"),
            ("SET", "code"),
            ("REASON", "reason"),
        ];
        print_list(&faults.iter().map(with_set).collect::<Vec<_>>(), &columns, output, "no faults")
    }
}

impl Ticket {
    pub(super) async fn run(self, folder: &DataFolder) -> Result<(), Failure> {
        match self {
            Self::List { all, output } => {
                let tickets =
                    ask_all(folder, |after| Operation::TicketList { with_closed: all, after }).await?;
                if output.json {
                    return print_list(&tickets, &[], output, "");
                }
                let columns = [
                    ("NO", "no"),
                    ("STATE", "state"),
                    ("KIND", "kind"),
                    ("SCHOOL", "school_name"),
                    ("ROOM", "room_name"),
                    ("SET", "code"),
                    ("CONTRACTOR", "contractor"),
                    ("OPENED", "opened_at"),
                ];
                print_list(&tickets.iter().map(with_set).collect::<Vec<_>>(), &columns, output, "no tickets")
            }
            Self::Show { id, output } => {
                print_whole(&ask(folder, Operation::TicketShow { ticket: id }).await?, output)
            }
        }
    }
}

/// An item with the names of its set beside its own fields.
fn with_set(item: &Json) -> Json {
    let mut row = item.clone();
    for key in ["code", "school_name", "room_name"] {
        row[key] = item["set"][key].clone();
    }
    row
}

pub(super) fn print_whole(item: &Json, output: Output) -> Result<(), Failure> {
    if output.json {
        return print_json(item);
    }
    print_tree(item, 0);
    Ok(())
}
