//! How the agent stands, for people: `STATE/run/status.json`, written by `run`, read by `status`.

use std::{fmt::Write as _, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    configuration::Told,
    folder::{self, Folder},
    identity::{IdentityError, keystore, upkeep::Standing},
    spool::{Amount, Class, Contact, Summary},
    uplink::{Link, Phase, refusal::Refusal},
};

/// What `run` writes down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStatus {
    /// Of the program that wrote it.
    pub agent_version: String,
    /// By the device's clock.
    pub written_at: String,
    /// How contact stands.
    pub connection: ConnectionStatus,
    /// How the certificate stands; absent if the program was too old to say.
    #[serde(default)]
    pub certificate: Option<CertificateStatus>,
    /// When the controller last stored something of ours.
    pub last_committed_at: Option<String>,
    /// What waits for the controller.
    pub backlog: Backlog,
    /// Reports dropped and not yet told.
    pub dropped_untold: u64,
    /// What the county told this device, and every value in force.
    #[serde(default)]
    pub configuration: Told,
    /// What is wrong and what to do about it.
    pub problems: Vec<Trouble>,
}

/// How contact stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionStatus {
    /// `connected`, `connecting` or `waiting`.
    pub state: String,
    /// The controller's address that this is about.
    pub address: Option<String>,
    /// Since when it is so.
    pub since: Option<String>,
    /// How long until the next attempt, from `since`.
    pub pause_secs: Option<u64>,
}

/// How the device's certificate stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// Until when it is good.
    pub expires_at: String,
    /// From when on it is renewed.
    pub renewal_due_at: String,
    /// Why that, or what it needs otherwise, failed last; none when nothing is in the way.
    pub last_failure: Option<Trouble>,
}

/// Frames and bytes that wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backlog {
    /// Sent at once.
    pub urgent: Waiting,
    /// Sent on change.
    pub state: Waiting,
    /// Sent within minutes.
    pub history: Waiting,
}

/// Frames and bytes of one class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// How many.
    pub frames: u64,
    /// How large.
    pub bytes: u64,
}

/// Something wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// A stable word.
    pub code: String,
    /// What happened.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl Trouble {
    fn of(refusal: &Refusal) -> Trouble {
        Trouble {
            code: refusal.code.to_owned(),
            problem: refusal.problem.clone(),
            remedy: refusal.remedy.clone(),
        }
    }
}

/// What `status` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The state folder.
    pub state_folder: PathBuf,
    /// Whether an agent works on it now.
    pub running: bool,
    /// Who this device is; none if it is not enrolled.
    pub device: Option<DeviceStatus>,
    /// What `run` wrote last; none if it never ran.
    pub last_run: Option<RunStatus>,
    /// What keeps this command from knowing more.
    pub problems: Vec<Trouble>,
}

/// Who this device is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceStatus {
    /// As the county numbers it.
    pub device_id: String,
    /// The county.
    pub trust_domain: String,
    /// The school it was enrolled for.
    pub school_name: String,
    /// Where it enrolled.
    pub enrollment: String,
    /// Where it reports.
    pub controllers: Vec<String>,
    /// The county's root certificate.
    pub ca_sha256: String,
    /// Until when its certificate is good.
    pub certificate_expires_at: String,
}

impl RunStatus {
    /// Puts together what the parts say.
    pub fn new(
        agent_version: &str,
        wall_micros: i64,
        link: &Link,
        standing: &Standing,
        spool: &Summary,
        contact: &Contact,
        configuration: Told,
    ) -> RunStatus {
        let waiting = |class: Class| {
            let Amount { frames, bytes } = spool.backlog[class as usize - 1];
            Waiting { frames, bytes }
        };
        let refusal = link.refusal.as_ref().map(Trouble::of);
        let spool_trouble = spool.trouble.as_ref().map(|sentence| Trouble {
            code: "spool".to_owned(),
            problem: sentence.clone(),
            remedy: "make room and check the disk; `bbt-agent spool check` says more".to_owned(),
        });
        RunStatus {
            agent_version: agent_version.to_owned(),
            written_at: rfc3339(wall_micros),
            connection: ConnectionStatus::new(&link.phase),
            certificate: Some(CertificateStatus {
                expires_at: rfc3339(standing.valid_until_micros),
                renewal_due_at: rfc3339(standing.renewal_due_micros),
                last_failure: standing.refusal.as_ref().map(Trouble::of),
            }),
            last_committed_at: contact.committed_micros.map(rfc3339),
            backlog: Backlog {
                urgent: waiting(Class::Urgent),
                state: waiting(Class::State),
                history: waiting(Class::History),
            },
            dropped_untold: spool.dropped_untold,
            configuration,
            problems: refusal.into_iter().chain(spool_trouble).collect(),
        }
    }

    /// Replaces the file. Not durable: it is written again soon.
    pub fn write(&self, state: &Folder) -> std::io::Result<()> {
        folder::write_swiftly(&path(state), &serde_json::to_vec_pretty(self)?)
    }
}

impl ConnectionStatus {
    fn new(phase: &Phase) -> ConnectionStatus {
        let (state, address, since, pause_secs) = match phase {
            Phase::Waiting { pause, since_wall_micros } => {
                ("waiting", None, Some(*since_wall_micros), Some(pause.as_secs()))
            }
            Phase::Connecting { address } => ("connecting", Some(address), None, None),
            Phase::Connected { address, since_wall_micros } => {
                ("connected", Some(address), Some(*since_wall_micros), None)
            }
        };
        ConnectionStatus {
            state: state.to_owned(),
            address: address.map(ToString::to_string),
            since: since.map(rfc3339),
            pause_secs,
        }
    }
}

