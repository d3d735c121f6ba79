//! What the county tells its devices to do.
//!
//! Values are set for the county, for a school, for one device; the nearest level that has one wins, and what no level
//! has is as the agent has it built in. Beside the values a device may be looked at live, and may need secrets.

mod values;

pub use values::{Key, Values};

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{
    ids::{DeviceId, SchoolId},
    time::UtcMicros,
};

/// Below it the agent would measure itself.
const LIVE_SAMPLE_MIN_SECS: u32 = 5;
/// Beyond it there is nothing to look at live: that is what the ordinary values do.
const LIVE_SAMPLE_MAX_SECS: u32 = 60;
/// A look that somebody forgot ends by then.
pub const LIVE_MAX: Duration = Duration::from_secs(30 * 60);
/// Characters of a secret's name.
const SECRET_NAME_CHARS: usize = 128;
/// Bytes of a secret: passwords and keys of devices in a room have some dozens.
const SECRET_BYTES: usize = 256;
/// Secrets of one device: a room has a handful of devices that ask for a password.
pub const SECRETS: usize = 16;

/// Whose values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// All devices.
    County,
    /// Those of a school.
    School(SchoolId),
    /// One.
    Device(DeviceId),
}

impl Level {
    /// The word stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::County => "county",
            Self::School(_) => "school",
            Self::Device(_) => "device",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::County => f.write_str("county"),
            Self::School(id) => write!(f, "school:{id}"),
            Self::Device(id) => write!(f, "device:{id}"),
        }
    }
}

/// A configuration that cannot be taken: the sentence names field, value and remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigurationError {
    /// Too small or too large.
    #[error("{key} = {value} is not possible: take {min} to {max}")]
    Bounds {
        /// Which.
        key: &'static str,
        /// What was given.
        value: u64,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// A frame holds at least a sample.
    #[error(
        "frame_interval_secs = {frame} is not possible with sample_interval_secs = {sample}: take at least as much"
    )]
    FrameBelowSample {
        /// Between frames.
        frame: u64,
        /// Between samples.
        sample: u64,
    },
    /// A secret's name breaks its form.
    #[error(
        "the name {0:?} of a secret is not possible: take up to 128 small letters, digits, . _ - and / between parts, such as projector/1/password"
    )]
    SecretName(String),
    /// A secret is empty or too long. It is not repeated.
    #[error("the secret has {0} bytes: take 1 to 256")]
    SecretLength(usize),
}

/// A look at one device as it works, until it ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Live {
    /// Between samples.
    pub sample_interval_secs: u32,
    /// Between frames of samples.
    pub frame_interval_secs: u32,
    /// The end.
    pub until: UtcMicros,
}

impl Live {
    /// Samples every `sample_secs`, each sent at once, from `now` on.
    pub fn begin(sample_secs: u32, span: Duration, now: UtcMicros) -> Result<Self, ConfigurationError> {
        bounded(
            "sample_interval_secs",
            sample_secs.into(),
            LIVE_SAMPLE_MIN_SECS.into(),
            LIVE_SAMPLE_MAX_SECS.into(),
        )?;
        bounded("span_secs", span.as_secs(), 1, LIVE_MAX.as_secs())?;
        // Whole seconds, as the wire has them: county and device mean the same moment.
        let until = UtcMicros::from_secs(now.plus(span).as_secs());
        Ok(Self { sample_interval_secs: sample_secs, frame_interval_secs: sample_secs, until })
    }

    /// Whether it goes on at `now`.
    pub fn is_on(&self, now: UtcMicros) -> bool {
        now < self.until
    }
}

/// The name of a secret, such as `projector/1/password`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct SecretName(String);

impl SecretName {
    /// Parses a name.
    pub fn parse(text: &str) -> Result<Self, ConfigurationError> {
        let is_part = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
        };
        let fits = text.len() <= SECRET_NAME_CHARS && text.split('/').all(is_part);
        if fits { Ok(Self(text.to_owned())) } else { Err(ConfigurationError::SecretName(text.to_owned())) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a secret may have so many bytes.
pub fn secret_length(bytes: usize) -> Result<(), ConfigurationError> {
    if (1..=SECRET_BYTES).contains(&bytes) { Ok(()) } else { Err(ConfigurationError::SecretLength(bytes)) }
}

/// What a device made of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    /// It is in force.
    Applied,
    /// It is not, as a whole; the one before it still is.
    Rejected {
        /// The first value that the device does not take.
        key: String,
        /// Why, in its own words.
        reason: String,
    },
}

/// The revision of a change at `now` after `last`: rising, and at least the time in seconds, so that a county that was
/// put back from an older copy never gives a number again that a device may still hold.
pub fn next_revision(last: i64, now: UtcMicros) -> i64 {
    last.saturating_add(1).max(now.as_secs())
}

fn bounded(key: &'static str, value: u64, min: u64, max: u64) -> Result<(), ConfigurationError> {
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        Err(ConfigurationError::Bounds { key, value, min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UtcMicros = UtcMicros::from_const(1_790_000_000_000_000);

    #[test]
    fn a_live_look_is_bounded_and_ends_by_itself() {
        let live = Live::begin(5, Duration::from_secs(600), NOW).unwrap();
        assert!(live.is_on(NOW.plus(Duration::from_secs(599))));
        assert!(!live.is_on(NOW.plus(Duration::from_secs(600))));
        let error = Live::begin(4, Duration::from_secs(600), NOW).unwrap_err().to_string();
        assert_eq!(error, "sample_interval_secs = 4 is not possible: take 5 to 60");
        assert!(Live::begin(5, LIVE_MAX + Duration::from_secs(1), NOW).is_err());
    }

    #[test]
    fn names_of_secrets_have_their_form_and_a_wrong_secret_is_not_repeated() {
        assert!(SecretName::parse("projector/0190a6c8-7e51/password").is_ok());
        for wrong in ["", "/", "a//b", "A", "a b", "../etc/passwd\n", &"a".repeat(129)] {
            assert!(SecretName::parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(secret_length(0).is_err() && secret_length(256).is_ok() && secret_length(257).is_err());
    }

    #[test]
    fn revisions_rise_and_are_never_given_again_after_a_restore() {
        let first = next_revision(0, NOW);
        assert_eq!(first, NOW.as_secs());
        assert_eq!(next_revision(first, NOW), first + 1, "two changes within a second");
        let put_back = 0;
        let later = NOW.plus(Duration::from_secs(3_600));
        assert!(next_revision(put_back, later) > first + 1);
        assert_eq!(next_revision(first, UtcMicros::from_secs(0)), first + 1, "a clock that was set back");
    }
}
