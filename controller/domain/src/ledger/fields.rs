//! The fields of a card, made of what people type: each refused with its value and the remedy.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{civil::Day, money::Money, text};

/// Longest asset number. The finance systems give up to some thirty characters.
const NO_CHARS: usize = 64;
/// Longest serial number, as many as SMBIOS allows.
const SERIAL_CHARS: usize = 64;
/// Largest cost of one card: ten thousand million yuan, more than a county spends in a year. A million such
/// cards still have a sum.
pub const COST_LIMIT: Money = Money::from_fen(1_000_000_000_000);

/// A field of a card that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// Nothing is left of it, or it is too long.
    #[error("{field} {found:?} is not valid: it has 1 to {chars} visible characters")]
    Text {
        /// Which field.
        field: &'static str,
        /// As typed.
        found: String,
        /// Most characters.
        chars: usize,
    },
    /// A spreadsheet made a number of it and rounded it.
    #[error(
        "{field} {found:?} was mangled by a spreadsheet, which took it for a number: format the column as text and enter it again from the label"
    )]
    Mangled {
        /// Which field.
        field: &'static str,
        /// As typed.
        found: String,
    },
    /// No size.
    #[error(
        "{field} {found:?} is not valid: write a number and MB, GB, TB, MiB, GiB or TiB, such as {example}"
    )]
    Size {
        /// Which field.
        field: &'static str,
        /// As typed.
        found: String,
        /// How one is written.
        example: &'static str,
    },
    /// A cost that no card has.
    #[error("cost {found} yuan is not valid: it is 0 to {COST_LIMIT} yuan, given in fen")]
    Cost {
        /// As given.
        found: Money,
    },
    /// A day that is yet to come.
    #[error("{field} date {found} is not valid: it lies after today, {today}")]
    Future {
        /// Which date.
        field: &'static str,
        /// As given.
        found: Day,
        /// Today.
        today: Day,
    },
}

/// 资产编号: what the accounting unit calls a card; unique in the county.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AssetNo(String);

impl AssetNo {
    /// The number.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AssetNo {
    type Err = FieldError;
    fn from_str(text: &str) -> Result<Self, FieldError> {
        code("asset number", text, NO_CHARS).map(Self)
    }
}

impl fmt::Display for AssetNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// 出厂编号: what the maker printed on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SerialNumber(String);

impl SerialNumber {
    /// The number.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SerialNumber {
    type Err = FieldError;
    fn from_str(text: &str) -> Result<Self, FieldError> {
        code("serial number", text, SERIAL_CHARS).map(Self)
    }
}

/// An asset's name made safe to keep.
pub fn asset_name(text: &str) -> Result<String, FieldError> {
    cleaned("asset name", text, text::NAME_CHARS)
}

/// A processor's name made safe to keep.
pub fn processor_name(text: &str) -> Result<String, FieldError> {
    cleaned("processor", text, text::NAME_CHARS)
}

/// What a card says is in the machine, as far as it says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Specification {
    /// The processor's name, as in the bid.
    pub processor: Option<String>,
    /// Main memory.
    pub memory_bytes: Option<u64>,
    /// All disks together.
    pub disk_bytes: Option<u64>,
}

/// A size of main memory. Memory is made in powers of two and sold as such: `8GB` are 8 GiB.
pub fn memory_size(text: &str) -> Result<u64, FieldError> {
    let error = || FieldError::Size { field: "memory", found: text.to_owned(), example: "8GiB" };
    size(text, |unit| unit.binary()).ok_or_else(error)
}

/// A size of disks: `256GB` are 256,000,000,000 bytes, as makers count.
pub fn disk_size(text: &str) -> Result<u64, FieldError> {
    let error = || FieldError::Size { field: "disk", found: text.to_owned(), example: "256GB" };
    size(text, |unit| unit.as_written()).ok_or_else(error)
}

/// Refuses a cost that no card has.
pub fn check_cost(cost: Money) -> Result<(), FieldError> {
    if (Money::ZERO..=COST_LIMIT).contains(&cost) { Ok(()) } else { Err(FieldError::Cost { found: cost }) }
}

/// Refuses a day after `today`.
pub fn check_past(field: &'static str, day: Day, today: Day) -> Result<(), FieldError> {
    if day <= today { Ok(()) } else { Err(FieldError::Future { field, found: day, today }) }
}

/// A number that is a name: letters, digits and signs in their plain form.
fn code(field: &'static str, text: &str, chars: usize) -> Result<String, FieldError> {
    let kept = cleaned(field, &text::half_width(text), chars)?;
    if is_mangled(&kept) {
        return Err(FieldError::Mangled { field, found: text.to_owned() });
    }
    Ok(kept)
}

