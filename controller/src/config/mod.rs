//! `DIR/controller.toml` and what the environment lays over it.
//!
//! Every value has a default, so the table of known keys is the default configuration itself: a key or a
//! variable that is not in it is refused with the nearest right one.

mod overlay;
mod webhooks;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use bbt_domain::{
    calendar::expected_on::ExpectedOn,
    fault::policy::{Policy, Rules},
};
use serde::{Deserialize, Serialize};

pub use overlay::ConfigError;
pub use webhooks::Webhooks;

/// School days that a rule may wait: from one to those of a year.
const DAYS: std::ops::RangeInclusive<u16> = 1..=250;
/// Name of the file in the data folder.
pub const FILE: &str = "controller.toml";
/// What variables of the environment begin with; then section and key, each after two underscores.
pub const ENV_PREFIX: &str = "BBT_CONTROLLER__";

/// The controller's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where it listens.
    pub listen: Listen,
    /// How others reach it.
    pub public: Public,
    /// How much it takes at once.
    pub limits: Limits,
    /// When something is a fault: thresholds and tolerances of the rules.
    pub rules: Policy,
    /// What it writes about itself.
    pub log: Log,
    /// How contractors are told of tickets.
    pub webhooks: Webhooks,
}

/// Addresses to listen on; port 0 lets the system choose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// Devices with a certificate.
    pub agents: SocketAddr,
    /// Devices without one.
    pub enrollment: SocketAddr,
    /// People.
    pub console: SocketAddr,
    /// Health and metrics, plain HTTP.
    pub admin: SocketAddr,
}

impl Default for Listen {
    fn default() -> Self {
        let any = |port| SocketAddr::from(([0, 0, 0, 0], port));
        Self {
            agents: any(7443),
            enrollment: any(7444),
            console: any(8443),
            admin: SocketAddr::from(([127, 0, 0, 1], 9443)),
        }
    }
}

/// Names and addresses as others see them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Public {
    /// Host names and addresses in the listeners' certificates and in printed commands; `init` fills it.
    pub names: Vec<String>,
    /// HOST:PORT given to devices, where it differs from the first name and the listening port.
    pub agents: String,
    /// HOST:PORT printed in enrolment commands, likewise.
    pub enrollment: String,
    /// HOST:PORT of the console, likewise.
    pub console: String,
}

/// How much is taken at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections of devices.
    pub agent_connections: u32,
    /// Connections from one address: a school behind one address has at most a few hundred sets.
    pub connections_per_address: u32,
    /// Bytes a second that one device may send for long.
    pub device_bytes_per_sec: u32,
    /// Bytes that one device may send at once: a week's spool drains without a pause.
    pub device_burst_bytes: u32,
    /// Bytes of reports under way in all streams together.
    pub in_flight_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            agent_connections: 12_000,
            connections_per_address: 1_024,
            device_bytes_per_sec: 64 << 10,
            device_burst_bytes: 4 << 20,
            in_flight_bytes: 64 << 20,
        }
    }
}

/// Logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// error, warn, info, debug, trace, or a filter such as `info,bbt_store=debug`.
    pub level: String,
    /// `text` or `json`.
    pub format: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: "text".to_owned() }
    }
}

impl Config {
    /// Reads `folder/controller.toml` (absent is all defaults) under the process's environment.
    pub fn load(folder: &Path) -> Result<Self, ConfigError> {
        Self::load_with(folder, std::env::vars_os())
    }

    /// As [`Config::load`], with the environment given.
    pub fn load_with(
        folder: &Path,
        environment: impl IntoIterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
    ) -> Result<Self, ConfigError> {
        let path = folder.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(ConfigError::Unreadable { path, reason: error.to_string() }),
        };
        let config: Self = overlay::read(&path, &text, ENV_PREFIX, environment)?;
        config.check(&path)?;
        Ok(config)
    }

    /// What the county decided about faults. The hours are fixed until it keeps a calendar.
    pub fn rules(&self) -> Rules {
        Rules { expected: ExpectedOn::default(), policy: self.rules.clone() }
    }

    /// What types alone cannot say.
    fn check(&self, path: &Path) -> Result<(), ConfigError> {
        let bad = |key: &'static str, value: &str, remedy: &'static str| ConfigError::Value {
            path: path.to_owned(),
            key: key.to_owned(),
            value: value.to_owned(),
            remedy: remedy.to_owned(),
        };
        if !["text", "json"].contains(&self.log.format.as_str()) {
            return Err(bad("log.format", &self.log.format, "use text or json"));
        }
        // A word that is no level would pass as the name of a part of the program, and silence the rest.
        let known = |part: &str| {
            let level = part.rsplit('=').next().unwrap_or_default().trim();
            level.parse::<tracing_subscriber::filter::LevelFilter>().is_ok()
        };
        if !self.log.level.split(',').all(known) {
            return Err(bad("log.level", &self.log.level, "use error, warn, info, debug or trace"));
        }
        for (key, value) in [
            ("limits.agent_connections", self.limits.agent_connections),
            ("limits.connections_per_address", self.limits.connections_per_address),
            ("limits.device_bytes_per_sec", self.limits.device_bytes_per_sec),
        ] {
            if value == 0 {
                return Err(bad(key, "0", "use a number above zero"));
            }
        }
        if !self.webhooks.ca_file.is_absolute() {
            let path = self.webhooks.ca_file.display().to_string();
            return Err(bad("webhooks.ca_file", &path, "write the whole path, from / on"));
        }
        let rules = &self.rules;
        if rules.disk_below_percent > 100 {
            let value = rules.disk_below_percent.to_string();
            return Err(bad("rules.disk_below_percent", &value, "use a share from 0 to 100"));
        }
        for (key, days) in
            [("rules.silent_days", rules.silent_days), ("rules.unanswered_days", rules.unanswered_days)]
        {
            if !DAYS.contains(&days) {
                return Err(bad(key, &days.to_string(), "use 1 to 250 school days, a year's"));
            }
        }
        let smallest = crate::grpc::MESSAGE_BYTES as u32;
        if self.limits.device_burst_bytes < smallest || self.limits.in_flight_bytes < smallest {
            return Err(bad(
                "limits.device_burst_bytes",
                &self.limits.device_burst_bytes.min(self.limits.in_flight_bytes).to_string(),
                "device_burst_bytes and in_flight_bytes must hold one message of 262144 bytes",
            ));
        }
        Ok(())
    }
}

