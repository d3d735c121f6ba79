//! The console as a browser meets it: whole requests against a store in a temporary folder.

mod admissions;
mod county;
mod faults;
mod inquiries;
mod pages;
mod seed;
mod sets;
mod sign_in;
mod tickets;
mod walls;
