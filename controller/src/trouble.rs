//! What is wrong with the controller now, in one place: its pages, `status`, `/readyz` and metrics all read it here.
//!
//! Each kind has one owner, who raises it with what is known and clears it when it is over; nobody else touches
//! it. Of one kind there is one at a time. They are kept in memory alone: an owner that starts looks and raises
//! what still is.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use bbt_domain::time::UtcMicros;
use bbt_store::CommitFailure;
use serde_json::{Value as Json, json};

/// What can be wrong, without its particulars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Owner: `tasks::store_watch`.
    StoreCannotCommit,
    /// Owner: `tasks::store_watch`.
    DatabaseDamaged,
    /// Owner: the guard of the clock.
    ClockTripped,
    /// Owner: `tasks::nightly_backup`.
    BackupFailed,
    /// Owner: `tasks::nightly_backup`.
    BackupOld,
    /// Owner: whoever looks after certificates.
    IntermediateOld,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::StoreCannotCommit,
        Self::DatabaseDamaged,
        Self::ClockTripped,
        Self::BackupFailed,
        Self::BackupOld,
        Self::IntermediateOld,
    ];

    /// The word in JSON and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StoreCannotCommit => "store_cannot_commit",
            Self::DatabaseDamaged => "database_damaged",
            Self::ClockTripped => "clock_tripped",
            Self::BackupFailed => "backup_failed",
            Self::BackupOld => "backup_old",
            Self::IntermediateOld => "intermediate_old",
        }
    }
}

/// One thing that is wrong, with what is known of it: what it is, what it means, what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Nothing can be stored. Devices keep what they have.
    #[error(
        "nothing can be stored ({}): {reason}; devices keep their reports and send them when this is over",
        why.as_str()
    )]
    StoreCannotCommit {
        /// By kind.
        why: CommitFailure,
        /// In words.
        reason: String,
    },
    /// The database is not whole. Nothing more is written to it.
    #[error(
        "the database is damaged ({reason}) and takes nothing more; devices keep their reports: stop the controller and run `bbt-controller restore FILE` with the last backup"
    )]
    DatabaseDamaged {
        /// What the engine found.
        reason: String,
    },
    /// The clock is not believed: no time is signed, no certificate issued.
    #[error(
        "the clock is {} of what it should be, so no time is signed and no certificate issued: set it, or run `bbt-controller clock accept` if it is right",
        off(*off_secs)
    )]
    ClockTripped {
        /// Negative when it is behind.
        off_secs: i64,
    },
    /// The nightly backup was not made.
    #[error(
        "the last nightly backup failed: {reason}; it is tried again next night, or run `bbt-controller backup FILE` now"
    )]
    BackupFailed {
        /// In words.
        reason: String,
    },
    /// The newest backup that counts is too old.
    #[error("the newest nightly backup is {}: see why, or run `bbt-controller backup FILE` now", of(last.as_ref()))]
    BackupOld {
        /// When it was made, if there is one.
        last: Option<UtcMicros>,
    },
    /// The certificate that issues devices' certificates has to be replaced.
    #[error("the issuing certificate ends at {until}: run `bbt-controller ca rotate --root-key FILE`")]
    IntermediateOld {
        /// When it ends.
        until: UtcMicros,
    },
}

fn off(secs: i64) -> String {
    format!("{} s {}", secs.unsigned_abs(), if secs < 0 { "behind" } else { "ahead" })
}

fn of(last: Option<&UtcMicros>) -> String {
    last.map_or_else(|| "not there".to_owned(), |last| format!("of {last}"))
}

