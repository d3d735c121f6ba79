//! Small types for ids that are easily swapped. Each is 16 bytes; people see them as a UUID.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An id that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} id {found:?} is not valid: it is a UUID such as 0190a6c8-7e51-7c3b-9d1c-2f6c4d0b8a11")]
pub struct IdError {
    kind: &'static str,
    found: String,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $kind:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// From the 16 raw bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// From raw bytes of doubtful length.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
                Uuid::from_slice(bytes)
                    .map(Self)
                    .map_err(|_| IdError { kind: $kind, found: format!("{} bytes", bytes.len()) })
            }

            /// The 16 raw bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($kind, ":{}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::parse_str(text.trim())
                    .map(Self)
                    .map_err(|_| IdError { kind: $kind, found: text.to_owned() })
            }
        }
    )*};
}

ids! {
    /// One agent identity.
    DeviceId = "device";
    /// One start of an agent: random, never read back from disk.
    RunId = "run";
    /// One start of an operating system.
    BootId = "boot";
    /// One PC of which a person has to say which device it is.
    AdmissionId = "request";
    /// One school.
    SchoolId = "school";
    /// One enrolment token (the record, not the secret).
    TokenId = "token";
    /// One person's account.
    UserId = "user";
    /// One state of the controller's data; changes when a backup is restored.
    Incarnation = "incarnation";
    /// What stands in a room and is counted as one.
    SetId = "set";
    /// One room.
    RoomId = "room";
    /// One contract with a maintenance contractor.
    ContractId = "contract";
    /// One fault of a set, from its first sign to its end.
    FaultId = "fault";
    /// One ticket.
    TicketId = "ticket";
    /// One question to a school about a silent set.
    InquiryId = "inquiry";
    /// What the county owns, as one card.
    AssetId = "asset";
    /// One difference between booked and observed.
    CaseId = "case";
    /// One message to a contractor, the same over all attempts to deliver it.
    MessageId = "message";
}
