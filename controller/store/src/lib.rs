//! The controller's only SQL.
//!
//! [`Store::write`] and [`Store::read`] run plain synchronous functions on a [`Tx`]; the functions stand in one
//! module per noun and take the [`Actor`](bbt_domain::access::Actor) who asks, so nothing else can reach a row.
//! The text is written once for both engines: `$1, $2 …` in order of first use, ids from the program, times in
//! microseconds, no triggers and no sequences.
//!
//! What is promised, on SQLite and on PostgreSQL: a write's result is released only after its commit is on disk;
//! one write that fails undoes only itself; writes leave what they would have left one after the other; a read
//! sees one consistent state and is ended after [`READ_DEADLINE`].

pub mod admissions;
pub mod audit;
pub mod certificates;
mod clones;
pub mod contracts;
pub mod devices;
mod engine;
pub mod enrollment;
mod error;
pub mod faults;
pub mod inquiries;
pub mod ledger;
pub mod meta;
pub mod outbox;
pub mod people;
pub mod recognition;
pub mod reconciliation;
pub mod reports;
pub mod rooms;
pub mod schools;
mod scope;
pub mod sets;
pub mod tickets;
pub mod usage;

#[cfg(test)]
mod conformance;

pub use engine::{
    OpenError, READ_DEADLINE, Receipt, Row, Store, Subject, Tx, Value, backup, probe::FsyncProbe,
};
pub use error::{CommitFailure, Failing, StoreError};
