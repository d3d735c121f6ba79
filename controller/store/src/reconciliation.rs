//! 账实核对: cards beside what their machines tell, and the cases of what differs.

use std::collections::BTreeMap;

use bbt_domain::{
    access::{Act, Actor},
    chain::{ChainHash, Link},
    fault::input::DeviceFacts,
    identity::Standing,
    ids::{AssetId, CaseId, DeviceId, SetId},
    ledger::card::Card,
    reconciliation::{self, Comparison, Item, Measure, Observed, Settlement, Step},
    time::UtcMicros,
};
use serde::Serialize;
use serde_json::json;

use crate::{
    Row, StoreError, Tx, audit,
    error::permit,
    ledger::{Asset, assets_of_set},
    params,
    scope::school_scope,
    sets::{SetRef, set_and_school, set_facts},
};

/// Cases shown of one set: those that stand, and the newest of its past.
const CASES_SHOWN: i64 = 50;

/// A card beside the machine that it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BookedAsset {
    /// The card.
    #[serde(flatten)]
    pub asset: Asset,
    /// The device that it is held against.
    pub device_id: Option<DeviceId>,
    /// Item by item; none for what is no computer.
    pub comparisons: Vec<Comparison>,
}

/// One difference, from when it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Case {
    /// The record.
    pub id: CaseId,
    /// The set that it is about.
    pub set_id: SetId,
    /// Its 设备码.
    pub set_code: String,
    /// Code of its school.
    pub school_code: String,
    /// Name of its school.
    pub school_name: String,
    /// The asset whose card says otherwise.
    pub asset_id: AssetId,
    /// Its number; `None` when the card was taken back since.
    pub asset_no: Option<String>,
    /// What differs.
    pub item: Item,
    /// What the card says.
    pub booked: Measure,
    /// What was seen.
    pub observed: Measure,
    /// When it was found.
    pub opened_at: UtcMicros,
    /// What a person said about it.
    pub settled: Option<Settled>,
    /// When the difference was there no more.
    pub gone_at: Option<UtcMicros>,
}

/// What a person found a difference to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Settled {
    /// When.
    pub at: UtcMicros,
    /// Who.
    pub by: String,
    /// What it is.
    #[serde(rename = "settlement")]
    pub what: Settlement,
    /// More about it.
    pub note: String,
}

/// Everything booked for a set, beside what is seen of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetBooked {
    /// The set.
    pub set_id: SetId,
    /// Its cards.
    pub assets: Vec<BookedAsset>,
    /// Its cases, those that stand first, each group newest first.
    pub cases: Vec<Case>,
}

/// What is booked for a set, beside what is seen, and the cases of it.
pub fn set_booked(tx: &mut Tx<'_>, actor: &Actor, set: SetId) -> Result<SetBooked, StoreError> {
    permit(actor, Act::LedgerRead)?;
    set_and_school(tx, actor, SetRef::Id(set))?;
    let cases = tx.query(
        &format!("{CASE} WHERE c.set_id = $1 ORDER BY c.gone_us IS NOT NULL, c.id DESC LIMIT $2"),
        params![set.as_bytes(), CASES_SHOWN],
        case_of,
    )?;
    Ok(SetBooked { set_id: set, assets: booked_beside_seen(tx, set)?, cases })
}

/// Cases of all sets that nobody settled and that are not gone, oldest first, after `after`.
pub fn case_list_open(
    tx: &mut Tx<'_>,
    actor: &Actor,
    after: Option<CaseId>,
    limit: usize,
) -> Result<Vec<Case>, StoreError> {
    permit(actor, Act::LedgerRead)?;
    let scope = school_scope(actor, "c.school_id");
    tx.query(
        &format!(
            "{CASE} WHERE c.settled_us IS NULL AND c.gone_us IS NULL AND c.id > $1 AND {scope} ORDER BY c.id LIMIT $2"
        ),
        params![after.map_or([0; 16], |id| *id.as_bytes()).as_slice(), limit as i64],
        case_of,
    )
}

/// Sets that have cards or cases that are not gone, in order of their ids, after `after`.
pub fn sets_to_reconcile(
    tx: &mut Tx<'_>,
    actor: &Actor,
    after: Option<SetId>,
    limit: usize,
) -> Result<Vec<SetId>, StoreError> {
    permit(actor, Act::CaseDecide)?;
    tx.query(
        "SELECT set_id FROM (SELECT set_id FROM asset WHERE set_id IS NOT NULL
             UNION SELECT set_id FROM recon_case WHERE gone_us IS NULL) known
         WHERE set_id > $1 ORDER BY set_id LIMIT $2",
        params![after.map_or([0; 16], |id| *id.as_bytes()).as_slice(), limit as i64],
        |row| Ok(SetId::from_bytes(row.array(0, "a set's id")?)),
    )
}

