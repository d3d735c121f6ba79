//! Seconds in slots of five minutes, and a county day of them in few bytes.
//!
//! What is told of a slot over all reports adds up, in any order; so nothing here depends on which report came
//! first.

use serde::Serialize;

use crate::{
    civil::{COUNTY_OFFSET_HOURS, Day},
    leb128,
};

/// Length of a slot.
pub const SLOT_SECS: u16 = 300;
/// Slots of a day. The county's midnight is the start of a slot, because its offset is a whole number of them.
pub const DAY_SLOTS: usize = 288;

/// Slots by which the county's day is ahead of that of UTC.
const OFFSET_SLOTS: i64 = COUNTY_OFFSET_HOURS as i64 * 3_600 / SLOT_SECS as i64;
/// The first byte of a packed day.
const FORMAT: u8 = 1;

/// What a device tells of one slot. No part is longer than the slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Seconds {
    /// The system was awake and the agent looked on.
    pub watched_secs: u16,
    /// Of these: somebody used it.
    pub active_secs: u16,
    /// Of these: somebody was signed in and left it alone.
    pub idle_secs: u16,
    /// Of these: the system did not tell which it was.
    pub unknown_secs: u16,
    /// Beside these: the system was up and the agent had not started.
    pub unwatched_secs: u16,
}

impl Seconds {
    /// From what a device says: watched, active, idle, unknown, unwatched, each cut to the slot's length.
    pub fn capped(parts: [u32; 5]) -> Self {
        Self::of(parts.map(|secs| secs.min(u32::from(SLOT_SECS)) as u16))
    }

    /// Adds what another report tells of the same slot.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let (mut sum, more) = (self.parts(), other.parts());
        for (secs, more) in sum.iter_mut().zip(more) {
            *secs = secs.saturating_add(more).min(SLOT_SECS);
        }
        Self::of(sum)
    }

    /// How long the set was on: a slot has no more than its length, whatever was told of it.
    pub fn on_secs(self) -> u16 {
        self.watched_secs.saturating_add(self.unwatched_secs).min(SLOT_SECS)
    }

    const fn of([watched_secs, active_secs, idle_secs, unknown_secs, unwatched_secs]: [u16; 5]) -> Self {
        Self { watched_secs, active_secs, idle_secs, unknown_secs, unwatched_secs }
    }

    const fn parts(self) -> [u16; 5] {
        [self.watched_secs, self.active_secs, self.idle_secs, self.unknown_secs, self.unwatched_secs]
    }
}

/// One slot of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Seconds since 1970 in UTC, divided by [`SLOT_SECS`].
    pub number: i64,
    /// What is told of it.
    pub seconds: Seconds,
}

impl Slot {
    /// The slot of a clock that is behind by `micros`, as the right clock has it.
    #[must_use]
    pub fn shifted(self, micros: i64) -> Self {
        let slot = i64::from(SLOT_SECS) * 1_000_000;
        let by = micros.saturating_add(slot / 2).div_euclid(slot);
        Self { number: self.number.saturating_add(by), ..self }
    }
}

/// The county day that a slot is in, and its place in it.
pub const fn place_of(number: i64) -> (Day, usize) {
    let local = number.saturating_add(OFFSET_SLOTS);
    let slots = DAY_SLOTS as i64;
    (Day::from_number(local.div_euclid(slots)), local.rem_euclid(slots) as usize)
}

/// The number of a day's first slot.
pub const fn first_of(day: Day) -> i64 {
    day.number().saturating_mul(DAY_SLOTS as i64).saturating_sub(OFFSET_SLOTS)
}

/// One county day of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageDay(Box<[Seconds; DAY_SLOTS]>);

impl Default for UsageDay {
    fn default() -> Self {
        Self(Box::new([Seconds::default(); DAY_SLOTS]))
    }
}

impl UsageDay {
    /// The slots in order.
    pub fn slots(&self) -> &[Seconds; DAY_SLOTS] {
        &self.0
    }

    /// Adds to the slot at `place`; a place beyond the day is none.
    pub fn add(&mut self, place: usize, seconds: Seconds) {
        if let Some(kept) = self.0.get_mut(place) {
            *kept = kept.plus(seconds);
        }
    }

    /// Adds another device's day, or another part of the same.
    pub fn merge(&mut self, other: &Self) {
        for (place, seconds) in other.0.iter().enumerate() {
            self.add(place, *seconds);
        }
    }

