//! `check`.

use clap::Args;
use serde_json::{Value as Json, json};

use super::{Failure, Output, ask::ask};
use crate::{
    config::{Config, DataFolder},
    operation::Operation,
    pki::{authority::Authority, hex, revoke::Denylist},
};

/// Whether configuration, keys, store, audit and ledger are whole.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Read only the configuration and print it as it is in force.
    #[arg(long)]
    config_only: bool,
    #[command(flatten)]
    output: Output,
}

impl Check {
    pub(super) async fn run(self, folder: &DataFolder) -> Result<(), Failure> {
        let config = Config::load(folder.path())?;
        if self.config_only {
            let text = if self.output.json {
                serde_json::to_string_pretty(&config)?
            } else {
                toml::to_string(&config)?.trim_end().to_owned()
            };
            println!("{text}");
            return Ok(());
        }
        // The store first: it says best when there is no county here.
        let found = ask(folder, Operation::Check).await?;
        let authority = Authority::load(&folder.pki())?;
        let revoked = Denylist::open(&folder.revocations())?.all().len();
        let damage: Vec<String> = serde_json::from_value(found["store_damage"].clone())?;
        let broken = found["audit_broken"].as_str().or(found["ledger_broken"].as_str());
        if self.output.json {
            let mut found = found.clone();
            found["ca_sha256"] = json!(hex(&authority.root_sha256()));
            found["devices_revoked"] = json!(revoked);
            println!("{}", serde_json::to_string_pretty(&found)?);
        } else {
            println!("configuration   whole");
            println!("root            {}", hex(&authority.root_sha256()));
            println!("revocations     whole, {revoked} devices revoked");
            println!("store           {}", if damage.is_empty() { "whole" } else { "damaged" });
            println!("audit           {}", chain_line(&found, "audit", "lines"));
            println!("ledger          {}", chain_line(&found, "ledger", "entries"));
        }
        match (damage.first(), broken) {
            (Some(damage), _) => Err(Failure(format!("the store is damaged ({damage}): restore a backup"))),
            (None, Some(broken)) => Err(Failure(broken.to_owned())),
            (None, None) => Ok(()),
        }
    }
}

/// How the chain `name` stands, which is made of `rows`.
fn chain_line(found: &Json, name: &str, rows: &str) -> String {
    match found[format!("{name}_broken")].as_str() {
        Some(broken) => broken.to_owned(),
        None => {
            let head = found[format!("{name}_head")].as_str().unwrap_or("-");
            format!("whole, {} {rows}, head {head}", found[format!("{name}_{rows}")])
        }
    }
}
