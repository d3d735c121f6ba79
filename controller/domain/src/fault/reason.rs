//! Why a fault's state is what it is: a code, typed arguments, and the facts that it rests on. Never prose: the
//! words are made where it is read, in the reader's language.

use serde::{Deserialize, Serialize};

use crate::{ids::DeviceId, time::UtcMicros};

/// Room on one file system as a device told it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// The device that told it.
    pub device: DeviceId,
    /// Where the file system is mounted.
    pub mount_point: String,
    /// Free to an ordinary program.
    pub free_bytes: u64,
    /// Whole size; above zero.
    pub size_bytes: u64,
    /// When the device told it.
    pub told_at: UtcMicros,
}

/// See the head of the module. Stored as JSON, `code` first; codes are only ever added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Reason {
    /// Little room on a file system.
    DiskLow(Room),
    /// Room again: the fullest file system has this much.
    DiskRoomy(Room),
    /// Nothing heard of the set for so many whole days of expected hours.
    Silent {
        /// The last contact; `None` when there never was one.
        last_contact: Option<UtcMicros>,
        /// Whole days of expected hours since then, or since it was enrolled.
        days: u32,
    },
    /// Heard again.
    Heard {
        /// When.
        at: UtcMicros,
    },
    /// Not expected to work: sealed, or its access is paused.
    NotExpected,
    /// A school says that it is broken, asked about its silence.
    SaidBroken,
    /// A school did not answer, and the county decided.
    Unanswered,
}

impl Reason {
    /// The word stored, for searching and for the message files.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::DiskLow(_) => "disk_low",
            Self::DiskRoomy(_) => "disk_roomy",
            Self::Silent { .. } => "silent",
            Self::Heard { .. } => "heard",
            Self::NotExpected => "not_expected",
            Self::SaidBroken => "said_broken",
            Self::Unanswered => "unanswered",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_carries_the_code_and_comes_back() {
        let at = UtcMicros::from_secs(1_790_000_000);
        let room = Room {
            device: DeviceId::from_bytes([1; 16]),
            mount_point: "/data".into(),
            free_bytes: 1,
            size_bytes: 2,
            told_at: at,
        };
        for reason in [
            Reason::DiskLow(room.clone()),
            Reason::DiskRoomy(room),
            Reason::Silent { last_contact: None, days: 3 },
            Reason::Heard { at },
            Reason::NotExpected,
            Reason::SaidBroken,
            Reason::Unanswered,
        ] {
            let text = serde_json::to_string(&reason).unwrap();
            assert!(text.starts_with(&format!(r#"{{"code":"{}""#, reason.code())), "{text}");
            assert_eq!(serde_json::from_str::<Reason>(&text).unwrap(), reason);
        }
    }
}