    /// As bytes: the format, then each run of equal slots that are not empty, as the distance from the end of the
    /// run before, its length less one, and the five numbers, all in LEB128.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        let mut end = 0;
        let mut at = 0;
        while at < DAY_SLOTS {
            let seconds = self.0[at];
            let length = self.0[at..].iter().take_while(|next| **next == seconds).count();
            if seconds != Seconds::default() {
                leb128::put((at - end) as u64, &mut bytes);
                leb128::put(length as u64 - 1, &mut bytes);
                seconds.parts().into_iter().for_each(|secs| leb128::put(u64::from(secs), &mut bytes));
                end = at + length;
            }
            at += length;
        }
        bytes
    }

    /// The reverse of [`UsageDay::to_bytes`]; `None` when the bytes are damaged or of a later format.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&format, mut bytes) = bytes.split_first()?;
        if format != FORMAT {
            return None;
        }
        let mut day = Self::default();
        let mut end = 0_usize;
        while !bytes.is_empty() {
            let first = end.checked_add(usize::try_from(leb128::take(&mut bytes)?).ok()?)?;
            end = first.checked_add(usize::try_from(leb128::take(&mut bytes)?).ok()?)?.checked_add(1)?;
            let run = day.0.get_mut(first..end)?;
            let mut parts = [0; 5];
            for secs in &mut parts {
                *secs = u16::try_from(leb128::take(&mut bytes)?).ok().filter(|secs| *secs <= SLOT_SECS)?;
            }
            run.fill(Seconds::of(parts));
        }
        Some(day)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::UtcMicros;

    fn seconds() -> impl Strategy<Value = Seconds> {
        prop_oneof![
            Just(Seconds::capped([300, 0, 300, 0, 0])),
            (0_u32..400, 0_u32..400, 0_u32..400, 0_u32..400, 0_u32..400)
                .prop_map(|(a, b, c, d, e)| Seconds::capped([a, b, c, d, e])),
        ]
    }

    fn told() -> impl Strategy<Value = Vec<(usize, Seconds)>> {
        prop::collection::vec((0_usize..DAY_SLOTS, seconds()), 0..60)
    }

    fn day_of(told: &[(usize, Seconds)]) -> UsageDay {
        let mut day = UsageDay::default();
        told.iter().for_each(|(place, seconds)| day.add(*place, *seconds));
        day
    }

    proptest! {
        #[test]
        fn in_whatever_order_it_is_told_the_day_is_the_same(
            told in told().prop_flat_map(|told| (Just(told.clone()), Just(told).prop_shuffle())),
            split in 0_usize..60,
        ) {
            let (one, other) = told;
            let expected = day_of(&one);
            prop_assert_eq!(&day_of(&other), &expected);
            let (first, second) = one.split_at(split.min(one.len()));
            let (first, second) = (day_of(first), day_of(second));
            let merged = |mut into: UsageDay, other: &UsageDay| { into.merge(other); into };
            prop_assert_eq!(&merged(first.clone(), &second), &expected);
            prop_assert_eq!(&merged(second, &first), &expected);
        }

        #[test]
        fn a_day_survives_its_bytes(told in told()) {
            let day = day_of(&told);
            prop_assert_eq!(UsageDay::from_bytes(&day.to_bytes()), Some(day));
        }

        #[test]
        fn damaged_bytes_are_never_a_panic(mut bytes in prop::collection::vec(0_u8.., 0..60)) {
            if let Some(first) = bytes.first_mut() {
                *first = FORMAT;
            }
            let _ = UsageDay::from_bytes(&bytes);
        }
    }

    #[test]
    fn the_bytes_of_a_day_are_what_they_were() {
        let mut day = UsageDay::default();
        for place in 96..100 {
            day.add(place, Seconds::capped([300, 120, 60, 0, 0]));
        }
        day.add(DAY_SLOTS - 1, Seconds::capped([0, 0, 0, 0, 7]));
        let bytes = [&[1, 96, 3, 0xac, 2, 120, 60, 0, 0][..], &[0xbb, 1, 0, 0, 0, 0, 0, 7]].concat();
        assert_eq!(day.to_bytes(), bytes);
        assert_eq!(UsageDay::default().to_bytes(), [1]);
        assert_eq!(UsageDay::from_bytes(&[2]), None, "a later format is not guessed about");
    }

    #[test]
    fn a_slot_is_never_longer_than_it_is() {
        let twice = Seconds::capped([200, 200, 0, 0, 0]).plus(Seconds::capped([200, 0, 90, 0, 250]));
        assert_eq!(twice, Seconds::capped([300, 200, 90, 0, 250]));
        assert_eq!(twice.on_secs(), SLOT_SECS);
        assert_eq!(Seconds::capped([u32::MAX; 5]).on_secs(), SLOT_SECS);
    }

    #[test]
    fn the_countys_midnight_begins_a_day_of_slots() {
        let time = |text: &str| text.parse::<UtcMicros>().unwrap();
        let number = |text: &str| time(text).as_secs() / i64::from(SLOT_SECS);
        let day = Day::of(time("2026-09-18T16:00:00Z"));
        assert_eq!(place_of(number("2026-09-18T15:59:59Z")).1, DAY_SLOTS - 1);
        assert_eq!(place_of(number("2026-09-18T16:00:00Z")), (day, 0));
        assert_eq!(place_of(number("2026-09-19T00:00:00Z")), (day, 96), "eight o'clock");
        assert_eq!(first_of(day), number("2026-09-18T16:00:00Z"));
        for number in [i64::MIN, -1, i64::MAX] {
            assert!(place_of(number).1 < DAY_SLOTS);
        }
    }

    #[test]
    fn slots_of_a_wrong_clock_are_moved_to_where_they_belong() {
        let slot = Slot { number: 100, seconds: Seconds::default() };
        let at = |secs: i64| slot.shifted(secs * 1_000_000).number;
        assert_eq!([at(0), at(149), at(150), at(-150), at(-151), at(3_600)], [100, 100, 101, 100, 99, 112]);
        assert_eq!(slot.shifted(i64::MIN).number, 100 + (i64::MIN + 150_000_000).div_euclid(300_000_000));
    }
}
