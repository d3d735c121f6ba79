//! Becoming known to the county.
//!
//! The key is on disk before the controller hears of it, so a run that was killed anywhere goes on with the same
//! key, and the controller gives the same device again. The token is used from memory and never written.

use std::{sync::Arc, time::Duration};

use bbt_proto::{
    PROTOCOL_REVISION,
    enrollment::v1::{
        Approved, EnrollRequest, Evidence, HelloRequest, HelloResponse, enroll_response::Outcome,
        enrollment_service_client::EnrollmentServiceClient,
    },
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::ClientConfig;
use tonic::{Request, Status, transport::Channel};
use uuid::Uuid;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{
    Identity, IdentityError,
    clock::{Clock, TimeError, TimeSigner},
    keystore::{self, Granted},
    trust::{self, Fingerprint, fingerprint},
};
use crate::{
    folder::{Folder, FolderError},
    platform::Platform,
    uplink::{
        address::Address,
        connect::Connection,
        refusal::{Patience, Refusal, reason},
    },
};

/// A call on the enrolment listener is answered within this time.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Answers hold a chain of three certificates and a few names.
const MESSAGE_MAX_BYTES: usize = 64 * 1024;
/// Whatever the controller says, a waiting device asks no sooner and no later than this.
const PENDING_WAIT_SECS: std::ops::RangeInclusive<u64> = 5..=3600;
/// After a lost line while waiting for approval.
const LOST_WAIT: Duration = Duration::from_secs(30);

/// What enrolment is asked with.
#[derive(Clone)]
pub struct EnrolOrder {
    /// The enrolment listener.
    pub controller: Address,
    /// What makes this device welcome.
    pub token: String,
    /// The county's root certificate.
    pub root: Fingerprint,
    /// By which the county recognises this machine.
    pub evidence: Vec<Evidence>,
    /// Of this program.
    pub agent_version: &'static str,
    /// As people at the school call the machine.
    pub host_name: String,
}

/// Why enrolment failed.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// It is done already.
    #[error(
        "this device is enrolled already, as {device_id} at {controller}; to enrol it anew, stop the agent and remove {folder}"
    )]
    Already {
        /// The device.
        device_id: Uuid,
        /// Where.
        controller: Address,
        /// What to remove.
        folder: String,
    },
    /// The state folder refused.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The identity's files refused.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The controller refused or was not reached.
    #[error("cannot enrol at {controller}: {refusal}")]
    Refused {
        /// The controller.
        controller: Address,
        /// Why.
        refusal: Refusal,
    },
    /// The controller's time is not signed by its county.
    #[error(
        "cannot enrol at {controller}: its signed time is not acceptable: {source}; check the controller with `bbt-controller check`"
    )]
    Time {
        /// The controller.
        controller: Address,
        /// Why.
        source: TimeError,
    },
    /// The answer does not fit the question.
    #[error("cannot enrol at {controller}: {what}; update agent and controller to fitting versions")]
    Answer {
        /// The controller.
        controller: Address,
        /// What is wrong.
        what: &'static str,
    },
    /// Our own cryptography refused.
    #[error("cannot make a certificate request: {0}")]
    Request(String),
}

/// Enrols this device. `waiting` is told, each time, how long a pending approval is waited for.
pub async fn enrol(
    state: &Folder,
    platform: Arc<dyn Platform>,
    order: EnrolOrder,
    mut waiting: impl FnMut(Duration),
) -> Result<Identity, EnrolError> {
    state.prepare()?;
    let _lock = state.lock()?;
    if keystore::is_enrolled(state) {
        let known = keystore::load(state)?;
        return Err(EnrolError::Already {
            device_id: known.device_id,
            controller: known.enrolment_address,
            folder: state.identity().display().to_string(),
        });
    }
    let key = keystore::key_or_new(state)?;
    let request = certificate_request(&key)?;
    let clock = Arc::new(Clock::new(platform.clone()));
    let tls = trust::enrolment_config(order.root, clock.clone())
        .map_err(|error| EnrolError::Request(error.to_string()))?;
    let applicant = Applicant { order, tls, clock, platform, request };
    let mut was_pending = false;
    loop {
        let wait = match applicant.ask().await {
            Ok(Answer::Approved(approved, trust_domain)) => {
                let granted = applicant.check(approved, &trust_domain, key.public_key_raw())?;
                keystore::store(state, &granted)?;
                return Ok(keystore::load(state)?);
            }
            Ok(Answer::Pending(wait)) => wait,
            Err(EnrolError::Refused { refusal, .. })
                if was_pending && refusal.patience == Patience::Usual =>
            {
                tracing::warn!("{refusal}");
                LOST_WAIT
            }
            Err(error) => return Err(error),
        };
        was_pending = true;
        waiting(wait);
        tokio::time::sleep(wait).await;
    }
}

