//! The next key and certificate on disk, and how they take the place of those in force.
//!
//! Each step is durable before the next begins:
//!
//! 1. `next/key.pem` is written: a new key, before the controller hears of it.
//! 2. `next/chain.pem` is written: the certificate that the controller gave for it.
//! 3. A connection with the new pair proves it ([`super::renew::prove`]); nothing is written.
//! 4. `next/chain.pem` is renamed to `chain.pem`.
//! 5. `next/key.pem` is renamed to `key.pem`.
//!
//! What holds after a power cut at any point: the key of `chain.pem` is on disk, as `key.pem` up to step 4 and as
//! `next/key.pem` between 4 and 5; [`super::keystore::load`] takes the one that fits. Up to step 4 the old pair is
//! whole, and the controller honours it until step 3, after which it honours the new one, which is whole too. So a
//! start does step 5 if it is missing ([`repair`]), proves a pair that it finds, and asks anew with a lone key.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rcgen::KeyPair;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::{
    IdentityError,
    keystore::{self, CHAIN_FILE, KEY_FILE},
};
use crate::folder::{self, Folder};

/// Whether a pair waits for its proof: both files are there and fit.
pub(super) fn is_whole(state: &Folder) -> bool {
    pair(state).is_ok_and(|pair| pair.is_some())
}

/// The pair that waits for its proof.
pub(super) fn pair(
    state: &Folder,
) -> Result<Option<(Vec<CertificateDer<'static>>, PrivatePkcs8KeyDer<'static>)>, IdentityError> {
    let folder = folder(state);
    if !folder.join(CHAIN_FILE).exists() || !folder.join(KEY_FILE).exists() {
        return Ok(None);
    }
    let (chain, key) = (keystore::read_chain(&folder)?, keystore::read_key(&folder)?);
    Ok(chain.first().is_some_and(|own| keystore::fits(&key, own)).then_some((chain, key)))
}

/// Step 1: the key that is there, or a new one that is on disk when this returns. One that does not let itself be
/// read is of no use to anybody and makes room.
pub(super) fn key_or_new(state: &Folder) -> Result<KeyPair, IdentityError> {
    let folder = folder(state);
    folder::make_private_folder(&folder).map_err(|source| IdentityError::File {
        doing: "make",
        path: folder.clone(),
        source,
    })?;
    if let Ok(key) = keystore::key_or_new(&folder) {
        return Ok(key);
    }
    remove(&folder.join(KEY_FILE))?;
    keystore::key_or_new(&folder)
}

/// Step 2.
pub(super) fn store_chain(state: &Folder, chain: &[Vec<u8>]) -> Result<(), IdentityError> {
    keystore::write_chain(&folder(state), chain)
}

/// Takes step 2 back: the controller does not want this certificate.
pub(super) fn drop_chain(state: &Folder) -> Result<(), IdentityError> {
    remove(&folder(state).join(CHAIN_FILE))
}

/// Steps 4 and 5, after the proof.
pub(super) fn promote(state: &Folder) -> Result<(), IdentityError> {
    put_in_force(state, CHAIN_FILE)?;
    put_in_force(state, KEY_FILE)
}

/// Step 5 if a power cut kept it from being done.
pub fn repair(state: &Folder) -> Result<(), IdentityError> {
    let (in_force, next) = (state.identity(), folder(state));
    if !next.join(KEY_FILE).exists() || !in_force.join(CHAIN_FILE).exists() {
        return Ok(());
    }
    let chain = keystore::read_chain(&in_force)?;
    let fits = |folder: &Path| {
        keystore::read_key(folder).is_ok_and(|key| chain.first().is_some_and(|own| keystore::fits(&key, own)))
    };
    if !fits(&in_force) && fits(&next) {
        put_in_force(state, KEY_FILE)?;
        tracing::info!("the exchange of key and certificate, cut off before its end, is done");
    }
    Ok(())
}

/// Where the next pair is made.
pub(super) fn folder(state: &Folder) -> PathBuf {
    state.identity().join("next")
}

fn put_in_force(state: &Folder, name: &str) -> Result<(), IdentityError> {
    let to = state.identity().join(name);
    folder::rename_durably(&folder(state).join(name), &to).map_err(|source| IdentityError::File {
        doing: "replace",
        path: to,
        source,
    })
}

fn remove(path: &Path) -> Result<(), IdentityError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(IdentityError::File { doing: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}
