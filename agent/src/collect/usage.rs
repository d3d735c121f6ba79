//! How long the set was on and in use: counted between readings, told in slots of five minutes.
//!
//! Time is kept as spans of the monotonic clock and gets its place in a slot only when it is told. So what was
//! seen before the county's first signed time of a run is told in corrected time too, if it was not told before,
//! and a wall clock that is set in between moves nothing. A span counts as what the reading at its beginning
//! found; what the system did not tell is unknown, never idle and never nobody. What lies between two readings
//! that are far apart was slept through and is not told.
//!
//! Spans are told in whole seconds, each from the second in which the span before ended, so the seconds of all
//! frames together are the time watched, and a slot is told of in as many frames as it takes.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
};

use bbt_proto::report::v1 as wire;

use super::source::Unknown;
use crate::{
    identity::clock::Stamp,
    platform::{Platform, Seat},
};

/// Of one slot, by the contract.
const SLOT_SECS: i64 = 300;
const MICROS_PER_SEC: i64 = 1_000_000;
/// Readings are 15 s apart, and up to a minute while collectors hang; a longer pause was sleep.
const ASLEEP_AFTER_MICROS: i64 = 120 * MICROS_PER_SEC;
/// A clock that is off by less stays as it was first taken: each answer of the controller moves the corrected
/// time by what the line was slow, and slots should not gain and lose seconds by that.
const CLOCK_SLACK_MICROS: i64 = 10 * MICROS_PER_SEC;
/// Of the time before the agent started, so much is told: nobody needs more than the day, and a server that is up
/// for years must not fill a frame.
const UNWATCHED_MAX_MICROS: i64 = 24 * 3600 * MICROS_PER_SEC;
/// Spans kept while nobody takes them, a day of readings that each found something else. The oldest go first.
const MAX_SPANS: usize = 24 * 3600 / 15;

/// See the head of the module.
#[derive(Debug, Default)]
pub struct Usage {
    /// When the last reading was, and what it found.
    before: Option<(i64, Option<Seat>)>,
    untold: VecDeque<Span>,
    basis: Option<Basis>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    from_micros: i64,
    until_micros: i64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The system was up, the agent was not.
    Unwatched,
    /// The agent looked on; none where the system did not tell.
    Watched(Option<Seat>),
}

/// The clock that slots are counted by.
#[derive(Clone, Copy, Debug)]
struct Basis {
    corrected: bool,
    /// What it is ahead of the monotonic clock.
    ahead_micros: i64,
}

impl Usage {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Usage {
        Usage::default()
    }

    /// The system was up from then until now, and no agent told of it.
    pub fn unwatched(&mut self, from_mono_micros: i64, until_mono_micros: i64) {
        let earliest = until_mono_micros.saturating_sub(UNWATCHED_MAX_MICROS);
        self.add(Span {
            from_micros: from_mono_micros.max(earliest),
            until_micros: until_mono_micros,
            kind: Kind::Unwatched,
        });
    }

    /// Takes a reading of the seat; none where the system does not tell.
    pub fn tick(&mut self, mono_micros: i64, seat: Option<Seat>) {
        self.reach(mono_micros);
        self.before = Some((mono_micros, seat));
    }

    /// All that was not told yet; none if there is nothing.
    pub fn take(&mut self, now: &Stamp) -> Option<wire::Usage> {
        self.reach(now.mono_micros);
        let basis = self.basis(now);
        let mut slots = BTreeMap::new();
        for span in self.untold.drain(..) {
            span.fill(basis, &mut slots);
        }
        (!slots.is_empty())
            .then(|| wire::Usage { corrected: basis.corrected, slots: slots.into_values().collect() })
    }

    /// What the last reading found goes on until now.
    fn reach(&mut self, mono_micros: i64) {
        let Some((from_micros, seat)) = self.before else { return };
        if mono_micros.saturating_sub(from_micros) <= ASLEEP_AFTER_MICROS {
            self.add(Span { from_micros, until_micros: mono_micros, kind: Kind::Watched(seat) });
        }
        self.before = Some((mono_micros, seat));
    }

    fn add(&mut self, span: Span) {
        if span.from_micros >= span.until_micros {
            return;
        }
        match self.untold.back_mut() {
            Some(last) if last.kind == span.kind && last.until_micros == span.from_micros => {
                last.until_micros = span.until_micros;
            }
            _ => self.untold.push_back(span),
        }
        if self.untold.len() > MAX_SPANS {
            self.untold.pop_front();
        }
    }

    fn basis(&mut self, now: &Stamp) -> Basis {
        let reading = if now.signed { now.guarded_micros } else { now.wall_micros };
        let ahead_micros = reading.saturating_sub(now.mono_micros);
        let same = |known: &Basis| {
            known.corrected == now.signed
                && known.ahead_micros.abs_diff(ahead_micros) < CLOCK_SLACK_MICROS as u64
        };
        let basis = self.basis.filter(same).unwrap_or(Basis { corrected: now.signed, ahead_micros });
        *self.basis.insert(basis)
    }
}

