//! The ledger: entries are appended and read. Nothing here changes or removes one.
//!
//! Beside the chain of entries are two rows that say nothing of their own: the head, by which a cut-off end is
//! found, and the index `asset`, by which a card is found. [`ledger_verify`] holds both against the entries.

use bbt_domain::{
    access::{Act, Actor},
    chain::{Broken, ChainHash, Head, Linked, Verifier},
    civil::Day,
    facts::Problem,
    ids::{AssetId, SchoolId, SetId},
    ledger::{
        card::{self, Card, Posting},
        class::DepreciationRow,
        entry::{Change, Entry, Opening},
        fields::{AssetNo, FieldError, check_past},
    },
    time::UtcMicros,
};
use serde::Serialize;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::{
    Row, StoreError, Tx, audit,
    error::permit,
    params,
    scope::school_scope,
    sets::{SetRef, set_and_school},
};

/// Entries walked per query while verifying.
const VERIFY_PAGE: i64 = 1_000;

/// A card to be opened. Its id is the caller's: opened again with the same id, nothing is appended.
#[derive(Clone, Debug)]
pub struct NewAsset {
    /// The record.
    pub id: AssetId,
    /// What the card says.
    pub opening: Opening,
    /// The set that the asset is part of.
    pub set: Option<SetRef>,
}

/// A card with what is known around it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Asset {
    /// The card as of today.
    #[serde(flatten)]
    pub card: Card,
    /// The class's name; `None` for a code that is not in the table.
    pub class_name: Option<&'static str>,
    /// Whether name and depreciation stand in the published list.
    pub class_verified: bool,
    /// Row of the depreciation table.
    pub depreciation: Option<DepreciationRow>,
    /// 设备码 of the set.
    pub set_code: Option<String>,
    /// Code of the set's school.
    pub school_code: Option<String>,
    /// Name of the set's school.
    pub school_name: Option<String>,
    /// Why something is unknown.
    pub problems: Vec<Problem>,
}

/// A card and the entries that it is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AssetFile {
    /// The card as of today.
    #[serde(flatten)]
    pub asset: Asset,
    /// In order of their numbers.
    pub entries: Vec<EntryLine>,
}

/// One entry as people look at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EntryLine {
    /// Its number in the ledger.
    pub no: i64,
    /// When it was appended.
    pub at: UtcMicros,
    /// By whom.
    pub actor: String,
    /// From which day on it holds.
    pub effective_on: Day,
    /// What it says.
    #[serde(flatten)]
    pub change: Change,
    /// By which the next one is bound to it, in hex.
    pub hash: String,
}

/// A ledger that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Its entries and the hash of the last. Written down elsewhere, it proves later what the ledger said now.
    pub head: Head,
    /// Cards in the index, each as its entries have it.
    pub assets: i64,
}

/// A ledger that is not whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerFault {
    /// The chain of entries breaks.
    #[error(transparent)]
    Chain(#[from] Broken),
    /// The index says of an asset what its entries do not say.
    #[error("asset {no:?} ({id}) differs from its entries: {what}")]
    Index {
        /// The asset.
        id: AssetId,
        /// Its number.
        no: String,
        /// What differs.
        what: &'static str,
    },
}

/// Opens a card.
pub fn asset_add(
    tx: &mut Tx<'_>,
    actor: &Actor,
    new: &NewAsset,
    now: UtcMicros,
) -> Result<Asset, StoreError> {
    permit(actor, Act::LedgerWrite)?;
    new.opening.check(Day::of(now))?;
    let asset_no = &new.opening.asset_no;
    let (set, school) = new.set.map(|set| set_and_school(tx, actor, set)).transpose()?.unzip();
    let wish = Wish {
        request: Uuid::from_bytes(*new.id.as_bytes()),
        asset: new.id,
        school,
        effective_on: new.opening.booked_on(),
        change: Change::CardOpened { card: Box::new(new.opening.clone()), set },
    };
    if !wish.was_done(tx)? {
        // A number is taken whoever may see its card.
        let sql = "SELECT id FROM asset WHERE asset_no = $1";
        if tx.query_first(sql, params![asset_no.as_str()], asset_id)?.is_some() {
            return Err(StoreError::Exists { noun: "asset", key: asset_no.as_str().to_owned() });
        }
        let entry = append(tx, actor, &wish, now)?;
        entry.note(tx, actor, "asset.add", asset_no, now)?;
    }
    asset_by_no(tx, actor, asset_no)
}

