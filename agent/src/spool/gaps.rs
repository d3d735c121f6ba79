//! Drops on their way to being told: merged per class, run and reason.

use std::collections::BTreeMap;

use bbt_proto::report::v1 as wire;

use super::{Class, FrameKey, RunId};

/// Which drops are told together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GapKey {
    pub(super) class: Class,
    pub(super) run_id: RunId,
    pub(super) reason: i32,
}

/// What was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GapSpan {
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    pub(super) count: u64,
    pub(super) from_wall_micros: i64,
    pub(super) to_wall_micros: i64,
}

impl GapSpan {
    fn merge(&mut self, other: &GapSpan) {
        self.first_seq = self.first_seq.min(other.first_seq);
        self.last_seq = self.last_seq.max(other.last_seq);
        self.count += other.count;
        self.from_wall_micros = self.from_wall_micros.min(other.from_wall_micros);
        self.to_wall_micros = self.to_wall_micros.max(other.to_wall_micros);
    }
}

/// Drops not yet written down.
#[derive(Clone, Debug, Default)]
pub(super) struct Gaps(BTreeMap<GapKey, GapSpan>);

impl Gaps {
    /// One frame was dropped.
    pub(super) fn note(&mut self, key: FrameKey, class: Class, wall_micros: i64, reason: wire::GapReason) {
        let span = GapSpan {
            first_seq: key.seq,
            last_seq: key.seq,
            count: 1,
            from_wall_micros: wall_micros,
            to_wall_micros: wall_micros,
        };
        self.add(GapKey { class, run_id: key.run_id, reason: reason as i32 }, span);
    }

    /// A gap frame was dropped itself: what it told goes back to be told again.
    pub(super) fn take_back(&mut self, gap: &wire::Gap) {
        let (Some(class), Ok(run_id)) =
            (Class::from_number(gap.class.into()), RunId::try_from(gap.run_id.as_slice()))
        else {
            return;
        };
        let span = GapSpan {
            first_seq: gap.first_seq,
            last_seq: gap.last_seq,
            count: gap.count,
            from_wall_micros: gap.from_wall_micros,
            to_wall_micros: gap.to_wall_micros,
        };
        self.add(GapKey { class, run_id, reason: gap.reason }, span);
    }

    pub(super) fn add(&mut self, key: GapKey, span: GapSpan) {
        self.0.entry(key).and_modify(|known| known.merge(&span)).or_insert(span);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&GapKey, &GapSpan)> {
        self.0.iter()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.0.values().map(|span| span.count).sum()
    }
}

/// The message that tells a gap.
pub(super) fn message(key: &GapKey, span: &GapSpan) -> wire::Gap {
    wire::Gap {
        class: key.class as i32,
        run_id: key.run_id.to_vec(),
        first_seq: span.first_seq,
        last_seq: span.last_seq,
        count: span.count,
        from_wall_micros: span.from_wall_micros,
        to_wall_micros: span.to_wall_micros,
        reason: key.reason,
    }
}
