//! What a slot means. The one source of these words: pages, exports and figures count by them.
//!
//! Silence is not "not used". A slot of which nothing was told is off only when the device has told of later
//! ones, because it tells in order and keeps what it could not send; and when nothing that it had to drop may
//! have been about it. Everything else is 暂无数据.

use std::ops::Range;

use serde::Serialize;

use super::slots::{DAY_SLOTS, SLOT_SECS, Seconds, UsageDay};
use crate::time::UtcMicros;

/// A report of usage tells of the five minutes before it was made, so of at most two slots before the one in
/// which it was dropped.
const TOLD_BEFORE: i64 = 2;

/// What a slot means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Meaning {
    /// On, and somebody used it.
    Used,
    /// On, and nobody used it.
    Idle,
    /// On; whether somebody used it cannot be said.
    On,
    /// Off.
    Off,
    /// Nothing is known, or not yet. Never counted as not used.
    NoData,
}

/// One slot as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SlotUsage {
    /// In one word.
    pub meaning: Meaning,
    /// What was told.
    #[serde(flatten)]
    pub seconds: Seconds,
}

/// Of which slots it is known that a device told all there was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// From the first slot that it told of to the end of the latest, by number.
    pub told: Range<i64>,
    /// Spans in which reports were dropped, by number of slots.
    pub dropped: Vec<Range<i64>>,
}

impl Coverage {
    /// Slots of which a report that was dropped between two moments may have told.
    pub fn dropped_between(from: UtcMicros, to: UtcMicros) -> Range<i64> {
        let slot = |time: UtcMicros| time.as_secs().div_euclid(i64::from(SLOT_SECS));
        slot(from) - TOLD_BEFORE..slot(to).max(slot(from)) + 1
    }

    /// Whether silence about the slot `number` says that the device was off.
    pub fn is_whole(&self, number: i64) -> bool {
        self.told.contains(&number) && !self.dropped.iter().any(|span| span.contains(&number))
    }
}

/// One device's day and what is known of it.
#[derive(Clone, Debug, Default)]
pub struct DeviceDay {
    /// What was told.
    pub usage: UsageDay,
    /// How complete that is.
    pub coverage: Coverage,
}

/// A set's day, slot by slot, from those of its devices; `first` is the number of the day's first slot. A set is
/// off when all of its devices were, and a set without a device tells nothing.
pub fn day_of_set(devices: &[DeviceDay], first: i64) -> Vec<SlotUsage> {
    let mut sum = UsageDay::default();
    devices.iter().for_each(|device| sum.merge(&device.usage));
    let is_whole =
        |number| !devices.is_empty() && devices.iter().all(|device| device.coverage.is_whole(number));
    (0..DAY_SLOTS)
        .map(|place| {
            let seconds = sum.slots()[place];
            let number = first.saturating_add(place as i64);
            SlotUsage { meaning: meaning(seconds, || is_whole(number)), seconds }
        })
        .collect()
}

/// What a slot means; `is_whole`: silence about it says that the set was off.
fn meaning(seconds: Seconds, is_whole: impl FnOnce() -> bool) -> Meaning {
    if seconds.on_secs() == 0 {
        return if is_whole() { Meaning::Off } else { Meaning::NoData };
    }
    if seconds.active_secs > 0 {
        return Meaning::Used;
    }
    // The rest of what was watched: signed in and left alone, or nobody signed in.
    let unused = seconds.watched_secs.saturating_sub(seconds.unknown_secs);
    let unclear = seconds.unknown_secs.min(seconds.watched_secs) + seconds.unwatched_secs;
    if unused >= unclear { Meaning::Idle } else { Meaning::On }
}

/// Sums of some slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// On.
    pub on_secs: u32,
    /// Of these, somebody used it.
    pub active_secs: u32,
    /// Slots in which it was used.
    pub used_slots: u32,
    /// Slots in which it was off.
    pub off_slots: u32,
    /// Slots of which nothing is known.
    pub no_data_slots: u32,
}

