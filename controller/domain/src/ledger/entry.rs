//! One entry of the ledger: what it says, and how it is bound to the one before.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    class::ClassCode,
    fields::{AssetNo, FieldError, SerialNumber, Specification, check_cost, check_past},
};
use crate::{
    chain::{ChainHash, Link, Linked},
    civil::Day,
    ids::{AssetId, SchoolId, SetId},
    money::Money,
    time::UtcMicros,
};

/// One entry as it is stored. There is no way to change or remove one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// 1, 2, 3 … without holes.
    pub no: i64,
    /// The caller's id of what it asked for: asked again, nothing is appended.
    pub request: Uuid,
    /// When it was appended, on the controller's clock.
    pub at: UtcMicros,
    /// [`crate::access::Actor::label`].
    pub actor: String,
    /// The school that it concerns, as of then.
    #[serde(rename = "school_id")]
    pub school: Option<SchoolId>,
    /// Which card it is about.
    #[serde(rename = "asset_id")]
    pub asset: AssetId,
    /// [`Change::kind`].
    pub kind: String,
    /// From which day on it holds.
    pub effective_on: Day,
    /// What it says: JSON with keys in order and without blanks.
    pub body: String,
}

impl Linked for Entry {
    const NOUN: &'static str = "ledger entry";

    fn no(&self) -> i64 {
        self.no
    }

    fn chain(&self, previous: ChainHash) -> ChainHash {
        let school = self.school.as_ref().map_or(&[][..], |school| school.as_bytes());
        Link::new("bbt ledger v1", previous)
            .number(self.no)
            .field(self.request.as_bytes())
            .number(self.at.as_micros())
            .field(self.actor.as_bytes())
            .field(school)
            .field(self.asset.as_bytes())
            .field(self.kind.as_bytes())
            .number(self.effective_on.number())
            .field(self.body.as_bytes())
            .finish()
    }
}

/// What an entry says. Kinds are only ever added, and so are fields, which are then optional.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "body", rename_all = "snake_case")]
pub enum Change {
    /// A card is opened.
    CardOpened {
        /// What it says.
        #[serde(flatten)]
        card: Box<Opening>,
        /// The set that the asset is part of.
        set: Option<SetId>,
    },
    /// The asset becomes part of another set, or of none.
    CardBound {
        /// The set.
        set: Option<SetId>,
    },
    /// An entry was a mistake: from this one's day on it counts as never made.
    Reversed {
        /// Its number.
        entry: i64,
        /// Why.
        reason: String,
    },
}

impl Change {
    /// The word stored and shown in JSON.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::CardOpened { .. } => "card_opened",
            Self::CardBound { .. } => "card_bound",
            Self::Reversed { .. } => "reversed",
        }
    }
}

/// What a card says when it is opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
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
    /// 投入使用日期, where it is another.
    pub put_to_use_on: Option<Day>,
    /// 入账日期, where it is another.
    pub booked_on: Option<Day>,
    /// 出厂编号.
    pub serial: Option<SerialNumber>,
    /// 规格.
    #[serde(flatten)]
    pub specification: Specification,
}

impl Opening {
    /// Refuses what no card can say `today`.
    pub fn check(&self, today: Day) -> Result<(), FieldError> {
        check_cost(self.cost_fen)?;
        check_past("acquisition", self.acquired_on, today)?;
        self.put_to_use_on.map_or(Ok(()), |day| check_past("put-to-use", day, today))?;
        self.booked_on.map_or(Ok(()), |day| check_past("booking", day, today))
    }

