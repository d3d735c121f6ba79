//! `bbt.enrollment.v1.EnrollmentService`: served on the enrolment port, where nobody has a certificate yet.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bbt_domain::{access::Actor, ids::DeviceId, text::clean, time::UtcMicros};
use bbt_proto::{
    PROTOCOL_REVISION,
    enrollment::v1::{
        Approved, EnrollRequest, EnrollResponse, HelloRequest, HelloResponse, ReattachRequest,
        enroll_response::Outcome, enrollment_service_server::EnrollmentService,
    },
};
use bbt_store::{
    StoreError,
    enrollment::{Enrolled, Enrolling, NewCertificate, TokenRefusal, certificate_signed, device_enroll},
};
use tokio::sync::Semaphore;
use tonic::{Code, Request, Response, Status};

use super::{convert, refusal};
use crate::{
    context::Context,
    listen::{
        PeerAddress,
        bucket::Bucket,
        refusals::{Cause, Refusals},
    },
    pki::{self, authority::Authority, issue, signed_time::TimeSigner, tokens},
};

/// How long a nonce is good.
const NONCE_LIFE: Duration = Duration::from_secs(300);
/// Nonces remembered. A school's PCs enrolled in one lesson are a few hundred.
const NONCES: usize = 4_096;
/// A caller's nonce has at least and at most this many bytes.
const CALLER_NONCE: std::ops::RangeInclusive<usize> = 16..=32;
/// Enrolments at once; each costs a signature and a commit.
const AT_ONCE: usize = 32;
/// Enrolments a second from one address for long; a token has 160 random bits, so this is about work, not guessing.
const PER_ADDRESS: u32 = 5;
/// And at once: one computer room.
const PER_ADDRESS_BURST: u32 = 120;
/// Addresses whose speed is remembered.
const ADDRESSES: usize = 4_096;
/// Longest token looked at.
const TOKEN_CHARS: usize = 128;

/// The service.
pub struct Enrollment {
    context: Arc<Context>,
    authority: Arc<Authority>,
    signer: Arc<TimeSigner>,
    refusals: Arc<Refusals>,
    agent_addresses: Vec<String>,
    nonces: Mutex<HashMap<[u8; 16], UtcMicros>>,
    speed: Mutex<HashMap<IpAddr, Bucket>>,
    at_once: Semaphore,
}

impl Enrollment {
    /// `agent_addresses` are HOST:PORT of the devices' port as devices see it.
    pub fn new(
        context: Arc<Context>,
        authority: Arc<Authority>,
        signer: Arc<TimeSigner>,
        refusals: Arc<Refusals>,
        agent_addresses: Vec<String>,
    ) -> Self {
        Self {
            context,
            authority,
            signer,
            refusals,
            agent_addresses,
            nonces: Mutex::default(),
            speed: Mutex::default(),
            at_once: Semaphore::new(AT_ONCE),
        }
    }

    fn nonce(&self, now: UtcMicros) -> Result<[u8; 16], Status> {
        let nonce = pki::random().map_err(internal)?;
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        if nonces.len() >= NONCES {
            nonces.retain(|_, made| now.since(*made) < NONCE_LIFE);
        }
        if nonces.len() >= NONCES {
            return Err(Status::resource_exhausted("too many devices are enrolling: try again in a minute"));
        }
        nonces.insert(nonce, now);
        Ok(nonce)
    }

    /// Whether the nonce was given out within its life; it is used up.
    fn take_nonce(&self, nonce: &[u8], now: UtcMicros) -> bool {
        let Ok(nonce) = <[u8; 16]>::try_from(nonce) else { return false };
        let made = self.nonces.lock().unwrap_or_else(PoisonError::into_inner).remove(&nonce);
        made.is_some_and(|made| now.since(made) < NONCE_LIFE)
    }

    fn slow_down(&self, peer: IpAddr) -> Result<(), Status> {
        let now = Instant::now();
        let mut speed = self.speed.lock().unwrap_or_else(PoisonError::into_inner);
        if speed.len() >= ADDRESSES {
            speed.retain(|_, bucket| !bucket.is_full(now));
        }
        let bucket = speed.entry(peer).or_insert_with(|| Bucket::new(PER_ADDRESS, PER_ADDRESS_BURST, now));
        if bucket.take(1, now).is_zero() {
            return Ok(());
        }
        Err(Status::resource_exhausted("too many enrolments from this address: try again in a minute"))
    }

