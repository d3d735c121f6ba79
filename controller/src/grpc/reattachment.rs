//! `EnrollmentService/Reattach`: the way back for a device whose certificate has ended or was superseded, with limits
//! of its own, so that a crowd with tokens does not stand in the way of a county that comes back from the summer.
//!
//! What counts is the key. The certificate beside it must be one that an intermediate of this county signed, asked at a
//! time at which it was good; the device that it names must be known and not revoked; and the signature over the nonce
//! and the request must be by its key. Then the device gets a new certificate as by any other way.

use std::{net::IpAddr, sync::Arc};

use bbt_domain::{
    access::Actor,
    ids::{AdmissionId, DeviceId, RunId},
    text::{NAME_CHARS, clean},
};
use bbt_proto::{PROTOCOL_REVISION, enrollment::v1::ReattachRequest};
use bbt_store::{
    Tx,
    certificates::{CertificateRefusal, Reattaching, certificate_reattach},
    enrollment::{Admitted, Enrolled, Waiting},
};
use rustls_pki_types::CertificateDer;
use tonic::Status;

use super::{
    certificate_refusal, convert,
    gate::{Gate, Pace},
    issuing::{Issuing, internal, unavailable},
    nonces::Nonces,
    refusal, too_new,
};
use crate::{
    context::Context,
    ingest::sessions::Sessions,
    listen::{
        DevicePeer,
        refusals::{Cause, Refusals},
        tls::DeviceVerifier,
    },
    pki::{
        issue::{CERTIFICATE_BYTES, DeviceKey},
        proof,
        revoke::Denylist,
    },
};

/// Re-attachments from one address: a school behind one address that slept through the summer has some hundred sets.
const PACE: Pace = Pace { cost: 1, per_sec: 2, burst: 240 };
/// Re-attachments at once; each costs three checks of a signature, a signature and two commits.
const AT_ONCE: usize = 16;

/// Takes devices back.
pub(super) struct Reattachment {
    context: Arc<Context>,
    issuing: Issuing,
    verifier: Arc<DeviceVerifier>,
    denylist: Arc<Denylist>,
    refusals: Arc<Refusals>,
    gate: Gate<IpAddr>,
    sessions: Arc<Sessions>,
}

/// What became of a call.
pub(super) enum Back {
    /// A device has a certificate: the one whose key was proved, or a sibling whose disk was copied from it.
    Device(Reattached),
    /// A person has to look at it first.
    Waiting(Waiting),
}

/// A device that was taken back.
pub(super) struct Reattached {
    pub(super) device: DeviceId,
    pub(super) certificate_chain: Vec<Vec<u8>>,
    pub(super) school_name: String,
}

/// What a request proved.
struct Proved {
    /// By the old certificate.
    shown: DevicePeer,
    shown_key_sha256: [u8; 32],
    /// That the new certificate is for.
    key: DeviceKey,
}

impl Reattachment {
    pub(super) fn new(
        context: Arc<Context>,
        issuing: Issuing,
        verifier: Arc<DeviceVerifier>,
        denylist: Arc<Denylist>,
        refusals: Arc<Refusals>,
        sessions: Arc<Sessions>,
    ) -> Self {
        let gate = Gate::new("re-attachments", PACE, AT_ONCE);
        Self { context, issuing, verifier, denylist, refusals, gate, sessions }
    }

    /// Refuses an address that comes too fast.
    pub(super) fn slow_down(&self, peer: IpAddr) -> Result<(), Status> {
        self.gate.slow_down(peer)
    }

