//! Who this device is to the county: its key, its certificate, whom it trusts, and what time it is.
//!
//! Files under `STATE/identity`, each replaced as a whole and durable before the next step:
//!
//! - `key.pem`: the device's private key, made once, on disk before anything is sent.
//! - `chain.pem`: device certificate, issuing intermediate, root.
//! - `device.json`: written last; the device is enrolled exactly when it is there.

pub mod clock;
pub mod enroll;
pub mod keystore;
pub mod trust;

#[cfg(test)]
mod tests;

pub use keystore::{Identity, IdentityError};
