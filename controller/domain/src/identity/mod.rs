//! Who a device is: the name in its certificate, its standing, the evidence by which it is recognised, and what
//! follows when somebody else comes with its name.
//!
//! Three things are kept apart: the key and certificate of a device, the device itself, and the set that people
//! see. Evidence decides only which device a key belongs to; it never makes a set or takes one away.

mod admission;
mod canary;
mod evidence;
mod issuance;
mod junk;
mod names;
mod recognition;
mod standing;

pub use admission::{AdmissionKind, Ruling};
pub use canary::{Canary, FROZEN_AT, rolled_back};
pub use evidence::{Comparison, Evidence, EvidenceKind, Policy, Weighed, Worth, compare, weigh};
pub use issuance::Issuance;
pub use names::{TrustDomain, device_of_uri, device_uri};
pub use recognition::{Holder, Likeness, Verdict, judge, likeness, two_at_once};
pub use standing::{Standing, StandingKind};