    /// One call, from its nonce to the new certificate.
    pub(super) async fn reattach(
        &self,
        request: &ReattachRequest,
        nonces: &Nonces,
        peer: IpAddr,
    ) -> Result<Back, Status> {
        let _turn = self.gate.turn()?;
        let now = self.issuing.date()?;
        if !nonces.take(&request.nonce, now) {
            let message = "the nonce is unknown or older than five minutes: call Hello again";
            return Err(self.refuse(peer, None, Cause::NonceUnknown, message.to_owned()));
        }
        let Proved { shown, shown_key_sha256, key } = self.prove(request, peer)?;
        let device = shown.device;
        let draft = self.issuing.draft(now)?;
        let reattaching = Reattaching {
            shown: shown.serial,
            shown_key_sha256,
            key_sha256: key.sha256(),
            certificate: draft.certificate.clone(),
            evidence: convert::evidence(&request.evidence),
            run: RunId::from_slice(&request.run_id).ok(),
            device: DeviceId::from_bytes(self.context.new_id()),
            set: self.context.new_set().map_err(internal)?,
            admission: AdmissionId::from_bytes(self.context.new_id()),
            agent_version: clean(&request.agent_version, NAME_CHARS),
            peer: peer.to_string(),
        };
        let actor = Actor::Device(device);
        let asked = actor.clone();
        let sessions = Arc::clone(&self.sessions);
        let reattach = move |tx: &mut Tx<'_>| {
            certificate_reattach(tx, &asked, &reattaching, &|device| sessions.is_open(device), now)
        };
        let recorded = self.context.store.write(reattach).await;
        let admitted =
            recorded.map_err(unavailable)?.map_err(|why| self.refuse_certificate(peer, device, why))?;
        let Enrolled { device, school_name } = match admitted {
            Admitted::Device(enrolled) => enrolled,
            Admitted::Waiting(waiting) => return Ok(Back::Waiting(waiting)),
        };
        let certificate_chain = self.issuing.sign(actor, device, &key, &draft).await?;
        let agent = clean(&request.agent_version, 64);
        tracing::info!(%device, %peer, agent, "a device was re-attached");
        Ok(Back::Device(Reattached { device, certificate_chain, school_name }))
    }

    /// What can be told without the store. The order is that of trust: nothing that a certificate says is believed
    /// before its signature, and nothing is said about a device before its key was proved.
    fn prove(&self, request: &ReattachRequest, peer: IpAddr) -> Result<Proved, Status> {
        if request.protocol_revision > PROTOCOL_REVISION {
            return Err(refusal(Cause::ControllerTooOld, too_new(request.protocol_revision)));
        }
        let key = DeviceKey::from_request(&request.certificate_request)
            .map_err(|error| self.refuse(peer, None, Cause::RequestInvalid, error.to_string()))?;
        if request.certificate.len() > CERTIFICATE_BYTES {
            let message = format!(
                "the certificate has {} bytes, {CERTIFICATE_BYTES} are the most",
                request.certificate.len()
            );
            return Err(self.refuse(peer, None, Cause::RequestInvalid, message));
        }
        let certificate = CertificateDer::from(request.certificate.as_slice());
        let authority = self.issuing.authority();
        let Some(shown) = self.verifier.past_peer(&certificate, authority.intermediates()) else {
            let message = "this is not a certificate that the county gave to a device: enrol it anew";
            return Err(self.refuse(peer, None, Cause::CertificateUnknown, message.to_owned()));
        };
        let said = [request.nonce.as_slice(), &request.certificate_request].concat();
        let Some(shown_key_sha256) = proof::key_that_signed(&certificate, &said, &request.signature) else {
            let message = "the signature over nonce and request is not by the key of the certificate";
            return Err(self.refuse(peer, Some(shown.device), Cause::ProofWrong, message.to_owned()));
        };
        if self.denylist.denies(shown.device) {
            return Err(self.refuse_certificate(peer, shown.device, CertificateRefusal::Revoked));
        }
        Ok(Proved { shown, shown_key_sha256, key })
    }

    fn refuse(&self, peer: IpAddr, device: Option<DeviceId>, cause: Cause, message: String) -> Status {
        self.refusals.note(cause, peer, device.map(|device| format!("device:{device}")));
        refusal(cause, message)
    }

    fn refuse_certificate(&self, peer: IpAddr, device: DeviceId, why: CertificateRefusal) -> Status {
        let (cause, message) = certificate_refusal(device, why);
        self.refuse(peer, Some(device), cause, message)
    }
}
