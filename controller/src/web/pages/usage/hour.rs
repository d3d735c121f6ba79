//! What an hour of a set's day is shown as. Silence is never called unused: what nobody told of is no data, and an
//! hour of which a part is not known says so.

use bbt_domain::usage::definitions::{Meaning, SlotUsage};

/// The most telling word for an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Somebody used it, for so many minutes.
    Used(u32),
    /// On for so many minutes, and nobody used it.
    Idle(u32),
    /// On for so many minutes; whether somebody used it cannot be said.
    On(u32),
    /// Off, as far as anything is known.
    Off,
    /// Nothing is known.
    NoData,
}

/// An hour in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hour {
    pub(super) word: Word,
    /// Of a part of it nothing is known.
    pub(super) has_gap: bool,
}

impl Hour {
    /// The hour that is made of `slots`; `None` when it has none.
    pub(super) fn of(slots: &[SlotUsage]) -> Option<Self> {
        if slots.is_empty() {
            return None;
        }
        let has = |meaning| slots.iter().any(|slot| slot.meaning == meaning);
        let on_secs = |meaning| -> u32 {
            let those = slots.iter().filter(|slot| slot.meaning == meaning);
            those.map(|slot| u32::from(slot.seconds.on_secs())).sum()
        };
        let (idle, unclear) = (on_secs(Meaning::Idle), on_secs(Meaning::On));
        let word = if has(Meaning::Used) {
            Word::Used(minutes(active_secs(slots)))
        } else if has(Meaning::Idle) || has(Meaning::On) {
            if idle >= unclear {
                Word::Idle(minutes(idle + unclear))
            } else {
                Word::On(minutes(idle + unclear))
            }
        } else if has(Meaning::Off) {
            Word::Off
        } else {
            Word::NoData
        };
        Some(Self { word, has_gap: word != Word::NoData && has(Meaning::NoData) })
    }
}

/// Seconds of use.
pub(super) fn active_secs(slots: &[SlotUsage]) -> u32 {
    slots.iter().map(|slot| u32::from(slot.seconds.active_secs.min(slot.seconds.on_secs()))).sum()
}

/// Begun minutes: what happened is never nothing.
pub(super) const fn minutes(secs: u32) -> u32 {
    secs.div_ceil(60)
}

#[cfg(test)]
mod tests {
    use bbt_domain::usage::slots::Seconds;

    use super::*;

    fn slot(meaning: Meaning, parts: [u32; 5]) -> SlotUsage {
        SlotUsage { meaning, seconds: Seconds::capped(parts) }
    }

    fn hour(slots: &[SlotUsage]) -> (Word, bool) {
        let hour = Hour::of(slots).unwrap();
        (hour.word, hour.has_gap)
    }

    #[test]
    fn the_most_telling_word_wins_and_a_gap_is_told_beside_it() {
        let used = slot(Meaning::Used, [300, 61, 239, 0, 0]);
        let idle = slot(Meaning::Idle, [300, 0, 300, 0, 0]);
        let unclear = slot(Meaning::On, [300, 0, 0, 300, 0]);
        let off = slot(Meaning::Off, [0; 5]);
        let silent = slot(Meaning::NoData, [0; 5]);
        for (slots, word, gap) in [
            (vec![off, idle, used], Word::Used(2), false),
            (vec![used, used, silent], Word::Used(3), true),
            (vec![idle, unclear, off], Word::Idle(10), false),
            (vec![idle, unclear, unclear], Word::On(15), false),
            (vec![off, off], Word::Off, false),
            (vec![off, silent], Word::Off, true),
            (vec![silent, silent], Word::NoData, false),
        ] {
            assert_eq!(hour(&slots), (word, gap), "{slots:?}");
        }
        assert_eq!(Hour::of(&[]), None);
    }
}
