//! Certificates written by hand, byte by byte: what no library would make.
//!
//! A [`Form`] holds the fields of a certificate as DER, each of which a test may replace by anything; whoever signs
//! it signs just that.

use anyhow::{Context, Result, anyhow};
use bbt_domain::time::UtcMicros;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};

/// id-ce-basicConstraints.
pub const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
/// id-ce-keyUsage.
pub const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
/// id-ce-extKeyUsage.
pub const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
/// id-ce-subjectAltName.
pub const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// id-ce-nameConstraints.
pub const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x1e];
/// id-kp-clientAuth.
pub const CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
/// id-kp-serverAuth.
pub const SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
/// ecdsa-with-SHA256.
pub const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];

/// Tag, length, value.
pub fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut der = vec![tag];
    match value.len() {
        short @ 0..128 => der.push(short as u8),
        long => {
            let bytes = long.to_be_bytes();
            let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
            der.push(0x80 | bytes.len() as u8);
            der.extend(bytes);
        }
    }
    der.extend(value);
    der
}

/// SEQUENCE of these.
pub fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

/// AlgorithmIdentifier: an object identifier and, where there are any, its parameters.
pub fn algorithm(oid: &[u8], parameters: &[u8]) -> Vec<u8> {
    sequence(&[&tlv(6, oid), parameters])
}

/// SubjectPublicKeyInfo.
pub fn public_key(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    sequence(&[algorithm, &bits(key, 0)])
}

/// BIT STRING whose last `unused` bits do not count.
pub fn bits(bytes: &[u8], unused: u8) -> Vec<u8> {
    tlv(3, &[&[unused], bytes].concat())
}

/// Name of one common name.
pub fn common_name(name: &str) -> Vec<u8> {
    sequence(&[&tlv(0x31, &sequence(&[&tlv(6, &[0x55, 4, 3]), &tlv(12, name.as_bytes())]))])
}

/// Validity from one second to another.
pub fn validity(from: UtcMicros, until: UtcMicros) -> Vec<u8> {
    let time = |at: UtcMicros| {
        let digits: String = at.to_string().chars().filter(char::is_ascii_digit).take(14).collect();
        // UTCTime up to 2049: RFC 5280 4.1.2.5.
        match digits.as_str() {
            early if early < "2050" => tlv(0x17, format!("{}Z", &early[2..]).as_bytes()),
            late => tlv(0x18, format!("{late}Z").as_bytes()),
        }
    };
    sequence(&[&time(from), &time(until)])
}

/// An extension.
#[derive(Clone, Debug)]
pub struct Extension {
    /// Its object identifier.
    pub oid: &'static [u8],
    /// Whether it must be understood.
    pub critical: bool,
    /// Its value's DER.
    pub value: Vec<u8>,
}

impl Extension {
    fn der(&self) -> Vec<u8> {
        let critical = if self.critical { tlv(1, &[0xff]) } else { Vec::new() };
        sequence(&[&tlv(6, self.oid), &critical, &tlv(4, &self.value)])
    }
}

/// subjectAltName of these names, each a tag (6 URI, 2 DNS, 1 e-mail, 7 address) and its bytes.
pub fn names(names: &[(u8, &[u8])]) -> Extension {
    let names: Vec<_> = names.iter().map(|(kind, name)| tlv(0x80 | kind, name)).collect();
    Extension { oid: SUBJECT_ALT_NAME, critical: false, value: tlv(0x30, &names.concat()) }
}

/// extKeyUsage of these purposes.
pub fn purposes(purposes: &[&[u8]]) -> Extension {
    let purposes: Vec<_> = purposes.iter().map(|oid| tlv(6, oid)).collect();
    Extension { oid: EXTENDED_KEY_USAGE, critical: false, value: tlv(0x30, &purposes.concat()) }
}

/// keyUsage by its first byte; 0x80 is digitalSignature, 0x04 keyCertSign.
pub fn usage(flags: u8) -> Extension {
    Extension { oid: KEY_USAGE, critical: true, value: bits(&[flags], flags.trailing_zeros() as u8) }
}

/// basicConstraints of an authority, with at most so many below.
pub fn authority(below: Option<u8>) -> Extension {
    let below = below.map(|below| tlv(2, &[below])).unwrap_or_default();
    Extension { oid: BASIC_CONSTRAINTS, critical: true, value: sequence(&[&tlv(1, &[0xff]), &below]) }
}

/// The fields of a certificate, each whole as DER.
#[derive(Clone, Debug)]
pub struct Form {
    /// `[0]` around the number; nothing for version 1.
    pub version: Vec<u8>,
    /// INTEGER.
    pub serial: Vec<u8>,
    /// As the signed part names it.
    pub algorithm: Vec<u8>,
    /// Name.
    pub issuer: Vec<u8>,
    /// Validity.
    pub validity: Vec<u8>,
    /// Name.
    pub subject: Vec<u8>,
    /// SubjectPublicKeyInfo.
    pub key: Vec<u8>,
    /// In their order.
    pub extensions: Vec<Extension>,
    /// Behind all fields.
    pub rest: Vec<u8>,
    /// As the signature names it.
    pub outer_algorithm: Vec<u8>,
}