/// Makes an asset part of another set from a day on, or of none.
pub fn asset_bind(
    tx: &mut Tx<'_>,
    actor: &Actor,
    request: Uuid,
    asset_no: &AssetNo,
    set: Option<SetRef>,
    effective_on: Day,
    now: UtcMicros,
) -> Result<Asset, StoreError> {
    permit(actor, Act::LedgerWrite)?;
    check_past("effective", effective_on, Day::of(now))?;
    let asset = asset_by_no(tx, actor, asset_no)?;
    if effective_on < asset.card.booked_on {
        return Err(StoreError::Invalid(format!(
            "effective date {effective_on} is not possible: asset {asset_no} is in the books from {} on",
            asset.card.booked_on
        )));
    }
    let (set, school) = set.map(|set| set_and_school(tx, actor, set)).transpose()?.unzip();
    let wish =
        Wish { request, asset: asset.card.id, school, effective_on, change: Change::CardBound { set } };
    if !wish.was_done(tx)? {
        let entry = append(tx, actor, &wish, now)?;
        entry.note(tx, actor, "asset.bind", asset_no, now)?;
    }
    asset_by_no(tx, actor, asset_no)
}

/// Takes an entry back from a day on; the card as it is then, `None` when it was its opening that was wrong.
pub fn entry_reverse(
    tx: &mut Tx<'_>,
    actor: &Actor,
    request: Uuid,
    no: i64,
    reason: &str,
    effective_on: Day,
    now: UtcMicros,
) -> Result<Option<Asset>, StoreError> {
    permit(actor, Act::LedgerWrite)?;
    check_past("effective", effective_on, Day::of(now))?;
    let scope = school_scope(actor, "school_id");
    let sql = format!("SELECT asset_id FROM ledger_entry WHERE no = $1 AND {scope}");
    let found = tx.query_first(&sql, params![no], asset_id)?;
    let asset = found.ok_or_else(|| StoreError::NotFound { noun: "ledger entry", key: no.to_string() })?;
    let postings = postings(tx, asset)?;
    let school = card::latest(asset, &postings).and_then(|card| card.school);
    let change = Change::Reversed { entry: no, reason: reason.to_owned() };
    let wish = Wish { request, asset, school, effective_on, change };
    if !wish.was_done(tx)? {
        card::check_reversal(&postings, no, effective_on)
            .map_err(|error| StoreError::Invalid(error.to_string()))?;
        let entry = append(tx, actor, &wish, now)?;
        let asset_no = opening_of(&postings).map(|opening| &opening.asset_no);
        let asset_no = asset_no.ok_or(StoreError::Damaged { what: "a card without an opening" })?;
        entry.note(tx, actor, "ledger.reverse", asset_no, now)?;
    }
    card_of(tx, asset)?.map(|card| dress(tx, card)).transpose()
}