/// The cleaned text; cutting off the end of a longer one would make another of it.
fn cleaned(field: &'static str, text: &str, chars: usize) -> Result<String, FieldError> {
    let kept = text::clean(text, chars + 1);
    if kept.is_empty() || kept.chars().count() > chars {
        return Err(FieldError::Text { field, found: text::clean(text, chars), chars });
    }
    Ok(kept)
}

/// Digits in the form to which spreadsheets round long ones: `1.23E+15`.
fn is_mangled(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let upper = text.to_ascii_uppercase();
    upper.split_once("E+").is_some_and(|(mantissa, exponent)| {
        let whole_and_rest = mantissa.split_once('.').unwrap_or((mantissa, "0"));
        digits(whole_and_rest.0) && digits(whole_and_rest.1) && digits(exponent)
    })
}

/// A unit of size: its power, and whether it was written as binary (`GiB`).
#[derive(Clone, Copy)]
struct Unit {
    power: u32,
    binary: bool,
}

impl Unit {
    fn parse(text: &str) -> Option<Self> {
        let (prefix, binary) = match text.strip_suffix("IB") {
            Some(prefix) => (prefix, true),
            None => (text.strip_suffix('B').unwrap_or(text), false),
        };
        let power = ["M", "G", "T"].iter().position(|known| *known == prefix)?;
        Some(Self { power: power as u32 + 2, binary })
    }

    fn binary(self) -> u64 {
        1024_u64.pow(self.power)
    }

    fn as_written(self) -> u64 {
        if self.binary { self.binary() } else { 1000_u64.pow(self.power) }
    }
}

/// A whole number above zero and its unit, in bytes.
fn size(text: &str, bytes_of: impl Fn(Unit) -> u64) -> Option<u64> {
    let plain = text::half_width(text.trim()).to_ascii_uppercase();
    let at = plain.find(|c: char| !c.is_ascii_digit())?;
    let count: u64 = plain[..at].parse().ok().filter(|count| *count > 0)?;
    count.checked_mul(bytes_of(Unit::parse(plain[at..].trim_start())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_cleaned_and_full_width_is_plain() {
        assert_eq!("  ＺＣ-2024\u{200b}001 ".parse::<AssetNo>().unwrap().as_str(), "ZC-2024001");
        assert_eq!(asset_name(" 台式\u{202e}电脑\n").unwrap(), "台式电脑");
    }

    #[test]
    fn a_number_is_never_cut() {
        let long = "9".repeat(SERIAL_CHARS + 1);
        assert!(matches!(long.parse::<SerialNumber>(), Err(FieldError::Text { chars: 64, .. })));
        assert!("9".repeat(SERIAL_CHARS).parse::<SerialNumber>().is_ok());
        assert!(" \u{200b} ".parse::<SerialNumber>().unwrap_err().to_string().starts_with("serial number"));
    }

    #[test]
    fn a_number_mangled_by_a_spreadsheet_is_refused_with_the_remedy() {
        for bad in ["1.23E+15", "1.23e+15", "1E+10", "１．２３Ｅ＋15"] {
            let error = bad.parse::<SerialNumber>().unwrap_err().to_string();
            assert!(error.contains(bad) && error.contains("column as text"), "{error}");
            assert!(bad.parse::<AssetNo>().is_err());
        }
        for good in ["1E15", "PF0E+15", "123E+", "CN-1.23E+15X", "2E-15"] {
            assert!(good.parse::<SerialNumber>().is_ok(), "{good}");
        }
    }

    #[test]
    fn memory_is_binary_and_disks_are_as_written() {
        assert_eq!(memory_size("8GB").unwrap(), 8 << 30);
        assert_eq!(memory_size("8 GiB").unwrap(), 8 << 30);
        assert_eq!(memory_size("4096m").unwrap(), 4 << 30);
        assert_eq!(disk_size("256GB").unwrap(), 256_000_000_000);
        assert_eq!(disk_size("1T").unwrap(), 1_000_000_000_000);
        assert_eq!(disk_size("１TiB").unwrap(), 1 << 40);
        for bad in ["8", "GB", "0GB", "-8GB", "8.5GB", "8KB", "8PB", "99999999999999999TB", "8GBB"] {
            let error = memory_size(bad).unwrap_err().to_string();
            assert!(error.contains(bad) && error.contains("8GiB"), "{error}");
        }
    }

    #[test]
    fn a_cost_is_not_negative_and_has_a_sum() {
        assert!(check_cost(Money::ZERO).is_ok() && check_cost(COST_LIMIT).is_ok());
        for bad in [Money::from_fen(-1), Money::from_fen(i64::MAX)] {
            assert!(check_cost(bad).unwrap_err().to_string().contains(&bad.to_string()));
        }
        assert!(Money::total(std::iter::repeat_n(COST_LIMIT, 1_000_000)).is_some());
    }
}
