//! Passwords: argon2id, and never more of it at once than the machine can spare.
//!
//! A hash costs 19 MiB and some tens of milliseconds of a core by design. Whoever can reach the sign-in page can
//! ask for one, so at most [`RUNNING`] run at a time and the two cores stay free for reports.

use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version, password_hash::Error};
use tokio::sync::Semaphore;

/// Memory of one hash, KiB; with [`PASSES`] and one lane the floor that OWASP gives for argon2id.
const MEMORY_KIB: u32 = 19 * 1024;
/// Passes over that memory.
const PASSES: u32 = 2;
/// Lanes.
const LANES: u32 = 1;
/// Hashes at a time.
const RUNNING: usize = 2;
/// Checks that may wait for one of those: about a second's work. More is a flood, and is told to come back.
const WAITING: usize = 32;

/// A hash that no password has. Checked when there is no account, so that a stranger cannot tell by the time it
/// takes which names exist.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$Tm9ib2R5IHNpZ25zIGluIQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A password that could not be hashed or checked.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many checks are waiting.
    #[error("{WAITING} passwords are waiting to be checked: try again in a few seconds")]
    Busy,
    /// The stored hash is not one of ours.
    #[error("the stored password hash cannot be read ({0}): reset this account's password")]
    Stored(Error),
    /// Hashing failed, for want of memory or random bytes.
    #[error("the password could not be hashed ({0}): see whether the machine has memory left")]
    Hash(Error),
    /// The check was dropped or panicked.
    #[error("the password's check did not finish")]
    Unfinished,
}

/// The hash of `password` in PHC form, with a salt of its own.
pub fn hash(password: &str) -> Result<String, PasswordError> {
    let hash = hasher()?.hash_password(password.as_bytes()).map_err(PasswordError::Hash)?;
    Ok(hash.to_string())
}

/// Whether `password` is the one that `stored` was made of. Without `stored` the same work is done, and it is not.
pub fn verify(password: &str, stored: Option<&str>) -> Result<bool, PasswordError> {
    match hasher()?.verify_password(password.as_bytes(), stored.unwrap_or(NOBODY)) {
        Ok(()) => Ok(stored.is_some()),
        Err(Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(PasswordError::Stored(error)),
    }
}

/// Checks passwords beside everything else that the controller does.
#[derive(Debug)]
pub struct Passwords {
    running: Semaphore,
    waiting: Semaphore,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { running: Semaphore::new(RUNNING), waiting: Semaphore::new(WAITING) }
    }
}

impl Passwords {
    /// [`verify`] on a thread that may block, after those that came before.
    pub async fn verify(&self, password: String, stored: Option<String>) -> Result<bool, PasswordError> {
        let _waiting = self.waiting.try_acquire().map_err(|_| PasswordError::Busy)?;
        let _running = self.running.acquire().await.map_err(|_| PasswordError::Unfinished)?;
        tokio::task::spawn_blocking(move || verify(&password, stored.as_deref()))
            .await
            .map_err(|_| PasswordError::Unfinished)?
    }
}

fn hasher() -> Result<Argon2<'static>, PasswordError> {
    let params =
        Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|error| PasswordError::Hash(error.into()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_itself_fits_its_hash() {
        let stored = hash("晴耕雨读 2026").unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(verify("晴耕雨读 2026", Some(&stored)).unwrap());
        assert!(!verify("晴耕雨读 2027", Some(&stored)).unwrap());
        assert_ne!(stored, hash("晴耕雨读 2026").unwrap(), "each hash has its own salt");
    }

    #[test]
    fn nobody_has_no_password_but_the_work_is_done() {
        assert!(!verify("", None).unwrap());
        assert!(!verify("anything", None).unwrap());
    }

    #[test]
    fn a_damaged_hash_is_not_a_wrong_password() {
        assert!(matches!(verify("x", Some("plain text")), Err(PasswordError::Stored(_))));
    }

    #[tokio::test]
    async fn a_flood_of_checks_is_told_to_come_back() {
        let passwords = Passwords::default();
        let _all = passwords.waiting.acquire_many(WAITING as u32).await.unwrap();
        assert!(matches!(passwords.verify("x".into(), None).await, Err(PasswordError::Busy)));
    }
}
