//! Secrets at rest: sealed with a key of this data folder, so that a copy of the database alone gives none away.
//!
//! AES-256-GCM (NIST SP 800-38D) with a random nonce of 96 bits before the sealed bytes. What a secret is and
//! whose it is are authenticated with it, so that one cannot be put in another's place.

use std::{io, path::Path};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::{files, pki};

/// Name of the key's file in `pki/`.
const FILE: &str = "sealing.key";
const KEY_BYTES: usize = 32;
/// What a contractor's webhook is signed with.
pub const WEBHOOK_SECRET: &str = "webhook secret";

/// What a device needs to ask another in its room.
pub const DEVICE_SECRET: &str = "device secret";

/// The key. Not printable.
pub struct SealingKey(LessSafeKey);

/// A secret that could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealingError {
    /// The key's file.
    #[error("the key {path} cannot be used: {reason}; restore it together with the database")]
    Key {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// The sealed bytes are not of this key, or were changed.
    #[error("a {0} cannot be opened with this data folder's pki/{FILE}: enter it again")]
    Closed(&'static str),
    /// The system gives no random numbers.
    #[error("nothing can be sealed: {0}")]
    Random(String),
}

impl SealingKey {
    /// Reads the key in `folder`, or makes one.
    pub fn open_or_create(folder: &Path) -> Result<Self, SealingError> {
        let path = folder.join(FILE);
        let error = |reason: String| SealingError::Key { path: path.display().to_string(), reason };
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(absent) if absent.kind() == io::ErrorKind::NotFound => {
                let fresh: [u8; KEY_BYTES] =
                    pki::random().map_err(|random| SealingError::Random(random.to_string()))?;
                files::write_atomically(&path, &fresh, 0o600).map_err(|reason| error(reason.to_string()))?;
                fresh.to_vec()
            }
            Err(reason) => return Err(error(reason.to_string())),
        };
        let key = UnboundKey::new(&AES_256_GCM, &bytes)
            .map_err(|_| error(format!("it has {} bytes instead of {KEY_BYTES}", bytes.len())))?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Seals `secret`, which is `what` and belongs to `owner`.
    pub fn seal(&self, what: &'static str, owner: &[u8], secret: &[u8]) -> Result<Vec<u8>, SealingError> {
        let nonce: [u8; NONCE_LEN] =
            pki::random().map_err(|random| SealingError::Random(random.to_string()))?;
        let mut sealed = secret.to_vec();
        let authenticated = Aad::from(authenticated(what, owner));
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), authenticated, &mut sealed)
            .map_err(|_| SealingError::Closed(what))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what [`SealingKey::seal`] made of the same `what` and `owner`.
    pub fn open(&self, what: &'static str, owner: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealingError> {
        let closed = SealingError::Closed(what);
        let Some((nonce, rest)) = sealed.split_first_chunk::<NONCE_LEN>() else { return Err(closed) };
        let mut bytes = rest.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.0.open_in_place(nonce, Aad::from(authenticated(what, owner)), &mut bytes);
        opened.map(|secret| secret.to_vec()).map_err(|_| closed)
    }
}

fn authenticated(what: &str, owner: &[u8]) -> Vec<u8> {
    [what.as_bytes(), &[0], owner].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_opened_by_the_same_key_for_the_same_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let key = SealingKey::open_or_create(folder.path()).unwrap();
        let sealed = key.seal(WEBHOOK_SECRET, b"one", b"whsec_x").unwrap();
        assert!(!sealed.windows(5).any(|window| window == b"whsec"));
        let again = SealingKey::open_or_create(folder.path()).unwrap();
        assert_eq!(again.open(WEBHOOK_SECRET, b"one", &sealed).unwrap(), b"whsec_x");
        assert!(again.open(WEBHOOK_SECRET, b"two", &sealed).is_err(), "another owner");
        assert!(again.open("something else", b"one", &sealed).is_err());
        let mut changed = sealed.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert!(again.open(WEBHOOK_SECRET, b"one", &changed).is_err(), "changed");
        assert!(again.open(WEBHOOK_SECRET, b"one", b"short").is_err());
        let elsewhere = tempfile::tempdir().unwrap();
        let other = SealingKey::open_or_create(elsewhere.path()).unwrap();
        assert!(other.open(WEBHOOK_SECRET, b"one", &sealed).is_err(), "another county");
    }

    #[test]
    fn a_damaged_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), b"short").unwrap();
        let error = SealingKey::open_or_create(folder.path()).err().unwrap().to_string();
        assert!(error.contains(FILE) && error.contains("5 bytes"), "{error}");
    }
}
