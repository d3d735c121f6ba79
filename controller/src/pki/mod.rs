//! The county's own certificate authority, and what hangs on it: device certificates, the listeners' own,
//! signed time, tokens, revocations.
//!
//! A root of 20 years signs an issuing intermediate of 3 years; the intermediate signs devices (180 days) and
//! listeners (1 year). All keys are ECDSA P-256. The root key is not needed to run and may be taken away.

pub mod authority;
pub mod issue;
pub(crate) mod lint;
pub mod proof;
pub mod revoke;
pub mod rotation;
pub mod sealing;
pub mod signed_time;
pub mod tokens;

use std::{io, path::Path, sync::Arc};

use bbt_domain::time::UtcMicros;
use rustls::crypto::CryptoProvider;

/// The one place that names the cryptographic library.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    hash
}

/// Random bytes from the system.
pub fn random<const N: usize>() -> Result<[u8; N], PkiError> {
    let mut bytes = [0; N];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
        .map_err(|_| PkiError::Random)?;
    Ok(bytes)
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What can go wrong with keys and certificates.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file cannot be read or written.
    #[error("{what} {path} cannot be {done}: {reason}")]
    File {
        /// key, certificate, …
        what: &'static str,
        /// The file.
        path: std::path::PathBuf,
        /// read, written
        done: &'static str,
        /// What the system says.
        reason: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{what} {path} is not valid: {reason}; restore it from a backup")]
    Content {
        /// key, certificate, …
        what: &'static str,
        /// The file.
        path: std::path::PathBuf,
        /// What the parser says.
        reason: String,
    },
    /// A certificate could not be made.
    #[error("a certificate could not be made: {0}")]
    Issue(#[from] rcgen::Error),
    /// A certificate was about to be made that is not the one that was recorded; a bug, and nothing was signed.
    #[error("a certificate was not signed: {0}")]
    Lint(String),
    /// What a device sent as its request cannot be taken.
    #[error("the certificate request is not valid: {0}")]
    Request(String),
    /// Not the root's key.
    #[error("the key in {0} is not that of this county's root: name the file that `init` wrote")]
    RootKey(std::path::PathBuf),
    /// A new intermediate that is none.
    #[error("the new issuing certificate is not taken: {0}")]
    Successor(String),
    /// A name is none.
    #[error("name {0:?} is neither a host name nor an address")]
    Name(String),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

/// Sets from when until when a certificate is good; whole seconds, as certificates write them.
fn validity(params: &mut rcgen::CertificateParams, from: UtcMicros, until: UtcMicros) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let at =
        |time: UtcMicros| epoch + std::time::Duration::from_secs(u64::try_from(time.as_secs()).unwrap_or(0));
    params.not_before = at(from);
    params.not_after = at(until);
}

/// Writes a file that only the controller's account may read, whole or not at all.
fn write_private(path: &Path, bytes: &[u8], what: &'static str) -> Result<(), PkiError> {
    crate::files::write_atomically(path, bytes, 0o600).map_err(|reason| PkiError::File {
        what,
        path: path.to_owned(),
        done: "written",
        reason,
    })
}

fn read(path: &Path, what: &'static str) -> Result<Vec<u8>, PkiError> {
    std::fs::read(path).map_err(|reason| PkiError::File { what, path: path.to_owned(), done: "read", reason })
}
