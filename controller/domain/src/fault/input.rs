//! What a rule may look at: the facts of one set, the policy, and the moment.

use crate::{
    identity::Standing,
    ids::{DeviceId, SetId},
    org::SetStanding,
    snapshot::Snapshot,
    time::UtcMicros,
};

use super::policy::Rules;

/// One device of a set as far as it was heard of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceFacts {
    /// The device.
    pub id: DeviceId,
    /// Whether it may report.
    pub standing: Standing,
    /// Its first certificate.
    pub enrolled_at: UtcMicros,
    /// Its newest contact that brought a report.
    pub last_contact: Option<UtcMicros>,
    /// Latest state.
    pub snapshot: Snapshot,
}

/// One set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetFacts {
    /// The set.
    pub id: SetId,
    /// Whether it is expected to work.
    pub standing: SetStanding,
    /// Its devices; usually one.
    pub devices: Vec<DeviceFacts>,
}

impl SetFacts {
    /// Devices that may report.
    pub fn reporting(&self) -> impl Iterator<Item = &DeviceFacts> {
        self.devices.iter().filter(|device| device.standing == Standing::Active)
    }

    /// Until when something is known of the set: its newest contact.
    pub fn known_until(&self) -> Option<UtcMicros> {
        self.devices.iter().filter_map(|device| device.last_contact).max()
    }
}

/// Everything a decision rests on.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The moment of the decision.
    pub now: UtcMicros,
    /// The set.
    pub set: &'a SetFacts,
    /// Since when the controller listens without interruption; `None`: always.
    pub listening_since: Option<UtcMicros>,
    /// When it should be on, thresholds and tolerances.
    pub rules: &'a Rules,
}
