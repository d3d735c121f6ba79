//! The cookie of a signed-in browser, and the one of a browser before that.
//!
//! 256 random bits; the store keeps only their SHA-256, so a copy of the database opens nothing. The name's
//! `__Host-` makes the browser refuse it from any other host or without TLS.

use std::time::Duration;

use bbt_store::people::SessionLimits;
use http::{HeaderMap, HeaderValue, header};
use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom, SystemRandom},
};

use super::failure::Failure;

/// How long a browser stays signed in: half an hour untouched, a working day at all.
pub(super) const LIMITS: SessionLimits =
    SessionLimits { idle: Duration::from_secs(30 * 60), absolute: Duration::from_secs(12 * 3_600) };
/// A session's use is written down at most this often: each time is a commit.
pub(super) const TOUCHED_EVERY: Duration = Duration::from_secs(60);

/// A cookie that the console sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cookie {
    /// Of a signed-in browser.
    Session,
    /// Of a browser that is not: binds the forms shown to it.
    Visitor,
    /// The language chosen.
    Language,
}

impl Cookie {
    const fn name(self) -> &'static str {
        match self {
            Self::Session => "__Host-bbt",
            Self::Visitor => "__Host-bbt-visitor",
            Self::Language => "__Host-bbt-language",
        }
    }

    /// Its value in a request.
    pub(super) fn find(self, headers: &HeaderMap) -> Option<&str> {
        headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find_map(|(name, value)| (name == self.name()).then_some(value))
    }

    /// The header that sets it: until the browser closes, or for `max_age_secs`.
    pub(super) fn set(self, value: &str, max_age_secs: Option<u32>) -> Result<HeaderValue, Failure> {
        let age = max_age_secs.map(|secs| format!("; Max-Age={secs}")).unwrap_or_default();
        let text = format!("{}={value}; Path=/; Secure; HttpOnly; SameSite=Lax{age}", self.name());
        HeaderValue::try_from(text).map_err(|_| Failure::Bug("a cookie with a value that is not plain text"))
    }
}

/// A new secret: 256 random bits in hex.
pub(super) fn new_secret() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Failure::Bug("the system gives no random bytes"))?;
    Ok(hex(&bytes))
}

/// What is kept of a secret.
pub(super) fn sha256(secret: &str) -> [u8; 32] {
    sha256_of(secret.as_bytes())
}

/// SHA-256 of `content`.
pub(super) fn sha256_of(content: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, content).as_ref());
    bytes
}

/// The form token of a browser that has not signed in, from its cookie.
pub(super) fn visitor_token(secret: &str) -> String {
    hex(&sha256(&format!("form token of {secret}")))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
