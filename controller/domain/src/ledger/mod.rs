//! The ledger: what the county owns, as entries that are only ever appended.
//!
//! [`entry`] is what can be said and how it is chained; nothing here changes or removes an entry, a mistake is
//! answered by one that names it. [`card`] is what the entries of one asset say on a date, any date. [`class`]
//! and [`fields`] make what people type into values that cannot be wrong.

pub mod card;
pub mod class;
pub mod entry;
pub mod fields;
