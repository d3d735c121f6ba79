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
