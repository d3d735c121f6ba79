//! The integration tests: one binary, one file per capability.

mod first_report;
mod house;
mod metadata;
mod quickstart;