/// Cards in order of their numbers, after `after`.
pub fn asset_list(
    tx: &mut Tx<'_>,
    actor: &Actor,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Asset>, StoreError> {
    permit(actor, Act::LedgerRead)?;
    let scope = school_scope(actor, "school_id");
    let ids = tx.query(
        &format!("SELECT id FROM asset WHERE asset_no > $1 AND {scope} ORDER BY asset_no LIMIT $2"),
        params![after.unwrap_or(""), limit as i64],
        asset_id,
    )?;
    assets(tx, ids)
}

/// Cards of the assets that are part of `set` today.
pub(crate) fn assets_of_set(tx: &mut Tx<'_>, set: SetId) -> Result<Vec<Asset>, StoreError> {
    let sql = "SELECT id FROM asset WHERE set_id = $1 ORDER BY asset_no";
    let ids = tx.query(sql, params![set.as_bytes()], asset_id)?;
    assets(tx, ids)
}

/// A card and its entries.
pub fn asset_show(tx: &mut Tx<'_>, actor: &Actor, asset_no: &AssetNo) -> Result<AssetFile, StoreError> {
    permit(actor, Act::LedgerRead)?;
    let asset = asset_by_no(tx, actor, asset_no)?;
    let entries = tx.query(
        &format!("{ENTRY} WHERE asset_id = $1 ORDER BY no"),
        params![asset.card.id.as_bytes()],
        |row| {
            let entry = entry_of(row)?;
            let change = change_of(&entry)?;
            let Entry { no, at, actor, effective_on, .. } = entry;
            Ok(EntryLine { no, at, actor, effective_on, change, hash: hash_of(row)?.to_hex() })
        },
    )?;
    Ok(AssetFile { asset, entries })
}

/// Walks the chain, and holds head and index against it.
pub fn ledger_verify(tx: &mut Tx<'_>, actor: &Actor) -> Result<Result<Verified, LedgerFault>, StoreError> {
    permit(actor, Act::LedgerRead)?;
    match chain_verify(tx)? {
        Ok(head) => Ok(index_verify(tx)?.map(|assets| Verified { head, assets })),
        Err(broken) => Ok(Err(broken.into())),
    }
}

fn chain_verify(tx: &mut Tx<'_>) -> Result<Result<Head, Broken>, StoreError> {
    let mut verifier = Verifier::default();
    // From below every number, so that a row put before the first is seen too.
    let mut after = i64::MIN;
    loop {
        let page = tx.query(
            &format!("{ENTRY} WHERE no > $1 ORDER BY no LIMIT $2"),
            params![after, VERIFY_PAGE],
            // A row that cannot even be read is a changed one, and has to be named too.
            |row| Ok((row.int(0)?, entry_of(row).ok().zip(hash_of(row).ok()))),
        )?;
        let Some(&(last, _)) = page.last() else { break };
        for (no, row) in page {
            let taken = verifier.follows::<Entry>(no).and_then(|()| match row {
                Some((entry, hash)) => verifier.next(&entry, hash),
                None => Err(Broken::Changed { noun: Entry::NOUN, no }),
            });
            if let Err(broken) = taken {
                return Ok(Err(broken));
            }
        }
        after = last;
    }
    Ok(verifier.finish::<Entry>(head(tx)?))
}

/// The number of cards in the index, or the first that is not what its entries say.
fn index_verify(tx: &mut Tx<'_>) -> Result<Result<i64, LedgerFault>, StoreError> {
    let ids = tx.query(
        "SELECT asset_id FROM ledger_entry UNION SELECT id FROM asset ORDER BY 1",
        params![],
        asset_id,
    )?;
    let mut assets = 0;
    for id in ids {
        let indexed = tx.query_first(
            "SELECT asset_no, set_id, school_id FROM asset WHERE id = $1",
            params![id.as_bytes()],
            |row| Ok((row.text(0)?, row.bytes_opt(1)?, row.bytes_opt(2)?)),
        )?;
        let card = card_of(tx, id)?;
        let fault = |no: &str, what| Ok(Err(LedgerFault::Index { id, no: no.to_owned(), what }));
        match (&indexed, &card) {
            (None, None) => {}
            (Some((no, ..)), None) => return fault(no, "they say that there is no such card"),
            (None, Some(card)) => {
                return fault(card.asset_no.as_str(), "it is missing from the index of cards");
            }
            (Some((no, set, school)), Some(card)) => {
                assets += 1;
                if no != card.asset_no.as_str() {
                    return fault(no, "they have another number");
                }
                let bytes = |id: &[u8; 16]| id.to_vec();
                if *set != card.set.map(|set| bytes(set.as_bytes()))
                    || *school != card.school.map(|school| bytes(school.as_bytes()))
                {
                    return fault(no, "they have it in another set");
                }
            }
        }
    }
    Ok(Ok(assets))
}

/// An entry that is asked for.
struct Wish {
    request: Uuid,
    asset: AssetId,
    school: Option<SchoolId>,
    effective_on: Day,
    change: Change,
}

impl Wish {
    /// Whether the same was asked for before, and appended. The same id for something else is refused.
    fn was_done(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        let sql = format!("{ENTRY} WHERE request = $1");
        let Some(entry) = tx.query_first(&sql, params![self.request.as_bytes()], entry_of)? else {
            return Ok(false);
        };
        let same = entry.asset == self.asset
            && entry.effective_on == self.effective_on
            && entry.kind == self.change.kind()
            && entry.body == body_of(&self.change)?;
        if same {
            return Ok(true);
        }
        Err(StoreError::Invalid(format!(
            "request {} is entry {} already, which says something else: take a new id for a new request",
            self.request, entry.no
        )))
    }
}

/// An entry that was just appended.
struct Appended {
    no: i64,
    hash: ChainHash,
}

impl Appended {
    /// Tells the audit, which by this holds the ledger's hashes too.
    fn note(
        &self,
        tx: &mut Tx<'_>,
        actor: &Actor,
        action: &str,
        asset_no: &AssetNo,
        now: UtcMicros,
    ) -> Result<(), StoreError> {
        let detail = json!({"entry": self.no, "hash": self.hash.to_hex()});
        audit::append(tx, actor, action, &format!("asset:{asset_no}"), &detail, now)
    }
}

/// Appends an entry, moves the head, and brings the index up to date.
fn append(tx: &mut Tx<'_>, actor: &Actor, wish: &Wish, now: UtcMicros) -> Result<Appended, StoreError> {
    let head = head(tx)?;
    let entry = Entry {
        no: head.rows + 1,
        request: wish.request,
        at: now,
        actor: actor.label(),
        school: wish.school,
        asset: wish.asset,
        kind: wish.change.kind().to_owned(),
        effective_on: wish.effective_on,
        body: body_of(&wish.change)?,
    };
    let hash = entry.chain(head.hash);
    tx.execute(
        "INSERT INTO ledger_entry (no, request, at_us, actor, school_id, asset_id, kind, effective_day, body, hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        params![
            entry.no,
            entry.request.as_bytes(),
            entry.at,
            &entry.actor,
            entry.school.as_ref().map(SchoolId::as_bytes),
            entry.asset.as_bytes(),
            &entry.kind,
            entry.effective_on.number(),
            &entry.body,
            &hash.0
        ],
    )?;
    tx.execute(
        "INSERT INTO ledger_head (id, entries, hash) VALUES (1, $1, $2)
         ON CONFLICT (id) DO UPDATE SET entries = excluded.entries, hash = excluded.hash",
        params![entry.no, &hash.0],
    )?;
    index(tx, wish.asset)?;
    Ok(Appended { no: entry.no, hash })
}

