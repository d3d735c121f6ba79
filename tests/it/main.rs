//! The integration tests: one binary, one file per capability.

mod abuse;
mod commands;
mod contractor;
mod delivery;
mod durable;
mod faults;
mod first_report;
mod forged;
mod house;
mod kills;
mod ledger;
mod metadata;
mod outbox;
mod quickstart;
mod refusals;
