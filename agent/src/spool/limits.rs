//! How much is kept, and what has to go: sums and decisions, without the database.

use super::{Amount, Class, KEPT_FOR, KEPT_MAX_BYTES};
use crate::identity::clock::Stamp;

/// The date of what happened while no signed clock could tell. It is later than any limit, so nothing that has it is
/// too old; the next signed clock replaces it.
pub(super) const UNDATED: i64 = i64::MAX;

/// When something happens, for its age.
pub(super) fn dated(now: &Stamp) -> i64 {
    if now.signed { now.guarded_micros } else { UNDATED }
}

/// The bounds of the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Backlog and kept frames together.
    pub max_bytes: u64,
    /// Older backlog is dropped.
    pub max_age_micros: i64,
}

/// What the database holds, kept beside it so that no statement has to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) backlog: [Amount; 3],
    pub(super) kept: Amount,
}

impl Amount {
    pub(super) fn add(&mut self, bytes: u64) {
        self.frames += 1;
        self.bytes += bytes;
    }

    pub(super) fn remove(&mut self, bytes: u64) {
        self.frames = self.frames.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl Totals {
    pub(super) fn of(&mut self, class: Class) -> &mut Amount {
        &mut self.backlog[class.index()]
    }

    fn bytes(&self) -> u64 {
        self.kept.bytes + self.backlog.iter().map(|amount| amount.bytes).sum::<u64>()
    }

    /// The next sacrifice that the bound in bytes asks for, if any is left to bring.
    pub(super) fn next_sacrifice(&self, limits: &Limits) -> Option<Sacrifice> {
        if self.kept.frames > 0 && (self.kept.bytes > KEPT_MAX_BYTES || self.bytes() > limits.max_bytes) {
            return Some(Sacrifice::Kept);
        }
        if self.bytes() <= limits.max_bytes {
            return None;
        }
        Class::ALL
            .into_iter()
            .rev()
            .find(|class| self.backlog[class.index()].frames > 0)
            .map(Sacrifice::Backlog)
    }
}

/// What goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sacrifice {
    /// The oldest decided frame.
    Kept,
    /// The oldest frame of this class.
    Backlog(Class),
}

/// Backlog appended before this is too old; none while no signed clock can tell.
pub(super) fn too_old_before(limits: &Limits, now: &Stamp) -> Option<i64> {
    now.signed.then(|| now.guarded_micros.saturating_sub(limits.max_age_micros))
}

/// Kept frames decided before this are let go; none while no signed clock can tell.
pub(super) fn kept_too_long_before(now: &Stamp) -> Option<i64> {
    now.signed.then(|| now.guarded_micros.saturating_sub(KEPT_FOR.as_micros() as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(frames: u64, bytes: u64) -> Amount {
        Amount { frames, bytes }
    }

    const LIMITS: Limits = Limits { max_bytes: 1_000, max_age_micros: 1_000 };

    #[test]
    fn kept_frames_go_before_any_backlog() {
        let totals = Totals { backlog: [amount(1, 900), amount(0, 0), amount(1, 50)], kept: amount(1, 60) };
        assert_eq!(totals.next_sacrifice(&LIMITS), Some(Sacrifice::Kept));
    }

    #[test]
    fn the_lowest_class_goes_first() {
        let mut totals =
            Totals { backlog: [amount(1, 900), amount(1, 60), amount(1, 50)], kept: amount(0, 0) };
        assert_eq!(totals.next_sacrifice(&LIMITS), Some(Sacrifice::Backlog(Class::History)));
        totals.of(Class::History).remove(50);
        totals.of(Class::Urgent).add(60);
        assert_eq!(totals.next_sacrifice(&LIMITS), Some(Sacrifice::Backlog(Class::State)));
    }

    #[test]
    fn within_the_bound_nothing_goes() {
        let totals = Totals { backlog: [amount(1, 500), amount(1, 250), amount(1, 250)], kept: amount(0, 0) };
        assert_eq!(totals.next_sacrifice(&LIMITS), None);
    }

    #[test]
    fn an_unsigned_clock_lets_nothing_age() {
        let mut now = Stamp { wall_micros: 0, mono_micros: 0, guarded_micros: 5_000, signed: false };
        assert_eq!(too_old_before(&LIMITS, &now), None);
        now.signed = true;
        assert_eq!(too_old_before(&LIMITS, &now), Some(4_000));
    }
}
