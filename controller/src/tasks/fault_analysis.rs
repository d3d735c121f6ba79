//! Looks at sets and decides their faults.
//!
//! Three sorts of sets are looked at: those whose device told a new state, those with a fault that is not over
//! (tolerances run out without a word), and now and then all of them, because silence tells nothing.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bbt_domain::{
    access::Actor,
    fault::FaultKind,
    ids::{DeviceId, FaultId, SetId},
};
use bbt_store::{
    StoreError,
    faults::{
        NewFaultIds, fault_analyze, fault_would_change, set_ids, sets_of_devices, sets_with_open_faults,
    },
    meta::listening_note,
};
use tokio::time::Instant;

use super::{Nudge, Task};
use crate::context::Context;

const DECIDER: Actor = Actor::System("fault_analysis");
/// All sets are looked at this often: what only time makes, days of silence, may be said some minutes late.
const SWEEP_EVERY: Duration = Duration::from_secs(5 * 60);
/// Sets looked at in one read: short enough to let pages in between.
const SETS_AT_ONCE: usize = 128;

/// Which devices told a new state since the last run; shared with ingest.
#[derive(Debug, Default)]
pub struct Heard {
    devices: Mutex<HashSet<DeviceId>>,
    /// Wakes the analysis.
    pub nudge: Nudge,
}

impl Heard {
    /// A batch of `device` was committed; whether it told a state.
    pub fn report(&self, device: DeviceId, told_state: bool) {
        if told_state {
            self.devices.lock().unwrap_or_else(PoisonError::into_inner).insert(device);
        }
        self.nudge.poke();
    }

    fn take(&self) -> Vec<DeviceId> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner).drain().collect()
    }
}

/// See the head of the module.
pub struct FaultAnalysis {
    context: Arc<Context>,
    heard: Arc<Heard>,
    followers: Vec<Nudge>,
    swept: Mutex<Option<Instant>>,
}

impl FaultAnalysis {
    /// Wakes `followers` when a fault changed.
    pub fn new(context: Arc<Context>, heard: Arc<Heard>, followers: Vec<Nudge>) -> Self {
        Self { context, heard, followers, swept: Mutex::default() }
    }

    fn is_sweep_due(&self) -> bool {
        let swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        swept.is_none_or(|at| at.elapsed() >= SWEEP_EVERY)
    }

    async fn sweep(&self) -> Result<usize, StoreError> {
        let began = Instant::now();
        // Silence before the controller listened is its own.
        let (rules, now) = (self.context.rules(), self.context.now());
        let note = move |tx: &mut bbt_store::Tx<'_>| listening_note(tx, &DECIDER, &rules.expected, now);
        self.context.store.write(note).await?;
        let (mut after, mut changes) = (None, 0);
        loop {
            let sets = self.context.store.read(move |tx| set_ids(tx, &DECIDER, after, SETS_AT_ONCE)).await?;
            let Some(last) = sets.last() else { break };
            after = Some(*last);
            changes += self.look_at(sets).await?;
        }
        *self.swept.lock().unwrap_or_else(PoisonError::into_inner) = Some(began);
        Ok(changes)
    }

    /// Decides the faults of `sets`; how many changed.
    async fn look_at(&self, sets: Vec<SetId>) -> Result<usize, StoreError> {
        let (rules, now) = (self.context.rules(), self.context.now());
        let changing = {
            let rules = Arc::clone(&rules);
            let look = move |tx: &mut bbt_store::Tx<'_>| {
                let mut changing = Vec::new();
                for set in sets {
                    if fault_would_change(tx, &DECIDER, set, &rules, now)? {
                        changing.push(set);
                    }
                }
                Ok(changing)
            };
            self.context.store.read(look).await?
        };
        let mut changes = 0;
        for set in changing {
            let (rules, ids) = (Arc::clone(&rules), self.fault_ids());
            let analyze =
                move |tx: &mut bbt_store::Tx<'_>| fault_analyze(tx, &DECIDER, set, &rules, &ids, now);
            changes += self.context.store.write(analyze).await?;
        }
        Ok(changes)
    }

    fn fault_ids(&self) -> NewFaultIds {
        [(); FaultKind::ALL.len()].map(|()| FaultId::from_bytes(self.context.new_id()))
    }
}

impl Task for FaultAnalysis {
    const NAME: &'static str = "fault_analysis";
    const EVERY: Duration = Duration::from_secs(15);

    async fn run(&self) -> Result<Option<Duration>, StoreError> {
        let mut changes = 0;
        if self.is_sweep_due() {
            self.heard.take();
            changes += self.sweep().await?;
        } else {
            let heard = self.heard.take();
            let look = move |tx: &mut bbt_store::Tx<'_>| {
                let mut sets = BTreeSet::from_iter(sets_of_devices(tx, &DECIDER, &heard)?);
                sets.extend(sets_with_open_faults(tx, &DECIDER)?);
                Ok(sets.into_iter().collect::<Vec<_>>())
            };
            let sets = self.context.store.read(look).await?;
            for sets in sets.chunks(SETS_AT_ONCE) {
                changes += self.look_at(sets.to_vec()).await?;
            }
        }
        if changes > 0 {
            self.followers.iter().for_each(Nudge::poke);
        }
        Ok(None)
    }
}