    async fn enroll(&self, request: EnrollRequest, peer: IpAddr) -> Result<EnrollResponse, Status> {
        let now = self.context.now();
        let refuse = |cause: Cause, about: Option<String>, message: String| {
            self.refusals.note(cause, peer, about);
            let code = match cause {
                Cause::RequestInvalid | Cause::NonceUnknown => Code::InvalidArgument,
                _ => Code::PermissionDenied,
            };
            refusal(code, cause, message)
        };
        if request.protocol_revision > PROTOCOL_REVISION {
            let message = format!(
                "protocol revision {} is newer than this controller's {PROTOCOL_REVISION}: update the controller first",
                request.protocol_revision
            );
            return Err(refusal(Code::FailedPrecondition, Cause::ControllerTooOld, message));
        }
        if !self.take_nonce(&request.nonce, now) {
            let message = "the nonce is unknown or older than five minutes: call Hello again";
            return Err(refuse(Cause::NonceUnknown, None, message.to_owned()));
        }
        if request.token.chars().count() > TOKEN_CHARS {
            let message = format!("the token has more than {TOKEN_CHARS} characters");
            return Err(refuse(Cause::RequestInvalid, None, message));
        }
        let key = issue::DeviceKey::from_request(&request.certificate_request)
            .map_err(|error| refuse(Cause::RequestInvalid, None, error.to_string()))?;

        let validity = issue::device_validity(now);
        let enrolling = Enrolling {
            secret_sha256: tokens::secret_sha256(&request.token),
            key_sha256: key.sha256(),
            device: DeviceId::from_bytes(self.context.new_id()),
            set: self.context.new_set().map_err(internal)?,
            certificate: NewCertificate {
                serial: serial().map_err(internal)?,
                not_before: validity.0,
                not_after: validity.1,
            },
            evidence: convert::evidence(&request.evidence),
            peer: peer.to_string(),
        };
        let recorded = {
            let enrolling = enrolling.clone();
            self.context.store.write(move |tx| device_enroll(tx, &Actor::Anonymous, &enrolling, now)).await
        };
        let Enrolled { device, school_name } = match recorded.map_err(unavailable)? {
            Ok(enrolled) => enrolled,
            Err(cause) => {
                let (cause, about, message) = token_refusal(cause);
                return Err(refuse(cause, about, message));
            }
        };
        let serial = enrolling.certificate.serial;
        let domain = &self.context.county.trust_domain;
        let certificate = issue::device_certificate(&self.authority, domain, device, &key, &serial, validity)
            .map_err(internal)?;
        let der = certificate.to_vec();
        self.context
            .store
            .write(move |tx| certificate_signed(tx, &Actor::Anonymous, &serial, &der))
            .await
            .map_err(unavailable)?;
        tracing::info!(%device, %peer, host = clean(&request.host_name, 64), "a device was enrolled");
        Ok(EnrollResponse {
            outcome: Some(Outcome::Approved(Approved {
                device_id: device.as_bytes().to_vec(),
                certificate_chain: self.authority.chain(certificate).iter().map(|der| der.to_vec()).collect(),
                agent_addresses: self.agent_addresses.clone(),
                trust_domain: domain.as_str().to_owned(),
                school_name,
            })),
        })
    }
}

/// A positive serial of 128 bits: RFC 5280 4.1.2.2.
fn serial() -> Result<[u8; 16], pki::PkiError> {
    let mut serial: [u8; 16] = pki::random()?;
    serial[0] = (serial[0] & 0x7f) | 0x40;
    Ok(serial)
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
        TokenRefusal::Revoked(device) => (
            Cause::Revoked,
            Some(format!("device:{device}")),
            format!(
                "device {device} was revoked by the county: it has to be given back its access there first"
            ),
        ),
    }
}

fn internal(error: impl std::fmt::Display) -> Status {
    tracing::error!(%error, "an enrolment failed");
    Status::internal("the controller could not make a certificate; its log says why")
}

fn unavailable(error: StoreError) -> Status {
    tracing::error!(%error, "an enrolment could not be stored");
    Status::unavailable("the controller cannot store anything now: try again in a minute; its log says why")
}

pub(super) fn peer_of<T>(request: &Request<T>) -> Result<IpAddr, Status> {
    let peer = request.extensions().get::<PeerAddress>();
    peer.map(|peer| peer.0.ip()).ok_or_else(|| Status::internal("the connection has no address"))
}

#[tonic::async_trait]
impl EnrollmentService for Enrollment {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloResponse>, Status> {
        self.slow_down(peer_of(&request)?)?;
        let request = request.into_inner();
        if !CALLER_NONCE.contains(&request.nonce.len()) {
            return Err(Status::invalid_argument(format!(
                "nonce has {} bytes: send {} to {} random ones",
                request.nonce.len(),
                CALLER_NONCE.start(),
                CALLER_NONCE.end()
            )));
        }
        let now = self.context.now();
        Ok(Response::new(HelloResponse {
            protocol_revision: PROTOCOL_REVISION,
            nonce: self.nonce(now)?.to_vec(),
            time: Some(self.signer.sign(now, &request.nonce).map_err(internal)?),
            signer_chain: self.signer.chain(),
            trust_domain: self.context.county.trust_domain.as_str().to_owned(),
        }))
    }

    async fn enroll(&self, request: Request<EnrollRequest>) -> Result<Response<EnrollResponse>, Status> {
        let peer = peer_of(&request)?;
        self.slow_down(peer)?;
        let _turn = self.at_once.try_acquire().map_err(|_| {
            Status::resource_exhausted("too many devices are enrolling: try again in a minute")
        })?;
        Enrollment::enroll(self, request.into_inner(), peer).await.map(Response::new)
    }

    async fn reattach(&self, request: Request<ReattachRequest>) -> Result<Response<EnrollResponse>, Status> {
        self.slow_down(peer_of(&request)?)?;
        Err(Status::unimplemented(
            "this controller does not re-attach expired devices yet: enrol with a new token",
        ))
    }
}
