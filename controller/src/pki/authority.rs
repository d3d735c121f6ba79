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
    /// When the last one ends.
    until: UtcMicros,
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

        let made = intermediate(&Issuer::new(params, key), county, now)?;
        write_private(&key_file(folder, FIRST), made.key.serialize_pem().as_bytes(), "issuing key")?;
        write_private(
            &certificate_file(folder, FIRST),
            made.certificate_pem.as_bytes(),
            "issuing certificate",
        )?;
        Self::load(folder)
    }

    /// Reads what [`Authority::create`] wrote. The root's key is not needed.
    pub fn load(folder: &Path) -> Result<Self, PkiError> {
        let root = read_certificate(&folder.join(ROOT))?;
        let names = [FIRST.to_owned()];
        let intermediates: Result<Vec<_>, _> =
            names.iter().map(|name| read_certificate(&certificate_file(folder, name))).collect();
        let (intermediates, signing) = (intermediates?, &names[names.len() - 1]);
        let key = read_key(&key_file(folder, signing))?;
        let until = end_of(&intermediates[intermediates.len() - 1])?;
        Ok(Self { root, intermediates, key, until })
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
        self.until
    }

    /// SHA-256 of the root's DER: what `--ca-sha256` is compared with.
    pub fn root_sha256(&self) -> [u8; 32] {
        sha256(&self.root)
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

fn certificate_file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.crt"))
}

fn key_file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.key"))
}

/// Where `init` leaves the root's key unless told otherwise.
pub fn default_root_key(folder: &Path) -> PathBuf {
    folder.join("root.key")
}

/// A new issuing intermediate, not on any disk yet.
struct Made {
    certificate_pem: String,
    key: KeyPair,
}

fn intermediate(root: &Issuer<'_, impl SigningKey>, county: &str, now: UtcMicros) -> Result<Made, PkiError> {
    let key = KeyPair::generate()?;
    let mut params = ca_params(format!("{county} bbt issuing"), 0)?;
    validity(&mut params, now.minus(BACKDATE), now.plus(INTERMEDIATE_LIFE));
    Ok(Made { certificate_pem: params.signed_by(&key, root)?.pem(), key })
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

fn end_of(certificate: &CertificateDer<'_>) -> Result<UtcMicros, PkiError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|_| PkiError::Issue(rcgen::Error::CouldNotParseCertificate))?;
    Ok(UtcMicros::from_secs(parsed.validity().not_after.timestamp()))
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
