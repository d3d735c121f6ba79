//! The one word shown for a set everywhere (users.md 8).

use serde::Serialize;

use crate::{org::SetStanding, presence::Presence};

/// How a set stands, the most telling first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SetState {
    /// 维修中: a ticket about it was accepted.
    Repairing,
    /// 有故障.
    Faulty,
    /// 多日未开机(待核实).
    Silent,
    /// 封存.
    Sealed,
    /// 停用: it has no device, or none that may report.
    NotConnected,
    /// 今日未开机.
    NotToday,
    /// 正常.
    Ok,
}

impl SetState {
    /// All states, in the order in which they are counted for people: what needs somebody first.
    pub const ALL: [Self; 7] = [
        Self::Faulty,
        Self::Repairing,
        Self::Silent,
        Self::NotToday,
        Self::Ok,
        Self::Sealed,
        Self::NotConnected,
    ];

    /// The word shown in JSON, and the key of the message files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Repairing => "repairing",
            Self::Faulty => "faulty",
            Self::Silent => "silent",
            Self::Sealed => "sealed",
            Self::NotConnected => "not_connected",
            Self::NotToday => "not_today",
            Self::Ok => "ok",
        }
    }

    /// The state that [`SetState::as_str`] names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// How many sets stand how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateCounts([i64; SetState::ALL.len()]);

impl StateCounts {
    /// One more of `state`.
    pub fn add(&mut self, state: SetState) {
        self.0[state as usize] += 1;
    }

    /// Those of another count, too.
    pub fn add_all(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(count, more)| *count += more);
    }

    /// How many of `state`.
    pub fn of(&self, state: SetState) -> i64 {
        self.0[state as usize]
    }

    /// How many at all.
    pub fn total(&self) -> i64 {
        self.0.iter().sum()
    }
}

/// What is known of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetSigns {
    /// Whether it is expected to work.
    pub standing: SetStanding,
    /// Of the device of it that was heard of last; `None` without a device.
    pub presence: Option<Presence>,
    /// A fault that is not a question is raised.
    pub is_faulty: bool,
    /// A school is being asked about its silence.
    pub is_asked_about: bool,
    /// A ticket about it was accepted and is not closed.
    pub is_in_repair: bool,
}

/// The word for it.
pub fn set_state(signs: SetSigns) -> SetState {
    if signs.is_in_repair {
        return SetState::Repairing;
    }
    if signs.standing == SetStanding::Sealed {
        return SetState::Sealed;
    }
    match signs.presence {
        _ if signs.is_faulty => SetState::Faulty,
        None | Some(Presence::Paused) => SetState::NotConnected,
        Some(Presence::Silent(_)) => SetState::Silent,
        _ if signs.is_asked_about => SetState::Silent,
        Some(Presence::Never | Presence::NotToday) => SetState::NotToday,
        Some(Presence::Today) => SetState::Ok,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_counted_apart_and_comes_back_from_its_word() {
        let mut counts = StateCounts::default();
        for state in SetState::ALL {
            counts.add(state);
            assert_eq!(SetState::parse(state.as_str()), Some(state));
        }
        counts.add(SetState::Silent);
        let mut twice = counts;
        twice.add_all(&counts);
        assert_eq!((twice.of(SetState::Ok), twice.of(SetState::Silent), twice.total()), (2, 4, 16));
    }

    #[test]
    fn the_most_telling_word_wins() {
        let well = SetSigns {
            standing: SetStanding::InUse,
            presence: Some(Presence::Today),
            is_faulty: false,
            is_asked_about: false,
            is_in_repair: false,
        };
        for (signs, word) in [
            (well, SetState::Ok),
            (SetSigns { presence: Some(Presence::NotToday), ..well }, SetState::NotToday),
            (SetSigns { presence: Some(Presence::Silent(4)), ..well }, SetState::Silent),
            (SetSigns { presence: Some(Presence::NotToday), is_asked_about: true, ..well }, SetState::Silent),
            (SetSigns { presence: None, ..well }, SetState::NotConnected),
            (SetSigns { presence: Some(Presence::Silent(4)), is_faulty: true, ..well }, SetState::Faulty),
            (SetSigns { is_faulty: true, is_in_repair: true, ..well }, SetState::Repairing),
            (SetSigns { standing: SetStanding::Sealed, is_faulty: true, ..well }, SetState::Sealed),
        ] {
            assert_eq!(set_state(signs), word, "{signs:?}");
        }
    }
}
