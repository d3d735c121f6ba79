//! Operations on what the county owns: cards, and the chain of entries that they are made of.

use bbt_domain::{
    access::Actor,
    ids::AssetId,
    ledger::{
        entry::Opening,
        fields::{AssetNo, Specification, asset_name, disk_size, memory_size, processor_name},
    },
    money::Money,
};
use bbt_store::ledger::{NewAsset, Verified, asset_add, asset_list, asset_show, ledger_verify};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::{Operations, PAGE, invalid, page, work::Answer, work::set_ref};

/// A card to be opened, as it is typed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssetFields {
    /// 资产编号.
    pub no: String,
    /// 资产名称.
    pub name: String,
    /// `CODE@EDITION`.
    pub class: String,
    /// 原值.
    pub cost_fen: Money,
    /// `YYYY-MM-DD`: when it was acquired, put to use and booked.
    pub date: String,
    /// 出厂编号.
    pub serial: Option<String>,
    /// Id or code of the set that it is part of.
    pub set: Option<String>,
    /// The processor's name.
    pub processor: Option<String>,
    /// Main memory, such as `8GiB`.
    pub memory: Option<String>,
    /// Disks, such as `256GB`.
    pub disk: Option<String>,
}

impl Operations {
    pub(super) async fn asset_add(&self, actor: Actor, fields: &AssetFields) -> Answer {
        let AssetFields { no, name, class, cost_fen, date, serial, set, processor, memory, disk } = fields;
        let specification = Specification {
            processor: processor.as_deref().map(processor_name).transpose().map_err(invalid)?,
            memory_bytes: memory.as_deref().map(memory_size).transpose().map_err(invalid)?,
            disk_bytes: disk.as_deref().map(disk_size).transpose().map_err(invalid)?,
        };
        let opening = Opening {
            asset_no: no.parse().map_err(invalid)?,
            name: asset_name(name).map_err(invalid)?,
            class: class.parse().map_err(invalid)?,
            cost_fen: *cost_fen,
            acquired_on: date.parse().map_err(invalid)?,
            put_to_use_on: None,
            booked_on: None,
            serial: serial.as_deref().map(str::parse).transpose().map_err(invalid)?,
            specification,
        };
        let set = set.as_deref().map(set_ref).transpose()?;
        let new = NewAsset { id: AssetId::from_bytes(self.context.new_id()), opening, set };
        let now = self.context.now();
        let asset = self.context.store.write(move |tx| asset_add(tx, &actor, &new, now)).await?;
        self.booked.poke();
        Ok(json!(asset))
    }

    pub(super) async fn asset_list(&self, actor: Actor, after: Option<String>) -> Answer {
        let list = move |tx: &mut bbt_store::Tx<'_>| asset_list(tx, &actor, after.as_deref(), PAGE + 1);
        let assets = self.context.store.read(list).await?;
        Ok(page(assets, |asset| asset.card.asset_no.as_str().to_owned()))
    }

    pub(super) async fn asset_show(&self, actor: Actor, no: &str) -> Answer {
        let no: AssetNo = no.parse().map_err(invalid)?;
        Ok(json!(self.context.store.read(move |tx| asset_show(tx, &actor, &no)).await?))
    }

    pub(super) async fn ledger_verify(&self, actor: Actor) -> Answer {
        let found = self.context.store.read(move |tx| ledger_verify(tx, &actor)).await?;
        Ok(match found {
            Ok(Verified { head, assets }) => {
                verdict(json!(head.rows), json!(head.hash.to_hex()), json!(assets), None)
            }
            Err(fault) => verdict(Json::Null, Json::Null, Json::Null, Some(fault.to_string())),
        })
    }
}

fn verdict(entries: Json, head: Json, assets: Json, broken: Option<String>) -> Json {
    json!({"entries": entries, "head": head, "assets": assets, "broken": broken})
}
