//! 设备码: what is printed on a set's label and read out over the telephone.
//!
//! Six characters of Crockford's base 32, the last a check character by Luhn's algorithm modulo 32, which finds
//! every wrong character and nearly every swap of neighbours. Random, so that one cannot be guessed from
//! another, and never used again.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Without I, L, O and U, which are taken for others.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Characters that carry the number; one more is the check.
const DIGITS: usize = 5;

/// A set's code, as it is printed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SetCode([u8; DIGITS + 1]);

/// A text that is no code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("set code {0:?} is not valid: it has six letters and digits, as printed on the set's label")]
pub struct SetCodeError(String);

impl SetCode {
    /// The code of a random number; its low 25 bits are used.
    pub fn from_random(number: u32) -> Self {
        let mut code = [0; DIGITS + 1];
        for (at, place) in code[..DIGITS].iter_mut().enumerate() {
            *place = ALPHABET[(number >> (5 * at)) as usize % ALPHABET.len()];
        }
        code[DIGITS] = check(&code[..DIGITS]);
        Self(code)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // Only characters of the alphabet are put in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Luhn modulo 32: every second character from the right counts double, its digits in base 32 added.
fn check(digits: &[u8]) -> u8 {
    let size = ALPHABET.len();
    let value = |digit: &u8| ALPHABET.iter().position(|known| known == digit).unwrap_or(0);
    let weigh = |(at, digit): (usize, &u8)| {
        let weighed = value(digit) * if at % 2 == 0 { 2 } else { 1 };
        weighed / size + weighed % size
    };
    let sum: usize = digits.iter().rev().enumerate().map(weigh).sum();
    ALPHABET[(size - sum % size) % size]
}

impl FromStr for SetCode {
    type Err = SetCodeError;

    /// Takes small letters, and I, L and O for the digits they are taken for.
    fn from_str(text: &str) -> Result<Self, SetCodeError> {
        let error = || SetCodeError(text.to_owned());
        let plain = |byte: u8| match byte.to_ascii_uppercase() {
            b'I' | b'L' => b'1',
            b'O' => b'0',
            other => other,
        };
        let bytes: Vec<u8> = text.trim().bytes().map(plain).collect();
        let code: [u8; DIGITS + 1] = bytes.try_into().map_err(|_| error())?;
        let known = code.iter().all(|byte| ALPHABET.contains(byte));
        if known && check(&code[..DIGITS]) == code[DIGITS] { Ok(Self(code)) } else { Err(error()) }
    }
}

impl fmt::Display for SetCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SetCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for SetCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for SetCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_people_write_it() {
        let code = SetCode::from_random(0x0012_3456);
        assert_eq!(code.as_str().len(), 6);
        assert_eq!(code.as_str().parse(), Ok(code));
        assert_eq!(format!(" {} ", code.as_str().to_lowercase()).parse(), Ok(code));
        let zero = SetCode::from_random(0);
        assert_eq!("oOOooO".parse(), Ok(zero));
    }

    #[test]
    fn what_is_no_code_is_named() {
        for bad in ["", "12345", "1234567", "ABCDE!", "设备码"] {
            assert!(bad.parse::<SetCode>().unwrap_err().to_string().contains(bad), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn one_wrong_character_is_always_found(number: u32, at in 0_usize..6, other in 0_usize..32) {
            let code = SetCode::from_random(number);
            let mut bytes = code.0;
            proptest::prop_assume!(bytes[at] != ALPHABET[other]);
            bytes[at] = ALPHABET[other];
            proptest::prop_assert!(std::str::from_utf8(&bytes).unwrap().parse::<SetCode>().is_err());
        }

        #[test]
        fn every_number_has_a_code_that_comes_back(number: u32) {
            let code = SetCode::from_random(number);
            proptest::prop_assert_eq!(code.as_str().parse(), Ok(code));
            proptest::prop_assert_eq!(code, SetCode::from_random(number & 0x01ff_ffff));
        }
    }
}
