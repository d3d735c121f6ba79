//! Collectors: one file per subject. Each returns the facts it found and the problems it met, side by side.

use std::time::Duration;

use bbt_proto::report::v1 as wire;

use crate::platform::Platform;

/// What one collector found: one section of the state report.
#[derive(Clone, Debug, PartialEq)]
pub enum Section {
    /// Board, system, firmware, processors, memory.
    Hardware(wire::Hardware),
    /// Disks.
    Storage(wire::Storage),
    /// Mounted file systems.
    FileSystems(wire::FileSystems),
    /// Network cards.
    Network(wire::Network),
    /// Gateway and controller.
    Reachability(wire::Reachability),
    /// Operating system and agent.
    Software(wire::Software),
}

/// One subject. A collector may block and may fail alone; the runner bounds its time and catches its panics.
pub trait Collector: Send + Sync + 'static {
    /// Stable name, the same as the section's: `hardware`, `storage`, …
    fn name(&self) -> &'static str;
    /// After this long the pass is `hung`, and the collector is not started again until it returns.
    fn deadline(&self) -> Duration;
    /// One pass.
    fn collect(&self, platform: &dyn Platform) -> Section;
    /// The section that says, with this one problem, that nothing was found.
    fn failed(&self, problem: wire::Problem) -> Section;
}
