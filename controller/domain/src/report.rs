//! An accepted report in the county's terms: what it is, when it happened, and what it may change.

use std::time::Duration;

use serde::Serialize;

use crate::{
    facts::StateReport,
    ids::{BootId, DeviceId, RunId},
    time::UtcMicros,
    usage::slots::Slot,
};

/// When a report is sent and what may be dropped first; the most urgent is the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// At once, dropped last.
    Urgent,
    /// On change.
    State,
    /// Within minutes, dropped first.
    History,
}

impl Class {
    /// The word stored and shown in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::State => "state",
            Self::History => "history",
        }
    }
}

/// Reports that a device had to drop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Of which class.
    pub class: Class,
    /// The run they were of.
    pub run: RunId,
    /// First number dropped.
    pub first_seq: u64,
    /// Last number dropped.
    pub last_seq: u64,
    /// How many of those between.
    pub count: u64,
    /// Wall time of the first, on the device's clock.
    pub from_wall: UtcMicros,
    /// Wall time of the last, on the device's clock.
    pub to_wall: UtcMicros,
    /// Short stable word: `spool_full`, `too_old`, `stale`, `rejected`, `other_identity`, `damaged`.
    pub reason: String,
}

/// What a report says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// What the device is and how it stands.
    State(Box<StateReport>),
    /// Numbers over time, checked to be readable, kept as they came (`bbt.report.v1.Samples`).
    Samples(Vec<u8>),
    /// How long the set was on and in use, by slots.
    Usage {
        /// Whether the slots are of the right time; if not, they are of the device's wall clock.
        corrected: bool,
        /// What is told of each.
        slots: Vec<Slot>,
    },
    /// What was dropped.
    Gap(Gap),
    /// Bytes that could not be read, to be kept apart.
    Unreadable {
        /// One English sentence.
        reason: String,
        /// As they came.
        bytes: Vec<u8>,
    },
}

/// One report of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The start of the agent that made it.
    pub run: RunId,
    /// Its number in that run, from 1.
    pub seq: u64,
    /// When it is sent and what may be dropped first.
    pub class: Class,
    /// The device it was made under.
    pub device: DeviceId,
    /// The start of the operating system it was made in.
    pub boot: BootId,
    /// Whether the start before that ended in an orderly stop, where known.
    pub clean_stop: Option<bool>,
    /// The device's wall clock.
    pub wall: UtcMicros,
    /// The device's monotonic clock, microseconds.
    pub mono_micros: i64,
    /// What it says.
    pub body: Body,
}

/// A moment at which both sides' clocks were seen together: a batch arriving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contact {
    /// The controller's clock.
    pub received: UtcMicros,
    /// The device's wall clock when it sent.
    pub sent_wall: UtcMicros,
    /// The device's monotonic clock when it sent, microseconds.
    pub sent_mono_micros: i64,
    /// The operating system start that the monotonic clock belongs to.
    pub boot: BootId,
}

impl Contact {
    /// How far the device's wall clock is behind the controller's, microseconds.
    pub fn wall_offset_micros(&self) -> i64 {
        self.received.as_micros().saturating_sub(self.sent_wall.as_micros())
    }
}

/// How an event's time was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeBasis {
    /// By the monotonic clock of the running system.
    Monotonic,
    /// By the device's wall clock and what it was last known to be off by in that run.
    RunOffset,
    /// Not known: somewhere between the neighbouring contacts.
    Unknown,
}

impl TimeBasis {
    /// The number stored.
    pub const fn code(self) -> i64 {
        match self {
            Self::Monotonic => 0,
            Self::RunOffset => 1,
            Self::Unknown => 2,
        }
    }
}

/// A device's clocks may disagree by this much within one batch (reading two clocks, scheduling).
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);

/// When a report happened, on the controller's clock, and how that is known.
///
/// A report of the running system is placed by the monotonic clock: received − (sent − made). One of an
/// earlier system start is placed by its wall clock plus what that run's clock was last known to be off by;
/// without that its time is unknown and it is filed at its arrival.
pub fn event_time(
    report: &Report,
    contact: &Contact,
    run_offset_micros: Option<i64>,
) -> (UtcMicros, TimeBasis) {
    if report.boot == contact.boot {
        let age = contact.sent_mono_micros.saturating_sub(report.mono_micros);
        let tolerance = CLOCK_TOLERANCE.as_micros() as i64;
        if age >= -tolerance && report.mono_micros >= 0 {
            return (contact.received.minus(Duration::from_micros(age.max(0) as u64)), TimeBasis::Monotonic);
        }
    }
    match run_offset_micros {
        Some(offset) => {
            let at = UtcMicros::from_micros(report.wall.as_micros().saturating_add(offset));
            (at.min(contact.received), TimeBasis::RunOffset)
        }
        None => (contact.received, TimeBasis::Unknown),
    }
}

/// What became of one report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Stored with the commit that is about to return.
    Committed,
    /// Was stored before.
    Duplicate,
    /// Kept apart.
    Quarantined(String),
    /// Breaks a limit.
    Rejected(String),
    /// Made under another device id than the certificate's.
    OtherIdentity,
    /// Cannot be decided now; the device keeps it and asks again.
    Later,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(boot: u8, wall_secs: i64, mono_secs: i64) -> Report {
        Report {
            run: RunId::from_bytes([1; 16]),
            seq: 1,
            class: Class::History,
            device: DeviceId::from_bytes([2; 16]),
            boot: BootId::from_bytes([boot; 16]),
            clean_stop: None,
            wall: UtcMicros::from_secs(wall_secs),
            mono_micros: mono_secs * 1_000_000,
            body: Body::Samples(vec![]),
        }
    }

    fn contact() -> Contact {
        Contact {
            received: UtcMicros::from_secs(1_790_000_000),
            sent_wall: UtcMicros::from_secs(1_262_304_000),
            sent_mono_micros: 600_000_000,
            boot: BootId::from_bytes([9; 16]),
        }
    }

    #[test]
    fn a_clock_in_2010_does_not_matter_while_the_system_runs() {
        let (at, basis) = event_time(&report(9, 1_262_303_700, 300), &contact(), None);
        assert_eq!((at, basis), (UtcMicros::from_secs(1_789_999_700), TimeBasis::Monotonic));
    }

    #[test]
    fn an_earlier_start_is_placed_by_what_its_clock_was_off_by() {
        let (at, basis) = event_time(&report(8, 1_000, 300), &contact(), Some(5_000_000));
        assert_eq!((at, basis), (UtcMicros::from_secs(1_005), TimeBasis::RunOffset));
    }

    #[test]
    fn an_earlier_start_never_seen_before_has_no_time() {
        let (at, basis) = event_time(&report(8, 1_000, 300), &contact(), None);
        assert_eq!((at, basis), (contact().received, TimeBasis::Unknown));
    }

    #[test]
    fn nothing_happens_after_it_arrived() {
        let (at, _) = event_time(&report(8, 3_000_000_000, 300), &contact(), Some(0));
        assert_eq!(at, contact().received);
        let (at, basis) = event_time(&report(9, 0, 603), &contact(), None);
        assert_eq!((at, basis), (contact().received, TimeBasis::Monotonic));
    }
}
