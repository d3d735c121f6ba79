//! The integration tests: one binary, one file per capability.

mod clocks;
mod commands;
mod configuration;
mod contractor;
mod delivery;
mod durable;
mod faults;
mod first_report;
mod house;
mod kills;
mod ledger;
mod metadata;
mod outbox;
mod power_loss;
mod quickstart;
mod refusals;
