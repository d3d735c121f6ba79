//! Certificates in a form that a county never issues, though its key may have signed them.
//!
//! The library that verifies chains asks what the Web asks: it looks at no key usage, takes any key and any span
//! of time. Ours are all of one form, so whatever differs was not made here, or was made by somebody who has our
//! issuing key and not our program. Sizes are looked at before anything is parsed.

use std::{sync::Arc, time::Duration};

use rustls::{CertificateError, Error, OtherError};
use rustls_pki_types::CertificateDer;
use x509_parser::{
    certificate::X509Certificate,
    oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY},
    x509::X509Version,
};

use crate::pki::lint::is_for_clients_alone;

/// A device's certificate, what signed it, the root, and one more while an issuing certificate is replaced.
const CHAIN: usize = 4;
/// Largest certificate looked at; ours have some five hundred bytes.
const CERTIFICATE_BYTES: usize = 4 << 10;
/// Longest life of a device's certificate, with room for a county that decides otherwise than we do now.
const LONGEST_LIFE: Duration = Duration::from_secs(400 * 86_400);
/// Longest serial: RFC 5280 4.1.2.2.
const SERIAL_BYTES: usize = 20;

/// What is wrong with the form of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error("the chain has more than {CHAIN} certificates")]
    LongChain,
    #[error("a certificate of the chain has more than {CERTIFICATE_BYTES} bytes")]
    Large,
    #[error("the certificate cannot be read to its end")]
    Unreadable,
    #[error("the certificate is not of version 3")]
    Version,
    #[error("the certificate's serial is not a positive number of at most {SERIAL_BYTES} bytes")]
    Serial,
    #[error("the certificate is of an authority")]
    Authority,
    #[error("the certificate's key is not ECDSA P-256")]
    Key,
    #[error("the certificate's key is not for signatures alone")]
    KeyUsage,
    #[error("the certificate is not for clients alone")]
    ExtendedKeyUsage,
    #[error("the certificate is good for longer than a year")]
    Life,
}

impl Unfit {
    /// The one behind an error of rustls, if it is one.
    pub(super) fn of(error: &CertificateError) -> Option<Self> {
        let CertificateError::Other(OtherError(error)) = error else { return None };
        error.downcast_ref().copied()
    }
}

impl From<Unfit> for Error {
    fn from(unfit: Unfit) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(unfit))))
    }
}

/// Before anything of it is read.
pub(super) fn check_sizes(leaf: &[u8], above: &[CertificateDer<'_>]) -> Result<(), Unfit> {
    if above.len() >= CHAIN {
        return Err(Unfit::LongChain);
    }
    let large = |certificate: &[u8]| certificate.len() > CERTIFICATE_BYTES;
    if large(leaf) || above.iter().any(|certificate| large(certificate)) {
        return Err(Unfit::Large);
    }
    Ok(())
}

/// All of `der`, and nothing behind it.
pub(super) fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Unfit> {
    match x509_parser::parse_x509_certificate(der) {
        Ok(([], parsed)) => Ok(parsed),
        _ => Err(Unfit::Unreadable),
    }
}

/// Whether it looks like those that [`crate::pki::issue`] makes.
pub(super) fn check_form(certificate: &X509Certificate<'_>) -> Result<(), Unfit> {
    let serial = certificate.raw_serial();
    let positive =
        serial.first().is_some_and(|first| first & 0x80 == 0) && serial.iter().any(|byte| *byte != 0);
    let algorithm = &certificate.public_key().algorithm;
    let curve = algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
    let validity = certificate.validity();
    let life = validity.not_after.timestamp() - validity.not_before.timestamp();
    let fits = [
        (certificate.version() == X509Version::V3, Unfit::Version),
        (positive && serial.len() <= SERIAL_BYTES, Unfit::Serial),
        (!certificate.is_ca(), Unfit::Authority),
        (algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY && curve == Some(OID_EC_P256), Unfit::Key),
        (is_for_signatures(certificate), Unfit::KeyUsage),
        (is_for_clients(certificate), Unfit::ExtendedKeyUsage),
        ((0..=LONGEST_LIFE.as_secs() as i64).contains(&life), Unfit::Life),
    ];
    fits.into_iter().find(|(fits, _)| !fits).map_or(Ok(()), |(_, unfit)| Err(unfit))
}

fn is_for_signatures(certificate: &X509Certificate<'_>) -> bool {
    let Ok(Some(usage)) = certificate.key_usage() else { return false };
    // The first bit is digitalSignature.
    usage.value.flags == 1
}

fn is_for_clients(certificate: &X509Certificate<'_>) -> bool {
    let Ok(Some(usage)) = certificate.extended_key_usage() else { return false };
    is_for_clients_alone(usage.value)
}
