//! Asking for a certificate, and looking at what was given, whichever way it was asked for.

use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use uuid::Uuid;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{
    keystore,
    trust::{Fingerprint, fingerprint},
};
use crate::uplink::address::Address;

/// Our own cryptography refused, which is no news about anybody.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a certificate request: {0}")]
pub struct RequestError(#[from] rcgen::Error);

/// PKCS #10 for this key.
pub(super) fn request(key: &KeyPair) -> Result<Vec<u8>, RequestError> {
    let mut params = CertificateParams::default();
    // Only the public key is taken from it; a name would only be ignored.
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(key)?.der().to_vec())
}

/// What a certificate of ours must be.
#[derive(Debug)]
pub(super) struct Expected<'a> {
    pub(super) root: Fingerprint,
    pub(super) trust_domain: &'a str,
    pub(super) device_id: Uuid,
    pub(super) public_key: &'a [u8],
}

impl Expected<'_> {
    /// Sees that the chain is about us and of our county; else says what the controller did.
    pub(super) fn check(&self, chain: &[Vec<u8>]) -> Result<(), &'static str> {
        let [own, _, .., root] = chain else {
            return Err("gave a certificate chain that is too short");
        };
        if fingerprint(root) != self.root {
            return Err("gave a certificate chain that does not end at the pinned root");
        }
        let (_, certificate) =
            X509Certificate::from_der(own).map_err(|_| "gave a device certificate that is not readable")?;
        if certificate.public_key().subject_public_key.data.as_ref() != self.public_key {
            return Err("gave a device certificate for another key");
        }
        if keystore::device_uri(&certificate) != Some((self.trust_domain.to_owned(), self.device_id)) {
            return Err("gave a device certificate that does not carry the device's name");
        }
        Ok(())
    }
}

/// Where to report, as the controller says it.
pub(super) fn addresses(texts: &[String]) -> Result<Vec<Address>, &'static str> {
    let addresses = texts.iter().map(|text| text.parse()).collect::<Result<Vec<Address>, _>>();
    match addresses {
        Ok(addresses) if !addresses.is_empty() => Ok(addresses),
        Ok(_) => Err("gave no address to report to"),
        Err(_) => Err("gave an agent address that is not of the form HOST:PORT"),
    }
}
