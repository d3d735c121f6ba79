//! `bbt.enrollment.v1.EnrollmentService`: served on the enrolment port, where nobody has a certificate yet.

use std::{net::IpAddr, sync::Arc};

use bbt_domain::{
    access::Actor,
    ids::{AdmissionId, DeviceId},
    text::{NAME_CHARS, clean},
};
use bbt_proto::{
    PROTOCOL_REVISION,
    enrollment::v1::{
        Approved, EnrollRequest, EnrollResponse, HelloRequest, HelloResponse, Pending, ReattachRequest,
        enroll_response::Outcome, enrollment_service_server::EnrollmentService,
    },
};
use bbt_store::{
    Tx,
    enrollment::{Admitted, Enrolled, Enrolling, TokenRefusal, Waiting, device_enroll},
};
use tonic::{Request, Response, Status};

use super::{
    convert, crowded,
    gate::{Gate, Pace},
    issuing::{Issuing, internal, unavailable},
    nonces::Nonces,
    peer_of,
    reattachment::{Back, Reattachment},
    refusal, revoked, too_new, turned_away,
};
use crate::{
    context::Context,
    ingest::sessions::Sessions,
    listen::{
        refusals::{Cause, Refusals},
        tls::DeviceVerifier,
    },
    pki::{issue::DeviceKey, revoke::Denylist, signed_time::SharedSigner, tokens},
};

/// A caller's nonce has at least and at most this many bytes.
const CALLER_NONCE: std::ops::RangeInclusive<usize> = 16..=32;
/// Enrolments of one address: one computer room at once; a token has 160 random bits, so this is about work, not
/// guessing.
const PACE: Pace = Pace { cost: 1, per_sec: 5, burst: 120 };
/// Enrolments at once; each costs a signature and two commits.
const AT_ONCE: usize = 32;
/// A PC that waits for a person asks again after this long: about as long as people look at a screen for news, and
/// so seldom that a computer room full of them is no load.
const PENDING_RETRY_SECS: u32 = 15;
/// Longest token looked at.
const TOKEN_CHARS: usize = 128;

/// The service.
pub struct Enrollment {
    context: Arc<Context>,
    issuing: Issuing,
    signer: SharedSigner,
    refusals: Arc<Refusals>,
    agent_addresses: Vec<String>,
    nonces: Nonces,
    gate: Gate<IpAddr>,
    reattachment: Reattachment,
    sessions: Arc<Sessions>,
}

impl Enrollment {
    /// `agent_addresses` are HOST:PORT of the devices' port as devices see it; `verifier`, `denylist` and
    /// `sessions` are those of that port.
    pub fn new(
        context: Arc<Context>,
        issuing: Issuing,
        signer: SharedSigner,
        refusals: Arc<Refusals>,
        (verifier, denylist): (Arc<DeviceVerifier>, Arc<Denylist>),
        sessions: Arc<Sessions>,
        agent_addresses: Vec<String>,
    ) -> Self {
        let reattachment = Reattachment::new(
            Arc::clone(&context),
            issuing.clone(),
            verifier,
            denylist,
            Arc::clone(&refusals),
            Arc::clone(&sessions),
        );
        Self {
            context,
            issuing,
            signer,
            refusals,
            agent_addresses,
            nonces: Nonces::default(),
            gate: Gate::new("enrolments", PACE, AT_ONCE),
            reattachment,
            sessions,
        }
    }

