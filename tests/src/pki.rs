//! Certificates that a county must not accept, or only from the right holder.

use std::time::Duration;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use uuid::Uuid;

use crate::wait::since_1970;

const HOUR: Duration = Duration::from_secs(3_600);
/// As long as the certificates of a county's devices.
const HALF_YEAR: Duration = Duration::from_secs(180 * 86_400);

/// What a device shows at the agents' port.
#[derive(Debug)]
pub struct Credentials {
    /// Device certificate first, then its issuers.
    pub chain: Vec<CertificateDer<'static>>,
    /// The device's key.
    pub key: PrivateKeyDer<'static>,
}

impl Credentials {
    /// The same once more, for another who shows them.
    pub fn copy(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

/// When a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// From an hour ago on, for half a year.
    Current,
    /// It ended half a year ago.
    Expired,
    /// It begins in half a year.
    NotYet,
}

/// What a certificate says of its holder.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Subject alternative names.
    pub names: Vec<SanType>,
    /// When it is good.
    pub validity: Validity,
    /// What it is good for.
    pub usage: ExtendedKeyUsagePurpose,
}

impl Leaf {
    /// What a county writes for its device `id`.
    pub fn device(trust_domain: &str, id: Uuid) -> Result<Self> {
        Self::named(&[&format!("spiffe://{trust_domain}/device/{id}")])
    }

    /// The same with these URIs, whatever they are.
    pub fn named(uris: &[&str]) -> Result<Self> {
        let san =
            |uri: &&str| Ok(SanType::URI((*uri).try_into().with_context(|| format!("{uri} as a URI"))?));
        let names = uris.iter().map(san).collect::<Result<_>>()?;
        Ok(Self { names, validity: Validity::Current, usage: ExtendedKeyUsagePurpose::ClientAuth })
    }

    fn params(self) -> CertificateParams {
        let mut params = params("bbt device", self.validity);
        params.subject_alt_names = self.names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![self.usage];
        params.use_authority_key_identifier_extension = true;
        params
    }

    /// A certificate that its holder signed, with its key.
    pub fn self_signed(self) -> Result<Credentials> {
        let key = KeyPair::generate().context("making a key")?;
        let leaf = self.params().self_signed(&key).context("signing one's own certificate")?;
        Ok(credentials(vec![leaf.der().clone()], &key))
    }
}

fn credentials(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Credentials {
    Credentials { chain, key: PrivatePkcs8KeyDer::from(key.serialize_der()).into() }
}

/// Somebody who issues device certificates.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    /// Another county: a root that ours has never heard of, with the same words in its certificates.
    pub fn foreign() -> Result<Self> {
        let key = KeyPair::generate().context("making a key")?;
        let mut params = params("bbt county root", Validity::Current);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).context("signing a root")?.der().clone();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// The holder of a county's own issuing key, who can make what the county would never issue.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self> {
        let parse = || KeyPair::from_pem(key);
        let issuer = Issuer::from_ca_cert_pem(certificate, parse().context("reading an issuer's key")?)
            .context("reading an issuer's certificate")?;
        let der = rustls_pki_types::pem::PemObject::from_pem_slice(certificate.as_bytes());
        Ok(Self { issuer, certificate: der.context("reading an issuer's certificate")? })
    }

    /// Its own certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// A certificate for the device `id` of the county `trust_domain`, with its key.
    pub fn device(&self, trust_domain: &str, id: Uuid, validity: Validity) -> Result<Credentials> {
        self.issue(Leaf { validity, ..Leaf::device(trust_domain, id)? })
    }

    /// A certificate that says what `leaf` says, with its key.
    pub fn issue(&self, leaf: Leaf) -> Result<Credentials> {
        let key = KeyPair::generate().context("making a key")?;
        let leaf = leaf.params().signed_by(&key, &self.issuer).context("signing a device certificate")?;
        Ok(credentials(vec![leaf.der().clone(), self.certificate.clone()], &key))
    }
}

fn params(common_name: &str, validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let now = date_time_ymd(1970, 1, 1) + since_1970().unwrap_or_default();
    (params.not_before, params.not_after) = match validity {
        Validity::Current => (now - HOUR, now + HALF_YEAR),
        Validity::Expired => (now - 2 * HALF_YEAR, now - HALF_YEAR),
        Validity::NotYet => (now + HALF_YEAR, now + 2 * HALF_YEAR),
    };
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_read_from_pem_issues_under_the_same_certificate() {
        let key = KeyPair::generate().unwrap();
        let mut params = params("issuer", Validity::Current);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();

        let authority = Authority::from_pem(&certificate.pem(), &key.serialize_pem()).unwrap();
        let device = authority.device("0123.bbt", Uuid::nil(), Validity::Expired).unwrap();

        assert_eq!(authority.certificate(), certificate.der());
        assert_eq!(device.chain.last(), Some(certificate.der()));
    }
}
