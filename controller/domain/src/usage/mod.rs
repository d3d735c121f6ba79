//! When a set was on and in use.
//!
//! Devices count seconds in fixed slots of five minutes of UTC ([`slots`]); what a slot means, and above all when
//! "off" may be said, stands in [`definitions`], the one source of it for pages, exports and figures.

pub mod definitions;
pub mod slots;
