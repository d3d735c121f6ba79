//! `agent.toml` and the environment over it.
//!
//! Every value has one name, `section.key`; in the environment it is `BBT_AGENT__SECTION__KEY`. A name that is
//! not known is refused, with the nearest right one: a setting that silently does nothing is worse than none.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use tracing::level_filters::LevelFilter;

use crate::{folder, platform::Roots, spool::Limits};

/// What variables of ours begin with.
const VARIABLE_PREFIX: &str = "BBT_AGENT__";

/// Less would not hold a day without a line.
pub(crate) const SPOOL_MIN_BYTES: u64 = 1024 * 1024;
/// Beyond a year the controller would not take the frames (400 days).
pub(crate) const SPOOL_MAX_AGE_DAYS: u64 = 365;
/// The load is read more often than that nowhere; below it the agent would measure itself.
pub(crate) const SAMPLE_MIN_SECS: u64 = 5;
/// One frame has at least a sample and goes up as a whole.
pub(crate) const FRAME_MIN_SECS: u64 = 5;
/// State is compared, not sent, this often; reading it costs more than a sample.
const STATE_MIN_SECS: u64 = 10;
/// No interval is longer than a day.
pub(crate) const INTERVAL_MAX_SECS: u64 = 24 * 3600;

/// All settings, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// `log.level`
    pub log_level: LevelFilter,
    /// `spool.max_bytes`, `spool.max_age_days`
    pub spool: Limits,
    /// `roots.sys`, `roots.proc`, `roots.etc`, `roots.run`: for the tree of another machine.
    pub roots: Roots,
    /// `report.sample_secs`
    pub sample: Duration,
    /// `report.frame_secs`
    pub frame: Duration,
    /// `report.state_secs`
    pub state: Duration,
    /// The names of the settings that file or environment gave.
    named: Vec<&'static str>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            log_level: LevelFilter::INFO,
            spool: Limits { max_bytes: 64 * 1024 * 1024, max_age_micros: days(30) },
            roots: Roots::system(),
            sample: Duration::from_secs(60),
            frame: Duration::from_secs(300),
            state: Duration::from_secs(60),
            named: Vec::new(),
        }
    }
}

/// Why the settings are not taken. Nothing has been done yet.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}; name the right file with --config")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("the configuration {path} is not valid TOML: {what}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and what.
        what: String,
    },
    /// A name is not known.
    #[error("{origin} is not a setting of bbt-agent; did you mean {nearest}?")]
    Unknown {
        /// Key and file, or variable.
        origin: String,
        /// The nearest name.
        nearest: String,
    },
    /// A value is not usable.
    #[error("{origin} must be {expected}, not {value}")]
    Value {
        /// Key and file, or variable.
        origin: String,
        /// What it must be.
        expected: String,
        /// What it is.
        value: String,
    },
}

/// A value before it has a meaning; the environment knows only text.
#[derive(Clone, Debug)]
enum Raw {
    Text(String),
    Number(i64),
    /// Of this type, which no setting has.
    Other(&'static str),
}

/// What a value must be when it is not.
type Expected = String;

/// A setting: its name and how it is taken.
type Setting = (&'static str, fn(&mut Config, &Raw) -> Result<(), Expected>);

const SETTINGS: &[Setting] = &[
    ("log.level", |config, raw| {
        config.log_level = level(raw)?;
        Ok(())
    }),
    ("spool.max_bytes", |config, raw| {
        config.spool.max_bytes = number(raw, SPOOL_MIN_BYTES, i64::MAX as u64)?;
        Ok(())
    }),
    ("spool.max_age_days", |config, raw| {
        config.spool.max_age_micros = days(number(raw, 1, SPOOL_MAX_AGE_DAYS)?);
        Ok(())
    }),
    ("roots.sys", |config, raw| path(raw).map(|path| config.roots.sys = path)),
    ("roots.proc", |config, raw| path(raw).map(|path| config.roots.proc = path)),
    ("roots.etc", |config, raw| path(raw).map(|path| config.roots.etc = path)),
    ("roots.run", |config, raw| path(raw).map(|path| config.roots.run = path)),
    ("report.sample_secs", |config, raw| secs(raw, SAMPLE_MIN_SECS).map(|interval| config.sample = interval)),
    ("report.frame_secs", |config, raw| secs(raw, FRAME_MIN_SECS).map(|interval| config.frame = interval)),
    ("report.state_secs", |config, raw| secs(raw, STATE_MIN_SECS).map(|interval| config.state = interval)),
];

impl Config {
    /// Reads the named file, or the default one if it is there, then the environment.
    pub fn load(named: Option<&Path>) -> Result<Config, ConfigError> {
        let path = named.map_or_else(folder::default_config_file, Path::to_owned);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(ConfigError::Unreadable { path, source }),
        };
        let variables = env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        });
        Config::read(&path, &text, variables)
    }

    pub(crate) fn read(
        path: &Path,
        text: &str,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Config, ConfigError> {
        let mut config = Config::default();
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
            path: path.to_owned(),
            what: error.to_string().replace('\n', " "),
        })?;
        for (section, value) in &table {
            let toml::Value::Table(keys) = value else {
                return Err(unknown(format!("`{section}` in {}", path.display()), section, str::to_owned));
            };
            for (key, value) in keys {
                let name = format!("{section}.{key}");
                config.set(
                    &name,
                    &raw(value),
                    || format!("`{name}` in {}", path.display()),
                    str::to_owned,
                )?;
            }
        }
        for (variable, value) in variables {
            let Some(rest) = variable.strip_prefix(VARIABLE_PREFIX) else { continue };
            let name = rest.to_lowercase().replacen("__", ".", 1);
            config.set(&name, &Raw::Text(value), || format!("the variable {variable}"), as_variable)?;
        }
        Ok(config)
    }

    /// Whether file or environment gave the setting `name`.
    pub fn names(&self, name: &str) -> bool {
        self.named.contains(&name)
    }

    fn set(
        &mut self,
        name: &str,
        raw: &Raw,
        origin: impl Fn() -> String,
        spell: fn(&str) -> String,
    ) -> Result<(), ConfigError> {
        let Some((name, take)) = SETTINGS.iter().find(|(known, _)| *known == name) else {
            return Err(unknown(origin(), name, spell));
        };
        self.named.push(name);
        take(self, raw).map_err(|expected| ConfigError::Value {
            origin: origin(),
            expected,
            value: match raw {
                Raw::Text(text) => format!("`{text}`"),
                Raw::Other(kind) => format!("of type {kind}"),
                Raw::Number(number) => number.to_string(),
            },
        })
    }
}

