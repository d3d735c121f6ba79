//! A last look at a device's certificate before it is signed: the bytes themselves are held against what was
//! recorded, so that a mistake of ours, or of the library that writes them, is never signed.

use x509_parser::{
    certificate::{TbsCertificate, Validity},
    extensions::{ExtendedKeyUsage, GeneralName, ParsedExtension},
    oid_registry::OID_SIG_ECDSA_WITH_SHA256,
    prelude::FromDer,
    x509::X509Version,
};

/// Bit 0 of KeyUsage, RFC 5280 4.2.1.3.
const DIGITAL_SIGNATURE: u16 = 1;

/// What was recorded, and so must stand in the certificate.
#[derive(Debug)]
pub(super) struct Expected<'a> {
    pub(super) serial: &'a [u8; 16],
    /// DER of the intermediate that signs.
    pub(super) issuer: &'a [u8],
    /// Whole seconds since 1970.
    pub(super) not_before_secs: i64,
    pub(super) not_after_secs: i64,
    pub(super) common_name: &'a str,
    pub(super) uri: &'a str,
    /// DER of the SubjectPublicKeyInfo.
    pub(super) public_key: &'a [u8],
}

/// What is wrong with the `TBSCertificate` in `der`, if anything.
pub(super) fn device(der: &[u8], expected: &Expected<'_>) -> Result<(), String> {
    let (rest, made) = TbsCertificate::from_der(der).map_err(|error| format!("unreadable: {error}"))?;
    let (_, issuer) = x509_parser::parse_x509_certificate(expected.issuer)
        .map_err(|error| format!("unreadable issuer: {error}"))?;
    let mut names = made.subject().iter_common_name();
    let name = names.next().and_then(|name| name.as_str().ok());
    for (part, is_right) in [
        ("length", rest.is_empty()),
        ("version", made.version == X509Version::V3),
        ("serial", made.raw_serial() == expected.serial),
        ("algorithm", made.signature.algorithm == OID_SIG_ECDSA_WITH_SHA256),
        ("issuer", made.issuer().as_raw() == issuer.subject().as_raw()),
        ("validity", secs(made.validity()) == (expected.not_before_secs, expected.not_after_secs)),
        ("subject", made.subject().iter_attributes().count() == 1 && name == Some(expected.common_name)),
        ("public key", made.subject_pki.raw == expected.public_key),
    ] {
        if !is_right {
            return Err(format!("its {part} is not what was recorded"));
        }
    }
    extensions(&made, &issuer, expected)
}

/// Each of the four extensions once, as it must be, and no other.
fn extensions(
    made: &TbsCertificate<'_>,
    issuer: &TbsCertificate<'_>,
    expected: &Expected<'_>,
) -> Result<(), String> {
    let issuers_key = issuer.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(key) => Some(key),
        _ => None,
    });
    let mut seen = [false; 4];
    for extension in made.extensions() {
        let (place, is_right) = match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => {
                (0, matches!(names.general_names.as_slice(), [GeneralName::URI(uri)] if *uri == expected.uri))
            }
            ParsedExtension::KeyUsage(usage) => (1, usage.flags == DIGITAL_SIGNATURE && extension.critical),
            ParsedExtension::ExtendedKeyUsage(usage) => (2, is_for_clients_alone(usage)),
            ParsedExtension::AuthorityKeyIdentifier(key) => {
                (3, key.key_identifier.is_some() && key.key_identifier.as_ref() == issuers_key)
            }
            _ => return Err(format!("it has an extension {} that nobody asked for", extension.oid)),
        };
        if !is_right || seen[place] {
            return Err(format!("its extension {} is not what it must be", extension.oid));
        }
        seen[place] = true;
    }
    if seen == [true; 4] { Ok(()) } else { Err("it lacks an extension".to_owned()) }
}

