//! What can go wrong with an operation, in terms its caller can act on.

use std::sync::Arc;

use bbt_domain::access::{Act, Actor, may};

/// An operation that was not done. Nothing of it was stored, but for [`StoreError::Unknown`].
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// There is none, or the asker may not see it.
    #[error("no {noun} {key:?} was found")]
    NotFound {
        /// school, device, …
        noun: &'static str,
        /// What was looked for.
        key: String,
    },
    /// There is one already.
    #[error("{noun} {key:?} exists already")]
    Exists {
        /// school, device, …
        noun: &'static str,
        /// What was to be added.
        key: String,
    },
    /// A value that does not fit what is stored: the sentence names it and the remedy.
    #[error("{0}")]
    Invalid(String),
    /// The table of `bbt_domain::access` says no.
    #[error("{actor} may not do this ({act:?})")]
    Forbidden {
        /// Who asked.
        actor: String,
        /// For what.
        act: Act,
    },
    /// No room on the disk.
    #[error("the disk of the store is full: free some space, the controller goes on by itself")]
    DiskFull,
    /// The file system of the store takes no writes.
    #[error(
        "the disk of the store is read-only: see why the system made it so, the controller goes on by itself"
    )]
    ReadOnly,
    /// The disk failed to read, to write or to sync.
    #[error(
        "the disk of the store failed ({reason}): look at the disk, the controller goes on by itself when it works"
    )]
    Io {
        /// What the engine says.
        reason: String,
    },
    /// The engine found its own file damaged. Nothing more is written to it.
    #[error(
        "the database is damaged ({reason}): stop the controller and run `bbt-controller restore FILE` with the last backup"
    )]
    Corrupt {
        /// What the engine says.
        reason: String,
    },
    /// A read that took too long was ended.
    #[error("the read was ended after its time limit: ask for less at once")]
    TooSlow,
    /// What is stored is not what was written: damage, or a hand in the file.
    #[error("{what} in the store is damaged: run `bbt-controller check`")]
    Damaged {
        /// Which value.
        what: &'static str,
    },
    /// The server went away in the middle of a commit. What was written may be kept or not.
    #[error("whether the change was kept is not known ({reason}): look at it before doing it again")]
    Unknown {
        /// What happened to the commit.
        reason: String,
    },
    /// The engine failed.
    #[error("the store failed: {0}")]
    Engine(Arc<dyn std::error::Error + Send + Sync>),
    /// The operation itself panicked; a bug.
    #[error("an operation of the store panicked: {0}")]
    Bug(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the same operation may succeed later without anybody changing the request.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Engine(_) | Self::Closed | Self::TooSlow | Self::Unknown { .. })
            || self.is_of_the_disk()
    }

    /// Whether it is about the file or its disk, and so about every operation and not this one alone.
    pub(crate) fn is_of_the_disk(&self) -> bool {
        matches!(self, Self::DiskFull | Self::ReadOnly | Self::Io { .. } | Self::Corrupt { .. })
    }
}

/// Why commits fail, as far as somebody has to do something else about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitFailure {
    /// No room on the disk.
    NoSpace,
    /// The file system takes no writes.
    ReadOnly,
    /// The disk failed.
    IoError,
    /// The database is damaged.
    Damaged,
    /// The engine, its server, or the way to it.
    Engine,
}

impl CommitFailure {
    /// The word in JSON and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoSpace => "no_space",
            Self::ReadOnly => "read_only",
            Self::IoError => "io_error",
            Self::Damaged => "damaged",
            Self::Engine => "engine",
        }
    }
}

/// The last commit failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Failing {
    /// By kind.
    pub why: CommitFailure,
    /// In words.
    pub reason: String,
}

impl From<&StoreError> for Failing {
    fn from(error: &StoreError) -> Self {
        let why = match error {
            StoreError::DiskFull => CommitFailure::NoSpace,
            StoreError::ReadOnly => CommitFailure::ReadOnly,
            StoreError::Io { .. } => CommitFailure::IoError,
            StoreError::Corrupt { .. } => CommitFailure::Damaged,
            _ => CommitFailure::Engine,
        };
        Self { why, reason: error.to_string() }
    }
}

/// Refuses an act that the table does not give to the actor.
pub(crate) fn permit(actor: &Actor, act: Act) -> Result<(), StoreError> {
    if may(actor, act) { Ok(()) } else { Err(StoreError::Forbidden { actor: actor.label(), act }) }
}
