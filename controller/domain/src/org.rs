//! Schools.

use serde::{Deserialize, Serialize};

use crate::{ids::SchoolId, text, time::UtcMicros};

/// A school as the county's list has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct School {
    /// The record.
    pub id: SchoolId,
    /// Unique in the county.
    pub code: SchoolCode,
    /// As people say it.
    pub name: String,
    /// When it was added.
    pub created_at: UtcMicros,
    /// Devices that are not retired.
    pub devices: i64,
}

/// 学校(机构)标识码, ten digits (two of type, two of province, six of serial; no check digit), or a local code for
/// teaching points that have none: letters, digits, `-` and `_`, at most 32.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SchoolCode(String);

/// Longest code: room for a local prefix before the ten digits.
const CODE_CHARS: usize = 32;

/// A field of a school that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchoolError {
    /// The code breaks its form.
    #[error(
        "school code {0:?} is not valid: use the ten-digit 学校标识码, or up to 32 letters, digits, - and _"
    )]
    Code(String),
    /// Nothing is left of the name.
    #[error("school name {0:?} is not valid: it needs at least one visible character")]
    Name(String),
}

impl SchoolCode {
    /// Parses a code; full-width digits and letters are taken as their plain form.
    pub fn parse(text: &str) -> Result<Self, SchoolError> {
        let plain: String = text
            .trim()
            .chars()
            .map(|c| match c {
                '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
                other => other,
            })
            .collect();
        let fits = (1..=CODE_CHARS).contains(&plain.len())
            && plain.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if fits { Ok(Self(plain)) } else { Err(SchoolError::Code(text.to_owned())) }
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A school's name made safe to keep.
pub fn school_name(text: &str) -> Result<String, SchoolError> {
    text::clean_name(text).ok_or_else(|| SchoolError::Name(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_width_digits_are_digits() {
        assert_eq!(SchoolCode::parse(" ２１５３000123 ").unwrap().as_str(), "2153000123");
    }

    #[test]
    fn a_code_with_blanks_or_markup_is_refused_with_its_value() {
        for bad in ["", "a b", "<b>", "代码", "x/y"] {
            assert!(SchoolCode::parse(bad).unwrap_err().to_string().contains(bad), "{bad}");
        }
    }
}
