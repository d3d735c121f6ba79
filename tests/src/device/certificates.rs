//! What a device does about its certificate, call by call.

use anyhow::{Context, Result, bail};
use bbt_proto::{
    PROTOCOL_REVISION,
    enrollment::v1::{
        ConfirmRequest, ReattachRequest, RenewRequest, enroll_response::Outcome,
        renewal_service_client::RenewalServiceClient,
    },
};
use rcgen::{CertificateParams, KeyPair, SigningKey};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tonic::Status;
use uuid::Uuid;

use super::{Applicant, Device, wait};
use crate::{county::County, pki::Credentials};

impl Device {
    /// Asks for a certificate of a new key; the same device with it, or the controller's word when it refuses.
    pub fn renew(&self) -> Result<Result<Device, Status>> {
        let key = KeyPair::generate().context("making a key")?;
        let certificate_request = request_of(&key)?;
        let mut client = RenewalServiceClient::new(self.channel()?);
        let renewed = wait("an answer to Renew", client.renew(RenewRequest { certificate_request }))?;
        Ok(renewed.map(|answer| self.with(&key, answer.into_inner().certificate_chain)))
    }

    /// Says that the certificate which it shows is the one it goes on with.
    pub fn confirm(&self) -> Result<Result<(), Status>> {
        let mut client = RenewalServiceClient::new(self.channel()?);
        Ok(wait("an answer to Confirm", client.confirm(ConfirmRequest {}))?.map(drop))
    }

    /// Proves its key on the enrolment port and asks for a certificate of a new one.
    pub fn reattach(&self, county: &County) -> Result<Result<Device, Status>> {
        let mut applicant = Applicant::new(county, self.from)?;
        let nonce = applicant.hello(Uuid::new_v4().as_bytes())?.nonce;
        let key = KeyPair::generate().context("making a key")?;
        let certificate_request = request_of(&key)?;
        let Credentials { chain, key: old } = self.credentials.as_ref().context("a device with a key")?;
        let old = KeyPair::try_from(old).context("reading a device's key")?;
        let said = [nonce.as_slice(), &certificate_request].concat();
        let request = ReattachRequest {
            protocol_revision: PROTOCOL_REVISION,
            nonce,
            certificate_request,
            certificate: chain[0].to_vec(),
            signature: old.sign(&said).context("proving a key")?,
            ..ReattachRequest::default()
        };
        let outcome = match wait("an answer to Reattach", applicant.client.reattach(request))? {
            Ok(answer) => answer.into_inner().outcome,
            Err(status) => return Ok(Err(status)),
        };
        match outcome {
            Some(Outcome::Approved(approved)) => Ok(Ok(self.with(&key, approved.certificate_chain))),
            other => bail!("instead of an approval came {other:?}"),
        }
    }

    /// The certificate that it shows.
    pub fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.credentials.as_ref()?.chain.first()
    }

    /// The certificate that the agents' port shows to a new connection.
    pub fn shown_by_the_controller(&self) -> Result<CertificateDer<'static>> {
        let stream = wait("a handshake", self.connect())??;
        let chain = stream.get_ref().1.peer_certificates();
        chain.and_then(|chain| chain.first()).cloned().context("a controller without a certificate")
    }

    fn with(&self, key: &KeyPair, chain: Vec<Vec<u8>>) -> Device {
        let chain = chain.into_iter().map(CertificateDer::from).collect();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let credentials = Some(Credentials { chain, key });
        Device { credentials, root: self.root.clone(), ..*self }
    }
}

fn request_of(key: &KeyPair) -> Result<Vec<u8>> {
    let request = CertificateParams::default().serialize_request(key).context("asking for a certificate")?;
    Ok(request.der().to_vec())
}
