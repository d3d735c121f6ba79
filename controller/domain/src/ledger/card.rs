//! A card: what the entries of one asset say on a date.
//!
//! Entries hold from their own day on, whenever they were appended, so a card can be asked for any day. Of two
//! entries of one day the later one rules.

use serde::Serialize;

use super::{
    class::ClassCode,
    entry::{Change, Opening},
    fields::{AssetNo, SerialNumber, Specification},
};
use crate::{
    civil::Day,
    ids::{AssetId, SchoolId, SetId},
    money::Money,
};

/// What of an entry matters to a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    /// The entry's number.
    pub no: i64,
    /// The school that it concerns.
    pub school: Option<SchoolId>,
    /// From which day on it holds.
    pub effective_on: Day,
    /// What it says.
    pub change: Change,
}

/// A card on a date. An unknown field is `None`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Card {
    /// The asset.
    pub id: AssetId,
    /// 资产编号.
    pub asset_no: AssetNo,
    /// 资产名称.
    pub name: String,
    /// 资产分类代码.
    #[serde(flatten)]
    pub class: ClassCode,
    /// 原值.
    pub cost_fen: Money,
    /// 取得日期.
    pub acquired_on: Day,
    /// 投入使用日期.
    pub put_to_use_on: Day,
    /// 入账日期.
    pub booked_on: Day,
    /// 出厂编号.
    pub serial: Option<SerialNumber>,
    /// 规格.
    #[serde(flatten)]
    pub specification: Specification,
    /// The set that the asset is part of.
    #[serde(rename = "set_id")]
    pub set: Option<SetId>,
    /// The school of that set.
    #[serde(rename = "school_id")]
    pub school: Option<SchoolId>,
}

impl Card {
    fn open(id: AssetId, opening: Opening, set: Option<SetId>, school: Option<SchoolId>) -> Self {
        Self {
            id,
            put_to_use_on: opening.put_to_use_on.unwrap_or(opening.acquired_on),
            booked_on: opening.booked_on(),
            asset_no: opening.asset_no,
            name: opening.name,
            class: opening.class,
            cost_fen: opening.cost_fen,
            acquired_on: opening.acquired_on,
            serial: opening.serial,
            specification: opening.specification,
            set,
            school,
        }
    }
}

/// Why an entry cannot be reversed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReversalError {
    /// The asset has no such entry.
    #[error("entry {0} cannot be reversed: this asset has no entry of that number")]
    Absent(i64),
    /// It was reversed before.
    #[error("entry {0} cannot be reversed: entry {1} reversed it already")]
    Already(i64, i64),
    /// It is a reversal.
    #[error("entry {0} cannot be reversed: it is itself a reversal; append again what it took back")]
    Reversal(i64),
    /// The day is before the entry's own.
    #[error("entry {entry} cannot be reversed from {found} on: it holds only from {from} on")]
    Before {
        /// The entry.
        entry: i64,
        /// The day given.
        found: Day,
        /// The entry's.
        from: Day,
    },
}

/// The card of `asset` on `date`, from its entries; `None` when it had none then.
pub fn on(asset: AssetId, postings: &[Posting], date: Day) -> Option<Card> {
    let held: Vec<&Posting> = postings.iter().filter(|posting| posting.effective_on <= date).collect();
    let reversed = |no: i64| held.iter().any(|posting| reverses(posting) == Some(no));
    let mut counting: Vec<&Posting> = held.iter().copied().filter(|posting| !reversed(posting.no)).collect();
    counting.sort_by_key(|posting| (posting.effective_on, posting.no));

    let mut card = None;
    for posting in counting {
        match &posting.change {
            Change::CardOpened { card: opening, set } => {
                card = Some(Card::open(asset, opening.as_ref().clone(), *set, posting.school));
            }
            Change::CardBound { set } => {
                if let Some(card) = &mut card {
                    card.set = *set;
                    card.school = posting.school;
                }
            }
            Change::Reversed { .. } => {}
        }
    }
    card
}

/// The card as the whole of its entries has it. No entry holds only from a later day, so this is today's.
pub fn latest(asset: AssetId, postings: &[Posting]) -> Option<Card> {
    let last = postings.iter().map(|posting| posting.effective_on).max()?;
    on(asset, postings, last)
}

/// Whether entry `no` can be reversed from `day` on.
pub fn check_reversal(postings: &[Posting], no: i64, day: Day) -> Result<(), ReversalError> {
    let entry = postings.iter().find(|posting| posting.no == no).ok_or(ReversalError::Absent(no))?;
    if reverses(entry).is_some() {
        return Err(ReversalError::Reversal(no));
    }
    if let Some(before) = postings.iter().find(|posting| reverses(posting) == Some(no)) {
        return Err(ReversalError::Already(no, before.no));
    }
    if day < entry.effective_on {
        return Err(ReversalError::Before { entry: no, found: day, from: entry.effective_on });
    }
    Ok(())
}