/// Makes the index say of `asset` what its entries say.
fn index(tx: &mut Tx<'_>, asset: AssetId) -> Result<(), StoreError> {
    let Some(card) = card_of(tx, asset)? else {
        tx.execute("DELETE FROM asset WHERE id = $1", params![asset.as_bytes()])?;
        return Ok(());
    };
    tx.execute(
        "INSERT INTO asset (id, asset_no, set_id, school_id) VALUES ($1, $2, $3, $4)
         ON CONFLICT (id) DO UPDATE SET set_id = excluded.set_id, school_id = excluded.school_id",
        params![
            asset.as_bytes(),
            card.asset_no.as_str(),
            card.set.as_ref().map(SetId::as_bytes),
            card.school.as_ref().map(SchoolId::as_bytes)
        ],
    )?;
    Ok(())
}

/// Where the chain ended when its last entry was appended.
fn head(tx: &mut Tx<'_>) -> Result<Head, StoreError> {
    let kept = tx.query_first("SELECT entries, hash FROM ledger_head WHERE id = 1", params![], |row| {
        Ok(Head { rows: row.int(0)?, hash: ChainHash(row.array(1, "the ledger's head")?) })
    })?;
    Ok(kept.unwrap_or(Head::START))
}

fn asset_by_no(tx: &mut Tx<'_>, actor: &Actor, asset_no: &AssetNo) -> Result<Asset, StoreError> {
    let absent = || StoreError::NotFound { noun: "asset", key: asset_no.as_str().to_owned() };
    let scope = school_scope(actor, "school_id");
    let sql = format!("SELECT id FROM asset WHERE asset_no = $1 AND {scope}");
    let id = tx.query_first(&sql, params![asset_no.as_str()], asset_id)?.ok_or_else(absent)?;
    let card = card_of(tx, id)?.ok_or_else(absent)?;
    dress(tx, card)
}

