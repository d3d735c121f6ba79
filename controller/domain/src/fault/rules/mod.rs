//! One file per rule. A rule reads like its description: which facts it looks at, and what they are a sign of.

mod disk_nearly_full;
mod silent_set;

use super::{FaultKind, Sign, input::Input, policy::Tolerance};
use crate::time::UtcMicros;

/// What a rule says.
pub(super) struct Finding {
    /// Of what.
    pub(super) kind: FaultKind,
    /// What the facts show.
    pub(super) sign: Sign,
    /// Until when the facts are known to hold: a silent set proves nothing after its last word.
    pub(super) known_until: UtcMicros,
    /// How long a sign must last.
    pub(super) tolerance: Tolerance,
}

/// Asks every rule.
pub(super) fn findings(input: &Input<'_>) -> Vec<Finding> {
    vec![disk_nearly_full::look(input), silent_set::look(input)]
}
