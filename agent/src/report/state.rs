//! What the controller has been told, so that only what changed is told again.
//!
//! Numbers that always move a little are no change by themselves: free room counts when it moved by a step or
//! fell below what a classroom PC needs, a round-trip time not at all (samples hold it), being reachable or
//! not does.

use bbt_proto::report::v1 as wire;

use crate::collect::Section;

/// Free room that moved by this much is told, however large the disk is: a program was installed.
const FREE_STEP_BYTES: u64 = 256 << 20;
/// On a small disk a step is this part of its size.
const FREE_STEP_PARTS: u64 = 100;
/// Below this, or below a tenth of the disk, updates begin to fail; crossing the mark is told sooner.
const LOW_FREE_BYTES: u64 = 5 << 30;
const LOW_FREE_PARTS: u64 = 10;
/// Sooner means at this part of a step, so that a disk exactly at the mark does not report every minute.
const CROSSING_PARTS: u64 = 16;

/// See the head of the module. One per run of the agent.
#[derive(Debug, Default)]
pub struct StateTracker {
    told: Vec<Section>,
}

impl StateTracker {
    /// Nothing told yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A frame that replaces everything told before.
    pub fn full(&mut self, sections: Vec<Section>) -> wire::State {
        self.told.clone_from(&sections);
        state(true, sections)
    }

    /// A frame of those sections that differ from what was told; `None` if none does.
    pub fn changed(&mut self, sections: Vec<Section>) -> Option<wire::State> {
        let changed: Vec<Section> = sections.into_iter().filter(|section| self.differs(section)).collect();
        if changed.is_empty() {
            return None;
        }
        for section in &changed {
            self.told.retain(|told| told.name() != section.name());
            self.told.push(section.clone());
        }
        Some(state(false, changed))
    }

    /// The controller may have lost what it was told: everything is news again.
    pub fn forget(&mut self) {
        self.told.clear();
    }

    fn differs(&self, section: &Section) -> bool {
        let told = self.told.iter().find(|told| told.name() == section.name());
        told.is_none_or(|told| differ(told, section))
    }
}

fn state(full: bool, sections: Vec<Section>) -> wire::State {
    let mut state = wire::State { full, ..wire::State::default() };
    for section in sections {
        match section {
            Section::Hardware(section) => state.hardware = Some(section),
            Section::Storage(section) => state.storage = Some(section),
            Section::FileSystems(section) => state.file_systems = Some(section),
            Section::Network(section) => state.network = Some(section),
            Section::Reachability(section) => state.reachability = Some(section),
            Section::Software(section) => state.software = Some(section),
        }
    }
    state
}

/// Whether `now` is news to somebody who knows `told`.
fn differ(told: &Section, now: &Section) -> bool {
    match (told, now) {
        (Section::FileSystems(told), Section::FileSystems(now)) => {
            told.file_systems.len() != now.file_systems.len()
                || told
                    .file_systems
                    .iter()
                    .zip(&now.file_systems)
                    .any(|(told, now)| file_system_differs(told, now))
                || problems(&told.problems) != problems(&now.problems)
        }
        _ => comparable(told) != comparable(now),
    }
}

/// Without what changes by itself: round-trip times, and the wording of problems, where such numbers stand.
fn comparable(section: &Section) -> Section {
    let mut section = section.clone();
    match &mut section {
        Section::Hardware(section) => section.problems = problems(&section.problems),
        Section::Storage(section) => section.problems = problems(&section.problems),
        Section::FileSystems(section) => section.problems = problems(&section.problems),
        Section::Network(section) => section.problems = problems(&section.problems),
        Section::Software(section) => section.problems = problems(&section.problems),
        Section::Reachability(section) => {
            section.problems = problems(&section.problems);
            for peer in [&mut section.gateway, &mut section.controller].into_iter().flatten() {
                peer.round_trip_micros = None;
            }
        }
    }
    section
}

fn problems(problems: &[wire::Problem]) -> Vec<wire::Problem> {
    problems.iter().map(|problem| wire::Problem { message: String::new(), ..problem.clone() }).collect()
}

fn file_system_differs(told: &wire::FileSystem, now: &wire::FileSystem) -> bool {
    let without_free =
        |file_system: &wire::FileSystem| wire::FileSystem { free_bytes: None, ..file_system.clone() };
    without_free(told) != without_free(now) || free_differs(told, now)
}