/// A card with what is known around it.
fn dress(tx: &mut Tx<'_>, card: Card) -> Result<Asset, StoreError> {
    let place = card.set.map(|set| {
        tx.query_first(
            "SELECT d.code, s.code, s.name FROM device_set d JOIN school s ON s.id = d.school_id WHERE d.id = $1",
            params![set.as_bytes()],
            |row| Ok((row.text(0)?, row.text(1)?, row.text(2)?)),
        )
    });
    let place = place.transpose()?.flatten();
    let (set_code, school_code, school_name) = match place {
        Some((set, code, name)) => (Some(set), Some(code), Some(name)),
        None => (None, None, None),
    };
    let known = card.class.known();
    let unknown = known.is_none().then(|| Problem {
        item: "class_name".to_owned(),
        code: "not_in_table".to_owned(),
        message: format!("The class {} is well formed, but not in the table of known ones.", card.class),
    });
    Ok(Asset {
        class_name: known.map(|known| known.name),
        class_verified: known.is_some_and(|known| known.verified),
        depreciation: known.map(|known| known.depreciation),
        set_code,
        school_code,
        school_name,
        problems: unknown.into_iter().collect(),
        card,
    })
}

fn assets(tx: &mut Tx<'_>, ids: Vec<AssetId>) -> Result<Vec<Asset>, StoreError> {
    let mut assets = Vec::with_capacity(ids.len());
    for id in ids {
        if let Some(card) = card_of(tx, id)? {
            assets.push(dress(tx, card)?);
        }
    }
    Ok(assets)
}

fn card_of(tx: &mut Tx<'_>, asset: AssetId) -> Result<Option<Card>, StoreError> {
    Ok(card::latest(asset, &postings(tx, asset)?))
}

fn postings(tx: &mut Tx<'_>, asset: AssetId) -> Result<Vec<Posting>, StoreError> {
    tx.query(&format!("{ENTRY} WHERE asset_id = $1 ORDER BY no"), params![asset.as_bytes()], |row| {
        let entry = entry_of(row)?;
        let change = change_of(&entry)?;
        Ok(Posting { no: entry.no, school: entry.school, effective_on: entry.effective_on, change })
    })
}

fn opening_of(postings: &[Posting]) -> Option<&Opening> {
    postings.iter().find_map(|posting| match &posting.change {
        Change::CardOpened { card, .. } => Some(card.as_ref()),
        _ => None,
    })
}

const ENTRY: &str = "SELECT no, request, at_us, actor, school_id, asset_id, kind, effective_day, body, hash
    FROM ledger_entry";

fn entry_of(row: &Row<'_>) -> Result<Entry, StoreError> {
    let school = row.array_opt(4, "an entry's school")?.map(SchoolId::from_bytes);
    Ok(Entry {
        no: row.int(0)?,
        request: Uuid::from_bytes(row.array(1, "an entry's request")?),
        at: row.time(2)?,
        actor: row.text(3)?,
        school,
        asset: AssetId::from_bytes(row.array(5, "an entry's asset")?),
        kind: row.text(6)?,
        effective_on: Day::from_number(row.int(7)?),
        body: row.text(8)?,
    })
}

fn hash_of(row: &Row<'_>) -> Result<ChainHash, StoreError> {
    Ok(ChainHash(row.array(9, "an entry's hash")?))
}

fn asset_id(row: &Row<'_>) -> Result<AssetId, StoreError> {
    Ok(AssetId::from_bytes(row.array(0, "an asset's id")?))
}

/// What an entry says, as it is stored: keys in order, no blanks.
fn body_of(change: &Change) -> Result<String, StoreError> {
    let tagged = serde_json::to_value(change).map_err(|_| StoreError::Damaged { what: "an entry's body" })?;
    Ok(tagged["body"].to_string())
}

fn change_of(entry: &Entry) -> Result<Change, StoreError> {
    let damaged = |_| StoreError::Damaged { what: "an entry's body" };
    let body: Json = serde_json::from_str(&entry.body).map_err(damaged)?;
    serde_json::from_value(json!({"kind": entry.kind, "body": body})).map_err(damaged)
}

impl From<FieldError> for StoreError {
    fn from(error: FieldError) -> Self {
        Self::Invalid(error.to_string())
    }
}