enum Answer {
    Approved(Approved, String),
    Pending(Duration),
}

struct Applicant {
    order: EnrolOrder,
    tls: Arc<ClientConfig>,
    clock: Arc<Clock>,
    platform: Arc<dyn Platform>,
    request: Vec<u8>,
}

impl Applicant {
    /// One round: connection, nonce, question.
    async fn ask(&self) -> Result<Answer, EnrolError> {
        let connection = Connection::open(&self.order.controller, self.tls.clone())
            .await
            .map_err(|error| self.refused(Refusal::of_connect(&error)))?;
        let mut client = EnrollmentServiceClient::new(connection.channel.clone())
            .max_decoding_message_size(MESSAGE_MAX_BYTES);
        let EnrolOrder { controller, root, .. } = &self.order;
        let hello = hello(&mut client, controller, *root, self.platform.as_ref(), &self.clock).await?;
        let question = EnrollRequest {
            protocol_revision: PROTOCOL_REVISION,
            nonce: hello.nonce,
            token: self.order.token.clone(),
            certificate_request: self.request.clone(),
            evidence: self.order.evidence.clone(),
            agent_version: self.order.agent_version.to_owned(),
            host_name: self.order.host_name.clone(),
        };
        let answer = client.enroll(timed(question)).await.map_err(|status| self.refused_by(&status))?;
        match answer.into_inner().outcome {
            Some(Outcome::Approved(approved)) => Ok(Answer::Approved(approved, hello.trust_domain)),
            Some(Outcome::Pending(pending)) => {
                let secs = u64::from(pending.retry_after_secs)
                    .clamp(*PENDING_WAIT_SECS.start(), *PENDING_WAIT_SECS.end());
                Ok(Answer::Pending(Duration::from_secs(secs)))
            }
            None => Err(self.answer("it answered neither yes nor wait")),
        }
    }

    /// Sees that the answer is about us and of the county we asked.
    fn check(
        &self,
        approved: Approved,
        trust_domain: &str,
        public_key: &[u8],
    ) -> Result<Granted, EnrolError> {
        let device_id = Uuid::from_slice(&approved.device_id)
            .map_err(|_| self.answer("the device id it gave is not 16 bytes"))?;
        let [own, _, .., root] = approved.certificate_chain.as_slice() else {
            return Err(self.answer("the certificate chain it gave is too short"));
        };
        if fingerprint(root) != self.order.root {
            return Err(self.answer("the certificate chain it gave does not end at the pinned root"));
        }
        let (_, certificate) = X509Certificate::from_der(own)
            .map_err(|_| self.answer("the device certificate it gave is not readable"))?;
        if certificate.public_key().subject_public_key.data.as_ref() != public_key {
            return Err(self.answer("the device certificate it gave is for another key"));
        }
        if approved.trust_domain != trust_domain {
            return Err(self.answer("it changed its trust domain between two answers"));
        }
        if keystore::device_uri(&certificate) != Some((trust_domain.to_owned(), device_id)) {
            return Err(self.answer("the device certificate it gave does not carry the device's name"));
        }
        let agent_addresses = approved
            .agent_addresses
            .iter()
            .map(|text| text.parse())
            .collect::<Result<Vec<Address>, _>>()
            .map_err(|_| self.answer("an agent address it gave is not of the form HOST:PORT"))?;
        if agent_addresses.is_empty() {
            return Err(self.answer("it gave no address to report to"));
        }
        Ok(Granted {
            device_id,
            trust_domain: approved.trust_domain,
            school_name: approved.school_name,
            enrolment_address: self.order.controller.clone(),
            agent_addresses,
            chain: approved.certificate_chain,
        })
    }

