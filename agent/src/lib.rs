//! bbt-agent: runs on each classroom device; collects, keeps, reports.

pub mod collect;
pub mod decode;
pub mod folder;
pub mod identity;
pub mod platform;
pub mod report;
pub mod schedule;
pub mod spool;
pub mod uplink;
