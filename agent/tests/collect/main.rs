//! Finding facts: on trees of other machines, on this machine beside the tools people trust, and with
//! collectors that panic and hang.
#![expect(clippy::unwrap_used, reason = "a test that cannot read its own data has failed")]

#[cfg(target_os = "linux")]
mod live;
mod machines;
mod runner;
mod tree;
