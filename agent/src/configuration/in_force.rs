//! Every value in force, and where it is from: pure.

use std::time::Duration;

use bbt_proto::report::v1 as wire;
use serde::{Deserialize, Serialize};

use super::Live;
use crate::{config::Config, identity::clock::Stamp, schedule::Intervals, spool::Limits, status::rfc3339};

/// Between two readings of the load, unless samples are closer together.
const READING: Duration = Duration::from_secs(15);
const MICROS_PER_SEC: u64 = 1_000_000;

/// Where a value is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Nobody said anything.
    BuiltIn,
    /// `agent.toml`, or the environment over it.
    AgentToml,
    /// The county.
    County,
    /// The county, for as long as somebody looks on.
    Live,
}

impl Source {
    const fn words(self) -> &'static str {
        match self {
            Self::BuiltIn => "built in",
            Self::AgentToml => "agent.toml",
            Self::County => "the county",
            Self::Live => "the county, live",
        }
    }
}

type Sourced = (u64, Source);

/// What the agent goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InForce {
    sample_secs: Sourced,
    frame_secs: Sourced,
    inventory_secs: Sourced,
    spool_max_bytes: Sourced,
    spool_max_age_secs: Sourced,
    state_check: Duration,
}

impl InForce {
    pub(super) fn of(own: &Config, told: &wire::Config, live: Option<&Live>) -> InForce {
        let values = told.values.unwrap_or_default();
        let interval = |live: Option<u32>, told: Option<u32>, own: Sourced| {
            let live = live.map(|secs| (u64::from(secs), Source::Live));
            live.or(told.map(|secs| (u64::from(secs), Source::County))).unwrap_or(own)
        };
        let own_value = |name: &str, value: u64| {
            (value, if own.names(name) { Source::AgentToml } else { Source::BuiltIn })
        };
        let sample = own_value("report.sample_secs", own.sample.as_secs());
        let frame = own_value("report.frame_secs", own.frame.as_secs());
        let inventory = (Intervals::default().inventory.as_secs(), Source::BuiltIn);
        let bytes = own_value("spool.max_bytes", own.spool.max_bytes);
        let age_secs = own.spool.max_age_micros.unsigned_abs() / MICROS_PER_SEC;
        let age = own_value("spool.max_age_days", age_secs);
        let sample_secs =
            interval(live.map(|live| live.sample_interval_secs), values.sample_interval_secs, sample);
        let frame_secs =
            interval(live.map(|live| live.frame_interval_secs), values.frame_interval_secs, frame);
        InForce {
            sample_secs,
            // A frame holds at least a sample, also where the two are told by different levels.
            frame_secs: (frame_secs.0.max(sample_secs.0), frame_secs.1),
            inventory_secs: interval(None, values.inventory_interval_secs, inventory),
            spool_max_bytes: limit(values.spool_max_bytes, bytes),
            spool_max_age_secs: limit(values.spool_max_age_secs.map(u64::from), age),
            state_check: own.state,
        }
    }

    /// When to do what.
    pub fn intervals(&self) -> Intervals {
        let sample = Duration::from_secs(self.sample_secs.0);
        Intervals {
            reading: READING.min(sample),
            sample,
            frame: Duration::from_secs(self.frame_secs.0),
            state_check: self.state_check,
            inventory: Duration::from_secs(self.inventory_secs.0),
        }
    }

    /// How much may wait.
    pub fn limits(&self) -> Limits {
        let max_age_micros = self.spool_max_age_secs.0.saturating_mul(MICROS_PER_SEC);
        Limits {
            max_bytes: self.spool_max_bytes.0,
            max_age_micros: i64::try_from(max_age_micros).unwrap_or(i64::MAX),
        }
    }

    fn values(&self) -> [(&'static str, Sourced); 5] {
        [
            ("sample_interval_secs", self.sample_secs),
            ("frame_interval_secs", self.frame_secs),
            ("inventory_interval_secs", self.inventory_secs),
            ("spool_max_bytes", self.spool_max_bytes),
            ("spool_max_age_secs", self.spool_max_age_secs),
        ]
    }
}

/// What the county says, unless this machine's own file sets a lower limit: it knows its disk.
fn limit(told: Option<u64>, own: Sourced) -> Sourced {
    match told {
        Some(told) if own.1 != Source::AgentToml || told <= own.0 => (told, Source::County),
        _ => own,
    }
}

/// How the configuration stands, as `status` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Of what the county told; 0 is nothing.
    pub revision: u64,
    /// Each value in force.
    pub values: Vec<ToldValue>,
    /// Until when lessons are known.
    pub lessons_until: Option<String>,
    /// Until when somebody looks on, by the county's time.
    pub live_until: Option<String>,
    /// What the secrets are for that the county entrusted to this device.
    pub secrets: Vec<String>,
}

/// A value in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldValue {
    /// As the contract names it.
    pub key: String,
    /// Seconds or bytes, as the name says.
    pub value: u64,
    /// Where it is from.
    pub source: Source,
}

impl Told {
    pub(super) fn of(in_force: &InForce, told: &wire::Config, live: Option<&Live>, now: &Stamp) -> Told {
        let micros = |secs: i64| secs.saturating_mul(1_000_000);
        let live_ends = |live: &Live| {
            now.guarded_micros.saturating_add(live.ends_mono_micros.saturating_sub(now.mono_micros))
        };
        Told {
            revision: told.revision,
            values: in_force
                .values()
                .map(|(key, (value, source))| ToldValue { key: key.to_owned(), value, source })
                .into(),
            lessons_until: told
                .lessons
                .iter()
                .map(|span| span.to_unix_secs)
                .max()
                .map(|end| rfc3339(micros(end))),
            live_until: live.map(|live| rfc3339(live_ends(live))),
            secrets: told.secrets.iter().map(|secret| secret.name.clone()).collect(),
        }
    }

    /// In plain words.
    pub fn write_text(&self, out: &mut impl std::fmt::Write) -> std::fmt::Result {
        write!(out, "Settings    revision {}", self.revision)?;
        if let Some(until) = &self.lessons_until {
            write!(out, ", lessons known until {until}")?;
        }
        if let Some(until) = &self.live_until {
            write!(out, ", looked at live until {until}")?;
        }
        writeln!(out)?;
        for ToldValue { key, value, source } in &self.values {
            writeln!(out, "            {key} = {value} ({})", source.words())?;
        }
        match self.secrets.as_slice() {
            [] => Ok(()),
            names => writeln!(out, "            secrets: {}", names.join(", ")),
        }
    }
}
