//! The services by which devices become known and stay so.

use bbt_proto::enrollment::v1::{
    self as enrollment, enrollment_service_server::EnrollmentService, renewal_service_server::RenewalService,
};
use rcgen::KeyPair;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Controller, Lie, Seen, TOKEN, TRUST_DOMAIN, listener::PeerCertificate, refused};

/// What every question is to carry.
const NONCE: [u8; 16] = [7; 16];
/// The only device.
const DEVICE: Uuid = Uuid::from_bytes([5; 16]);

#[tonic::async_trait]
impl EnrollmentService for Controller {
    async fn hello(
        &self,
        request: Request<enrollment::HelloRequest>,
    ) -> Result<Response<enrollment::HelloResponse>, Status> {
        let nonce = request.into_inner().nonce;
        let (lie, now_micros) = {
            let seen = self.seen();
            (seen.lie, seen.now_micros)
        };
        let own = &self.signer.1;
        let time = match lie {
            Some(Lie::OtherKey) => Some(self.sign(&KeyPair::generate().unwrap(), now_micros, &nonce)),
            Some(Lie::OldNonce) => Some(self.sign(own, now_micros, &[1; 32])),
            Some(Lie::NoTime) => None,
            None | Some(Lie::OtherDomain) => Some(self.sign(own, now_micros, &nonce)),
        };
        let trust_domain = if matches!(lie, Some(Lie::OtherDomain)) { "other.bbt" } else { TRUST_DOMAIN };
        Ok(Response::new(enrollment::HelloResponse {
            protocol_revision: bbt_proto::PROTOCOL_REVISION,
            nonce: NONCE.to_vec(),
            time,
            signer_chain: self.signer.0.clone(),
            trust_domain: trust_domain.to_owned(),
        }))
    }

    async fn enroll(
        &self,
        request: Request<enrollment::EnrollRequest>,
    ) -> Result<Response<enrollment::EnrollResponse>, Status> {
        let request = request.into_inner();
        if request.token != TOKEN {
            return Err(refused(Code::PermissionDenied, "token_unknown"));
        }
        let mut seen = self.seen();
        if seen.pending > 0 {
            seen.pending -= 1;
            return Ok(Response::new(pending()));
        }
        let key = RequestedKey::of(&request.certificate_request);
        if *seen.enrolled_key.get_or_insert_with(|| key.0.clone()) != key.0 {
            return Err(refused(Code::PermissionDenied, "token_used"));
        }
        if seen.lost_answers > 0 {
            seen.lost_answers -= 1;
            return Err(Status::unavailable("the answer got lost"));
        }
        Ok(Response::new(self.approved(&mut seen, &key)))
    }

    async fn reattach(
        &self,
        request: Request<enrollment::ReattachRequest>,
    ) -> Result<Response<enrollment::EnrollResponse>, Status> {
        let request = request.into_inner();
        let (_, certificate) = X509Certificate::from_der(&request.certificate).unwrap();
        let known = certificate.public_key().subject_public_key.data.as_ref();
        let signed = [request.nonce.as_slice(), request.certificate_request.as_slice()].concat();
        let proof =
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, known).verify(&signed, &request.signature);
        if request.nonce != NONCE || proof.is_err() {
            return Err(refused(Code::PermissionDenied, "proof_wrong"));
        }
        let mut seen = self.seen();
        seen.reattachments += 1;
        if seen.pending > 0 {
            seen.pending -= 1;
            return Ok(Response::new(pending()));
        }
        let key = RequestedKey::of(&request.certificate_request);
        seen.asked_keys.push(key.0.clone());
        if seen.lost_answers > 0 {
            seen.lost_answers -= 1;
            return Err(Status::unavailable("the answer got lost"));
        }
        Ok(Response::new(self.approved(&mut seen, &key)))
    }
}

#[tonic::async_trait]
impl RenewalService for Controller {
    async fn renew(
        &self,
        request: Request<enrollment::RenewRequest>,
    ) -> Result<Response<enrollment::RenewResponse>, Status> {
        self.admit(&request)?;
        let key = RequestedKey::of(&request.into_inner().certificate_request);
        let mut seen = self.seen();
        seen.asked_keys.push(key.0.clone());
        if seen.lost_answers > 0 {
            seen.lost_answers -= 1;
            return Err(Status::unavailable("the answer got lost"));
        }
        let certificate_chain = self.county.issue_device(DEVICE, &key, seen.now_micros);
        Ok(Response::new(enrollment::RenewResponse { certificate_chain }))
    }

    async fn confirm(
        &self,
        request: Request<enrollment::ConfirmRequest>,
    ) -> Result<Response<enrollment::ConfirmResponse>, Status> {
        let key = self.admit(&request)?;
        let mut seen = self.seen();
        seen.in_force = Some(key);
        if seen.lost_answers > 0 {
            seen.lost_answers -= 1;
            return Err(Status::unavailable("the answer got lost"));
        }
        Ok(Response::new(enrollment::ConfirmResponse {}))
    }
}

impl Controller {
    /// The key of the caller's certificate: the one in force, or any that was given out since.
    pub(super) fn admit<T>(&self, request: &Request<T>) -> Result<Vec<u8>, Status> {
        let PeerCertificate(Some(peer)) = request.extensions().get().unwrap() else {
            return Err(Status::unauthenticated("no certificate"));
        };
        let (_, certificate) = X509Certificate::from_der(peer).unwrap();
        let key = certificate.public_key().subject_public_key.data.to_vec();
        let seen = self.seen();
        if seen.revoked {
            return Err(refused(Code::PermissionDenied, "revoked"));
        }
        let is_next = seen.asked_keys.last() == Some(&key);
        match &seen.in_force {
            Some(in_force) if *in_force != key && !is_next => {
                Err(refused(Code::PermissionDenied, "certificate_superseded"))
            }
            _ => Ok(key),
        }
    }

    fn approved(&self, seen: &mut Seen, key: &RequestedKey) -> enrollment::EnrollResponse {
        let agents =
            seen.agents.map_or_else(|| "county.example:7443".to_owned(), |agents| agents.to_string());
        let device = seen.sibling.unwrap_or(DEVICE);
        let approved = enrollment::Approved {
            device_id: device.into_bytes().to_vec(),
            certificate_chain: self.county.issue_device(device, key, seen.now_micros),
            agent_addresses: vec![agents],
            trust_domain: TRUST_DOMAIN.to_owned(),
            school_name: "第一小学".to_owned(),
        };
        let outcome = Some(enrollment::enroll_response::Outcome::Approved(approved));
        enrollment::EnrollResponse { outcome }
    }
}

fn pending() -> enrollment::EnrollResponse {
    let pending = enrollment::Pending { retry_after_secs: 1, reason: "known".to_owned() };
    enrollment::EnrollResponse { outcome: Some(enrollment::enroll_response::Outcome::Pending(pending)) }
}

/// The public key of a certificate request, the only thing taken from it.
struct RequestedKey(Vec<u8>);

impl RequestedKey {
    fn of(request: &[u8]) -> RequestedKey {
        use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer};
        let (_, request) = X509CertificationRequest::from_der(request).unwrap();
        RequestedKey(request.certification_request_info.subject_pki.subject_public_key.data.to_vec())
    }
}

impl rcgen::PublicKeyData for RequestedKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}
