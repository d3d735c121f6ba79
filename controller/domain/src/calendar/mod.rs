//! When things should be working.

pub mod expected_on;
