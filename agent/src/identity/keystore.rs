//! The identity on disk: written piece by piece, each durable before the next, read as a whole.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rcgen::KeyPair;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use super::{
    next,
    trust::{Fingerprint, fingerprint},
};
use crate::{
    folder::{self, Folder},
    uplink::address::Address,
};

pub(super) const KEY_FILE: &str = "key.pem";
pub(super) const CHAIN_FILE: &str = "chain.pem";
const DEVICE_FILE: &str = "device.json";

/// All the device knows about itself and its county.
#[derive(Debug)]
pub struct Identity {
    /// As the county numbers it.
    pub device_id: Uuid,
    /// `<32 hex digits>.bbt`.
    pub trust_domain: String,
    /// The school it was enrolled for, as people say it.
    pub school_name: String,
    /// Where it enrolled.
    pub enrolment_address: Address,
    /// Where it reports, in the order to try.
    pub agent_addresses: Vec<Address>,
    /// The county's root certificate.
    pub root: Fingerprint,
    /// Device certificate, issuing intermediate, root.
    pub chain: Vec<CertificateDer<'static>>,
    /// Of the device certificate.
    pub key: PrivatePkcs8KeyDer<'static>,
    /// The certificate's validity, seconds since 1970.
    pub valid_secs: (i64, i64),
}

/// `device.json`.
#[derive(Debug, Serialize, Deserialize)]
struct DeviceFile {
    device_id: Uuid,
    trust_domain: String,
    school_name: String,
    enrolment_address: String,
    agent_addresses: Vec<String>,
}

/// What enrolment was answered, checked.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) device_id: Uuid,
    pub(super) trust_domain: String,
    pub(super) school_name: String,
    pub(super) enrolment_address: Address,
    pub(super) agent_addresses: Vec<Address>,
    pub(super) chain: Vec<Vec<u8>>,
}

/// Why the identity cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// There is none yet.
    #[error(
        "this device is not enrolled ({0} is missing); run `bbt-agent enroll` with the line that `bbt-controller token create` prints"
    )]
    NotEnrolled(PathBuf),
    /// A file refused.
    #[error("cannot {doing} {path}: {source}")]
    File {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path} is not usable ({what}); remove {folder} and enrol this device again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
        /// The folder to remove.
        folder: PathBuf,
    },
}

/// Whether a finished enrolment is on disk.
pub fn is_enrolled(state: &Folder) -> bool {
    state.identity().join(DEVICE_FILE).exists()
}

/// Reads the whole identity, in the middle of an exchange too ([`next`]).
pub fn load(state: &Folder) -> Result<Identity, IdentityError> {
    let folder = state.identity();
    let device = read_device(&folder)?;
    let (chain, key) = (read_chain(&folder)?, read_key(&folder)?);
    let fits = |key: &PrivatePkcs8KeyDer<'_>| chain.first().is_some_and(|own| fits(key, own));
    let moving = if fits(&key) { None } else { read_key(&next::folder(state)).ok().filter(|key| fits(key)) };
    identity(&folder, device, chain, moving.unwrap_or(key))
}

/// Reads the identity as it will be with another certificate and its key.
pub(super) fn load_with(
    state: &Folder,
    chain: Vec<CertificateDer<'static>>,
    key: PrivatePkcs8KeyDer<'static>,
) -> Result<Identity, IdentityError> {
    let folder = state.identity();
    identity(&folder, read_device(&folder)?, chain, key)
}

fn identity(
    folder: &Path,
    device: DeviceFile,
    chain: Vec<CertificateDer<'static>>,
    key: PrivatePkcs8KeyDer<'static>,
) -> Result<Identity, IdentityError> {
    let (Some(own), Some(root)) = (chain.first(), chain.last()) else {
        return Err(damaged(folder, CHAIN_FILE, "it is empty".to_owned()));
    };
    let (valid_secs, named) = match X509Certificate::from_der(own) {
        Ok((_, certificate)) => {
            let validity = certificate.validity();
            let valid_secs = (validity.not_before.timestamp(), validity.not_after.timestamp());
            (valid_secs, device_uri(&certificate).map(|(_, id)| id))
        }
        Err(error) => return Err(damaged(folder, CHAIN_FILE, error.to_string())),
    };
    let address = |text: &String| {
        text.parse::<Address>().map_err(|error| damaged(folder, DEVICE_FILE, error.to_string()))
    };
    Ok(Identity {
        // The certificate takes another's place in one step, also that of another device.
        device_id: named.unwrap_or(device.device_id),
        trust_domain: device.trust_domain,
        school_name: device.school_name,
        enrolment_address: address(&device.enrolment_address)?,
        agent_addresses: device.agent_addresses.iter().map(address).collect::<Result<_, _>>()?,
        root: fingerprint(root),
        valid_secs,
        key,
        chain,
    })
}

fn read_device(folder: &Path) -> Result<DeviceFile, IdentityError> {
    let path = folder.join(DEVICE_FILE);
    if !path.exists() {
        return Err(IdentityError::NotEnrolled(path));
    }
    serde_json::from_slice(&read(&path)?).map_err(|error| damaged(folder, DEVICE_FILE, error.to_string()))
}

/// The certificates in a folder.
pub(super) fn read_chain(folder: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    CertificateDer::pem_slice_iter(&read(&folder.join(CHAIN_FILE))?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| damaged(folder, CHAIN_FILE, error.to_string()))
}

/// The key in a folder.
pub(super) fn read_key(folder: &Path) -> Result<PrivatePkcs8KeyDer<'static>, IdentityError> {
    PrivatePkcs8KeyDer::from_pem_slice(&read(&folder.join(KEY_FILE))?)
        .map_err(|error| damaged(folder, KEY_FILE, error.to_string()))
}