/// Where things lie in the data folder.
#[derive(Clone, Debug)]
pub struct DataFolder(PathBuf);

impl DataFolder {
    /// The folder given by `--data`.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The embedded store.
    pub fn database(&self) -> PathBuf {
        self.0.join("county.db")
    }

    /// Keys and certificates.
    pub fn pki(&self) -> PathBuf {
        self.0.join("pki")
    }

    /// What only the running process needs.
    pub fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    /// Held by whoever has the store open for writing.
    pub fn lock(&self) -> PathBuf {
        self.run().join("lock")
    }

    /// Where commands reach the running controller.
    pub fn socket(&self) -> PathBuf {
        self.run().join("control.sock")
    }

    /// The ports that were chosen.
    pub fn listen_json(&self) -> PathBuf {
        self.run().join("listen.json")
    }

    /// What a restore lays ready.
    pub fn restoring(&self) -> PathBuf {
        self.0.join("restore")
    }

    /// The newest time that the controller ever gave.
    pub fn clock_mark(&self) -> PathBuf {
        self.0.join("clock.mark")
    }

    /// Revocations, never rewound by a restore.
    pub fn revocations(&self) -> PathBuf {
        self.0.join("revocations.log")
    }
}

/// After this long without an answer from a drained connection the process ends all the same.
pub const DRAIN: Duration = Duration::from_secs(8);

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(FILE), text).expect("written");
        Config::load_with(folder.path(), environment.iter().map(|(k, v)| ((*k).into(), (*v).into())))
    }

    #[test]
    fn the_environment_lies_over_the_file() {
        let config = load(
            "[listen]\nagents = \"0.0.0.0:17443\"\nconsole = \"0.0.0.0:18443\"\n",
            &[
                ("BBT_CONTROLLER__LISTEN__AGENTS", "127.0.0.1:0"),
                ("BBT_CONTROLLER__PUBLIC__NAMES", "a.example,10.0.0.1"),
            ],
        )
        .expect("good");
        assert_eq!(config.listen.agents.to_string(), "127.0.0.1:0");
        assert_eq!(config.listen.console.port(), 18443);
        assert_eq!(config.public.names, ["a.example", "10.0.0.1"]);
    }

    #[test]
    fn an_unknown_key_or_variable_is_refused_with_the_nearest_right_one() {
        let error = load("[listen]\nagent = \"0.0.0.0:1\"\n", &[]).unwrap_err().to_string();
        assert!(error.contains("listen.agent") && error.contains("listen.agents"), "{error}");
        let error = load("", &[("BBT_CONTROLLER__LISTEN__AGENT", "x")]).unwrap_err().to_string();
        assert!(error.contains("BBT_CONTROLLER__LISTEN__AGENTS"), "{error}");
    }

    #[test]
    fn a_bad_value_names_its_key_and_the_remedy() {
        let error = load("[listen]\nagents = \"7443\"\n", &[]).unwrap_err().to_string();
        assert!(error.contains("listen") && error.contains("7443"), "{error}");
        let error = load("[log]\nformat = \"xml\"\n", &[]).unwrap_err().to_string();
        assert!(error.contains("log.format") && error.contains("text or json"), "{error}");
        let error =
            load("", &[("BBT_CONTROLLER__LIMITS__AGENT_CONNECTIONS", "many")]).unwrap_err().to_string();
        assert!(
            error.contains("BBT_CONTROLLER__LIMITS__AGENT_CONNECTIONS") && error.contains("many"),
            "{error}"
        );
    }

    #[test]
    fn addresses_for_webhooks_are_listed_in_the_file_or_the_environment() {
        let listed =
            |config: Config| config.webhooks.allow.iter().map(ToString::to_string).collect::<Vec<_>>();
        let config = load("[webhooks]\nallow = [\"10.0.0.0/8\", \"fd00:1::/32\"]\n", &[]).expect("good");
        assert_eq!(listed(config), ["10.0.0.0/8", "fd00:1::/32"]);
        let config = load("", &[("BBT_CONTROLLER__WEBHOOKS__ALLOW", "127.0.0.1/32")]).expect("good");
        assert_eq!(listed(config), ["127.0.0.1/32"]);
        assert_eq!(listed(load("", &[]).expect("good")), [""; 0], "by default nothing");

        let error = load("[webhooks]\nallow = [\"10.1.0.0/8\"]\n", &[]).unwrap_err().to_string();
        assert!(
            error.contains("webhooks.allow") && error.contains("its first address, 10.0.0.0/8"),
            "{error}"
        );
        let error = load("[webhooks]\nca_file = \"roots.pem\"\n", &[]).unwrap_err().to_string();
        assert!(error.contains("webhooks.ca_file") && error.contains("whole path"), "{error}");
    }
}