/// Whether a certificate is for those who connect, and for nothing else.
pub(crate) fn is_for_clients_alone(usage: &ExtendedKeyUsage<'_>) -> bool {
    let others = usage.any
        || usage.server_auth
        || usage.code_signing
        || usage.email_protection
        || usage.time_stamping
        || usage.ocsp_signing
        || !usage.other.is_empty();
    usage.client_auth && !others
}

fn secs(validity: &Validity) -> (i64, i64) {
    (validity.not_before.timestamp(), validity.not_after.timestamp())
}

#[cfg(test)]
mod tests {
    use bbt_domain::time::UtcMicros;
    use rcgen::{
        BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
        KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
    };

    use super::*;
    use crate::pki::{
        PkiError,
        authority::{Authority, default_root_key},
        validity,
    };

    const NOW: UtcMicros = UtcMicros::from_const(1_790_000_000_000_000);
    const LATER: UtcMicros = UtcMicros::from_const(1_791_000_000_000_000);
    const SERIAL: [u8; 16] = [0x41; 16];
    const NAME: &str = "07070707-0707-0707-0707-070707070707";
    const URI: &str = "spiffe://00.bbt/device/07070707-0707-0707-0707-070707070707";

    type Change = fn(&mut CertificateParams);

    fn recorded() -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, NAME);
        params.serial_number = Some(SerialNumber::from_slice(&SERIAL));
        params.subject_alt_names = vec![SanType::URI(URI.try_into().unwrap())];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        validity(&mut params, NOW, LATER);
        params
    }

    /// What the authority says when asked to sign `params` of `key`, having recorded those of `recorded_key`.
    fn signed(params: &CertificateParams, key: &KeyPair, recorded_key: &KeyPair) -> Result<(), PkiError> {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path();
        let authority = Authority::create(home, &default_root_key(home), "梁河县", NOW).unwrap();
        let expected = Expected {
            serial: &SERIAL,
            issuer: authority.intermediate(),
            not_before_secs: NOW.as_secs(),
            not_after_secs: LATER.as_secs(),
            common_name: NAME,
            uri: URI,
            public_key: &recorded_key.subject_public_key_info(),
        };
        authority.sign(params, key, |der| device(der, &expected)).map(drop)
    }

    #[test]
    fn what_was_recorded_is_signed_and_whatever_differs_is_not() {
        let key = KeyPair::generate().unwrap();
        signed(&recorded(), &key, &key).unwrap();
        let other = KeyPair::generate().unwrap();
        assert!(matches!(signed(&recorded(), &other, &key), Err(PkiError::Lint(_))), "another key");
        let changes: [(&str, Change); 13] = [
            ("another serial", |params| params.serial_number = Some(SerialNumber::from_slice(&[0x42; 16]))),
            ("a later end", |params| validity(params, NOW, LATER.plus(std::time::Duration::from_secs(1)))),
            ("another name", |params| params.distinguished_name.push(DnType::CommonName, "another")),
            ("a second name", |params| params.distinguished_name.push(DnType::OrganizationName, "more")),
            ("no URI", |params| params.subject_alt_names.clear()),
            ("another URI", |params| {
                params.subject_alt_names = vec![SanType::URI("spiffe://00.bbt/".try_into().unwrap())];
            }),
            ("a host beside the URI", |params| {
                params.subject_alt_names.push(SanType::DnsName("county.example".try_into().unwrap()));
            }),
            ("the right to sign", |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
            ("one more usage", |params| params.key_usages.push(KeyUsagePurpose::KeyCertSign)),
            ("no usage", |params| params.key_usages.clear()),
            ("use as a server", |params| {
                params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
            }),
            ("no issuer's key", |params| params.use_authority_key_identifier_extension = false),
            ("an extension nobody asked for", |params| {
                let extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
                params.custom_extensions.push(extension);
            }),
        ];
        for (what, change) in changes {
            let mut params = recorded();
            change(&mut params);
            let refused = signed(&params, &key, &key);
            assert!(matches!(refused, Err(PkiError::Lint(_))), "{what}: {refused:?}");
        }
    }
}
