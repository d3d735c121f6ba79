//! Thresholds and tolerances of the rules: policy, given as an argument, never constants of the rules.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::calendar::expected_on::ExpectedOn;

/// Everything that the county decided about faults: when sets should be on, and the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// When a set should be on.
    pub expected: ExpectedOn,
    /// Thresholds and tolerances.
    pub policy: Policy,
}

/// How long a sign must last before a state follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    /// From the first bad sign to the raised fault.
    pub raise_after: Duration,
    /// From the first good sign to the cleared fault.
    pub clear_after: Duration,
}

impl Tolerance {
    /// At once both ways: for signs that are slow by themselves.
    pub const NONE: Self = Self { raise_after: Duration::ZERO, clear_after: Duration::ZERO };
}

/// The county's policy. Keys are those of `[rules]` in the controller's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// A file system is nearly full below this share of its size, in percent, …
    pub disk_below_percent: u8,
    /// … and below this room: a tenth of a large disk is plenty, and a small partition may be full by design.
    pub disk_below_bytes: u64,
    /// For so long before it is a fault: an update unpacks, and is gone again.
    pub disk_raise_after_secs: u64,
    /// For so long before it is over: emptying the bin while the disk fills up anew repairs nothing.
    pub disk_clear_after_secs: u64,
    /// Whole days of expected hours without a word before the school is asked (users.md 1.1), and between two
    /// questions.
    pub silent_days: u16,
    /// Whole days of expected hours without an answer before the county may make a ticket of the question.
    pub unanswered_days: u16,
    /// A fault that comes back within this time after it was cleared is the same fault.
    pub same_fault_within_secs: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            disk_below_percent: 10,
            disk_below_bytes: 5 << 30,
            disk_raise_after_secs: 10 * 60,
            disk_clear_after_secs: 30 * 60,
            silent_days: 3,
            unanswered_days: 3,
            same_fault_within_secs: 24 * 3_600,
        }
    }
}

impl Policy {
    /// Tolerance of `disk_nearly_full`.
    pub const fn disk_tolerance(&self) -> Tolerance {
        Tolerance {
            raise_after: Duration::from_secs(self.disk_raise_after_secs),
            clear_after: Duration::from_secs(self.disk_clear_after_secs),
        }
    }

    /// See [`Policy::same_fault_within_secs`].
    pub const fn same_fault_within(&self) -> Duration {
        Duration::from_secs(self.same_fault_within_secs)
    }
}
