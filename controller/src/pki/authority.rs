//! The root and the issuing intermediates.
//!
//! One intermediate signs; those before it are kept as certificates, so that a device which slept through a change
//! is still known by what it holds. Devices pin the root alone and get the intermediate with every chain, so a new
//! one needs no announcement; it needs an order. Files are written key, certificate, list: the list says which
//! intermediates there are, the last of it signs, and it is replaced in one step. Cut off anywhere, the folder is
//! the one before or the one after, and nothing was ever signed by an intermediate that is not in the list.

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use bbt_domain::time::UtcMicros;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData, SerialNumber, SignatureAlgorithm, SigningKey,
};
use rustls_pki_types::CertificateDer;

use super::{PkiError, hex, random, read, sha256, validity, write_private};

/// Life of the root: longer than any set stands in a room.
const ROOT_LIFE: Duration = Duration::from_secs(20 * 365 * 86_400);
/// Life of an issuing intermediate; it is replaced yearly and stays good for what it signed.
const INTERMEDIATE_LIFE: Duration = Duration::from_secs(3 * 365 * 86_400);
/// An intermediate is to be replaced when it is this old,
const REPLACED_AFTER: Duration = Duration::from_secs(365 * 86_400);
/// or ends within this long: a certificate of a device that it signs then would be cut short.
const REPLACED_BEFORE: Duration = Duration::from_secs(182 * 86_400);
/// Certificates begin this much before they are made: clocks of devices and browsers are never quite right.
pub(super) const BACKDATE: Duration = Duration::from_secs(3_600);

/// The authority in force; exchanged while the controller runs.
pub type SharedAuthority = Arc<ArcSwap<Authority>>;

/// The county's certificate authority as the running controller has it.
pub struct Authority {
    root: CertificateDer<'static>,
    /// Every intermediate, oldest first; the last one signs.
    intermediates: Vec<CertificateDer<'static>>,
    key: KeyPair,
    /// When the last one was made, and when it ends.
    span: (UtcMicros, UtcMicros),
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("root_sha256", &hex(&self.root_sha256())).finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes root and intermediate and writes them into `folder`; the root's key goes to `root_key`.
    pub fn create(folder: &Path, root_key: &Path, county: &str, now: UtcMicros) -> Result<Self, PkiError> {
        let key = KeyPair::generate()?;
        let mut params = ca_params(format!("{county} bbt root"), 1)?;
        validity(&mut params, now.minus(BACKDATE), now.plus(ROOT_LIFE));
        let root = params.self_signed(&key)?;
        write_private(root_key, key.serialize_pem().as_bytes(), "root key")?;
        write_private(&folder.join(ROOT), root.pem().as_bytes(), "root certificate")?;

        let (certificate, key) = intermediate(&Issuer::new(params, key), county, now, now.plus(ROOT_LIFE))?;
        write_private(&key_file(folder, FIRST), key.serialize_pem().as_bytes(), "issuing key")?;
        let file = certificate_file(folder, FIRST);
        write_private(&file, certificate.pem().as_bytes(), "issuing certificate")?;
        Self::load(folder)
    }

    /// Reads what [`Authority::create`] wrote. The root's key is not needed.
    pub fn load(folder: &Path) -> Result<Self, PkiError> {
        let root = root_certificate(folder)?;
        let names = names(folder)?;
        let intermediates: Result<Vec<_>, _> =
            names.iter().map(|name| read_certificate(&certificate_file(folder, name))).collect();
        let (intermediates, signing) = (intermediates?, &names[names.len() - 1]);
        let key = read_key(&key_file(folder, signing))?;
        let span = span_of(&intermediates[intermediates.len() - 1])?;
        Ok(Self { root, intermediates, key, span })
    }

    /// The pinned root.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// What signs devices and listeners.
    pub(super) fn intermediate(&self) -> &CertificateDer<'static> {
        // There is always one: a folder without is not loaded.
        &self.intermediates[self.intermediates.len() - 1]
    }

    /// Every intermediate that signs or signed.
    pub fn intermediates(&self) -> &[CertificateDer<'static>] {
        &self.intermediates
    }

    /// When what signs now ends; nothing that it signs is good for longer.
    pub fn until(&self) -> UtcMicros {
        self.span.1
    }

    /// Whether a person should replace what signs now.
    pub fn is_to_be_replaced(&self, now: UtcMicros) -> bool {
        now >= self.since().plus(REPLACED_AFTER) || now.plus(REPLACED_BEFORE) >= self.until()
    }

    /// When what signs now was made.
    pub fn since(&self) -> UtcMicros {
        self.span.0
    }

    /// SHA-256 of the root's DER: what `--ca-sha256` is compared with.
    pub fn root_sha256(&self) -> [u8; 32] {
        sha256(&self.root)
    }

    /// Whether a file's content is the root's key, under whatever name it lies: it leaves the machine in no backup.
    pub fn is_root_key(&self, pem: &[u8]) -> bool {
        let key = std::str::from_utf8(pem).ok().and_then(|pem| KeyPair::from_pem(pem).ok());
        let public = key.map(|key| key.public_key_raw().to_vec());
        public.is_some_and(|public| self.root.windows(public.len()).any(|part| part == public))
    }

    /// `leaf`, intermediate, root.
    pub fn chain(&self, leaf: CertificateDer<'static>) -> Vec<CertificateDer<'static>> {
        vec![leaf, self.intermediate().clone(), self.root.clone()]
    }

    /// Signs what `params` say of `public_key`, once `lint` has nothing against the very bytes to be signed.
    pub(super) fn sign(
        &self,
        params: &CertificateParams,
        public_key: &impl PublicKeyData,
        lint: impl Fn(&[u8]) -> Result<(), String>,
    ) -> Result<Certificate, PkiError> {
        let key = LintingKey { key: &self.key, lint: &lint, fault: RefCell::default() };
        let issuer = Issuer::from_ca_cert_der(self.intermediate(), &key)?;
        let signed = params.signed_by(public_key, &issuer);
        match key.fault.take() {
            Some(fault) => Err(PkiError::Lint(fault)),
            None => Ok(signed?),
        }
    }
}

