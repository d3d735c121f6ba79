//! Schools, their rooms, and the sets in them.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{RoomId, SchoolId},
    text,
    time::UtcMicros,
};

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
        let plain = text::half_width(text.trim());
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

/// What a room is for (users.md 3). Only teaching rooms enter coverage and utilisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoomKind {
    /// 普通教室.
    Classroom,
    /// 多媒体教室.
    Multimedia,
    /// 实验室.
    Laboratory,
    /// 电子备课室.
    Preparation,
    /// 教师办公室.
    Office,
    /// 微机室.
    Computer,
    /// 录播教室.
    Capture,
}

impl RoomKind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::Classroom,
        Self::Multimedia,
        Self::Laboratory,
        Self::Preparation,
        Self::Office,
        Self::Computer,
        Self::Capture,
    ];

    /// The word stored, typed and shown in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Classroom => "classroom",
            Self::Multimedia => "multimedia",
            Self::Laboratory => "laboratory",
            Self::Preparation => "preparation",
            Self::Office => "office",
            Self::Computer => "computer",
            Self::Capture => "capture",
        }
    }

    /// The kind that [`RoomKind::as_str`] names.
    pub fn parse(text: &str) -> Result<Self, RoomError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| RoomError::Kind(text.to_owned()))
    }
}

/// A room as the county's list has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Room {
    /// The record.
    pub id: RoomId,
    /// Code of its school.
    pub school_code: SchoolCode,
    /// Unique in the school: building, floor and number, never the name of a class.
    pub name: String,
    /// What it is for.
    pub kind: RoomKind,
    /// Sets that stand in it.
    pub sets: i64,
}

/// A field of a room that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoomError {
    /// No such kind.
    #[error(
        "room kind {0:?} is not valid: use classroom, multimedia, laboratory, preparation, office, computer or capture"
    )]
    Kind(String),
    /// Nothing is left of the name, or it could not be told from a path.
    #[error("room name {0:?} is not valid: it needs at least one visible character, and no /")]
    Name(String),
}

/// A room's name made safe to keep. A `/` would make `SCHOOL/NAME` ambiguous.
pub fn room_name(text: &str) -> Result<String, RoomError> {
    let name = text::clean_name(text).filter(|name| !name.contains('/'));
    name.ok_or_else(|| RoomError::Name(text.to_owned()))
}

/// Whether a set is expected to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetStanding {
    /// In use.
    InUse,
    /// 封存: counted, no faults, no questions.
    Sealed,
}

impl SetStanding {
    /// The word stored and shown in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InUse => "in_use",
            Self::Sealed => "sealed",
        }
    }

    /// The standing that [`SetStanding::as_str`] names.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::InUse, Self::Sealed].into_iter().find(|standing| standing.as_str() == text)
    }
}

/// A contractor's name made safe to keep.
pub fn contractor_name(text: &str) -> Result<String, ContractorError> {
    text::clean_name(text).ok_or_else(|| ContractorError(text.to_owned()))
}

/// A contractor's name of which nothing is left.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("contractor name {0:?} is not valid: it needs at least one visible character")]
pub struct ContractorError(String);

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
