//! The latest state of a device, merged from its state reports.

use serde::{Deserialize, Serialize};

use crate::{
    facts::{FileSystems, Hardware, Network, Reachability, Software, StateReport, Storage, Told},
    time::UtcMicros,
};

/// One section with the time it was last told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section<T> {
    /// Event time of the report that told it.
    pub told_at: UtcMicros,
    /// What it said.
    #[serde(flatten)]
    pub told: Told<T>,
}

/// Everything known of a device. A section never told is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Board, system, processors, memory.
    pub hardware: Option<Section<Hardware>>,
    /// Disks.
    pub storage: Option<Section<Storage>>,
    /// File systems.
    pub file_systems: Option<Section<FileSystems>>,
    /// Network cards.
    pub network: Option<Section<Network>>,
    /// Gateway and controller.
    pub reachability: Option<Section<Reachability>>,
    /// Operating system and agent.
    pub software: Option<Section<Software>>,
}

impl Snapshot {
    /// Takes a state report of time `at`. Which reports may change the current state is decided before
    /// (the run of the newest session, in order of its numbers).
    pub fn apply(&mut self, report: StateReport, at: UtcMicros) {
        let full = report.full;
        merge(&mut self.hardware, report.hardware, full, at);
        merge(&mut self.storage, report.storage, full, at);
        merge(&mut self.file_systems, report.file_systems, full, at);
        merge(&mut self.network, report.network, full, at);
        merge(&mut self.reachability, report.reachability, full, at);
        merge(&mut self.software, report.software, full, at);
    }
}

fn merge<T>(kept: &mut Option<Section<T>>, told: Option<Told<T>>, full: bool, at: UtcMicros) {
    match told {
        Some(told) => *kept = Some(Section { told_at: at, told }),
        None if full => *kept = None,
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn software(version: &str) -> Option<Told<Software>> {
        let facts = Software { agent_version: version.into(), ..Software::default() };
        Some(Told { facts, problems: vec![] })
    }

    #[test]
    fn an_absent_section_is_unchanged_unless_the_report_is_full() {
        let mut snapshot = Snapshot::default();
        let at = UtcMicros::from_secs;
        snapshot.apply(StateReport { full: true, software: software("1"), ..Default::default() }, at(1));
        snapshot.apply(StateReport::default(), at(2));
        assert_eq!(snapshot.software.as_ref().map(|s| s.told_at), Some(at(1)));
        snapshot.apply(StateReport { full: true, ..Default::default() }, at(3));
        assert_eq!(snapshot, Snapshot::default());
    }

    #[test]
    fn a_snapshot_survives_its_json() {
        let mut snapshot = Snapshot::default();
        snapshot.apply(
            StateReport { software: software("0.1.0"), ..Default::default() },
            UtcMicros::from_secs(1_790_000_000),
        );
        let text = serde_json::to_string(&snapshot).unwrap();
        assert!(text.contains(r#""told_at":"2026-09-21T14:13:20Z""#), "{text}");
        assert_eq!(serde_json::from_str::<Snapshot>(&text).unwrap(), snapshot);
    }
}