    fn answer(&self, what: &'static str) -> EnrolError {
        EnrolError::Answer { controller: self.order.controller.clone(), what }
    }

    fn refused(&self, refusal: Refusal) -> EnrolError {
        EnrolError::Refused { controller: self.order.controller.clone(), refusal }
    }

    fn refused_by(&self, status: &Status) -> EnrolError {
        self.refused(of_status(&self.order.controller, status))
    }
}

/// Asks the enrolment listener what time it is; if it tells, `clock` takes it over.
pub async fn ask_time(
    controller: &Address,
    root: Fingerprint,
    platform: &dyn Platform,
    clock: &Arc<Clock>,
) -> Result<(), EnrolError> {
    let request = |error: rustls::Error| EnrolError::Request(error.to_string());
    let tls = trust::enrolment_config(root, clock.clone()).map_err(request)?;
    let connection = Connection::open(controller, tls).await.map_err(|error| EnrolError::Refused {
        controller: controller.clone(),
        refusal: Refusal::of_connect(&error),
    })?;
    let mut client =
        EnrollmentServiceClient::new(connection.channel).max_decoding_message_size(MESSAGE_MAX_BYTES);
    hello(&mut client, controller, root, platform, clock).await.map(drop)
}

/// The greeting: a nonce for the next question, and the county's time, which `clock` takes over.
async fn hello(
    client: &mut EnrollmentServiceClient<Channel>,
    controller: &Address,
    root: Fingerprint,
    platform: &dyn Platform,
    clock: &Clock,
) -> Result<HelloResponse, EnrolError> {
    let mut nonce = [0; 32];
    platform.random(&mut nonce);
    let question = HelloRequest { protocol_revision: PROTOCOL_REVISION, nonce: nonce.to_vec() };
    let answer = client.hello(timed(question)).await.map_err(|status| EnrolError::Refused {
        controller: controller.clone(),
        refusal: of_status(controller, &status),
    })?;
    let hello = answer.into_inner();
    // A controller whose own clock is in doubt signs no time.
    if let Some(time) = &hello.time {
        let wrong = |source| EnrolError::Time { controller: controller.clone(), source };
        let signer =
            TimeSigner::from_chain(&hello.signer_chain, &root, &hello.trust_domain).map_err(wrong)?;
        clock.accept(signer.verify(time, &nonce).map_err(wrong)?);
    }
    Ok(hello)
}

/// What the reasons of the enrolment service mean; all others as everywhere.
fn of_status(controller: &Address, status: &Status) -> Refusal {
    let (code, problem, remedy) = match reason(status).as_deref() {
        Some("token_unknown") => (
            "token_unknown",
            "the controller does not know this token",
            "check that it was copied whole, or make a new one with `bbt-controller token create`",
        ),
        Some("token_used") => (
            "token_used",
            "this token was used up by other devices",
            "make a new one with `bbt-controller token create`",
        ),
        Some("token_expired") => {
            ("token_expired", "this token has expired", "make a new one with `bbt-controller token create`")
        }
        Some("nonce_unknown") => (
            "nonce_unknown",
            "the controller forgot that it was greeted, perhaps because it was restarted",
            "run the same command again",
        ),
        Some("request_invalid") => (
            "request_invalid",
            "the controller finds the request faulty",
            "update agent and controller to fitting versions; the controller's log says what it found",
        ),
        _ => return Refusal::of_status(controller, status),
    };
    Refusal { patience: Patience::Person, ..Refusal::passing(code, problem, remedy) }
}

fn certificate_request(key: &KeyPair) -> Result<Vec<u8>, EnrolError> {
    let mut params = CertificateParams::default();
    // Only the public key is taken from it; a name would only be ignored.
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(key).map_err(|error| EnrolError::Request(error.to_string()))?;
    Ok(request.der().to_vec())
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ANSWER_WITHIN);
    request
}
