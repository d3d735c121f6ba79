//! Tickets: what a contractor is asked to mend, and how that goes on.

pub mod state;
