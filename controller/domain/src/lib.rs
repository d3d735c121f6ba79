//! Pure decisions of the county: facts in, decision out.
//!
//! Nothing here has a runtime, a database driver or a clock; the manifest keeps that promise. `now`, ids and
//! policy are arguments, so a test is a few lines of values and "three days later" is one of them.

pub mod access;
pub mod audit;
pub mod calendar;
pub mod chain;
pub mod civil;
pub mod configuration;
pub mod facts;
pub mod fault;
pub mod identity;
pub mod ids;
pub mod inquiry;
mod leb128;
pub mod ledger;
pub mod money;
pub mod org;
pub mod outbox;
pub mod presence;
pub mod reconciliation;
pub mod report;
pub mod seen;
pub mod set_code;
pub mod set_state;
pub mod snapshot;
pub mod text;
pub mod ticket;
pub mod time;
pub mod usage;
