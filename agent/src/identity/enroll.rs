//! Becoming known to the county.
//!
//! The key is on disk before the controller hears of it, so a run that was killed anywhere goes on with the same
//! key, and the controller gives the same device again. The token is used from memory and never written.

use std::{sync::Arc, time::Duration};

use bbt_proto::{
    PROTOCOL_REVISION,
    enrollment::v1::{Approved, EnrollRequest, Evidence},
};
use tonic::Status;
use uuid::Uuid;

use super::{
    Identity, IdentityError,
    certificate::{self, Expected, RequestError},
    clock::Clock,
    hello::{self, Answer},
    keystore::{self, Granted},
    trust::Fingerprint,
};
use crate::{
    folder::{Folder, FolderError},
    platform::Platform,
    uplink::{
        address::Address,
        refusal::{Patience, Refusal, reason},
    },
};

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
    /// Our own cryptography refused.
    #[error(transparent)]
    Request(#[from] RequestError),
}

/// Enrols this device. `waiting` is told, each time, how long a pending approval is waited for, and the
/// county's word for why.
pub async fn enrol(
    state: &Folder,
    platform: Arc<dyn Platform>,
    order: EnrolOrder,
    mut waiting: impl FnMut(Duration, &str),
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
    let key = keystore::key_or_new(&state.identity())?;
    let request = certificate::request(&key)?;
    let clock = Arc::new(Clock::new(platform.clone()));
    let applicant = Applicant { order, clock, platform, request };
    let mut was_pending = false;
    loop {
        let (wait, reason) = match applicant.ask().await {
            Ok((Answer::Approved(approved), trust_domain)) => {
                let granted = applicant.check(approved, trust_domain, key.public_key_raw());
                keystore::store(state, &granted.map_err(|refusal| applicant.refused(refusal))?)?;
                return Ok(keystore::load(state)?);
            }
            Ok((Answer::Pending { wait, reason }, _)) => (wait, reason),
            Err(refusal) if was_pending && refusal.patience == Patience::Usual => {
                tracing::warn!("{refusal}");
                (LOST_WAIT, String::new())
            }
            Err(refusal) => return Err(applicant.refused(refusal)),
        };
        was_pending = true;
        waiting(wait, &reason);
        tokio::time::sleep(wait).await;
    }
}

struct Applicant {
    order: EnrolOrder,
    clock: Arc<Clock>,
    platform: Arc<dyn Platform>,
    request: Vec<u8>,
}

impl Applicant {
    /// One round: connection, greeting, question. The answer with the county's trust domain.
    async fn ask(&self) -> Result<(Answer, String), Refusal> {
        let EnrolOrder { controller, root, .. } = &self.order;
        let mut greeting = hello::greet(controller, *root, self.platform.as_ref(), &self.clock).await?;
        let question = EnrollRequest {
            protocol_revision: PROTOCOL_REVISION,
            nonce: greeting.nonce,
            token: self.order.token.clone(),
            certificate_request: self.request.clone(),
            evidence: self.order.evidence.clone(),
            agent_version: self.order.agent_version.to_owned(),
            host_name: self.order.host_name.clone(),
        };
        let answer = greeting.client.enroll(hello::timed(question)).await;
        let answer = answer.map_err(|status| of_status(controller, &status))?;
        match Answer::of(answer.into_inner()) {
            Some(answer) => Ok((answer, greeting.trust_domain)),
            None => Err(Refusal::broken(controller, "answered neither yes nor wait")),
        }
    }

    /// Sees that the answer is about us and of the county we asked.
    fn check(&self, approved: Approved, trust_domain: String, public_key: &[u8]) -> Result<Granted, Refusal> {
        let broken = |what| Refusal::broken(&self.order.controller, what);
        let device_id = Uuid::from_slice(&approved.device_id)
            .map_err(|_| broken("gave a device id that is not 16 bytes"))?;
        if approved.trust_domain != trust_domain {
            return Err(broken("changed its trust domain between two answers"));
        }
        Expected { root: self.order.root, trust_domain: &trust_domain, device_id, public_key }
            .check(&approved.certificate_chain)
            .map_err(broken)?;
        Ok(Granted {
            device_id,
            trust_domain,
            school_name: approved.school_name,
            enrolment_address: self.order.controller.clone(),
            agent_addresses: certificate::addresses(&approved.agent_addresses).map_err(broken)?,
            chain: approved.certificate_chain,
        })
    }

    fn refused(&self, refusal: Refusal) -> EnrolError {
        EnrolError::Refused { controller: self.order.controller.clone(), refusal }
    }
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
        _ => return Refusal::of_status(controller, status),
    };
    Refusal { patience: Patience::Person, ..Refusal::passing(code, problem, remedy) }
}
