//! `configuration`, `device live`, `device secret`: what devices are told to do.

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    Failure, Output,
    ask::ask,
    lists::{parse_span, print_json, print_tree},
    table::cell,
};
use crate::{
    config::DataFolder,
    configuration::LIVE_SPAN,
    operation::{self, LevelName, Operation},
};

#[derive(Debug, Subcommand)]
pub(super) enum Configuration {
    /// What is set for the county, or for a school or a device.
    Show {
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        output: Output,
    },
    /// Set values for the county, or for a school or a device; open connections are told at once.
    Set {
        #[command(flatten)]
        of: Of,
        /// NAME=NUMBER, or NAME=above to leave it to the level above.
        #[arg(required = true, value_parser = parse_value, value_name = "NAME=NUMBER")]
        values: Vec<(String, Option<u64>)>,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Args)]
pub(super) struct Of {
    /// Code of a school: its devices alone.
    #[arg(long, value_name = "CODE", conflicts_with = "device")]
    school: Option<String>,
    /// One device alone.
    #[arg(long, value_name = "ID")]
    device: Option<String>,
}

impl Of {
    fn level(self) -> LevelName {
        match (self.school, self.device) {
            (Some(code), _) => LevelName::School(code),
            (None, Some(id)) => LevelName::Device(id),
            (None, None) => LevelName::County,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Live {
    /// The device.
    id: String,
    /// For how long, such as 10m; at most 30m.
    #[arg(long = "for", value_parser = parse_span, default_value_t = LIVE_SPAN.as_secs(), value_name = "SPAN")]
    span: u64,
    /// Stop now.
    #[arg(long, conflicts_with = "span")]
    stop: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
pub(super) enum Secret {
    /// Enter a secret, in the place of one with this name. It is shown nowhere again.
    Set {
        /// The device.
        id: String,
        /// What it is for, such as projector/1/password.
        name: String,
        /// File that holds the secret and nothing else.
        #[arg(long, value_name = "FILE")]
        secret_file: PathBuf,
        #[command(flatten)]
        output: Output,
    },
    /// Withdraw a secret: the device deletes it.
    Withdraw {
        /// The device.
        id: String,
        /// What it is for.
        name: String,
        #[command(flatten)]
        output: Output,
    },
}

impl Configuration {
    pub(super) async fn run(self, folder: &DataFolder) -> Result<(), Failure> {
        let (operation, output) = match self {
            Self::Show { of, output } => (Operation::ConfigurationShow { of: of.level() }, output),
            Self::Set { of, values, output } => {
                let values: BTreeMap<_, _> = values.into_iter().collect();
                (Operation::ConfigurationSet { of: of.level(), values }, output)
            }
        };
        let answer = ask(folder, operation).await?;
        if output.json {
            return print_json(&answer);
        }
        print_tree(&answer, 0);
        Ok(())
    }
}

impl Live {
    pub(super) async fn run(self, folder: &DataFolder) -> Result<(), Failure> {
        let span_secs = (!self.stop).then_some(self.span);
        let answer = ask(folder, Operation::DeviceLive { id: self.id, span_secs }).await?;
        if self.output.json {
            return print_json(&answer);
        }
        let id = cell("", &answer["id"]);
        match &answer["live"] {
            live if live.is_object() => {
                println!("device {id} sends samples every 5 s until {}", cell("", &live["until"]));
            }
            _ => println!("device {id} is not looked at live any more"),
        }
        Ok(())
    }
}

impl Secret {
    pub(super) async fn run(self, folder: &DataFolder) -> Result<(), Failure> {
        let (operation, output) = match self {
            Self::Set { id, name, secret_file, output } => {
                let text = std::fs::read_to_string(&secret_file).map_err(|error| {
                    Failure(format!(
                        "the secret {} cannot be read: {error}; make the file readable for this account",
                        secret_file.display()
                    ))
                })?;
                let secret = Some(operation::Secret::new(&text));
                (Operation::DeviceSecret { id, name, secret }, output)
            }
            Self::Withdraw { id, name, output } => {
                (Operation::DeviceSecret { id, name, secret: None }, output)
            }
        };
        let answer = ask(folder, operation).await?;
        if output.json {
            return print_json(&answer);
        }
        let done = if answer["is_set"] == json!(true) { "was entered" } else { "was withdrawn" };
        println!("the secret {} of device {} {done}", cell("", &answer["name"]), cell("", &answer["id"]));
        Ok(())
    }
}

/// `NAME=NUMBER` or `NAME=above`.
fn parse_value(text: &str) -> Result<(String, Option<u64>), String> {
    let expected = || "write it as NAME=NUMBER, or NAME=above".to_owned();
    let (name, value) = text.split_once('=').ok_or_else(expected)?;
    let value = match value {
        "above" => None,
        number => Some(number.parse().map_err(|_| expected())?),
    };
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_numbers_or_left_to_the_level_above() {
        assert_eq!(parse_value("sample_interval_secs=30"), Ok(("sample_interval_secs".to_owned(), Some(30))));
        assert_eq!(parse_value("spool_max_bytes=above"), Ok(("spool_max_bytes".to_owned(), None)));
        for bad in ["sample_interval_secs", "sample_interval_secs=", "sample_interval_secs=-1"] {
            assert!(parse_value(bad).is_err(), "{bad}");
        }
    }
}
