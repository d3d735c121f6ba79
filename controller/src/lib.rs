//! bbt-controller: the county's side. Enrols devices, takes their reports, shows what is known.

pub mod app;
pub mod backup;
pub mod certificates;
pub mod cli;
pub mod clock;
pub mod config;
pub mod context;
pub mod contractor;
pub mod control;
pub mod county;
pub mod desk;
pub mod files;
pub mod grpc;
pub mod ingest;
pub mod listen;
pub mod names;
pub mod operation;
pub mod password;
pub mod pki;
pub mod restore;
pub mod samples;
pub mod standing;
pub mod tasks;
pub mod telemetry;
pub mod trouble;
pub mod web;
