//! What a failed contact means, in a sentence that says what to do, and how long to leave the controller alone.

use std::time::Duration;

use bbt_proto::REASON_METADATA;
use rustls::{AlertDescription, CertificateError, Error as TlsError};
use tonic::{Code, Status};

use super::{address::Address, connect::ConnectError};

/// A person has to act first; asking every few minutes would only fill the controller's audit.
const PERSON_PAUSE: Duration = Duration::from_secs(10 * 60);
/// On top of [`PERSON_PAUSE`], spread at random.
const PERSON_SPREAD: Duration = Duration::from_secs(5 * 60);

/// Why contact failed, for the log, `status` and the pause that follows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; {remedy}")]
pub struct Refusal {
    /// A stable word.
    pub code: &'static str,
    /// What happened.
    pub problem: String,
    /// What to do.
    pub remedy: String,
    /// How soon to try again.
    pub patience: Patience,
}

/// How soon to try again. The agent never gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// It may pass by itself: back off.
    Usual,
    /// A person has to act.
    Person,
    /// The controller said when.
    Told(Duration),
}

impl Patience {
    /// A pause that a person's work is worth, or that was asked for; `unit` is random in 0..1.
    pub fn pause(self, unit: f64) -> Option<Duration> {
        match self {
            Patience::Usual => None,
            Patience::Person => Some(PERSON_PAUSE + PERSON_SPREAD.mul_f64(unit)),
            Patience::Told(pause) => Some(pause),
        }
    }
}

impl Refusal {
    /// A refusal that may pass by itself.
    pub fn passing(code: &'static str, problem: impl Into<String>, remedy: impl Into<String>) -> Refusal {
        Refusal { code, problem: problem.into(), remedy: remedy.into(), patience: Patience::Usual }
    }

    fn person(code: &'static str, problem: impl Into<String>, remedy: impl Into<String>) -> Refusal {
        Refusal { patience: Patience::Person, ..Refusal::passing(code, problem, remedy) }
    }

    /// Of an answer that no controller should give.
    pub fn broken(address: &Address, what: &str) -> Refusal {
        Refusal::passing(
            "contract_broken",
            format!("the controller {address} {what}"),
            "check that it is a bbt-controller of a fitting version",
        )
    }

    /// Of a connection that did not come about.
    pub fn of_connect(error: &ConnectError) -> Refusal {
        match error {
            ConnectError::Resolve { address, source } => Refusal::passing(
                "name_unknown",
                format!("the name {} could not be looked up: {source}", address.host()),
                "check the line to the school and its name server",
            ),
            ConnectError::Reach { address, source, .. } => Refusal::passing(
                "unreachable",
                format!("the controller {address} was not reached: {source}"),
                "check that it runs and that the network lets this port through",
            ),
            ConnectError::Tls { address, source } => Refusal::of_tls(address, source),
            ConnectError::Handshake { address, source } => Refusal::passing(
                "handshake_failed",
                format!("the controller {address} was reached but no secure connection came about: {source}"),
                "check that the address is that of the controller and not of a proxy",
            ),
        }
    }

    /// Of a TLS error on either side.
    pub fn of_tls(address: &Address, error: &TlsError) -> Refusal {
        match error {
            TlsError::AlertReceived(alert) => Refusal::of_alert(address, *alert),
            TlsError::InvalidCertificate(certificate) => Refusal::of_server_certificate(address, certificate),
            other => Refusal::passing(
                "tls_failed",
                format!("no secure connection to {address}: {other}"),
                "check that the address is that of the controller and not of a proxy",
            ),
        }
    }

    fn of_alert(address: &Address, alert: AlertDescription) -> Refusal {
        match alert {
            AlertDescription::CertificateRevoked | AlertDescription::AccessDenied => {
                Refusal::revoked(address)
            }
            AlertDescription::CertificateExpired => Refusal::person(
                "certificate_expired",
                format!("the controller {address} says that this device's certificate has expired"),
                "the agent proves its key and gets a new one by itself; `bbt-agent status` says how that stands",
            ),
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::DecryptError => Refusal::person(
                "certificate_foreign",
                format!("the controller {address} does not know this device's certificate"),
                "it is of another county: name the right controller, or remove the identity folder and enrol this device again",
            ),
            other => Refusal::passing(
                "tls_refused",
                format!("the controller {address} ended the secure connection ({other:?})"),
                "its log says why",
            ),
        }
    }

