//! The console as a browser meets it: whole requests against a store in a temporary folder.

mod county;
mod pages;
mod sets;
mod sign_in;
mod walls;
