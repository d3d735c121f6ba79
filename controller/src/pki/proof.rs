//! Whether somebody holds the key of a certificate.

use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls_pki_types::CertificateDer;

use super::sha256;

/// SHA-256 of the public key of `certificate` (its SubjectPublicKeyInfo), if `signature` over `said` is by it. The
/// certificate itself is not judged here.
pub fn key_that_signed(certificate: &CertificateDer<'_>, said: &[u8], signature: &[u8]) -> Option<[u8; 32]> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let key = parsed.public_key();
    let point = key.subject_public_key.data.as_ref();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(said, signature).ok()?;
    Some(sha256(key.raw))
}
