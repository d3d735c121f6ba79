//! How a device came by its certificate.

use serde::{Deserialize, Serialize};

/// How a device came by a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Issuance {
    /// By a token.
    Enrollment,
    /// By its certificate, on the devices' port.
    Renewal,
    /// By the key of a certificate that had ended or was superseded, on the enrolment port.
    Reattachment,
}

impl Issuance {
    /// The word stored and shown in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enrollment => "enrollment",
            Self::Renewal => "renewal",
            Self::Reattachment => "reattachment",
        }
    }

    /// The issuance that [`Issuance::as_str`] names.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Enrollment, Self::Renewal, Self::Reattachment].into_iter().find(|one| one.as_str() == text)
    }
}