impl Trouble {
    /// Without its particulars.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::StoreCannotCommit { .. } => Kind::StoreCannotCommit,
            Self::DatabaseDamaged { .. } => Kind::DatabaseDamaged,
            Self::ClockTripped { .. } => Kind::ClockTripped,
            Self::BackupFailed { .. } => Kind::BackupFailed,
            Self::BackupOld { .. } => Kind::BackupOld,
            Self::IntermediateOld { .. } => Kind::IntermediateOld,
        }
    }

    /// Whether devices are better sent to another controller: `/readyz` says no.
    pub const fn stops_reports(&self) -> bool {
        matches!(self, Self::StoreCannotCommit { .. } | Self::DatabaseDamaged { .. })
    }

    fn arguments(&self) -> Json {
        match self {
            Self::StoreCannotCommit { why, .. } => json!({"why": why.as_str()}),
            Self::ClockTripped { off_secs } => json!({"off_secs": off_secs}),
            Self::BackupOld { last } => json!({"last": last}),
            Self::IntermediateOld { until } => json!({"until": until}),
            Self::DatabaseDamaged { .. } | Self::BackupFailed { .. } => json!({}),
        }
    }
}

/// A trouble and when it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// What.
    pub trouble: Trouble,
    /// Since when, as far as this run of the controller knows.
    pub since: UtcMicros,
}

impl Noted {
    /// As in `status --json`: `{"kind", "since", "sentence", …}`.
    pub fn to_json(&self) -> Json {
        let mut item = self.trouble.arguments();
        item["kind"] = json!(self.trouble.kind().as_str());
        item["since"] = json!(self.since);
        item["sentence"] = json!(self.trouble.to_string());
        item
    }
}

/// Everything that is wrong now.
#[derive(Debug, Default)]
pub struct Troubles {
    noted: Mutex<BTreeMap<Kind, Noted>>,
}

impl Troubles {
    /// Notes that `trouble` is, or is still with other particulars.
    pub fn raise(&self, trouble: Trouble, now: UtcMicros) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        match noted.get_mut(&trouble.kind()) {
            Some(known) => known.trouble = trouble,
            None => {
                tracing::error!(trouble = trouble.kind().as_str(), "{trouble}");
                noted.insert(trouble.kind(), Noted { trouble, since: now });
            }
        }
    }

    /// Notes that nothing of `kind` is any more.
    pub fn clear(&self, kind: Kind) {
        if self.noted.lock().unwrap_or_else(PoisonError::into_inner).remove(&kind).is_some() {
            tracing::info!(trouble = kind.as_str(), "over");
        }
    }

    /// All, the gravest kinds first.
    pub fn all(&self) -> Vec<Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// What keeps the controller from taking reports.
    pub fn stops_reports(&self) -> Option<Trouble> {
        self.all().into_iter().map(|noted| noted.trouble).find(Trouble::stops_reports)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: UtcMicros = UtcMicros::from_const(1_790_000_000_000_000);
    const LATER: UtcMicros = UtcMicros::from_const(1_790_000_060_000_000);

    fn store(why: CommitFailure) -> Trouble {
        Trouble::StoreCannotCommit { why, reason: "as it is".to_owned() }
    }

    #[test]
    fn a_trouble_that_goes_on_keeps_its_beginning_and_tells_its_newest_particulars() {
        let troubles = Troubles::default();
        troubles.raise(store(CommitFailure::NoSpace), START);
        troubles.raise(store(CommitFailure::IoError), LATER);
        assert_eq!(troubles.all(), [Noted { trouble: store(CommitFailure::IoError), since: START }]);
    }

    #[test]
    fn one_that_is_over_begins_anew() {
        let troubles = Troubles::default();
        troubles.raise(store(CommitFailure::NoSpace), START);
        troubles.clear(Kind::StoreCannotCommit);
        assert_eq!(troubles.all(), []);
        troubles.raise(store(CommitFailure::NoSpace), LATER);
        assert_eq!(troubles.all()[0].since, LATER);
    }

    #[test]
    fn only_a_store_that_takes_nothing_keeps_reports_away() {
        let troubles = Troubles::default();
        troubles.raise(Trouble::BackupOld { last: None }, START);
        assert_eq!(troubles.stops_reports(), None);
        troubles.raise(store(CommitFailure::ReadOnly), START);
        assert_eq!(troubles.stops_reports(), Some(store(CommitFailure::ReadOnly)));
    }
}
