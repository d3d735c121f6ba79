//! Holds what is booked against what is seen, set by set, and opens and ends cases of what differs.
//!
//! A new card wakes it; what devices tell does not: a difference that was there for weeks may be found a minute late,
//! and a look that finds all as it was writes nothing.

use std::{sync::Arc, time::Duration};

use bbt_domain::{access::Actor, ids::SetId};
use bbt_store::{
    StoreError,
    reconciliation::{reconcile_set, reconcile_would_change, sets_to_reconcile},
};

use super::Task;
use crate::context::Context;

const DECIDER: Actor = Actor::System("reconciliation");
/// Sets looked at in one read: short enough to let pages in between.
const SETS_AT_ONCE: usize = 128;

/// See the head of the module.
pub struct Reconciliation {
    context: Arc<Context>,
}

impl Reconciliation {
    /// On the county's store.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    /// The next sets in order of their ids, and those of them whose cases change.
    async fn look(&self, after: Option<SetId>) -> Result<(Option<SetId>, Vec<SetId>), StoreError> {
        let look = move |tx: &mut bbt_store::Tx<'_>| {
            let sets = sets_to_reconcile(tx, &DECIDER, after, SETS_AT_ONCE)?;
            let last = sets.last().copied();
            let mut changing = Vec::new();
            for set in sets {
                if reconcile_would_change(tx, &DECIDER, set)? {
                    changing.push(set);
                }
            }
            Ok((last, changing))
        };
        self.context.store.read(look).await
    }
}

impl Task for Reconciliation {
    const NAME: &'static str = "reconciliation";
    const EVERY: Duration = Duration::from_secs(60);

    async fn run(&self) -> Result<Option<Duration>, StoreError> {
        let mut after = None;
        loop {
            let (last, changing) = self.look(after).await?;
            if last.is_none() {
                return Ok(None);
            }
            after = last;
            for set in changing {
                let now = self.context.now();
                self.context.store.write(move |tx| reconcile_set(tx, &DECIDER, set, now)).await?;
            }
        }
    }
}
