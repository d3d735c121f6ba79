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
        matches!(self, Self::DiskFull | Self::Engine(_) | Self::Closed | Self::TooSlow | Self::Unknown { .. })
    }
}

/// Refuses an act that the table does not give to the actor.
pub(crate) fn permit(actor: &Actor, act: Act) -> Result<(), StoreError> {
    if may(actor, act) { Ok(()) } else { Err(StoreError::Forbidden { actor: actor.label(), act }) }
}
