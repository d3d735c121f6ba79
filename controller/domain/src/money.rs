//! Money: whole fen (分), the hundredth of a yuan (元), and nothing in between.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// An amount in whole fen. Arithmetic is checked: a sum that does not fit is `None`, never a wrong amount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Money(i64);

/// Fen of one yuan.
const FEN_OF_YUAN: u64 = 100;

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From whole fen.
    pub const fn from_fen(fen: i64) -> Self {
        Self(fen)
    }

    /// Whole fen.
    pub const fn fen(self) -> i64 {
        self.0
    }

    /// The sum.
    pub const fn plus(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(fen) => Some(Self(fen)),
            None => None,
        }
    }

    /// The difference.
    pub const fn minus(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(fen) => Some(Self(fen)),
            None => None,
        }
    }

    /// The sum of all.
    pub fn total(amounts: impl IntoIterator<Item = Self>) -> Option<Self> {
        amounts.into_iter().try_fold(Self::ZERO, Self::plus)
    }
}

/// Yuan with two digits and thousands separators: `4,800.00`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fen = self.0.unsigned_abs();
        let yuan = (fen / FEN_OF_YUAN).to_string();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        for (at, digit) in yuan.chars().enumerate() {
            if at > 0 && (yuan.len() - at).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        write!(f, ".{:02}", fen % FEN_OF_YUAN)
    }
}

/// A text that is no amount in fen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("amount {0:?} is not valid: write whole fen in digits only, so 480000 for 4,800.00 yuan")]
pub struct MoneyError(String);

/// Whole fen in digits only. A sign, a point or a separator would leave open whether yuan were meant.
impl FromStr for Money {
    type Err = MoneyError;
    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let error = || MoneyError(text.to_owned());
        let digits = text.trim();
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(error());
        }
        digits.parse().map(Self).map_err(|_| error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_shown_in_yuan() {
        for (fen, shown) in [
            (0, "0.00"),
            (7, "0.07"),
            (480_000, "4,800.00"),
            (99_999, "999.99"),
            (100_000, "1,000.00"),
            (796_000_000, "7,960,000.00"),
            (-123_456_789, "-1,234,567.89"),
            (i64::MIN, "-92,233,720,368,547,758.08"),
        ] {
            assert_eq!(Money::from_fen(fen).to_string(), shown);
        }
    }

    #[test]
    fn only_digits_are_an_amount() {
        assert_eq!("480000".parse(), Ok(Money::from_fen(480_000)));
        for bad in ["", " ", "4,800.00", "4800.00", "-1", "+1", "１２", "1e3", "9223372036854775808"] {
            assert_eq!(bad.parse::<Money>(), Err(MoneyError(bad.to_owned())));
        }
        assert!("4800.00".parse::<Money>().unwrap_err().to_string().contains("\"4800.00\""));
    }

    #[test]
    fn a_sum_that_does_not_fit_is_none() {
        let most = Money::from_fen(i64::MAX);
        assert_eq!(most.plus(Money::from_fen(1)), None);
        assert_eq!(Money::from_fen(i64::MIN).minus(Money::from_fen(1)), None);
        assert_eq!(Money::total([most, most]), None);
        // The plan of Liping: 398 sets at 2.0 and at 2.3 wan yuan.
        assert_eq!(Money::total([Money::from_fen(2_000_000); 398]), Some(Money::from_fen(796_000_000)));
        assert_eq!(Money::total([Money::from_fen(2_300_000); 398]), Some(Money::from_fen(915_400_000)));
    }
}