    fn of_server_certificate(address: &Address, error: &CertificateError) -> Refusal {
        match error {
            CertificateError::UnknownIssuer => Refusal::person(
                "controller_foreign",
                format!(
                    "the controller {address} does not prove to be of this county: its chain does not lead to the root certificate that was pinned"
                ),
                "check the address and the value of --ca-sha256 against what `bbt-controller token create` prints",
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Refusal::person(
                    "name_wrong",
                    format!("the controller's certificate is not made out for {}", address.host()),
                    "use a name that it carries, or add this one to `[public] names` in the controller's controller.toml and restart it",
                )
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Refusal::passing(
                "time_wrong",
                format!("the certificate of {address} is not valid at the time this device has"),
                "the agent asks the county for the time by itself; if it stays so, check the controller's clock and certificate",
            ),
            other => Refusal::person(
                "controller_untrusted",
                format!("the certificate of {address} is not acceptable ({other})"),
                "check the controller's certificate with `bbt-controller check`",
            ),
        }
    }

    /// Of a gRPC status.
    pub fn of_status(address: &Address, status: &Status) -> Refusal {
        let reason = reason(status);
        match (status.code(), reason.as_deref()) {
            (_, Some("revoked")) | (Code::PermissionDenied, None) => Refusal::revoked(address),
            (_, Some("controller_too_old")) => Refusal::person(
                "controller_too_old",
                format!("the controller {address} is older than this agent and does not understand it"),
                "update the controller first; until then reports are kept here",
            ),
            (_, Some("certificate_superseded")) => Refusal::person(
                "certificate_superseded",
                format!("the controller {address} knows a newer certificate of this device"),
                "the agent uses the newer one or gets another by itself; `bbt-agent status` says how that stands",
            ),
            (_, Some("certificate_unknown")) => Refusal::person(
                "certificate_unknown",
                format!("the controller {address} has no record of this device's certificate"),
                "if it was restored from an old backup, restore a newer one; else remove the identity folder and enrol this device again",
            ),
            (_, Some("request_invalid")) => Refusal::person(
                "request_invalid",
                format!("the controller {address} finds the request faulty"),
                "update agent and controller to fitting versions; the controller's log says what it found",
            ),
            (_, Some("proof_wrong")) => Refusal::person(
                "proof_wrong",
                format!("the controller {address} does not take the proof of this device's key"),
                "remove the identity folder and enrol this device again",
            ),
            (_, Some("clock_guard")) => Refusal::passing(
                "clock_guard",
                format!("the controller {address} doubts its own clock, so it signs nothing"),
                "set its clock, then run `bbt-controller clock accept` there",
            ),
            (Code::Unimplemented, _) => Refusal::person(
                "not_a_controller",
                format!("{address} does not offer what was asked of it ({})", status.message()),
                "check that the address is that of the right listener, and that the controller is no older than this agent",
            ),
            (Code::Unauthenticated, _) => Refusal::person(
                "not_authenticated",
                format!("the controller {address} does not accept who this device says it is"),
                "remove the identity folder and enrol this device again",
            ),
            (code, reason) => {
                let reason = reason.map(|reason| format!(", {reason}")).unwrap_or_default();
                Refusal::passing(
                    "stream_ended",
                    format!(
                        "the controller {address} ended the stream ({code:?}{reason}): {}",
                        status.message()
                    ),
                    "nothing is to be done unless it stays so",
                )
            }
        }
    }

    fn revoked(address: &Address) -> Refusal {
        Refusal::person(
            "revoked",
            format!("the controller {address} says that this device is revoked"),
            "whoever revoked it can take that back with `bbt-controller device unrevoke`; reports are kept here",
        )
    }
}

/// The machine-readable reason beside a status.
pub fn reason(status: &Status) -> Option<String> {
    Some(status.metadata().get(REASON_METADATA)?.to_str().ok()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Address {
        "county.example:7443".parse().unwrap()
    }

    fn status(code: Code, reason: Option<&'static str>) -> Status {
        let mut status = Status::new(code, "no");
        if let Some(reason) = reason {
            status.metadata_mut().insert(REASON_METADATA, reason.parse().unwrap());
        }
        status
    }

    #[test]
    fn revocation_is_understood_by_alert_and_by_status() {
        let alert = TlsError::AlertReceived(AlertDescription::CertificateRevoked);
        assert_eq!(Refusal::of_tls(&address(), &alert).code, "revoked");
        let refusal = Refusal::of_status(&address(), &status(Code::PermissionDenied, Some("revoked")));
        assert_eq!(refusal.code, "revoked");
        assert_eq!(refusal.patience, Patience::Person);
    }

    #[test]
    fn an_older_controller_is_named_with_the_remedy() {
        let refusal =
            Refusal::of_status(&address(), &status(Code::FailedPrecondition, Some("controller_too_old")));
        assert!(refusal.remedy.contains("update the controller first"), "{refusal}");
    }

    #[test]
    fn a_full_or_restarting_controller_is_asked_again_soon() {
        for code in [Code::Unavailable, Code::ResourceExhausted, Code::Cancelled, Code::Unknown] {
            assert_eq!(Refusal::of_status(&address(), &status(code, None)).patience, Patience::Usual);
        }
    }

    #[test]
    fn a_pause_for_a_person_is_ten_to_fifteen_minutes() {
        assert_eq!(Patience::Person.pause(0.0), Some(Duration::from_secs(600)));
        assert_eq!(Patience::Person.pause(1.0), Some(Duration::from_secs(900)));
        assert_eq!(Patience::Usual.pause(0.5), None);
    }
}
