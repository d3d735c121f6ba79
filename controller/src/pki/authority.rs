//! The root and the issuing intermediate.

use std::path::{Path, PathBuf};

use bbt_domain::time::UtcMicros;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use std::time::Duration;

use super::{PkiError, hex, random, read, sha256, validity, write_private};

/// Life of the root: longer than any set stands in a room.
const ROOT_LIFE: Duration = Duration::from_secs(20 * 365 * 86_400);
/// Life of the issuing intermediate; it is replaced yearly and stays good for what it signed.
const INTERMEDIATE_LIFE: Duration = Duration::from_secs(3 * 365 * 86_400);
/// Certificates begin this much before they are made: clocks of devices and browsers are never quite right.
pub(super) const BACKDATE: Duration = Duration::from_secs(3_600);

/// The county's certificate authority as the running controller has it.
pub struct Authority {
    root: CertificateDer<'static>,
    intermediate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("root_sha256", &hex(&self.root_sha256())).finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes root and intermediate and writes them into `folder`; the root's key goes to `root_key`.
    pub fn create(folder: &Path, root_key: &Path, county: &str, now: UtcMicros) -> Result<Self, PkiError> {
        let from = now.minus(BACKDATE);

        let key = KeyPair::generate()?;
        let mut params = ca_params(format!("{county} bbt root"), 1)?;
        validity(&mut params, from, now.plus(ROOT_LIFE));
        let root = params.self_signed(&key)?;
        write_private(root_key, key.serialize_pem().as_bytes(), "root key")?;
        write_private(&folder.join(ROOT), root.pem().as_bytes(), "root certificate")?;
        let root_issuer = Issuer::new(params, key);

        let key = KeyPair::generate()?;
        let mut params = ca_params(format!("{county} bbt issuing"), 0)?;
        validity(&mut params, from, now.plus(INTERMEDIATE_LIFE));
        let intermediate = params.signed_by(&key, &root_issuer)?;
        write_private(&folder.join(INTERMEDIATE_KEY), key.serialize_pem().as_bytes(), "issuing key")?;
        write_private(&folder.join(INTERMEDIATE), intermediate.pem().as_bytes(), "issuing certificate")?;

        Ok(Self {
            root: root.der().clone(),
            intermediate: intermediate.der().clone(),
            issuer: Issuer::new(params, key),
        })
    }

    /// Reads what [`Authority::create`] wrote. The root's key is not needed.
    pub fn load(folder: &Path) -> Result<Self, PkiError> {
        let root = read_certificate(&folder.join(ROOT))?;
        let intermediate = read_certificate(&folder.join(INTERMEDIATE))?;
        let key = read_key(&folder.join(INTERMEDIATE_KEY))?;
        let issuer = Issuer::from_ca_cert_der(&intermediate, key)?;
        Ok(Self { root, intermediate, issuer })
    }

    /// The pinned root.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// What signs devices and listeners.
    pub(super) fn intermediate(&self) -> &CertificateDer<'static> {
        &self.intermediate
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
        vec![leaf, self.intermediate.clone(), self.root.clone()]
    }

    pub(super) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }
}

const ROOT: &str = "root.crt";
const INTERMEDIATE: &str = "issuing.crt";
const INTERMEDIATE_KEY: &str = "issuing.key";

/// Where `init` leaves the root's key unless told otherwise.
pub fn default_root_key(folder: &Path) -> PathBuf {
    folder.join("root.key")
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
