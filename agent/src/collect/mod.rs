//! Collectors: one file per subject. Each returns the facts it found and the problems it met, side by side.
//!
//! Every source the system offers is read. A fact that none of them tells is absent, and a problem says why:
//! its `item` is the fact's path within the section without the unit (`board.serial`, `sda.wwn`, `eth0.speed`),
//! or the name of a whole group (`memory.modules`); its `code` is one of `permission_denied`, `not_offered`,
//! `unreadable`, `timed_out`, `unreachable`, `too_many`, `hung`, `panicked`.

use std::{sync::Arc, time::Duration};

use bbt_proto::report::v1 as wire;

use crate::platform::Platform;

mod file_systems;
mod hardware;
pub mod load;
mod network;
mod processor;
mod reachability;
mod runner;
mod software;
mod source;
pub(crate) mod storage;
pub mod usage;

pub use runner::Runner;

/// What one collector found: one section of the state report.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "six live at a time; a box each would cost more than it saves")]
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

impl Section {
    /// The name of the section, the same as its collector's.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hardware(_) => hardware::NAME,
            Self::Storage(_) => storage::NAME,
            Self::FileSystems(_) => file_systems::NAME,
            Self::Network(_) => network::NAME,
            Self::Reachability(_) => reachability::NAME,
            Self::Software(_) => software::NAME,
        }
    }

    /// What is unknown, because.
    #[must_use]
    pub fn problems(&self) -> &[wire::Problem] {
        match self {
            Self::Hardware(section) => &section.problems,
            Self::Storage(section) => &section.problems,
            Self::FileSystems(section) => &section.problems,
            Self::Network(section) => &section.problems,
            Self::Reachability(section) => &section.problems,
            Self::Software(section) => &section.problems,
        }
    }
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

/// All collectors of this agent. `controller` is the address that reachability is measured to, `HOST:PORT`.
#[must_use]
pub fn all(controller: Option<String>, agent_version: &'static str) -> Vec<Arc<dyn Collector>> {
    vec![
        Arc::new(hardware::Hardware),
        Arc::new(storage::Storage),
        Arc::new(file_systems::FileSystems),
        Arc::new(network::Network),
        Arc::new(reachability::Reachability { controller }),
        Arc::new(software::Software { agent_version }),
    ]
}