impl Span {
    /// Adds the span's seconds to the slots that it touches.
    fn fill(self, basis: Basis, slots: &mut BTreeMap<u64, wire::UsageSlot>) {
        let mut from = basis.second(self.from_micros);
        let until = basis.second(self.until_micros);
        while from < until {
            let number = from / SLOT_SECS as u64;
            let end = until.min((number + 1) * SLOT_SECS as u64);
            let slot = slots.entry(number).or_insert(wire::UsageSlot { number, ..Default::default() });
            // At most the length of a slot.
            self.kind.count(slot, (end - from) as u32);
            from = end;
        }
    }
}

impl Kind {
    fn count(self, slot: &mut wire::UsageSlot, secs: u32) {
        let Kind::Watched(seat) = self else {
            slot.unwatched_secs += secs;
            return;
        };
        slot.watched_secs += secs;
        match seat {
            Some(Seat::Active) => slot.active_secs += secs,
            Some(Seat::Idle) => slot.idle_secs += secs,
            Some(Seat::Nobody) => {}
            None => slot.unknown_secs += secs,
        }
    }
}

impl Basis {
    /// Seconds since 1970; a clock before that has no slots.
    fn second(self, mono_micros: i64) -> u64 {
        let secs = mono_micros.saturating_add(self.ahead_micros).div_euclid(MICROS_PER_SEC);
        u64::try_from(secs).unwrap_or(0)
    }
}

/// What goes on at the seat now, for showing.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// None where it is unknown.
    pub seat: Option<Seat>,
    /// Why it is unknown.
    pub problems: Vec<wire::Problem>,
}

impl Session {
    /// Asks the system.
    #[must_use]
    pub fn look(platform: &dyn Platform) -> Session {
        match platform.session() {
            Ok(seat) => Session { seat: Some(seat), problems: Vec::new() },
            Err(error) => Session { seat: None, problems: vec![problem(&error)] },
        }
    }
}