fn unknown(origin: String, name: &str, spell: fn(&str) -> String) -> ConfigError {
    let nearest = nearest(name, SETTINGS.iter().map(|(known, _)| *known)).unwrap_or_default();
    ConfigError::Unknown { origin, nearest: format!("`{}`", spell(nearest)) }
}

/// The most similar of some words.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let similarity = |known: &str| (strsim::jaro_winkler(word, known) * 1e6) as u64;
    known.max_by_key(|known| similarity(known))
}

fn as_variable(name: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", name.replace('.', "__").to_uppercase())
}

fn raw(value: &toml::Value) -> Raw {
    match value {
        toml::Value::String(text) => Raw::Text(text.clone()),
        toml::Value::Integer(number) => Raw::Number(*number),
        other => Raw::Other(other.type_str()),
    }
}

fn level(raw: &Raw) -> Result<LevelFilter, Expected> {
    let expected = || "one of error, warn, info, debug, trace".to_owned();
    match raw {
        Raw::Text(text) if text.chars().all(char::is_alphabetic) => text.parse().map_err(|_| expected()),
        _ => Err(expected()),
    }
}

fn number(raw: &Raw, min: u64, max: u64) -> Result<u64, Expected> {
    let parsed = match raw {
        Raw::Number(number) => u64::try_from(*number).ok(),
        Raw::Text(text) => text.parse().ok(),
        Raw::Other(_) => None,
    };
    parsed
        .filter(|number| (min..=max).contains(number))
        .ok_or_else(|| format!("a whole number from {min} to {max}"))
}

fn secs(raw: &Raw, min: u64) -> Result<Duration, Expected> {
    number(raw, min, INTERVAL_MAX_SECS).map(Duration::from_secs)
}

fn path(raw: &Raw) -> Result<PathBuf, Expected> {
    match raw {
        Raw::Text(text) if !text.is_empty() => Ok(PathBuf::from(text)),
        _ => Err("a path".to_owned()),
    }
}

fn days(days: u64) -> i64 {
    days as i64 * 24 * 3600 * 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        Config::read(Path::new("agent.toml"), text, variables).map_err(|error| error.to_string())
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let text = "[spool]\nmax_bytes = 2000000\nmax_age_days = 7\n[log]\nlevel = \"debug\"";
        let config = read(text, &[("BBT_AGENT__SPOOL__MAX_BYTES", "3000000"), ("OTHER", "x")]).unwrap();
        assert_eq!(config.spool, Limits { max_bytes: 3_000_000, max_age_micros: days(7) });
        assert_eq!(config.log_level, LevelFilter::DEBUG);
    }

    #[test]
    fn every_setting_can_be_named_in_the_environment() {
        for (name, _) in SETTINGS {
            let value = if name.ends_with("level") { "info" } else { "2000000" };
            let error = read("", &[(&as_variable(name), value)]).err().unwrap_or_default();
            assert!(!error.contains("is not a setting"), "{error}");
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest() {
        let error = read("[spool]\nmax_byte = 1", &[]).unwrap_err();
        assert_eq!(
            error,
            "`spool.max_byte` in agent.toml is not a setting of bbt-agent; did you mean `spool.max_bytes`?"
        );
        let error = read("", &[("BBT_AGENT__LOG__LEVL", "info")]).unwrap_err();
        assert!(error.ends_with("did you mean `BBT_AGENT__LOG__LEVEL`?"), "{error}");
        assert!(read("level = 1", &[]).unwrap_err().contains("`log.level`"));
    }

    #[test]
    fn a_value_out_of_bounds_is_refused_with_the_bounds() {
        let error = read("[report]\nsample_secs = 1", &[]).unwrap_err();
        assert_eq!(error, "`report.sample_secs` in agent.toml must be a whole number from 5 to 86400, not 1");
        assert!(read("[log]\nlevel = \"loud\"", &[]).is_err());
        assert!(read("[spool]\nmax_bytes = \"much\"", &[]).is_err());
    }

    #[test]
    fn a_file_that_was_named_must_be_there() {
        let temp = tempfile::tempdir().unwrap();
        let missing = temp.path().join("agent.toml");
        assert!(matches!(Config::load(Some(&missing)), Err(ConfigError::Unreadable { .. })));
    }
}
