//! The integration tests: one binary, one file per capability.

mod abuse;
mod certificates;
mod clocks;
mod clones;
mod commands;
mod contractor;
mod delivery;
mod disks;
mod durable;
mod faults;
mod first_report;
mod forged;
mod house;
mod ingest_order;
mod kills;
mod ledger;
mod lines;
mod metadata;
mod out_of_time;
mod outage;
mod outbox;
mod power_loss;
mod quickstart;
mod refusals;
mod restore;
mod restore_cards;
