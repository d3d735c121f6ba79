//! The integration tests: one binary, one file per capability.

mod certificates;
mod clocks;
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
mod out_of_time;
mod outbox;
mod power_loss;
mod quickstart;
mod refusals;
mod restore;
