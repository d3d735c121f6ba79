//! The integration tests: one binary, one file per capability.

mod house;
mod metadata;
mod quickstart;