/// The number of the entry that this one takes back.
fn reverses(posting: &Posting) -> Option<i64> {
    match posting.change {
        Change::Reversed { entry, .. } => Some(entry),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASSET: AssetId = AssetId::from_bytes([1; 16]);

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    fn set(n: u8) -> Option<SetId> {
        Some(SetId::from_bytes([n; 16]))
    }

    fn opened(no: i64, cost: i64, on: &str, of: Option<SetId>) -> Posting {
        let opening = Opening {
            asset_no: "ZC-1".parse().unwrap(),
            name: "台式电脑".into(),
            class: "A02010105@2022".parse().unwrap(),
            cost_fen: Money::from_fen(cost),
            acquired_on: day(on),
            put_to_use_on: None,
            booked_on: None,
            serial: None,
            specification: Specification::default(),
        };
        posting(no, on, Change::CardOpened { card: Box::new(opening), set: of })
    }

    fn posting(no: i64, on: &str, change: Change) -> Posting {
        Posting { no, school: None, effective_on: day(on), change }
    }

    fn reversed(no: i64, on: &str, entry: i64) -> Posting {
        posting(no, on, Change::Reversed { entry, reason: "typed wrongly".into() })
    }

    fn set_on(postings: &[Posting], on_day: &str) -> Option<Option<SetId>> {
        on(ASSET, postings, day(on_day)).map(|card| card.set)
    }

    #[test]
    fn a_card_is_what_its_entries_say_on_a_date() {
        let entries = [
            opened(1, 350_000, "2024-10-31", set(1)),
            posting(4, "2025-03-10", Change::CardBound { set: set(2) }),
            posting(9, "2025-09-01", Change::CardBound { set: None }),
        ];
        assert_eq!(set_on(&entries, "2024-10-30"), None, "not in the books yet");
        assert_eq!(set_on(&entries, "2024-10-31"), Some(set(1)));
        assert_eq!(set_on(&entries, "2025-03-10"), Some(set(2)));
        assert_eq!(set_on(&entries, "2025-08-31"), Some(set(2)));
        assert_eq!(set_on(&entries, "2025-09-01"), Some(None));
        assert_eq!(latest(ASSET, &entries), on(ASSET, &entries, day("2099-01-01")));
    }

    #[test]
    fn an_entry_appended_late_holds_from_its_own_day() {
        let entries = [
            opened(1, 350_000, "2024-10-31", set(1)),
            posting(2, "2025-09-01", Change::CardBound { set: set(3) }),
            posting(7, "2025-03-10", Change::CardBound { set: set(2) }),
        ];
        assert_eq!(set_on(&entries, "2025-04-01"), Some(set(2)));
        assert_eq!(set_on(&entries, "2025-09-01"), Some(set(3)));
    }

    #[test]
    fn a_reversed_entry_counts_as_never_made_from_the_day_of_the_reversal() {
        let entries = [
            opened(1, 350_000, "2024-10-31", set(1)),
            posting(2, "2025-03-10", Change::CardBound { set: set(2) }),
            reversed(3, "2025-04-01", 2),
        ];
        assert_eq!(set_on(&entries, "2025-03-31"), Some(set(2)), "the books of that day stay what they were");
        assert_eq!(set_on(&entries, "2025-04-01"), Some(set(1)));
        let gone = [opened(1, 35, "2024-10-31", None), reversed(2, "2024-11-02", 1)];
        assert!(on(ASSET, &gone, day("2024-11-01")).is_some());
        assert_eq!(latest(ASSET, &gone), None);
    }

    #[test]
    fn what_was_opened_anew_after_a_reversal_counts() {
        let entries = [
            opened(1, 35, "2024-10-31", None),
            reversed(2, "2024-11-02", 1),
            opened(3, 350_000, "2024-10-31", None),
        ];
        let cost = |text| on(ASSET, &entries, day(text)).map(|card| card.cost_fen.fen());
        assert_eq!(cost("2024-11-02"), Some(350_000));
    }

    #[test]
    fn an_entry_is_reversed_once_and_a_reversal_never() {
        let entries = [opened(1, 35, "2024-10-31", None), reversed(2, "2024-11-02", 1)];
        let of = |no, on_day| check_reversal(&entries, no, day(on_day));
        assert_eq!(of(1, "2024-11-03"), Err(ReversalError::Already(1, 2)));
        assert_eq!(of(2, "2024-11-03"), Err(ReversalError::Reversal(2)));
        assert_eq!(of(5, "2024-11-03"), Err(ReversalError::Absent(5)));
        let early = check_reversal(&entries[..1], 1, day("2024-10-30"));
        assert!(matches!(early, Err(ReversalError::Before { entry: 1, .. })), "{early:?}");
        assert_eq!(check_reversal(&entries[..1], 1, day("2024-10-31")), Ok(()));
    }
}
