//! `bbt.enrollment.v1.EnrollmentService`: served on the enrolment port, where nobody has a certificate yet.

use std::{net::IpAddr, sync::Arc};

use bbt_domain::{access::Actor, ids::DeviceId, text::clean};
use bbt_proto::{
    PROTOCOL_REVISION,
    enrollment::v1::{
        Approved, EnrollRequest, EnrollResponse, HelloRequest, HelloResponse, ReattachRequest,
        enroll_response::Outcome, enrollment_service_server::EnrollmentService,
    },
};
use bbt_store::enrollment::{Enrolled, Enrolling, TokenRefusal, device_enroll};
use tonic::{Request, Response, Status};

use super::{
    convert,
    gate::{Gate, Pace},
    issuing::{Issuing, internal, unavailable},
    nonces::Nonces,
    peer_of,
    reattachment::Reattachment,
    refusal, revoked, too_new,
};
use crate::{
    context::Context,
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
}

impl Enrollment {
    /// `agent_addresses` are HOST:PORT of the devices' port as devices see it; `verifier` and `denylist` are those of
    /// that port.
    pub fn new(
        context: Arc<Context>,
        issuing: Issuing,
        signer: SharedSigner,
        refusals: Arc<Refusals>,
        (verifier, denylist): (Arc<DeviceVerifier>, Arc<Denylist>),
        agent_addresses: Vec<String>,
    ) -> Self {
        let reattachment = Reattachment::new(
            Arc::clone(&context),
            issuing.clone(),
            verifier,
            denylist,
            Arc::clone(&refusals),
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
            peer: peer.to_string(),
        };
        let recorded =
            self.context.store.write(move |tx| device_enroll(tx, &Actor::Anonymous, &enrolling, now)).await;
        let Enrolled { device, school_name } = match recorded.map_err(unavailable)? {
            Ok(enrolled) => enrolled,
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
        Ok(Response::new(self.approved(back.device, back.certificate_chain, back.school_name)))
    }
}