    /// The day from which the card is in the books.
    pub fn booked_on(&self) -> Day {
        self.booked_on.unwrap_or(self.acquired_on)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chain::{Broken, Head, Verifier};

    const NOUN: &str = Entry::NOUN;

    type Chain = Vec<(Entry, ChainHash)>;

    fn entry(no: i64) -> Entry {
        Entry {
            no,
            request: Uuid::from_u128(no as u128),
            at: UtcMicros::from_secs(1_790_000_000 + no),
            actor: "user:admin".into(),
            school: (no % 3 != 0).then(|| SchoolId::from_bytes([no as u8; 16])),
            asset: AssetId::from_bytes([no as u8; 16]),
            kind: "card_bound".into(),
            effective_on: Day::from_number(20_000 + no),
            body: format!("{{\"set\":{no}}}"),
        }
    }

    /// Binds the rows from `from` on to those before, as whoever writes the chain does.
    fn bind(chain: &mut Chain, from: usize) -> Head {
        for at in from..chain.len() {
            let previous = if at == 0 { ChainHash::START } else { chain[at - 1].1 };
            chain[at].1 = chain[at].0.chain(previous);
        }
        chain.last().map_or(Head::START, |(entry, hash)| Head { rows: entry.no, hash: *hash })
    }

    fn chain(length: usize) -> (Chain, Head) {
        let mut chain: Chain = (1..=length as i64).map(|no| (entry(no), ChainHash::START)).collect();
        let head = bind(&mut chain, 0);
        (chain, head)
    }

    fn verify(chain: &Chain, kept: Head) -> Result<Head, Broken> {
        let mut verifier = Verifier::default();
        chain.iter().try_for_each(|(entry, hash)| verifier.next(entry, *hash))?;
        verifier.finish::<Entry>(kept)
    }

    /// A hand in the file.
    #[derive(Clone, Debug)]
    enum Tampering {
        /// One field of a row.
        Field(usize, u8),
        /// One bit of a row's hash.
        Hash(usize, u8),
        /// A row is removed.
        Remove(usize),
        /// Two rows change places, each with its number.
        Swap(usize, usize),
        /// The contents of two rows change places, the numbers stay.
        Exchange(usize, usize),
        /// A row is changed, and all hashes from there on are made anew.
        Rewrite(usize),
        /// A row with a good hash is put at the end.
        Append,
    }

    fn tampering() -> impl Strategy<Value = Tampering> {
        let row = 0_usize..64;
        prop_oneof![
            (row.clone(), 0_u8..8).prop_map(|(row, field)| Tampering::Field(row, field)),
            (row.clone(), 0_u8..=255).prop_map(|(row, bit)| Tampering::Hash(row, bit)),
            row.clone().prop_map(Tampering::Remove),
            (row.clone(), row.clone()).prop_map(|(one, other)| Tampering::Swap(one, other)),
            (row.clone(), row.clone()).prop_map(|(one, other)| Tampering::Exchange(one, other)),
            row.prop_map(Tampering::Rewrite),
            Just(Tampering::Append),
        ]
    }

    fn change_field(entry: &mut Entry, field: u8) {
        match field {
            0 => entry.request = Uuid::from_u128(u128::MAX),
            1 => entry.at = entry.at.plus(std::time::Duration::from_micros(1)),
            2 => entry.actor.push('x'),
            3 => entry.school = entry.school.map_or(Some(SchoolId::from_bytes([0; 16])), |_| None),
            4 => entry.asset = AssetId::from_bytes([0xff; 16]),
            5 => entry.kind.push('x'),
            6 => entry.effective_on = entry.effective_on.next(),
            _ => entry.body = entry.body.replace("set", "tes"),
        }
    }

    /// Does it, and says what has to be found; `None` when nothing was changed by it.
    fn tamper(chain: &mut Chain, head: Head, tampering: &Tampering) -> Option<Broken> {
        let length = chain.len();
        let no = |row: usize| row as i64 + 1;
        match *tampering {
            Tampering::Field(row, field) => {
                change_field(&mut chain[row % length].0, field);
                Some(Broken::Changed { noun: NOUN, no: no(row % length) })
            }
            Tampering::Hash(row, bit) => {
                chain[row % length].1.0[usize::from(bit / 8)] ^= 1 << (bit % 8);
                Some(Broken::Changed { noun: NOUN, no: no(row % length) })
            }
            Tampering::Remove(row) => {
                let row = row % length;
                chain.remove(row);
                Some(if row + 1 == length {
                    Broken::CutOff { noun: NOUN, expected: no(row), last: head.rows }
                } else {
                    Broken::Hole { noun: NOUN, expected: no(row), found: no(row) + 1 }
                })
            }
            Tampering::Swap(one, other) => {
                let (first, second) =
                    ((one % length).min(other % length), (one % length).max(other % length));
                chain.swap(first, second);
                let found = Broken::Hole { noun: NOUN, expected: no(first), found: no(second) };
                (first != second).then_some(found)
            }
            Tampering::Exchange(one, other) => {
                let (first, second) =
                    ((one % length).min(other % length), (one % length).max(other % length));
                chain.swap(first, second);
                chain[first].0.no = no(first);
                chain[second].0.no = no(second);
                (first != second).then_some(Broken::Changed { noun: NOUN, no: no(first) })
            }
            Tampering::Rewrite(row) => {
                chain[row % length].0.body.push(' ');
                bind(chain, row % length);
                Some(Broken::Rewritten { noun: NOUN, no: head.rows })
            }
            Tampering::Append => {
                chain.push((entry(head.rows + 1), ChainHash::START));
                bind(chain, length);
                Some(Broken::Foreign { noun: NOUN, no: head.rows + 1 })
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]
        /// reliability.md 4: every tampering is found, and the first bad row is named.
        #[test]
        fn every_tampering_is_found_and_the_first_bad_entry_named(
            length in 1_usize..9,
            tampering in tampering(),
        ) {
            let (mut chain, head) = chain(length);
            prop_assert_eq!(verify(&chain, head), Ok(head));
            match tamper(&mut chain, head, &tampering) {
                Some(broken) => prop_assert_eq!(verify(&chain, head), Err(broken)),
                None => prop_assert_eq!(verify(&chain, head), Ok(head)),
            }
        }
    }

    #[test]
    fn a_tail_that_was_cut_off_is_named_from_its_first_entry() {
        let (mut chain, head) = chain(5);
        chain.truncate(2);
        let cut = Broken::CutOff { noun: NOUN, expected: 3, last: 5 };
        assert_eq!(verify(&chain, head), Err(cut.clone()));
        assert!(cut.to_string().starts_with("ledger entry 3 is missing"), "{cut}");
        chain.clear();
        assert_eq!(verify(&chain, head), Err(Broken::CutOff { noun: NOUN, expected: 1, last: 5 }));
    }
}
