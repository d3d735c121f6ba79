//! What is wrong with the controller, for whoever looks after it.

use bbt_store::CommitFailure;

use super::{Language, Moment};
use crate::trouble::{Noted, Trouble};

/// A trouble in words.
pub(in crate::web) struct Warning {
    /// What is wrong and what it means.
    pub(in crate::web) what: String,
    /// What to do.
    pub(in crate::web) remedy: String,
    pub(in crate::web) since: Moment,
}

/// Of what is noted.
pub(in crate::web) fn trouble(language: Language, noted: &Noted) -> Warning {
    let moment = |at| Moment::new(language, at).text.into();
    let (key, variables) = match &noted.trouble {
        Trouble::StoreCannotCommit { why, .. } => (store(*why), vec![]),
        Trouble::DatabaseDamaged { .. } => ("trouble-database-damaged", vec![]),
        Trouble::ClockTripped { off_secs } => {
            let key = if *off_secs < 0 { "trouble-clock-behind" } else { "trouble-clock-ahead" };
            (key, vec![("hours", (off_secs.unsigned_abs() / 3_600).into())])
        }
        Trouble::BackupFailed { .. } => ("trouble-backup-failed", vec![]),
        Trouble::BackupOld { last: Some(at) } => ("trouble-backup-old", vec![("at", moment(*at))]),
        Trouble::BackupOld { last: None } => ("trouble-backup-none", vec![]),
        Trouble::IntermediateOld { until } => ("trouble-intermediate-old", vec![("at", moment(*until))]),
    };
    Warning {
        what: language.with(key, &variables),
        remedy: language.text(&format!("{key}-do")),
        since: Moment::new(language, noted.since),
    }
}

const fn store(why: CommitFailure) -> &'static str {
    match why {
        CommitFailure::NoSpace => "trouble-store-no-space",
        CommitFailure::ReadOnly => "trouble-store-read-only",
        CommitFailure::IoError => "trouble-store-io-error",
        CommitFailure::Damaged => "trouble-database-damaged",
        CommitFailure::Engine => "trouble-store-engine",
    }
}
