//! The side of the county.