fn free_differs(told: &wire::FileSystem, now: &wire::FileSystem) -> bool {
    let (Some(before), Some(after)) = (told.free_bytes, now.free_bytes) else {
        return told.free_bytes != now.free_bytes;
    };
    let size = now.size_bytes.unwrap_or(u64::MAX);
    let step = FREE_STEP_BYTES.min(size / FREE_STEP_PARTS).max(1);
    let low = |free: u64| free < LOW_FREE_BYTES.min(size / LOW_FREE_PARTS);
    let moved = before.abs_diff(after);
    moved >= step || (low(before) != low(after) && moved >= step / CROSSING_PARTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn room(size: u64, free: u64) -> Vec<Section> {
        let file_system = wire::FileSystem {
            mount_point: "/".into(),
            size_bytes: Some(size),
            free_bytes: Some(free),
            ..wire::FileSystem::default()
        };
        vec![Section::FileSystems(wire::FileSystems { file_systems: vec![file_system], problems: vec![] })]
    }

    fn reach(reachable: bool, micros: Option<u64>, problem: &str) -> Vec<Section> {
        let gateway =
            wire::Peer { reachable: Some(reachable), round_trip_micros: micros, ..wire::Peer::default() };
        let problem = wire::Problem { item: "x".into(), code: "y".into(), message: problem.into() };
        let section = wire::Reachability {
            gateway: Some(gateway),
            problems: vec![problem],
            ..wire::Reachability::default()
        };
        vec![Section::Reachability(section)]
    }

    fn told(sections: Vec<Section>) -> StateTracker {
        let mut tracker = StateTracker::new();
        assert!(tracker.full(sections).full);
        tracker
    }

    #[test]
    fn the_first_check_tells_everything_and_the_next_nothing() {
        let mut tracker = StateTracker::new();
        let state = tracker.changed(room(100 * GIB, 50 * GIB)).unwrap();
        assert!(!state.full && state.file_systems.is_some() && state.storage.is_none());
        assert_eq!(tracker.changed(room(100 * GIB, 50 * GIB)), None);
        tracker.forget();
        assert!(tracker.changed(room(100 * GIB, 50 * GIB)).is_some());
    }

    #[test]
    fn only_the_sections_that_differ_are_told() {
        let software = |host: &str| {
            Section::Software(wire::Software { host_name: Some(host.into()), ..wire::Software::default() })
        };
        let both = |host| [room(100 * GIB, 50 * GIB), vec![software(host)]].concat();
        let mut tracker = told(both("a"));
        let state = tracker.changed(both("b")).unwrap();
        assert!(state.software.is_some() && state.file_systems.is_none());
    }

    #[test]
    fn free_room_counts_by_steps() {
        let mut tracker = told(room(100 * GIB, 50 * GIB));
        assert_eq!(tracker.changed(room(100 * GIB, 50 * GIB - FREE_STEP_BYTES + 1)), None);
        assert!(tracker.changed(room(100 * GIB, 50 * GIB - FREE_STEP_BYTES)).is_some());
        let mut small = told(room(GIB, GIB / 2));
        assert!(small.changed(room(GIB, GIB / 2 - GIB / 100)).is_some(), "one hundredth of a small disk");
    }

    #[test]
    fn slow_drift_is_told_once_it_adds_up() {
        let mut tracker = told(room(100 * GIB, 50 * GIB));
        let drift = (1..=40).filter(|minute| {
            tracker.changed(room(100 * GIB, 50 * GIB - minute * (FREE_STEP_BYTES / 16))).is_some()
        });
        assert_eq!(drift.count(), 2);
    }

    #[test]
    fn falling_below_the_mark_is_told_sooner_but_not_every_minute() {
        let mark = LOW_FREE_BYTES;
        let mut tracker = told(room(100 * GIB, mark));
        assert!(tracker.changed(room(100 * GIB, mark - FREE_STEP_BYTES / CROSSING_PARTS)).is_some());
        let mut at_the_mark = told(room(100 * GIB, mark));
        assert_eq!(at_the_mark.changed(room(100 * GIB, mark - 4096)), None);
    }

    #[test]
    fn a_file_system_that_becomes_read_only_is_told() {
        let mut sections = room(100 * GIB, 50 * GIB);
        let mut tracker = told(sections.clone());
        if let Section::FileSystems(section) = &mut sections[0] {
            section.file_systems[0].read_only = true;
        }
        assert!(tracker.changed(sections).is_some());
    }

    #[test]
    fn a_round_trip_is_no_change_and_reachable_is() {
        let mut tracker = told(reach(true, Some(300), "took 300"));
        assert_eq!(tracker.changed(reach(true, Some(900), "took 900")), None);
        assert!(tracker.changed(reach(false, None, "no answer")).is_some());
    }
}