fn problem(error: &io::Error) -> wire::Problem {
    Unknown::from_io("Asking whether somebody is signed in", error).into_problem("session")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEC: i64 = MICROS_PER_SEC;
    /// 2026-03-02T00:00:00Z, the beginning of a slot.
    const DAY_SECS: i64 = 1_772_409_600;

    /// The clocks `mono_secs` after the start of the system, which was at midnight.
    fn stamp(mono_secs: i64) -> Stamp {
        let wall_micros = (DAY_SECS + mono_secs) * SEC;
        Stamp { wall_micros, mono_micros: mono_secs * SEC, guarded_micros: wall_micros, signed: true }
    }

    fn ticks(usage: &mut Usage, secs: impl IntoIterator<Item = i64>, seat: Option<Seat>) {
        for second in secs {
            usage.tick(second * SEC, seat);
        }
    }

    /// Watched, active, idle, unknown, unwatched.
    fn counts(slot: &wire::UsageSlot) -> [u32; 5] {
        let wire::UsageSlot { watched_secs, active_secs, idle_secs, unknown_secs, unwatched_secs, .. } =
            *slot;
        [watched_secs, active_secs, idle_secs, unknown_secs, unwatched_secs]
    }

    fn told(usage: &mut Usage, mono_secs: i64) -> Vec<(i64, [u32; 5])> {
        let frame = usage.take(&stamp(mono_secs)).unwrap_or_default();
        let place = |slot: &wire::UsageSlot| slot.number as i64 - DAY_SECS / SLOT_SECS;
        frame.slots.iter().map(|slot| (place(slot), counts(slot))).collect()
    }

    #[test]
    fn a_span_over_a_border_is_split_there() {
        let mut usage = Usage::new();
        ticks(&mut usage, [290, 305], Some(Seat::Active));
        assert_eq!(told(&mut usage, 305), [(0, [10, 10, 0, 0, 0]), (1, [5, 5, 0, 0, 0])]);
        assert_eq!(told(&mut usage, 305), [], "nothing is told twice");
    }

    #[test]
    fn a_span_is_what_the_reading_at_its_beginning_found() {
        let mut usage = Usage::new();
        for (second, seat) in
            [(0, Some(Seat::Nobody)), (15, Some(Seat::Active)), (30, Some(Seat::Idle)), (45, None)]
        {
            usage.tick(second * SEC, seat);
        }
        assert_eq!(told(&mut usage, 60), [(0, [60, 15, 15, 15, 0])]);
    }

    #[test]
    fn the_rest_until_the_moment_of_telling_is_told_and_goes_on_after_it() {
        let mut usage = Usage::new();
        ticks(&mut usage, [0], Some(Seat::Active));
        assert_eq!(told(&mut usage, 7), [(0, [7, 7, 0, 0, 0])]);
        ticks(&mut usage, [15], Some(Seat::Nobody));
        assert_eq!(told(&mut usage, 15), [(0, [8, 8, 0, 0, 0])]);
    }

    #[test]
    fn a_night_asleep_is_neither_watched_nor_idle() {
        let mut usage = Usage::new();
        ticks(&mut usage, [0, 15, 30_000, 30_015], Some(Seat::Idle));
        assert_eq!(told(&mut usage, 30_015), [(0, [15, 0, 15, 0, 0]), (100, [15, 0, 15, 0, 0])]);
    }

    #[test]
    fn the_time_before_the_agent_is_unwatched_and_at_most_a_day() {
        let mut usage = Usage::new();
        usage.unwatched(250 * SEC, 310 * SEC);
        ticks(&mut usage, [310, 325], None);
        assert_eq!(told(&mut usage, 325), [(0, [0, 0, 0, 0, 50]), (1, [15, 0, 0, 15, 10])]);
        let mut usage = Usage::new();
        usage.unwatched(0, 30 * 86_400 * SEC);
        let unwatched: u32 = told(&mut usage, 30 * 86_400).iter().map(|(_, counts)| counts[4]).sum();
        assert_eq!(unwatched, 86_400);
    }

    #[test]
    fn what_waits_when_the_county_signs_a_time_is_told_in_corrected_time() {
        let mut usage = Usage::new();
        let wrong = |mono_secs: i64| Stamp {
            wall_micros: 1_262_304_000 * SEC + mono_secs * SEC,
            signed: false,
            ..stamp(mono_secs)
        };
        ticks(&mut usage, [0, 15], Some(Seat::Active));
        let before = usage.take(&wrong(15)).unwrap();
        assert!(!before.corrected);
        assert_eq!(before.slots[0].number, 1_262_304_000 / 300, "as the device's clock has it");
        ticks(&mut usage, [30, 45], Some(Seat::Active));
        let after = usage.take(&stamp(45)).unwrap();
        assert!(after.corrected);
        assert_eq!((after.slots[0].number, counts(&after.slots[0])), (5_908_032, [30, 30, 0, 0, 0]));
    }

    #[test]
    fn a_clock_that_moves_by_seconds_moves_no_slot() {
        let mut usage = Usage::new();
        let mut sum = 0;
        for turn in 0..40 {
            ticks(&mut usage, [turn * 15, turn * 15 + 15], Some(Seat::Active));
            let late = Stamp {
                guarded_micros: stamp(turn * 15 + 15).guarded_micros + turn % 3 * SEC,
                ..stamp(turn * 15 + 15)
            };
            sum += usage.take(&late).unwrap().slots.iter().map(|slot| slot.watched_secs).sum::<u32>();
        }
        assert_eq!(sum, 600);
    }

    #[test]
    fn a_clock_before_1970_does_not_count_and_does_not_panic() {
        let mut usage = Usage::new();
        ticks(&mut usage, [0, 15], Some(Seat::Active));
        let now = Stamp { wall_micros: -SEC, signed: false, ..stamp(15) };
        assert_eq!(usage.take(&now), None);
    }

    #[test]
    fn spans_that_nobody_takes_are_bounded() {
        let mut usage = Usage::new();
        for turn in 0..MAX_SPANS as i64 + 100 {
            usage.tick(turn * 15 * SEC, if turn % 2 == 0 { None } else { Some(Seat::Nobody) });
        }
        assert_eq!(usage.untold.len(), MAX_SPANS);
    }

    fn seat() -> impl Strategy<Value = Option<Seat>> {
        prop_oneof![Just(None), Just(Some(Seat::Active)), Just(Some(Seat::Idle)), Just(Some(Seat::Nobody))]
    }

    proptest! {
        #[test]
        fn all_frames_together_tell_the_time_watched_and_no_slot_is_overfull(
            start in 0..1_000_000_i64,
            steps in prop::collection::vec((1..200_i64, seat(), prop::bool::weighted(0.1)), 1..200),
        ) {
            let (mut usage, mut mono, mut expected) = (Usage::new(), start, [0_i64; 5]);
            let mut slots: BTreeMap<u64, [u32; 5]> = BTreeMap::new();
            usage.unwatched(0, start * SEC);
            expected[4] = start.min(86_400);
            let mut before = None;
            let mut taken = Vec::new();
            for (pause, seat, take) in steps {
                mono += pause;
                usage.tick(mono * SEC, seat);
                if let Some(seat) = before
                    && pause <= 120
                {
                    expected[0] += pause;
                    match seat {
                        Some(Seat::Active) => expected[1] += pause,
                        Some(Seat::Idle) => expected[2] += pause,
                        Some(Seat::Nobody) => {}
                        None => expected[3] += pause,
                    }
                }
                before = Some(seat);
                if take {
                    taken.extend(usage.take(&stamp(mono)));
                }
            }
            taken.extend(usage.take(&stamp(mono)));
            for slot in taken.iter().flat_map(|frame| &frame.slots) {
                let sum = slots.entry(slot.number).or_default();
                for (sum, count) in sum.iter_mut().zip(counts(slot)) {
                    *sum += count;
                }
            }
            for [watched, active, idle, unknown, unwatched] in slots.values() {
                prop_assert!(watched + unwatched <= 300 && active + idle + unknown <= *watched);
            }
            for (place, expected) in expected.into_iter().enumerate() {
                prop_assert_eq!(slots.values().map(|counts| i64::from(counts[place])).sum::<i64>(), expected);
            }
        }
    }
}
