//! Sends what the spool holds and tells it what the controller decided.

pub mod address;
pub mod backoff;
pub mod batch;
pub mod connect;
pub mod refusal;
