//! How a device stands with the county, and what made it so.

use serde::{Deserialize, Serialize};

/// How a device stands with the county.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// May report.
    Active,
    /// Its access was taken away; can be given back.
    Revoked,
}

impl Standing {
    /// The word stored and shown in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Revoked => "revoked",
        }
    }

    /// The standing that [`Standing::as_str`] names.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::Revoked].into_iter().find(|standing| standing.as_str() == text)
    }
}

/// What an access was taken away for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StandingKind {
    /// For the reason that was given, or not taken away.
    #[default]
    Plain,
    /// The device was stolen.
    Stolen,
    /// The device is used no longer; it is not held against newcomers.
    Retired,
}

impl StandingKind {
    /// The word stored and shown in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Stolen => "stolen",
            Self::Retired => "retired",
        }
    }

    /// The kind that [`StandingKind::as_str`] names.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Plain, Self::Stolen, Self::Retired].into_iter().find(|kind| kind.as_str() == text)
    }
}