/// The issuing key behind a check: what the check is against is never signed.
struct LintingKey<'a> {
    key: &'a KeyPair,
    lint: &'a dyn Fn(&[u8]) -> Result<(), String>,
    fault: RefCell<Option<String>>,
}

impl PublicKeyData for LintingKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.key.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        PublicKeyData::algorithm(self.key)
    }
}

impl SigningKey for LintingKey<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        (self.lint)(message).map_err(|fault| {
            self.fault.replace(Some(fault));
            rcgen::Error::RemoteKeyError
        })?;
        self.key.sign(message)
    }
}

const ROOT: &str = "root.crt";
/// The intermediate that `init` makes.
const FIRST: &str = "issuing";
/// Names of all intermediates, oldest first, as JSON; absent while there is the first alone.
pub(super) const LIST: &str = "issuing.json";

/// The pinned root of the county in `folder`.
pub(super) fn root_certificate(folder: &Path) -> Result<CertificateDer<'static>, PkiError> {
    read_certificate(&folder.join(ROOT))
}

/// Names of the intermediates' files without their endings, oldest first; never none.
pub(super) fn names(folder: &Path) -> Result<Vec<String>, PkiError> {
    let path = folder.join(LIST);
    if !path.exists() {
        return Ok(vec![FIRST.to_owned()]);
    }
    let list = read(&path, "list of issuing certificates")?;
    let names: Vec<String> = serde_json::from_slice(&list).unwrap_or_default();
    if names.is_empty() {
        let reason = "it names no certificate".to_owned();
        return Err(PkiError::Content { what: "list of issuing certificates", path, reason });
    }
    Ok(names)
}

pub(super) fn certificate_file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.crt"))
}

pub(super) fn key_file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.key"))
}

/// Where `init` leaves the root's key unless told otherwise.
pub fn default_root_key(folder: &Path) -> PathBuf {
    folder.join("root.key")
}

/// A new issuing intermediate and its key, not on any disk yet. It does not outlive the root, which ends at `until`.
pub(super) fn intermediate(
    root: &Issuer<'_, impl SigningKey>,
    county: &str,
    now: UtcMicros,
    until: UtcMicros,
) -> Result<(Certificate, KeyPair), PkiError> {
    let key = KeyPair::generate()?;
    let mut params = ca_params(format!("{county} bbt issuing"), 0)?;
    validity(&mut params, now.minus(BACKDATE), now.plus(INTERMEDIATE_LIFE).min(until));
    Ok((params.signed_by(&key, root)?, key))
}

fn ca_params(name: String, below: u8) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(SerialNumber::from_slice(&random::<16>()?));
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// When a certificate was made, and when it ends.
pub(super) fn span_of(certificate: &CertificateDer<'_>) -> Result<(UtcMicros, UtcMicros), PkiError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|_| PkiError::Issue(rcgen::Error::CouldNotParseCertificate))?;
    let at = |time: x509_parser::time::ASN1Time| UtcMicros::from_secs(time.timestamp());
    Ok((at(parsed.validity().not_before).plus(BACKDATE), at(parsed.validity().not_after)))
}

pub(super) fn read_certificate(path: &Path) -> Result<CertificateDer<'static>, PkiError> {
    use rustls_pki_types::pem::PemObject;
    let bytes = read(path, "certificate")?;
    CertificateDer::from_pem_slice(&bytes).map_err(|error| PkiError::Content {
        what: "certificate",
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

pub(super) fn read_key(path: &Path) -> Result<KeyPair, PkiError> {
    let content = |reason: String| PkiError::Content { what: "key", path: path.to_owned(), reason };
    let bytes = read(path, "key")?;
    let text = String::from_utf8(bytes).map_err(|_| content("it is not text".to_owned()))?;
    KeyPair::from_pem(&text).map_err(|error| content(error.to_string()))
}
