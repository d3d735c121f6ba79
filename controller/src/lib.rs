//! bbt-controller: the county's side. Enrols devices, takes their reports, shows what is known.

pub mod clock;
pub mod config;
pub mod context;
pub mod files;
pub mod grpc;
pub mod ingest;
pub mod listen;
pub mod password;
pub mod pki;
pub mod samples;
pub mod web;
