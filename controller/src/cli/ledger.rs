//! `asset`, `ledger`: ask, and print what comes.

use bbt_domain::money::Money;
use clap::Subcommand;
use serde_json::Value as Json;

use super::{
    Failure, Output,
    ask::{ask, ask_all},
    lists::{print_json, print_list},
    table::cell,
    work::print_whole,
};
use crate::{
    config::DataFolder,
    operation::{AssetFields, Operation},
};

#[derive(Debug, Subcommand)]
pub(super) enum Asset {
    /// Open a card: one entry of the ledger.
    Add {
        #[command(flatten)]
        fields: Fields,
        #[command(flatten)]
        output: Output,
    },
    /// List cards.
    List(Output),
    /// A card and the entries that it is made of.
    Show {
        /// Its 资产编号.
        no: String,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Ledger {
    /// Walk the chain of entries, and hold the cards against it.
    Verify(Output),
}

#[derive(Debug, clap::Args)]
pub(super) struct Fields {
    /// 资产编号, unique in the county.
    #[arg(long)]
    no: String,
    /// 资产名称, as on the card.
    #[arg(long)]
    name: String,
    /// 资产分类代码 with its edition (2010, 2013, 2022), such as A02010105@2022.
    #[arg(long, value_name = "CODE@EDITION")]
    class: String,
    /// 原值 in whole fen: 480000 for 4,800.00 yuan.
    #[arg(long, value_name = "N")]
    cost_fen: Money,
    /// When it was acquired, put to use and booked: YYYY-MM-DD.
    #[arg(long, value_name = "D")]
    date: String,
    /// 出厂编号, as on the maker's label.
    #[arg(long)]
    serial: Option<String>,
    /// The set that it is part of: its id, or the code on its label.
    #[arg(long, value_name = "ID")]
    set: Option<String>,
    /// The processor's name, as in the bid.
    #[arg(long, value_name = "TEXT")]
    processor: Option<String>,
    /// Main memory, such as 8GiB; GB means the same.
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// All disks together, such as 256GB.
    #[arg(long, value_name = "SIZE")]
    disk: Option<String>,
}

impl From<Fields> for AssetFields {
    fn from(fields: Fields) -> Self {
        let Fields { no, name, class, cost_fen, date, serial, set, processor, memory, disk } = fields;
        Self { no, name, class, cost_fen, date, serial, set, processor, memory, disk }
    }
}

impl Asset {
    pub(super) async fn run(self, folder: &DataFolder) -> Result<(), Failure> {
        match self {
            Self::Add { fields, output } => {
                let asset = ask(folder, Operation::AssetAdd(Box::new(fields.into()))).await?;
                if output.json {
                    return print_json(&asset);
                }
                let text = |key: &str| cell(key, &asset[key]);
                println!(
                    "asset {} {} was added at {} yuan",
                    text("asset_no"),
                    text("name"),
                    text("cost_fen")
                );
                for problem in asset["problems"].as_array().into_iter().flatten() {
                    println!("note: {}", cell("", &problem["message"]));
                }
                Ok(())
            }
            Self::List(output) => {
                let assets = ask_all(folder, |after| Operation::AssetList { after }).await?;
                let columns = [
                    ("NO", "asset_no"),
                    ("NAME", "name"),
                    ("CLASS", "class_code"),
                    ("EDITION", "class_edition"),
                    ("COST (YUAN)", "cost_fen"),
                    ("ACQUIRED", "acquired_on"),
                    ("SCHOOL", "school_name"),
                    ("SET", "set_code"),
                    ("SERIAL", "serial"),
                ];
                let empty = "no assets yet: bbt-controller asset add --no NO --name N --class CODE@EDITION --cost-fen N --date D";
                print_list(&assets, &columns, output, empty)
            }
            Self::Show { no, output } => {
                print_whole(&ask(folder, Operation::AssetShow { no }).await?, output)
            }
        }
    }
}

impl Ledger {
    pub(super) async fn run(self, folder: &DataFolder) -> Result<(), Failure> {
        let Self::Verify(output) = self;
        let found = ask(folder, Operation::LedgerVerify).await?;
        if output.json {
            print_json(&found)?;
        }
        if let Json::String(broken) = &found["broken"] {
            return Err(Failure(format!(
                "the ledger is not whole: {broken}; keep a copy of the folder and compare it with a backup"
            )));
        }
        if !output.json {
            let text = |key: &str| cell(key, &found[key]);
            println!(
                "ledger whole, {} entries, {} cards, head {}",
                text("entries"),
                text("assets"),
                text("head")
            );
        }
        Ok(())
    }
}