/// The sums of `slots`.
pub fn totals(slots: &[SlotUsage]) -> Totals {
    let mut sums = Totals::default();
    for SlotUsage { meaning, seconds } in slots {
        sums.on_secs += u32::from(seconds.on_secs());
        sums.active_secs += u32::from(seconds.active_secs.min(seconds.on_secs()));
        match meaning {
            Meaning::Used => sums.used_slots += 1,
            Meaning::Off => sums.off_slots += 1,
            Meaning::NoData => sums.no_data_slots += 1,
            Meaning::Idle | Meaning::On => {}
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: i64 = 1_000;

    /// A device that told of `told` places of the day, used in `used`.
    fn device(told: Range<i64>, used: Range<usize>) -> DeviceDay {
        let mut usage = UsageDay::default();
        used.for_each(|place| usage.add(place, Seconds::capped([300, 300, 0, 0, 0])));
        let told = FIRST + told.start..FIRST + told.end;
        DeviceDay { usage, coverage: Coverage { told, dropped: vec![] } }
    }

    fn meanings(devices: &[DeviceDay]) -> Vec<Meaning> {
        day_of_set(devices, FIRST).iter().map(|slot| slot.meaning).collect()
    }

    fn of(parts: [u32; 5]) -> Meaning {
        meaning(Seconds::capped(parts), || true)
    }

    #[test]
    fn a_slot_is_used_idle_on_or_off() {
        assert_eq!(of([300, 20, 280, 0, 0]), Meaning::Used);
        assert_eq!(of([300, 0, 300, 0, 0]), Meaning::Idle, "signed in and left alone");
        assert_eq!(of([300, 0, 0, 0, 0]), Meaning::Idle, "on, nobody signed in");
        assert_eq!(of([300, 0, 0, 300, 0]), Meaning::On, "the system does not tell");
        assert_eq!(of([0, 0, 0, 0, 300]), Meaning::On, "before the agent started");
        assert_eq!(of([60, 0, 60, 0, 240]), Meaning::On);
        assert_eq!(of([0; 5]), Meaning::Off);
        assert_eq!(meaning(Seconds::default(), || false), Meaning::NoData);
    }

    #[test]
    fn silence_is_off_only_between_what_was_told() {
        let meanings = meanings(&[device(10..20, 18..20)]);
        assert!(meanings[..10].iter().all(|meaning| *meaning == Meaning::NoData), "before the first word");
        assert!(meanings[10..18].iter().all(|meaning| *meaning == Meaning::Off), "later words prove it");
        assert!(meanings[18..20].iter().all(|meaning| *meaning == Meaning::Used));
        assert!(meanings[20..].iter().all(|meaning| *meaning == Meaning::NoData), "not told yet");
    }

    #[test]
    fn what_was_dropped_is_no_data() {
        let mut device = device(0..288, 100..101);
        device.coverage.dropped.push(FIRST + 40..FIRST + 50);
        let meanings = meanings(&[device]);
        let no_data: Vec<_> = (0..288).filter(|place| meanings[*place] == Meaning::NoData).collect();
        assert_eq!(no_data, (40..50).collect::<Vec<_>>());
    }

    #[test]
    fn a_dropped_report_spoils_the_slots_that_it_told_of() {
        let at = |secs: i64| UtcMicros::from_secs(secs);
        assert_eq!(Coverage::dropped_between(at(3_000), at(3_600)), 8..13);
        assert_eq!(Coverage::dropped_between(at(3_299), at(3_299)), 8..11);
        assert_eq!(Coverage::dropped_between(at(3_299), at(0)), 8..11, "a clock that went back");
    }

    #[test]
    fn a_set_is_off_when_all_of_its_devices_were() {
        let both = [device(0..288, 10..11), device(0..100, 50..51)];
        let meanings = meanings(&both);
        assert_eq!((meanings[10], meanings[50], meanings[20]), (Meaning::Used, Meaning::Used, Meaning::Off));
        assert_eq!(meanings[150], Meaning::NoData, "the other is silent");
        assert!(day_of_set(&[], FIRST).iter().all(|slot| slot.meaning == Meaning::NoData));
    }

    #[test]
    fn sums_keep_what_is_not_known_apart() {
        let slots = day_of_set(&[device(0..100, 96..100)], FIRST);
        let sums = totals(&slots);
        assert_eq!((sums.on_secs, sums.active_secs), (1_200, 1_200));
        assert_eq!((sums.used_slots, sums.off_slots, sums.no_data_slots), (4, 96, 188));
    }
}
