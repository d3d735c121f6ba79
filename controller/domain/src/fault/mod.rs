//! Faults: statements with evidence about a set at a time when it should have worked.
//!
//! A rule looks at the facts and gives a [`Sign`]; [`analysis`] turns signs into states, slowly on purpose:
//! raising and clearing both have their tolerance. Why a state is what it is travels along as a [`Reason`],
//! code and typed arguments, and is put into words where it is read.

pub mod analysis;
pub mod input;
pub mod listening;
pub mod policy;
pub mod reason;
mod rules;
#[cfg(test)]
mod testing;

use serde::{Deserialize, Serialize};

use crate::time::UtcMicros;
pub use reason::Reason;

/// What can be wrong. A new kind is one file in `rules`, a variant here, and its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// 磁盘空间不足.
    DiskNearlyFull,
    /// 多日未开机(待核实): a question, not a fault (users.md 1.1).
    SilentSet,
}

/// What follows when a fault is raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// A ticket.
    Ticket,
    /// A question to the school, 核实单.
    Question,
}

impl FaultKind {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::DiskNearlyFull, Self::SilentSet];

    /// The word stored and shown in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DiskNearlyFull => "disk_nearly_full",
            Self::SilentSet => "silent_set",
        }
    }

    /// The kind that [`FaultKind::as_str`] names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// What follows when it is raised.
    pub const fn consequence(self) -> Consequence {
        match self {
            Self::DiskNearlyFull => Consequence::Ticket,
            Self::SilentSet => Consequence::Question,
        }
    }
}

/// How a set stands with one kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultState {
    /// As it should be.
    Ok,
    /// A sign of it, not yet for long enough.
    Suspected,
    /// Raised.
    Faulty,
    /// The sign is gone, not yet for long enough.
    Recovering,
}

impl FaultState {
    const ALL: [Self; 4] = [Self::Ok, Self::Suspected, Self::Faulty, Self::Recovering];

    /// The word stored and shown in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Suspected => "suspected",
            Self::Faulty => "faulty",
            Self::Recovering => "recovering",
        }
    }

    /// The state that [`FaultState::as_str`] names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether people are to see it as a fault.
    pub const fn is_raised(self) -> bool {
        matches!(self, Self::Faulty | Self::Recovering)
    }
}

/// What a rule found in the facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The fault shows.
    Bad {
        /// Time of the fact that it rests on.
        since: UtcMicros,
        /// What shows.
        reason: Reason,
    },
    /// The facts speak against it.
    Good {
        /// Time of the fact that it rests on.
        since: UtcMicros,
        /// What speaks against it.
        reason: Reason,
    },
    /// Nothing is known either way: the state stays. "Not seen" is no evidence of repair.
    Unknown,
}
