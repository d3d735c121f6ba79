//! The harness: the real programs, started for a test and gone after it.
//!
//! Nothing here knows how the programs work inside. A [`county::County`] is `bbt-controller` on a data folder
//! of its own, an [`agent::Agent`] is `bbt-agent` on a state folder of its own; both are spoken to by their
//! command lines and ports, as people and scripts do. Everything ends with the value that started it.

pub mod agent;
pub mod at_work;
pub mod audit_lines;
pub mod backlog;
pub mod chance;
pub mod contractor_stub;
pub mod county;
pub mod county_store;
pub mod crash_vfs;
pub mod der;
pub mod device;
pub mod failing_calls;
pub mod faulty_link;
pub mod load_device;
pub mod loop_disk;
pub mod lossy_net;
pub mod moved_clock;
pub mod pc;
pub mod pki;
pub mod program;
pub mod record;
pub mod restore_card;
pub mod wait;

use std::path::Path;

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in a folder of the repository")
}