impl Status {
    /// Looks at the state folder; nothing is changed.
    pub fn gather(state: &Folder) -> Status {
        let mut problems = Vec::new();
        let device = match keystore::load(state) {
            Ok(identity) => Some(DeviceStatus {
                device_id: identity.device_id.to_string(),
                trust_domain: identity.trust_domain,
                school_name: identity.school_name,
                enrollment: identity.enrolment_address.to_string(),
                controllers: identity.agent_addresses.iter().map(ToString::to_string).collect(),
                ca_sha256: identity.root.to_string(),
                certificate_expires_at: rfc3339(identity.valid_secs.1.saturating_mul(1_000_000)),
            }),
            Err(IdentityError::NotEnrolled(_)) => None,
            Err(error) => {
                problems.push(Trouble {
                    code: "identity".to_owned(),
                    problem: error.to_string(),
                    remedy: "see to the file named".to_owned(),
                });
                None
            }
        };
        let last_run = std::fs::read(path(state)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Status { state_folder: state.root().to_owned(), running: state.in_use(), device, last_run, problems }
    }

    /// What the agent last said about its certificate.
    pub fn certificate(&self) -> Option<&CertificateStatus> {
        self.last_run.as_ref()?.certificate.as_ref()
    }

    /// In plain words.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        self.write_text(&mut text).ok();
        text
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        match &self.device {
            Some(device) => {
                writeln!(out, "Device      {}", device.device_id)?;
                writeln!(out, "School      {}", device.school_name)?;
                writeln!(out, "Controller  {}", device.controllers.join(", "))?;
                write!(out, "Certificate good until {}", device.certificate_expires_at)?;
                if let Some(certificate) = self.certificate() {
                    write!(out, ", to be renewed from {} on", certificate.renewal_due_at)?;
                }
                writeln!(out)?;
            }
            None => writeln!(out, "Device      not enrolled; run `bbt-agent enroll`")?,
        }
        let running = if self.running { "running" } else { "not running; start it with `bbt-agent run`" };
        writeln!(out, "Agent       {running}")?;
        if let Some(run) = &self.last_run {
            let when = if self.running { "" } else { " when it last ran" };
            write!(out, "Connection  {}{when}", run.connection.state)?;
            if let Some(address) = &run.connection.address {
                write!(out, " ({address})")?;
            }
            if let Some(since) = &run.connection.since {
                write!(out, " since {since}")?;
            }
            if let Some(secs) = run.connection.pause_secs {
                write!(out, ", next attempt after {secs} s")?;
            }
            writeln!(out)?;
            let committed = run.last_committed_at.as_deref().unwrap_or("never");
            writeln!(out, "Last stored by the controller: {committed}")?;
            let Backlog { urgent, state, history } = &run.backlog;
            writeln!(
                out,
                "Waiting     {} urgent, {} state, {} history, {} bytes",
                urgent.frames,
                state.frames,
                history.frames,
                urgent.bytes + state.bytes + history.bytes
            )?;
            if run.dropped_untold > 0 {
                writeln!(out, "Dropped     {} reports, not yet told to the controller", run.dropped_untold)?;
            }
            run.configuration.write_text(out)?;
        }
        let run_problems = self.last_run.iter().flat_map(|run| &run.problems);
        let failure = self.certificate().and_then(|certificate| certificate.last_failure.as_ref());
        for Trouble { problem, remedy, .. } in self.problems.iter().chain(run_problems).chain(failure) {
            writeln!(out, "Problem     {problem}; {remedy}")?;
        }
        Ok(())
    }
}

fn path(state: &Folder) -> PathBuf {
    state.run().join("status.json")
}

/// UTC with seconds, as RFC 3339 writes it.
pub fn rfc3339(micros: i64) -> String {
    let secs = micros.div_euclid(1_000_000);
    let (days, second) = (secs.div_euclid(86_400), secs.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// The proleptic Gregorian date of a day counted from 1970-01-01: years begin in March, so that the leap day is
/// the last, and 400 years are one era of 146,097 days.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_printed_as_the_calendar_has_them() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_399_000_000), "2000-02-28T23:59:59Z");
        assert_eq!(rfc3339(951_782_400_000_000), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_795_478_400_000_000), "2026-11-24T00:00:00Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59Z");
    }

    #[test]
    fn without_anything_the_next_step_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let text = Status::gather(&Folder::at(temp.path())).to_text();
        assert!(text.contains("not enrolled; run `bbt-agent enroll`"), "{text}");
    }

    #[test]
    fn a_problem_is_shown_with_its_remedy() {
        let temp = tempfile::tempdir().unwrap();
        let state = Folder::at(temp.path());
        state.prepare().unwrap();
        let address = "county.example:7443".parse().unwrap();
        let refusal = Refusal::of_tls(
            &address,
            &rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRevoked),
        );
        let link = Link { refusal: Some(refusal), ..Link::default() };
        let overdue = Refusal::passing("no_room", "the renewal was not stored", "make room");
        let standing = Standing { valid_until_micros: 0, renewal_due_micros: 0, refusal: Some(overdue) };
        let (spool, contact) = (Summary::default(), Contact::default());
        RunStatus::new("1", 0, &link, &standing, &spool, &contact, Told::default()).write(&state).unwrap();
        let text = Status::gather(&state).to_text();
        assert!(text.contains("device unrevoke"), "{text}");
        assert!(text.contains("the renewal was not stored; make room"), "{text}");
    }
}