/// Whether a certificate was made for this key.
pub(super) fn fits(key: &PrivatePkcs8KeyDer<'_>, certificate: &CertificateDer<'_>) -> bool {
    let (Ok(key), Ok((_, certificate))) = (KeyPair::try_from(key), X509Certificate::from_der(certificate))
    else {
        return false;
    };
    certificate.public_key().subject_public_key.data.as_ref() == key.public_key_raw()
}

/// The key in a folder, or a new one that is on disk when this returns.
pub(super) fn key_or_new(folder: &Path) -> Result<KeyPair, IdentityError> {
    let path = folder.join(KEY_FILE);
    let damaged = |error: rcgen::Error| damaged(folder, KEY_FILE, error.to_string());
    if path.exists() {
        return KeyPair::try_from(&read_key(folder)?).map_err(damaged);
    }
    let key = KeyPair::generate().map_err(damaged)?;
    write(&path, key.serialize_pem().as_bytes())?;
    Ok(key)
}

/// Writes what enrolment brought; the device is enrolled when the last file is there.
pub(super) fn store(state: &Folder, granted: &Granted) -> Result<(), IdentityError> {
    let folder = state.identity();
    write_chain(&folder, &granted.chain)?;
    let device = DeviceFile {
        device_id: granted.device_id,
        trust_domain: granted.trust_domain.clone(),
        school_name: granted.school_name.clone(),
        enrolment_address: granted.enrolment_address.to_string(),
        agent_addresses: granted.agent_addresses.iter().map(Address::to_string).collect(),
    };
    write_device(&folder, &device)
}

/// Where to report and for which school, as the county has it now.
pub(super) fn move_to(
    state: &Folder,
    agent_addresses: &[Address],
    school_name: &str,
) -> Result<(), IdentityError> {
    let folder = state.identity();
    let mut device = read_device(&folder)?;
    device.agent_addresses = agent_addresses.iter().map(Address::to_string).collect();
    school_name.clone_into(&mut device.school_name);
    write_device(&folder, &device)
}

/// Writes down for people which device the certificate names; it is the certificate that counts.
pub(super) fn name_device(state: &Folder) -> Result<(), IdentityError> {
    let folder = state.identity();
    let mut device = read_device(&folder)?;
    let device_id = load(state)?.device_id;
    if device.device_id == device_id {
        return Ok(());
    }
    device.device_id = device_id;
    write_device(&folder, &device)
}

/// Writes a chain into a folder.
pub(super) fn write_chain(folder: &Path, chain: &[Vec<u8>]) -> Result<(), IdentityError> {
    let pem: String = chain.iter().map(|der| certificate_pem(der)).collect();
    write(&folder.join(CHAIN_FILE), pem.as_bytes())
}

fn write_device(folder: &Path, device: &DeviceFile) -> Result<(), IdentityError> {
    let path = folder.join(DEVICE_FILE);
    let json = serde_json::to_vec_pretty(device).map_err(|error| IdentityError::File {
        doing: "write",
        path: path.clone(),
        source: error.into(),
    })?;
    write(&path, &json)
}

fn damaged(folder: &Path, name: &str, what: String) -> IdentityError {
    IdentityError::Damaged { path: folder.join(name), what, folder: folder.to_owned() }
}

/// The one URI name of a certificate, if it is a device's: `spiffe://<trust domain>/device/<uuid>`.
pub(crate) fn device_uri(certificate: &X509Certificate<'_>) -> Option<(String, Uuid)> {
    let mut uris =
        certificate.extensions().iter().filter_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
            _ => None,
        });
    let names = uris.next()?;
    let [GeneralName::URI(uri)] = names.as_slice() else { return None };
    let (domain, id) = uri.strip_prefix("spiffe://")?.split_once("/device/")?;
    let id = Uuid::parse_str(id).ok()?;
    Some((domain.to_owned(), id))
}

/// RFC 7468: base 64 in lines of 64 between two marks.
fn certificate_pem(der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in der.chunks(48) {
        for group in line.chunks(3) {
            let bits =
                group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
            for position in 0..4 {
                let sextet = (bits >> (18 - 6 * position)) & 63;
                text.push(if position <= group.len() { ALPHABET[sextet as usize] as char } else { '=' });
            }
        }
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    fs::read(path).map_err(|source| IdentityError::File { doing: "read", path: path.to_owned(), source })
}

fn write(path: &Path, content: &[u8]) -> Result<(), IdentityError> {
    folder::write_durably(path, content).map_err(|source| IdentityError::File {
        doing: "write",
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_reads_back_as_it_was_written() {
        for length in [1, 2, 3, 47, 48, 49, 500] {
            let der: Vec<u8> = (0..length).map(|byte| (byte * 7 % 256) as u8).collect();
            let read = CertificateDer::from_pem_slice(certificate_pem(&der).as_bytes()).unwrap();
            assert_eq!(read.as_ref(), der);
        }
    }

    #[test]
    fn the_key_made_first_is_the_key_for_ever() {
        let temp = tempfile::tempdir().unwrap();
        let state = Folder::at(temp.path());
        state.prepare().unwrap();
        let first = key_or_new(&state.identity()).unwrap();
        let second = key_or_new(&state.identity()).unwrap();
        assert_eq!(first.public_key_raw(), second.public_key_raw());
        assert!(!is_enrolled(&state));
        assert!(matches!(load(&state), Err(IdentityError::NotEnrolled(_))));
    }
}
