//! The values that devices are told, each with its bounds.

use std::ops::RangeInclusive;

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{ConfigurationError, bounded};

const DAY_SECS: u64 = 86_400;
const MIB: u64 = 1 << 20;

/// One value that can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Seconds between samples of the load.
    SampleInterval,
    /// Seconds between frames of samples.
    FrameInterval,
    /// Seconds between full inventories.
    InventoryInterval,
    /// Bytes that wait on the device's disk at most.
    SpoolBytes,
    /// Seconds that something waits at most.
    SpoolAge,
}

impl Key {
    /// In the order of the pages.
    pub const ALL: [Self; 5] = [
        Self::SampleInterval,
        Self::FrameInterval,
        Self::InventoryInterval,
        Self::SpoolBytes,
        Self::SpoolAge,
    ];

    /// Its name on the wire, in the store and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SampleInterval => "sample_interval_secs",
            Self::FrameInterval => "frame_interval_secs",
            Self::InventoryInterval => "inventory_interval_secs",
            Self::SpoolBytes => "spool_max_bytes",
            Self::SpoolAge => "spool_max_age_secs",
        }
    }

    /// What can be set. An agent takes more; these are what a county can want.
    pub const fn bounds(self) -> RangeInclusive<u64> {
        match self {
            // Closer together only for a look at one device; the agent reads its load every 15 s.
            Self::SampleInterval => 15..=3_600,
            // A frame a minute of each of 12,000 devices is 200 a second; an hour is how stale a chart may be.
            Self::FrameInterval => 60..=3_600,
            Self::InventoryInterval => 3_600..=7 * DAY_SECS,
            // Less would not hold a week without a line.
            Self::SpoolBytes => 8 * MIB..=1_024 * MIB,
            // Beyond 400 days the controller would not take the frames.
            Self::SpoolAge => DAY_SECS..=365 * DAY_SECS,
        }
    }

    /// What an agent does that was told nothing.
    pub const fn built_in(self) -> u64 {
        match self {
            Self::SampleInterval => 60,
            Self::FrameInterval => 300,
            Self::InventoryInterval => DAY_SECS,
            Self::SpoolBytes => 64 * MIB,
            Self::SpoolAge => 30 * DAY_SECS,
        }
    }
}

/// The values of one level, or of several merged; an absent one is as the level above has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Values([Option<u64>; Key::ALL.len()]);

impl Values {
    /// A value, if it is set.
    pub fn get(&self, key: Key) -> Option<u64> {
        self.0[key as usize]
    }

    /// With a value set or taken back.
    pub fn with(mut self, key: Key, value: Option<u64>) -> Self {
        self.0[key as usize] = value;
        self
    }

    /// These, and what is absent from `above`.
    pub fn over(self, above: Self) -> Self {
        Key::ALL.into_iter().fold(self, |merged, key| merged.with(key, self.get(key).or(above.get(key))))
    }

    /// Whether each can be taken, and all together.
    pub fn check(&self) -> Result<(), ConfigurationError> {
        for key in Key::ALL {
            if let Some(value) = self.get(key) {
                let bounds = key.bounds();
                bounded(key.as_str(), value, *bounds.start(), *bounds.end())?;
            }
        }
        match (self.get(Key::FrameInterval), self.get(Key::SampleInterval)) {
            (Some(frame), Some(sample)) if frame < sample => {
                Err(ConfigurationError::FrameBelowSample { frame, sample })
            }
            _ => Ok(()),
        }
    }
}

impl Serialize for Values {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(Key::ALL.len()))?;
        for key in Key::ALL {
            map.serialize_entry(key.as_str(), &self.get(key))?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_level_wins_value_by_value() {
        let county =
            Values::default().with(Key::SampleInterval, Some(120)).with(Key::SpoolAge, Some(DAY_SECS));
        let school = Values::default().with(Key::SampleInterval, Some(30));
        let device = Values::default().with(Key::FrameInterval, Some(60));
        let merged = device.over(school).over(county);
        assert_eq!(merged.get(Key::SampleInterval), Some(30));
        assert_eq!(merged.get(Key::FrameInterval), Some(60));
        assert_eq!(merged.get(Key::SpoolAge), Some(DAY_SECS));
        assert_eq!(merged.get(Key::SpoolBytes), None, "as it is built in");
    }

    #[test]
    fn a_value_out_of_bounds_is_named_with_the_bounds() {
        for key in Key::ALL {
            let (min, max) = key.bounds().into_inner();
            for (value, fits) in [(min - 1, false), (min, true), (max, true), (max + 1, false)] {
                let checked = Values::default().with(key, Some(value)).check();
                assert_eq!(checked.is_ok(), fits, "{key:?} = {value}");
            }
            assert!(key.bounds().contains(&key.built_in()), "{key:?}");
        }
        let error = Values::default().with(Key::SampleInterval, Some(3)).check().unwrap_err();
        assert_eq!(error.to_string(), "sample_interval_secs = 3 is not possible: take 15 to 3600");
    }

    #[test]
    fn a_frame_is_not_shorter_than_a_sample() {
        let values =
            Values::default().with(Key::SampleInterval, Some(600)).with(Key::FrameInterval, Some(300));
        let error = values.check().unwrap_err().to_string();
        assert!(error.contains("frame_interval_secs = 300") && error.contains("= 600"), "{error}");
    }
}
