//! bbt-controller: the county's side. Enrols devices, takes their reports, shows what is known.

pub mod clock;
pub mod context;
pub mod listen;
pub mod password;
pub mod samples;
pub mod web;
