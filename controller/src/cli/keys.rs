//! `ca` and `clock`.

use std::path::PathBuf;

use bbt_domain::time::UtcMicros;
use clap::Subcommand;

use super::{Failure, Output, ask::ask, lists::print_json, table::cell};
use crate::{
    config::DataFolder,
    operation::{Operation, Secret},
    pki::rotation::Successor,
};

#[derive(Debug, Subcommand)]
pub(super) enum Ca {
    /// Put a new issuing certificate in the place of the one that signs devices; once a year.
    Rotate {
        /// File with the root's key, which is read and not kept.
        #[arg(long, value_name = "FILE")]
        root_key: PathBuf,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Clock {
    /// Say that the system's clock is right, after the controller would not believe it.
    Accept(Output),
}

impl Ca {
    pub(super) async fn run(self, folder: &DataFolder) -> Result<(), Failure> {
        let Self::Rotate { root_key, output } = self;
        // Made on the controller's time and under the county's name, by whoever has the store.
        let status = ask(folder, Operation::Status).await?;
        let now: UtcMicros = serde_json::from_value(status["time"].clone())?;
        let county = status["county"].as_str().unwrap_or_default();
        let Successor { certificate, key } = Successor::make(&folder.pki(), &root_key, county, now)?;
        let made = ask(folder, Operation::CaAdopt { certificate, key: Secret::new(&key) }).await?;
        if output.json {
            return print_json(&made);
        }
        println!("a new issuing certificate signs from now on, until {}", cell("", &made["issuing_until"]));
        println!("devices notice nothing; those that sleep come back by what the older ones signed");
        println!("Next: put {} back to where nobody reaches it", root_key.display());
        Ok(())
    }
}

impl Clock {
    pub(super) async fn run(self, folder: &DataFolder) -> Result<(), Failure> {
        let Self::Accept(output) = self;
        let accepted = ask(folder, Operation::ClockAccept).await?;
        if output.json {
            return print_json(&accepted);
        }
        println!("the clock is accepted: it is {}", cell("", &accepted["time"]));
        println!("the controller held it to be {}", cell("", &accepted["before"]));
        Ok(())
    }
}
