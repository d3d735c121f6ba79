//! Sees that the store commits, and says so when it does not.
//!
//! While commits fail, devices hold back and people give up, so nobody else would find out that the disk is there
//! again: the watch writes a row that means nothing until one is kept.

use std::{sync::Arc, time::Duration};

use bbt_domain::access::Actor;
use bbt_store::{CommitFailure, Failing, StoreError, meta::commit_probe};

use super::Task;
use crate::{
    context::Context,
    trouble::{Kind, Trouble},
};

/// Looks at the store's last commit, and while that failed, tries another.
pub struct StoreWatch {
    context: Arc<Context>,
}

impl StoreWatch {
    /// Of the county in `context`.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    fn note(&self, health: Result<(), Failing>) {
        let troubles = &self.context.troubles;
        let now = self.context.now();
        match health {
            Ok(()) => troubles.clear(Kind::StoreCannotCommit),
            // The engine takes nothing more until it is opened anew: this is never cleared.
            Err(Failing { why: CommitFailure::Damaged, reason }) => {
                troubles.clear(Kind::StoreCannotCommit);
                troubles.raise(Trouble::DatabaseDamaged { reason }, now);
            }
            Err(Failing { why, reason }) => troubles.raise(Trouble::StoreCannotCommit { why, reason }, now),
        }
    }
}

impl Task for StoreWatch {
    const NAME: &'static str = "store_watch";
    /// Devices come again after seconds; to look costs nothing while all is well.
    const EVERY: Duration = Duration::from_secs(1);

    async fn run(&self) -> Result<Option<Duration>, StoreError> {
        let store = &self.context.store;
        if store.health().is_err_and(|failing| failing.why != CommitFailure::Damaged) {
            let now = self.context.now();
            // What came of it is the store's health.
            let _ = store.write(move |tx| commit_probe(tx, &Actor::System("health"), now)).await;
        }
        self.note(store.health());
        Ok(None)
    }
}