impl Form {
    /// What a county issues for the device of `uri` with the key `key`.
    pub fn device(issuer: &Signer, uri: &str, key: &Signer, now: UtcMicros) -> Self {
        let hour = std::time::Duration::from_secs(3_600);
        let algorithm = algorithm(ECDSA_SHA256, &[]);
        Self {
            version: tlv(0xa0, &tlv(2, &[2])),
            serial: tlv(2, &[0x51; 16]),
            algorithm: algorithm.clone(),
            issuer: issuer.name.clone(),
            validity: validity(now.minus(hour), now.plus(180 * 24 * hour)),
            subject: common_name("bbt device"),
            key: key.public_key(),
            extensions: vec![names(&[(6, uri.as_bytes())]), usage(0x80), purposes(&[CLIENT_AUTH])],
            rest: Vec::new(),
            outer_algorithm: algorithm,
        }
    }

    /// The same with this extension in the place of the one of its kind, or behind the others.
    pub fn with(mut self, extension: Extension) -> Self {
        match self.extensions.iter_mut().find(|known| known.oid == extension.oid) {
            Some(known) => *known = extension,
            None => self.extensions.push(extension),
        }
        self
    }

    /// The same without this extension.
    pub fn without(mut self, oid: &[u8]) -> Self {
        self.extensions.retain(|extension| extension.oid != oid);
        self
    }

    /// The certificate.
    pub fn signed_by(&self, signer: &Signer) -> Result<Vec<u8>> {
        let signed = self.signed_part();
        Ok(self.with_signature(&signer.sign(&signed)?))
    }

    /// The certificate under any bytes as its signature.
    pub fn with_signature(&self, signature: &[u8]) -> Vec<u8> {
        sequence(&[&self.signed_part(), &self.outer_algorithm, &bits(signature, 0)])
    }

    fn signed_part(&self) -> Vec<u8> {
        let extensions: Vec<_> = self.extensions.iter().map(Extension::der).collect();
        let extensions = match extensions.as_slice() {
            [] => Vec::new(),
            some => tlv(0xa3, &tlv(0x30, &some.concat())),
        };
        sequence(&[
            &self.version,
            &self.serial,
            &self.algorithm,
            &self.issuer,
            &self.validity,
            &self.subject,
            &self.key,
            &extensions,
            &self.rest,
        ])
    }
}

/// A P-256 key under a name.
#[derive(Debug)]
pub struct Signer {
    /// The name that it signs as.
    pub name: Vec<u8>,
    key: EcdsaKeyPair,
    pkcs8: Vec<u8>,
}

impl Signer {
    /// A new key.
    pub fn new(name: Vec<u8>) -> Result<Self> {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)
            .map_err(|_| anyhow!("making a key"))?;
        Self::from_pkcs8(name, pkcs8.as_ref())
    }

    /// The key of a file that somebody stole.
    pub fn from_pem(name: Vec<u8>, pem: &str) -> Result<Self> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).context("reading a stolen key")?;
        Self::from_pkcs8(name, key.secret_pkcs8_der())
    }

    fn from_pkcs8(name: Vec<u8>, pkcs8: &[u8]) -> Result<Self> {
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8, &SystemRandom::new())
            .map_err(|error| anyhow!("reading a key: {error}"))?;
        Ok(Self { name, key, pkcs8: pkcs8.to_vec() })
    }

    /// SubjectPublicKeyInfo.
    pub fn public_key(&self) -> Vec<u8> {
        const EC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
        const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
        public_key(&algorithm(EC_KEY, &tlv(6, P256)), self.key.public_key().as_ref())
    }

    /// For a handshake.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.pkcs8.clone()).into()
    }

    fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        let signature = self.key.sign(&SystemRandom::new(), bytes).map_err(|_| anyhow!("signing"))?;
        Ok(signature.as_ref().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_as_it_comes_is_a_certificate_that_others_read() {
        let issuer = Signer::new(common_name("issuer")).unwrap();
        let device = Signer::new(common_name("device")).unwrap();
        let now: UtcMicros = "2026-09-18T00:30:00Z".parse().unwrap();
        let der = Form::device(&issuer, "spiffe://x/device/1", &device, now).signed_by(&issuer).unwrap();
        let (rest, read) = x509_parser::parse_x509_certificate(&der).unwrap();
        assert!(rest.is_empty());
        assert_eq!(read.validity().not_before.to_string(), "Sep 17 23:30:00 2026 +00:00");
        assert_eq!(read.subject_alternative_name().unwrap().unwrap().value.general_names.len(), 1);
        assert_eq!(read.public_key().raw, device.public_key());
        assert_eq!(tlv(4, &[7; 300])[..4], [4, 0x82, 1, 44]);
    }
}
