//! Which reports of a run were seen: everything below a number, and a sorted list of ranges above it.
//!
//! Urgent reports overtake history, so a run's numbers arrive with holes that close later. The list is
//! bounded; a report that would need one range more is refused with a retry, never guessed about.

use crate::leb128;

/// Most ranges kept for one run. An agent has at most four batches under way, so an honest one makes a few;
/// this many still fit in one database page.
pub const MAX_RANGES: usize = 1_024;

/// The seen sequence numbers of one run. Numbers start at 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Every number below this one was seen.
    below: u64,
    /// Inclusive, sorted, apart by at least one unseen number, all above `below`.
    ranges: Vec<(u64, u64)>,
}

/// What a number is to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Not seen before; it is now.
    New,
    /// Seen before.
    Duplicate,
    /// Remembering it would take one range too many; nothing was changed.
    Overflow,
}

impl Default for Seen {
    fn default() -> Self {
        Self { below: 1, ranges: Vec::new() }
    }
}

impl Seen {
    /// Everything below this number was seen.
    pub const fn below(&self) -> u64 {
        self.below
    }

    /// Whether `seq` was seen.
    pub fn contains(&self, seq: u64) -> bool {
        seq < self.below || self.ranges.iter().any(|&(first, last)| (first..=last).contains(&seq))
    }

    /// Takes note of `seq`.
    pub fn mark(&mut self, seq: u64) -> Mark {
        if seq < self.below {
            return Mark::Duplicate;
        }
        if seq == self.below {
            self.below = seq.saturating_add(1);
            self.absorb();
            return Mark::New;
        }
        // The first range that ends at or after the number before this one.
        let at = self.ranges.partition_point(|&(_, last)| last < seq - 1);
        match self.ranges.get(at).copied() {
            Some((first, last)) if (first..=last).contains(&seq) => Mark::Duplicate,
            Some((first, last)) if last == seq - 1 => {
                let joined = match self.ranges.get(at + 1) {
                    Some(&(next_first, next_last)) if next_first == seq.saturating_add(1) => {
                        self.ranges.remove(at + 1);
                        next_last
                    }
                    _ => seq,
                };
                self.ranges[at] = (first, joined);
                Mark::New
            }
            Some((first, last)) if first == seq.saturating_add(1) => {
                self.ranges[at] = (seq, last);
                Mark::New
            }
            _ if self.ranges.len() >= MAX_RANGES => Mark::Overflow,
            _ => {
                self.ranges.insert(at, (seq, seq));
                Mark::New
            }
        }
    }

    /// Moves `below` over the ranges that it has reached.
    fn absorb(&mut self) {
        let reached = self.ranges.iter().take_while(|(first, _)| *first <= self.below).count();
        // Ranges are apart, so at most one touches `below`.
        if let Some(&(_, last)) = self.ranges[..reached].last() {
            self.below = last.saturating_add(1);
        }
        self.ranges.drain(..reached);
    }

    /// The ranges above `below` as bytes: each as the distance from the end before and its length, in LEB128.
    pub fn ranges_to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.ranges.len() * 3);
        let mut end = self.below;
        for &(first, last) in &self.ranges {
            leb128::put(first - end, &mut bytes);
            leb128::put(last - first, &mut bytes);
            end = last;
        }
        bytes
    }

    /// The reverse of [`Seen::below`] and [`Seen::ranges_to_bytes`]; `None` when the bytes are damaged.
    pub fn from_parts(below: u64, mut bytes: &[u8]) -> Option<Self> {
        let mut ranges = Vec::new();
        let mut end = below;
        while !bytes.is_empty() {
            let first = end.checked_add(leb128::take(&mut bytes)?)?;
            let last = first.checked_add(leb128::take(&mut bytes)?)?;
            if first <= end || ranges.len() == MAX_RANGES {
                return None;
            }
            ranges.push((first, last));
            end = last;
        }
        Some(Self { below, ranges })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn an_overtaking_report_leaves_a_hole_that_closes() {
        let mut seen = Seen::default();
        assert_eq!([5, 1, 2, 5, 4, 3, 3].map(|seq| seen.mark(seq)), {
            use Mark::*;
            [New, New, New, Duplicate, New, New, Duplicate]
        });
        assert_eq!(seen, Seen { below: 6, ranges: vec![] });
    }

    #[test]
    fn one_range_too_many_is_refused_and_changes_nothing() {
        let mut seen = Seen::default();
        for i in 0..MAX_RANGES as u64 {
            assert_eq!(seen.mark(10 + 2 * i), Mark::New);
        }
        let before = seen.clone();
        assert_eq!(seen.mark(9_000_000), Mark::Overflow);
        assert_eq!(seen, before);
        assert_eq!(seen.mark(11), Mark::New, "a number that joins two ranges still fits");
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(10_000))]
        /// Duplicated, reordered and interleaved numbers against a plain set.
        #[test]
        fn agrees_with_a_set(seqs in proptest::collection::vec(1_u64..80, 1..120)) {
            let mut seen = Seen::default();
            let mut set = BTreeSet::new();
            for seq in seqs {
                let expected = if set.insert(seq) { Mark::New } else { Mark::Duplicate };
                proptest::prop_assert_eq!(seen.mark(seq), expected);
            }
            let again = Seen::from_parts(seen.below(), &seen.ranges_to_bytes());
            proptest::prop_assert_eq!(again.as_ref(), Some(&seen));
            for probe in 1..82 {
                proptest::prop_assert_eq!(seen.contains(probe), set.contains(&probe));
            }
        }

        #[test]
        fn damaged_bytes_are_never_a_panic(below in 1_u64.., bytes in proptest::collection::vec(0_u8.., 0..40)) {
            let _ = Seen::from_parts(below, &bytes);
        }
    }
}
