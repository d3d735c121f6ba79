//! The spool: what the device has to say and nobody has confirmed yet.
//!
//! # What it promises
//!
//! - A frame that was sent is kept until the controller decided about it. Urgent and state frames are on disk
//!   before they are sent; history is on disk within 5 s or 64 frames, whichever comes first, so a power cut
//!   takes at most that.
//! - A frame that has to be dropped is counted in exactly one gap, and the gap is reported in its place.
//! - The spool never keeps the agent from starting. What cannot be read is set aside, what cannot be written
//!   waits in memory, and both are said.
//!
//! # Layout
//!
//! One SQLite database, `STATE/spool/spool.db`, beside and never inside the identity files, written with WAL
//! and `synchronous=FULL` by one thread ([`Handle`] is the way to it). Tables:
//!
//! - `frame`: one row per frame, its bytes as they go on the wire; `id` rises in the order of appending.
//!   `decided_micros` is null while the frame is backlog.
//! - `gap`: drops not yet told, one row per class, run and reason; a further drop widens its row. Rows turn
//!   into frames when the device next has somebody to tell, so a month without a line is one frame, not many.
//! - `contact`: one row, what was learnt from the controller: its incarnation, the spread of first contacts,
//!   the last commit, the last signed time.
//!
//! # A frame's life
//!
//! 1. [`Handle::append`] numbers it (one counter per run, from 1) and lays it in memory; the thread commits at
//!    once for urgent and state, else with the group.
//! 2. [`Handle::next_batch`] hands out urgent, then state, then history, each oldest first, without those
//!    already under way. A broken stream returns all that was under way ([`Handle::release`]).
//! 3. [`Handle::decide`]: committed, duplicate and quarantined frames leave the backlog but are kept for 36 h
//!    and at most 8 MiB, because a controller restored from a backup (a new incarnation) asks for them again;
//!    refused ones are deleted and become a gap. A refused gap makes no further gap.
//! 4. Over the limit in bytes, kept frames go first, then history, state, urgent, oldest first; over the limit
//!    in age, the old ones. Frames under way are spared. Age is judged only by a clock that the controller
//!    has signed in this run, never by the device's own: what happens before the first signed time of a run is
//!    dated by that time, or, when the run ends before, by the first one of a later run.
//!
//! # When things break
//!
//! - A damaged database is renamed to `damaged.db` (the newest one is kept). What can still be read of it is in the
//!   new one ([`salvage`]); what cannot is counted in a gap with the reason `damaged`.
//! - A database of a newer version is renamed to `newer.db`, whole, and a new one is begun.
//! - After an I/O error the connection is never used again: it is closed, the database reopened and verified.
//!   Until that works frames wait in memory, at most 8 MiB, dropped and counted like on disk, and what waits
//!   may be sent from there. A full disk is the same, only that the connection stays.

mod db;
mod gaps;
mod inspect;
mod limits;
mod open;
mod salvage;
mod store;
mod thread;

#[cfg(test)]
mod tests;

use std::time::Duration;

use bbt_proto::report::v1 as wire;

pub use self::{
    inspect::{CheckReport, FrameRow, InspectError, Inspector},
    limits::Limits,
    store::Spool,
    thread::Handle,
};

/// History waits at most this long for company before it is committed.
pub const HISTORY_COMMIT_WITHIN: Duration = Duration::from_secs(5);
/// History is committed at the latest when this many frames wait.
pub const HISTORY_COMMIT_FRAMES: usize = 64;
/// One batch carries at most this much: half of the message limit, so two batches fill the default window.
pub const BATCH_MAX_BYTES: usize = 128 * 1024;
/// A single frame may be this large: the controller takes no larger body.
pub const FRAME_MAX_BYTES: usize = 64 * 1024;
/// Decided frames are kept this long for a controller that comes back from a backup.
pub const KEPT_FOR: Duration = Duration::from_secs(36 * 3600);
/// Decided frames are kept up to this size, inside the whole budget.
pub const KEPT_MAX_BYTES: u64 = 8 * 1024 * 1024;
/// Frames that the disk does not take wait in memory up to this size.
pub const MEMORY_MAX_BYTES: u64 = 8 * 1024 * 1024;
/// What a row costs beside its bytes: columns, index entries, page slack.
pub const ROW_OVERHEAD_BYTES: u64 = 128;

/// 16 random bytes per start of the agent.
pub type RunId = [u8; 16];

/// Which frame: the run it was made in and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrameKey {
    /// The run.
    pub run_id: RunId,
    /// The number in the run, from 1.
    pub seq: u64,
}

/// When a frame is sent and how soon it may be dropped; the order is the order of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// At once, dropped last.
    Urgent = 1,
    /// On change.
    State = 2,
    /// Within minutes, dropped first.
    History = 3,
}

impl Class {
    /// All classes in the order of sending.
    pub const ALL: [Class; 3] = [Class::Urgent, Class::State, Class::History];

    /// The word used in listings.
    pub fn name(self) -> &'static str {
        match self {
            Class::Urgent => "urgent",
            Class::State => "state",
            Class::History => "history",
        }
    }

    fn from_number(number: i64) -> Option<Class> {
        Class::ALL.into_iter().find(|class| *class as i64 == number)
    }

    fn index(self) -> usize {
        self as usize - 1
    }
}

/// The content of a frame before it has a number.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// When it goes and how soon it may be dropped.
    pub class: Class,
    /// What `body` is.
    pub kind: wire::Kind,
    /// The encoded message.
    pub body: bytes::Bytes,
}

/// Under whom and in which run frames are made; the same for all frames of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// The run.
    pub run_id: RunId,
    /// The device.
    pub device_id: [u8; 16],
    /// The start of the operating system.
    pub os_boot: wire::OsBoot,
}

/// What becomes of a frame the controller answered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Decided and safe: out of the backlog, kept for a new incarnation.
    Keep,
    /// Refused for good: deleted and counted as a gap.
    Drop(wire::GapReason),
}

/// What the controller told about itself, kept over restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// Changes when the controller was restored from a backup.
    pub incarnation: Option<Vec<u8>>,
    /// First contacts are spread over this many seconds.
    pub window_secs: u32,
    /// When a frame was last committed, by the guarded clock; none if never.
    pub committed_micros: Option<i64>,
    /// The last time the controller signed.
    pub signed_micros: Option<i64>,
}

/// Frames and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many.
    pub frames: u64,
    /// With the overhead of their rows.
    pub bytes: u64,
}

/// How the spool stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// What waits for a decision: urgent, state, history.
    pub backlog: [Amount; 3],
    /// Decided frames that are still kept.
    pub kept: Amount,
    /// Frames dropped and not yet told in a gap frame.
    pub dropped_untold: u64,
    /// What is wrong with the disk, in one sentence; none when all is well.
    pub trouble: Option<String>,
}

impl Summary {
    /// All classes together.
    pub fn backlog_total(&self) -> Amount {
        self.backlog.iter().fold(Amount::default(), |sum, one| Amount {
            frames: sum.frames + one.frames,
            bytes: sum.bytes + one.bytes,
        })
    }
}

/// Why the spool could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// A frame is larger than a batch.
    #[error("a {class} frame of {bytes} bytes is over the limit of {FRAME_MAX_BYTES} and was dropped")]
    TooLarge {
        /// Its class.
        class: &'static str,
        /// Its size.
        bytes: usize,
    },
    /// The spool's thread has ended.
    #[error("the spool has stopped")]
    Stopped,
}
