//! Certificates that the intermediate signs.
//!
//! A certificate is built from checked fields, never copied from a request: of a request only the public key
//! is taken.

use std::{net::IpAddr, path::Path, time::Duration};

use bbt_domain::{
    identity::{TrustDomain, device_uri},
    ids::DeviceId,
    time::UtcMicros,
};
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, string::Ia5String,
};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer};

use super::{
    PkiError,
    authority::{Authority, BACKDATE, read_certificate, read_key},
    lint, proof, random, sha256, validity, write_private,
};

/// Life of a device's certificate. It is renewed from day 60 on, so that more than 100 days always remain:
/// longer than a summer.
const DEVICE_LIFE: Duration = Duration::from_secs(180 * 86_400);
/// Life of the listeners' own certificate.
const LISTENER_LIFE: Duration = Duration::from_secs(365 * 86_400);
/// It is made anew at the start when less than this is left.
const LISTENER_REST: Duration = Duration::from_secs(60 * 86_400);
/// An uncompressed point of P-256: SEC 1, 2.3.3.
const P256_POINT_BYTES: usize = 65;
/// Largest request taken: one of P-256 has some 300 bytes.
const REQUEST_BYTES: usize = 4_096;

/// Largest certificate taken from a device: ours have some 600 bytes.
pub const CERTIFICATE_BYTES: usize = 4_096;

/// The public key of a certificate request whose own signature is good.
pub struct DeviceKey {
    params: CertificateSigningRequestParams,
}

impl DeviceKey {
    /// Reads a PKCS #10 request, checks that its sender holds the key, and that the key is of P-256.
    pub fn from_request(der: &[u8]) -> Result<Self, PkiError> {
        if der.len() > REQUEST_BYTES {
            return Err(PkiError::Request(format!(
                "it has {} bytes, {REQUEST_BYTES} are the most",
                der.len()
            )));
        }
        let request = CertificateSigningRequestDer::from(der.to_vec());
        let params = CertificateSigningRequestParams::from_der(&request)
            .map_err(|error| PkiError::Request(error.to_string()))?;
        // The library tells the kind of key by that of the signature, and reads no further than the request's end.
        let (rest, read) =
            X509CertificationRequest::from_der(der).map_err(|error| PkiError::Request(error.to_string()))?;
        let asked = read.certification_request_info.subject_pki.raw;
        let is_p256 = params.public_key.algorithm() == &rcgen::PKCS_ECDSA_P256_SHA256
            && params.public_key.der_bytes().len() == P256_POINT_BYTES
            && params.public_key.subject_public_key_info() == asked;
        if !is_p256 {
            return Err(PkiError::Request("its key is not ECDSA P-256".to_owned()));
        }
        if !rest.is_empty() {
            return Err(PkiError::Request(format!("{} bytes follow it", rest.len())));
        }
        Ok(Self { params })
    }

    /// What the key is known by.
    pub fn sha256(&self) -> [u8; 32] {
        sha256(&self.params.public_key.subject_public_key_info())
    }
}

/// From when until when a device's certificate made `now` is good: never longer than what signs it.
pub fn device_validity(authority: &Authority, now: UtcMicros) -> (UtcMicros, UtcMicros) {
    (now.minus(BACKDATE), now.plus(DEVICE_LIFE).min(authority.until()))
}

/// A positive serial of 128 bits: RFC 5280 4.1.2.2.
pub fn serial() -> Result<[u8; 16], PkiError> {
    let mut serial: [u8; 16] = random()?;
    serial[0] = (serial[0] & 0x7f) | 0x40;
    Ok(serial)
}

/// Signs a device's certificate; the caller has recorded `serial` before.
pub fn device_certificate(
    authority: &Authority,
    domain: &TrustDomain,
    device: DeviceId,
    key: &DeviceKey,
    serial: &[u8; 16],
    (not_before, not_after): (UtcMicros, UtcMicros),
) -> Result<CertificateDer<'static>, PkiError> {
    let (common_name, uri) = (device.to_string(), device_uri(domain, device));
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name.as_str());
    params.serial_number = Some(SerialNumber::from_slice(serial));
    params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(uri.as_str())?)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    validity(&mut params, not_before, not_after);
    let public_key = key.params.public_key.subject_public_key_info();
    let expected = lint::Expected {
        serial,
        issuer: authority.intermediate(),
        not_before_secs: not_before.as_secs(),
        not_after_secs: not_after.as_secs(),
        common_name: &common_name,
        uri: &uri,
        public_key: &public_key,
    };
    let made = authority.sign(&params, &key.params.public_key, |der| lint::device(der, &expected))?;
    Ok(made.der().clone())
}