    async fn enroll(&self, request: EnrollRequest, peer: IpAddr) -> Result<EnrollResponse, Status> {
        let now = self.issuing.date()?;
        let refuse = |cause: Cause, about: Option<String>, message: String| {
            self.refusals.note(cause, peer, about);
            refusal(cause, message)
        };
        if request.protocol_revision > PROTOCOL_REVISION {
            return Err(refusal(Cause::ControllerTooOld, too_new(request.protocol_revision)));
        }
        if !self.nonces.take(&request.nonce, now) {
            let message = "the nonce is unknown or older than five minutes: call Hello again";
            return Err(refuse(Cause::NonceUnknown, None, message.to_owned()));
        }
        if request.token.chars().count() > TOKEN_CHARS {
            let message = format!("the token has more than {TOKEN_CHARS} characters");
            return Err(refuse(Cause::RequestInvalid, None, message));
        }
        let key = DeviceKey::from_request(&request.certificate_request)
            .map_err(|error| refuse(Cause::RequestInvalid, None, error.to_string()))?;

        let draft = self.issuing.draft(now)?;
        let enrolling = Enrolling {
            secret_sha256: tokens::secret_sha256(&request.token),
            key_sha256: key.sha256(),
            device: DeviceId::from_bytes(self.context.new_id()),
            set: self.context.new_set().map_err(internal)?,
            certificate: draft.certificate.clone(),
            evidence: convert::evidence(&request.evidence),
            admission: AdmissionId::from_bytes(self.context.new_id()),
            host_name: clean(&request.host_name, NAME_CHARS),
            agent_version: clean(&request.agent_version, NAME_CHARS),
            peer: peer.to_string(),
        };
        let sessions = Arc::clone(&self.sessions);
        let enroll = move |tx: &mut Tx<'_>| {
            device_enroll(tx, &Actor::Anonymous, &enrolling, &|device| sessions.is_open(device), now)
        };
        let recorded = self.context.store.write(enroll).await;
        let Enrolled { device, school_name } = match recorded.map_err(unavailable)? {
            Ok(Admitted::Device(enrolled)) => enrolled,
            Ok(Admitted::Waiting(waiting)) => return Ok(pending(waiting)),
            Err(cause) => {
                let (cause, about, message) = token_refusal(cause);
                return Err(refuse(cause, about, message));
            }
        };
        let certificate_chain = self.issuing.sign(Actor::Anonymous, device, &key, &draft).await?;
        tracing::info!(%device, %peer, host = clean(&request.host_name, 64), "a device was enrolled");
        Ok(self.approved(device, certificate_chain, school_name))
    }

    fn approved(
        &self,
        device: DeviceId,
        certificate_chain: Vec<Vec<u8>>,
        school_name: String,
    ) -> EnrollResponse {
        let approved = Approved {
            device_id: device.as_bytes().to_vec(),
            certificate_chain,
            agent_addresses: self.agent_addresses.clone(),
            trust_domain: self.context.county.trust_domain.as_str().to_owned(),
            school_name,
        };
        EnrollResponse { outcome: Some(Outcome::Approved(approved)) }
    }
}

/// The answer to a PC that waits for a person.
fn pending(waiting: Waiting) -> EnrollResponse {
    let reason = match waiting {
        Waiting::Known(_) => "known",
        Waiting::Likely(_) => "likely",
        Waiting::Clone(_) => "clone",
    };
    tracing::info!(?waiting, "a PC waits for somebody to say which device it is");
    let pending = Pending { retry_after_secs: PENDING_RETRY_SECS, reason: reason.to_owned() };
    EnrollResponse { outcome: Some(Outcome::Pending(pending)) }
}

fn token_refusal(refusal: TokenRefusal) -> (Cause, Option<String>, String) {
    let create = "ask the county for a new one (bbt-controller token create)";
    match refusal {
        TokenRefusal::Unknown => (
            Cause::TokenUnknown,
            None,
            format!("this token is not known here: check how it was typed, or {create}"),
        ),
        TokenRefusal::Used => {
            (Cause::TokenUsed, None, format!("this token was used by as many devices as it allows: {create}"))
        }
        TokenRefusal::Expired(at) => {
            (Cause::TokenExpired, None, format!("this token expired at {at}: {create}"))
        }
        TokenRefusal::Refused => (Cause::Refused, None, turned_away()),
        TokenRefusal::Crowded => (Cause::TooManyWaiting, None, crowded()),
        TokenRefusal::Revoked(device) => (Cause::Revoked, Some(format!("device:{device}")), revoked(device)),
    }
}

#[tonic::async_trait]
impl EnrollmentService for Enrollment {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloResponse>, Status> {
        self.gate.slow_down(peer_of(&request)?)?;
        let request = request.into_inner();
        if !CALLER_NONCE.contains(&request.nonce.len()) {
            return Err(Status::invalid_argument(format!(
                "nonce has {} bytes: send {} to {} random ones",
                request.nonce.len(),
                CALLER_NONCE.start(),
                CALLER_NONCE.end()
            )));
        }
        let (now, signer) = (self.issuing.date()?, self.signer.load());
        Ok(Response::new(HelloResponse {
            protocol_revision: PROTOCOL_REVISION,
            nonce: self.nonces.give(now)?.to_vec(),
            time: Some(signer.sign(now, &request.nonce).map_err(internal)?),
            signer_chain: signer.chain(),
            trust_domain: self.context.county.trust_domain.as_str().to_owned(),
        }))
    }

    async fn enroll(&self, request: Request<EnrollRequest>) -> Result<Response<EnrollResponse>, Status> {
        let peer = peer_of(&request)?;
        self.gate.slow_down(peer)?;
        let _turn = self.gate.turn()?;
        Enrollment::enroll(self, request.into_inner(), peer).await.map(Response::new)
    }

    async fn reattach(&self, request: Request<ReattachRequest>) -> Result<Response<EnrollResponse>, Status> {
        let peer = peer_of(&request)?;
        self.reattachment.slow_down(peer)?;
        let back = self.reattachment.reattach(&request.into_inner(), &self.nonces, peer).await?;
        Ok(Response::new(match back {
            Back::Device(back) => self.approved(back.device, back.certificate_chain, back.school_name),
            Back::Waiting(waiting) => pending(waiting),
        }))
    }
}
