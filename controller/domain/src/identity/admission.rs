//! PCs of which a person has to say which device they are.

use serde::{Deserialize, Serialize};

/// How a PC came to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdmissionKind {
    /// With a token, and its hardware is that of a known device, or nearly.
    Enrollment,
    /// With the identity of a device, and its hardware is another's.
    Clone,
    /// With the identity of a device that changed much; it goes on reporting.
    Question,
}

impl AdmissionKind {
    /// The word stored and shown in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enrollment => "enrollment",
            Self::Clone => "clone",
            Self::Question => "question",
        }
    }

    /// The kind that [`AdmissionKind::as_str`] names.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Enrollment, Self::Clone, Self::Question].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What a person said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ruling {
    /// It is a device that the county knows: that one gets the new key and keeps set and history.
    Same,
    /// It is a device of its own.
    New,
    /// It gets no certificate.
    Refused,
}

impl Ruling {
    /// The word stored and shown in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::New => "new",
            Self::Refused => "refused",
        }
    }

    /// The ruling that [`Ruling::as_str`] names.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Same, Self::New, Self::Refused].into_iter().find(|ruling| ruling.as_str() == text)
    }
}