/// Whether [`reconcile_set`] would change anything; so that a look that finds all as it was writes nothing.
pub fn reconcile_would_change(tx: &mut Tx<'_>, actor: &Actor, set: SetId) -> Result<bool, StoreError> {
    permit(actor, Act::CaseDecide)?;
    Ok(!steps(tx, set)?.is_empty())
}

/// Compares a set with its cards, and opens, changes and ends cases as that has it. Safe to repeat; the number of
/// changes.
pub fn reconcile_set(
    tx: &mut Tx<'_>,
    actor: &Actor,
    set: SetId,
    now: UtcMicros,
) -> Result<usize, StoreError> {
    permit(actor, Act::CaseDecide)?;
    let (_, school) = set_and_school(tx, actor, SetRef::Id(set))?;
    let steps = steps(tx, set)?;
    for (asset, step) in &steps {
        match step {
            Step::Open { item, booked, observed } => tx.execute(
                "INSERT INTO recon_case (id, set_id, school_id, asset_id, item, booked, observed, opened_us)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                params![
                    case_id(set, *asset, *item, now).as_bytes(),
                    set.as_bytes(),
                    school.as_bytes(),
                    asset.as_bytes(),
                    item.as_str(),
                    text_of(booked)?,
                    text_of(observed)?,
                    now
                ],
            )?,
            Step::Update { id, booked, observed } => tx.execute(
                "UPDATE recon_case SET booked = $1, observed = $2 WHERE id = $3",
                params![text_of(booked)?, text_of(observed)?, id.as_bytes()],
            )?,
            Step::Gone { id } => {
                tx.execute("UPDATE recon_case SET gone_us = $1 WHERE id = $2", params![now, id.as_bytes()])?
            }
        };
    }
    Ok(steps.len())
}

/// A person says what a difference is. The same said again changes nothing.
pub fn case_settle(
    tx: &mut Tx<'_>,
    actor: &Actor,
    id: CaseId,
    settlement: Settlement,
    note: &str,
    now: UtcMicros,
) -> Result<Case, StoreError> {
    permit(actor, Act::CaseSettle)?;
    let case = case_show(tx, actor, id)?;
    if let Some(settled) = &case.settled {
        if (settled.what, settled.note.as_str()) == (settlement, note) {
            return Ok(case);
        }
        return Err(StoreError::Invalid(format!(
            "case {id} cannot be settled as {}: {} settled it as {} already",
            settlement.as_str(),
            settled.by,
            settled.what.as_str()
        )));
    }
    if let Some(gone_at) = case.gone_at {
        let sentence = format!("case {id} needs no settlement: the difference is gone since {gone_at}");
        return Err(StoreError::Invalid(sentence));
    }
    if settlement == Settlement::Other && note.is_empty() {
        return Err(StoreError::Invalid(format!(
            "note \"\" is not enough to settle case {id} as other: say in the note what it is"
        )));
    }
    tx.execute(
        "UPDATE recon_case SET settled_us = $1, settled_by = $2, settlement = $3, note = $4 WHERE id = $5",
        params![now, actor.label(), settlement.as_str(), note, id.as_bytes()],
    )?;
    let detail = json!({
        "set": case.set_id, "asset": case.asset_id, "item": case.item, "booked": case.booked,
        "observed": case.observed, "settlement": settlement, "note": note,
    });
    audit::append(tx, actor, "case.settle", &format!("case:{id}"), &detail, now)?;
    case_show(tx, actor, id)
}

/// One case.
pub fn case_show(tx: &mut Tx<'_>, actor: &Actor, id: CaseId) -> Result<Case, StoreError> {
    permit(actor, Act::LedgerRead)?;
    let scope = school_scope(actor, "c.school_id");
    tx.query_first(&format!("{CASE} WHERE c.id = $1 AND {scope}"), params![id.as_bytes()], case_of)?
        .ok_or_else(|| StoreError::NotFound { noun: "case", key: id.to_string() })
}

/// What is to be done with the cases of a set, by asset.
fn steps(tx: &mut Tx<'_>, set: SetId) -> Result<Vec<(AssetId, Step)>, StoreError> {
    let mut standing = standing_cases(tx, set)?;
    let mut steps = Vec::new();
    for booked in booked_beside_seen(tx, set)? {
        let asset = booked.asset.card.id;
        let cases = standing.remove(&asset).unwrap_or_default();
        let decided = reconciliation::decide(&booked.comparisons, &cases);
        steps.extend(decided.into_iter().map(|step| (asset, step)));
    }
    // What is left is about assets that are no part of the set any more.
    for (asset, cases) in standing {
        steps.extend(cases.into_iter().map(|case| (asset, Step::Gone { id: case.id })));
    }
    Ok(steps)
}

