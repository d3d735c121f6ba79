//! Whose key signed something.

use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;

use super::sha256;

/// SHA-256 of the public key of `certificate` (its SubjectPublicKeyInfo), if `signature` over `said` is by it. The
/// certificate itself is not judged here.
pub fn key_that_signed(certificate: &CertificateDer<'_>, said: &[u8], signature: &[u8]) -> Option<[u8; 32]> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    signed(&parsed, said, signature).then(|| sha256(parsed.public_key().raw))
}

/// Whether the key of `issuer` signed `certificate`; nothing else is asked of either.
pub fn is_signed_by(certificate: &CertificateDer<'_>, issuer: &CertificateDer<'_>) -> bool {
    let (Ok((_, parsed)), Ok((_, issuer))) =
        (x509_parser::parse_x509_certificate(certificate), x509_parser::parse_x509_certificate(issuer))
    else {
        return false;
    };
    signed(&issuer, parsed.tbs_certificate.as_ref(), &parsed.signature_value.data)
}

fn signed(holder: &X509Certificate<'_>, said: &[u8], signature: &[u8]) -> bool {
    let point = holder.public_key().subject_public_key.data.as_ref();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(said, signature).is_ok()
}
