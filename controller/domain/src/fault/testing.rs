//! Facts for tests of the rules, a few lines each.

use super::{
    input::{DeviceFacts, Input, SetFacts},
    policy::Rules,
};
use crate::{
    facts::{FileSystem, FileSystems, StateReport, Told},
    identity::Standing,
    ids::{DeviceId, SetId},
    org::SetStanding,
    snapshot::Snapshot,
    time::UtcMicros,
};

pub(super) const GIB: u64 = 1 << 30;

/// A set of one device that was just enrolled.
pub(super) struct Case {
    pub(super) set: SetFacts,
    pub(super) now: UtcMicros,
    pub(super) listening_since: Option<UtcMicros>,
    rules: Rules,
}

impl Case {
    pub(super) fn new() -> Self {
        let device = DeviceFacts {
            id: DeviceId::from_bytes([1; 16]),
            standing: Standing::Active,
            enrolled_at: UtcMicros::from_secs(0),
            last_contact: None,
            snapshot: Snapshot::default(),
        };
        Self {
            set: SetFacts {
                id: SetId::from_bytes([2; 16]),
                standing: SetStanding::InUse,
                devices: vec![device],
            },
            now: UtcMicros::from_secs(0),
            listening_since: None,
            rules: Rules::default(),
        }
    }

    /// Its device tells its file systems, now.
    pub(super) fn tell(&mut self, secs: i64, file_systems: impl IntoIterator<Item = FileSystem>) {
        self.now = UtcMicros::from_secs(secs);
        let facts = FileSystems { file_systems: file_systems.into_iter().collect() };
        let file_systems = Some(Told { facts, problems: vec![] });
        let device = &mut self.set.devices[0];
        device.last_contact = Some(self.now);
        device.snapshot.apply(StateReport { file_systems, ..StateReport::default() }, self.now);
    }

    pub(super) fn input(&self) -> Input<'_> {
        Input { now: self.now, set: &self.set, listening_since: self.listening_since, rules: &self.rules }
    }
}

pub(super) fn file_system(mount_point: &str, size: u64, free: u64) -> FileSystem {
    FileSystem {
        mount_point: mount_point.to_owned(),
        source: "/dev/sda1".to_owned(),
        kind: "ext4".to_owned(),
        size_bytes: Some(size),
        free_bytes: Some(free),
        read_only: false,
    }
}