/// Each card of a set beside the machine that it is about.
fn booked_beside_seen(tx: &mut Tx<'_>, set: SetId) -> Result<Vec<BookedAsset>, StoreError> {
    let assets = assets_of_set(tx, set)?;
    let devices = observed(tx, set)?;
    let cards: Vec<Card> = assets.iter().map(|asset| asset.card.clone()).collect();
    let pairs = reconciliation::pair(&cards, &devices);
    let beside = |(asset, device): (Asset, Option<&Observed>)| BookedAsset {
        comparisons: reconciliation::compare(&asset.card, device),
        device_id: device.map(|device| device.device),
        asset,
    };
    Ok(assets.into_iter().zip(pairs).map(beside).collect())
}

/// The set's devices that may report, the one heard of last first.
fn observed(tx: &mut Tx<'_>, set: SetId) -> Result<Vec<Observed>, StoreError> {
    let facts = set_facts(tx, set)?;
    let mut devices = facts.map(|facts| facts.devices).unwrap_or_default();
    devices.retain(|device| device.standing == Standing::Active);
    devices.sort_by_key(|device| std::cmp::Reverse(device.last_contact));
    let seen = |device: DeviceFacts| Observed { device: device.id, snapshot: device.snapshot };
    Ok(devices.into_iter().map(seen).collect())
}

/// The set's cases that are not gone, by asset.
fn standing_cases(
    tx: &mut Tx<'_>,
    set: SetId,
) -> Result<BTreeMap<AssetId, Vec<reconciliation::Standing>>, StoreError> {
    let cases = tx.query(
        &format!("{CASE} WHERE c.set_id = $1 AND c.gone_us IS NULL ORDER BY c.id"),
        params![set.as_bytes()],
        case_of,
    )?;
    let mut standing: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for Case { id, asset_id, item, booked, observed, settled, .. } in cases {
        let case = reconciliation::Standing { id, item, booked, observed, settled: settled.is_some() };
        standing.entry(asset_id).or_default().push(case);
    }
    Ok(standing)
}

/// The id of a case that is opened now: in order of time, and the same when the operation is run again. One item
/// of one asset cannot open two cases in the same moment.
fn case_id(set: SetId, asset: AssetId, item: Item, now: UtcMicros) -> CaseId {
    let hash = Link::new("bbt case", ChainHash::START)
        .number(now.as_micros())
        .field(set.as_bytes())
        .field(asset.as_bytes())
        .field(item.as_str().as_bytes())
        .finish();
    let mut rest = [0; 10];
    rest.copy_from_slice(&hash.0[..10]);
    let millis = u64::try_from(now.as_micros() / 1_000).unwrap_or(0);
    CaseId::from_bytes(uuid::Builder::from_unix_timestamp_millis(millis, &rest).into_uuid().into_bytes())
}

const CASE: &str = "SELECT c.id, c.set_id, t.code, s.code, s.name, c.asset_id, a.asset_no, c.item, c.booked,
    c.observed, c.opened_us, c.settled_us, c.settled_by, c.settlement, c.note, c.gone_us
    FROM recon_case c JOIN device_set t ON t.id = c.set_id JOIN school s ON s.id = t.school_id
    LEFT JOIN asset a ON a.id = c.asset_id";

fn case_of(row: &Row<'_>) -> Result<Case, StoreError> {
    Ok(Case {
        id: CaseId::from_bytes(row.array(0, "a case's id")?),
        set_id: SetId::from_bytes(row.array(1, "a case's set")?),
        set_code: row.text(2)?,
        school_code: row.text(3)?,
        school_name: row.text(4)?,
        asset_id: AssetId::from_bytes(row.array(5, "a case's asset")?),
        asset_no: row.text_opt(6)?,
        item: Item::parse(&row.text(7)?).ok_or(StoreError::Damaged { what: "a case's item" })?,
        booked: measure_of(&row.text(8)?)?,
        observed: measure_of(&row.text(9)?)?,
        opened_at: row.time(10)?,
        settled: settled_of(row)?,
        gone_at: row.time_opt(15)?,
    })
}

fn settled_of(row: &Row<'_>) -> Result<Option<Settled>, StoreError> {
    let Some(at) = row.time_opt(11)? else { return Ok(None) };
    let what = row.text_opt(13)?.and_then(|word| Settlement::parse(&word));
    Ok(Some(Settled {
        at,
        by: row.text_opt(12)?.unwrap_or_default(),
        what: what.ok_or(StoreError::Damaged { what: "a case's settlement" })?,
        note: row.text_opt(14)?.unwrap_or_default(),
    }))
}

fn text_of(measure: &Measure) -> Result<String, StoreError> {
    serde_json::to_string(measure).map_err(|_| StoreError::Damaged { what: "a case's values" })
}

fn measure_of(text: &str) -> Result<Measure, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Damaged { what: "a case's values" })
}
