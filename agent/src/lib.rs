//! bbt-agent: runs on each classroom device; collects, keeps, reports.

pub mod boot_record;
pub mod canary;
pub mod cli;
pub mod collect;
pub mod config;
pub mod decode;
pub mod doctor;
pub mod folder;
pub mod identity;
pub mod platform;
pub mod report;
pub mod runtime;
pub mod schedule;
pub mod seal;
pub mod spool;
pub mod status;
#[cfg(test)]
mod testing;
pub mod uplink;

/// Of this program, as it is told to people and to the controller.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
