//! Who this device is to the county: its key, its certificate, whom it trusts, and what time it is.
//!
//! Files under `STATE/identity`, each replaced as a whole and durable before the next step:
//!
//! - `key.pem`: the device's private key, on disk before anything is sent.
//! - `chain.pem`: device certificate, issuing intermediate, root.
//! - `device.json`: written last at enrolment; the device is enrolled exactly when it is there.
//! - `next/key.pem`, `next/chain.pem`: a pair on its way to take the place of the two above; see [`next`].

mod certificate;
pub mod clock;
pub mod enroll;
pub mod hello;
pub mod keystore;
pub mod next;
mod reattach;
pub mod renew;
pub mod trust;
pub mod upkeep;

#[cfg(test)]
mod tests;

pub use keystore::{Identity, IdentityError};
