//! What every part of the running controller shares.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bbt_domain::{access::Actor, fault::policy::Rules, ids::SetId, set_code::SetCode, time::UtcMicros};
use bbt_store::{Store, StoreError, Tx, meta::County, sets::NewSet};
use uuid::Uuid;

use crate::{
    clock::SharedClock,
    configuration::Changes,
    pki::{self, PkiError},
    trouble::Troubles,
};

/// Random codes tried for a set. With a hundred thousand sets one code in 335 is taken.
const SET_CODES: usize = 8;

/// The county's store, its record and the clock. Shared by reference.
#[derive(Clone)]
pub struct Context {
    /// The only way to data.
    pub store: Store,
    /// The only way to the date.
    pub clock: SharedClock,
    /// Name, trust domain, incarnation.
    pub county: County,
    /// What the county decided about faults; changes when the configuration is read anew.
    pub rules: Arc<ArcSwap<Rules>>,
    /// Tells open streams that what their devices are told has changed.
    pub changes: Changes,
    /// What is wrong with the controller now.
    pub troubles: Arc<Troubles>,
}

impl Context {
    /// The date.
    pub fn now(&self) -> UtcMicros {
        self.clock.now()
    }

    /// The rules in force.
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }

    /// Sixteen bytes for a new record: a UUIDv7, so that ids sort by time.
    pub fn new_id(&self) -> [u8; 16] {
        new_id(self.now())
    }

    /// A set to be recorded, with a few random codes of which one will be free.
    pub fn new_set(&self) -> Result<NewSet, PkiError> {
        let random: [u8; 4 * SET_CODES] = pki::random()?;
        let codes = random.chunks_exact(4).map(|four| {
            let number = four.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
            SetCode::from_random(number)
        });
        Ok(NewSet { id: SetId::from_bytes(self.new_id()), codes: codes.collect() })
    }

    /// Writes an audit line about something that changed no record.
    pub async fn note(
        &self,
        part: &'static str,
        action: &'static str,
        subject: String,
        detail: serde_json::Value,
    ) -> Result<(), StoreError> {
        let now = self.now();
        self.store
            .write(move |tx: &mut Tx<'_>| {
                bbt_store::audit::audit_note(tx, &Actor::System(part), action, &subject, &detail, now)
            })
            .await
    }
}

/// A UUIDv7 of `now`.
pub fn new_id(now: UtcMicros) -> [u8; 16] {
    let secs = u64::try_from(now.as_secs()).unwrap_or(0);
    let nanos = u32::try_from(now.as_micros().rem_euclid(1_000_000) * 1_000).unwrap_or(0);
    *Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, secs, nanos)).as_bytes()
}