/// The listeners' key and chain.
pub struct Listener {
    /// Leaf, intermediate, root.
    pub chain: Vec<CertificateDer<'static>>,
    /// Of the leaf, PKCS #8.
    pub key: PrivateKeyDer<'static>,
}

/// The listeners' certificate: kept in `folder` from start to start while it fits `names` and has time left.
pub fn listener(
    authority: &Authority,
    folder: &Path,
    names: &[String],
    now: UtcMicros,
) -> Result<Listener, PkiError> {
    let (certificate, key) = (folder.join("listener.crt"), folder.join("listener.key"));
    let sans = subject_names(names)?;
    if certificate.exists() && key.exists() {
        let kept = read_certificate(&certificate)?;
        let pair = read_key(&key)?;
        if fits(&kept, authority, &sans, &pair, now) {
            return Ok(bundle(authority, kept, &pair));
        }
    }
    let pair = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "bbt-controller");
    params.serial_number = Some(SerialNumber::from_slice(&random::<16>()?));
    params.subject_alt_names = sans;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    validity(&mut params, now.minus(BACKDATE), now.plus(LISTENER_LIFE));
    let made = authority.sign(&params, &pair, |_| Ok(()))?;
    // The key first: a certificate without its key is made anew at the next start.
    write_private(&key, pair.serialize_pem().as_bytes(), "listener key")?;
    write_private(&certificate, made.pem().as_bytes(), "listener certificate")?;
    Ok(bundle(authority, made.der().clone(), &pair))
}

fn bundle(authority: &Authority, leaf: CertificateDer<'static>, pair: &KeyPair) -> Listener {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
    Listener { chain: authority.chain(leaf), key }
}

/// Whether a kept certificate is the right one for these names, this key and this date.
fn fits(
    kept: &CertificateDer<'_>,
    authority: &Authority,
    sans: &[SanType],
    pair: &KeyPair,
    now: UtcMicros,
) -> bool {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(kept) else { return false };
    proof::is_signed_by(kept, authority.intermediate())
        && parsed.validity().not_before.timestamp() <= now.as_secs()
        && parsed.validity().not_after.timestamp() > now.plus(LISTENER_REST).as_secs()
        && parsed.public_key().raw == pair.subject_public_key_info()
        && names_of(&parsed) == sans
}

/// The host names and addresses of a certificate, in its order.
fn names_of(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Vec<SanType> {
    use x509_parser::extensions::GeneralName;
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = extension.value.general_names.iter();
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Ia5String::try_from(*name).ok().map(SanType::DnsName),
            GeneralName::IPAddress(bytes) => match bytes.len() {
                4 => <[u8; 4]>::try_from(*bytes).ok().map(|octets| SanType::IpAddress(octets.into())),
                _ => <[u8; 16]>::try_from(*bytes).ok().map(|octets| SanType::IpAddress(octets.into())),
            },
            _ => None,
        })
        .collect()
}

/// Host names and addresses as subject alternative names; this machine itself is always among them.
fn subject_names(names: &[String]) -> Result<Vec<SanType>, PkiError> {
    let mut sans = Vec::new();
    for name in names.iter().map(String::as_str).chain(["localhost", "127.0.0.1", "::1"]) {
        let san = match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) if is_host_name(name) => SanType::DnsName(Ia5String::try_from(name)?),
            Err(_) => return Err(PkiError::Name(name.to_owned())),
        };
        if !sans.contains(&san) {
            sans.push(san);
        }
    }
    Ok(sans)
}

/// RFC 1123 2.1: labels of letters, digits and inner hyphens, at most 63 each and 253 together.
pub fn is_host_name(name: &str) -> bool {
    (1..=253).contains(&name.len())
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}
