//! What messages are signed with, after Standard Webhooks.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::hmac;

/// What a secret begins with, so that people and scanners know it for one.
const PREFIX: &str = "whsec_";
/// Bytes of a secret, as Standard Webhooks asks for.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A secret shared with one receiver.
#[derive(Clone)]
pub struct WebhookSecret(hmac::Key);

impl WebhookSecret {
    /// Reads a file that holds the secret and nothing else.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let text = std::fs::read_to_string(path)
            .map_err(|reason| SecretError::Unreadable { path: path.to_owned(), reason })?;
        Self::parse(&text).map_err(|fault| SecretError::Content { path: path.to_owned(), fault })
    }

    /// Reads a secret; space around it is not part of it.
    pub fn parse(text: &str) -> Result<Self, SecretFault> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or(SecretFault::Prefix)?;
        let bytes = BASE64_STANDARD.decode(encoded).map_err(|_| SecretFault::Base64)?;
        if !BYTES.contains(&bytes.len()) {
            return Err(SecretFault::Length(bytes.len()));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// The value of `webhook-signature` for a message sent at `secs` since 1970.
    pub fn sign(&self, id: &str, secs: i64, body: &str) -> String {
        let tag = hmac::sign(&self.0, format!("{id}.{secs}.{body}").as_bytes());
        format!("v1,{}", BASE64_STANDARD.encode(tag))
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

/// A file without a secret that can be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The system does not give it out.
    #[error(
        "the webhook secret {path} cannot be read: {reason}; make the file readable for the controller's account"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// It holds something else.
    #[error("the webhook secret in {path} cannot be used: {fault}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: SecretFault,
    },
}

/// Why a text is no secret. The text itself is told to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretFault {
    /// It does not begin as secrets do.
    #[error("it must begin with {PREFIX}; take the whole secret that the contractor gave")]
    Prefix,
    /// What follows is no base64.
    #[error(
        "what follows {PREFIX} must be base64 with its padding; take the whole secret that the contractor gave"
    )]
    Base64,
    /// It is too easily guessed, or not a secret.
    #[error("it has {0} bytes and must have {min} to {max}; make one with: printf {PREFIX}; openssl rand -base64 32",
        min = BYTES.start(), max = BYTES.end())]
    Length(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_bytes(count: usize) -> String {
        format!("{PREFIX}{}", BASE64_STANDARD.encode(vec![7; count]))
    }

    #[test]
    fn signs_as_the_published_example_of_standard_webhooks() {
        let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(
            secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn a_secret_has_24_to_64_bytes() {
        for (count, fits) in [(0, false), (23, false), (24, true), (32, true), (64, true), (65, false)] {
            let parsed = WebhookSecret::parse(&of_bytes(count)).map(drop);
            assert_eq!(parsed, if fits { Ok(()) } else { Err(SecretFault::Length(count)) });
        }
    }

    #[test]
    fn a_file_with_a_line_end_is_read_and_a_wrong_one_named_without_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, of_bytes(32) + "\r\n").unwrap();
        assert!(WebhookSecret::read(&path).is_ok());
        for (content, remedy) in [
            ("geheim".to_owned(), "must begin with whsec_"),
            ("whsec_geheim!".to_owned(), "must be base64"),
            (of_bytes(8), "8 bytes and must have 24 to 64"),
        ] {
            std::fs::write(&path, &content).unwrap();
            let error = WebhookSecret::read(&path).unwrap_err().to_string();
            assert!(error.contains(remedy) && error.contains("secret in"), "{error}");
            assert!(!error.contains(content.trim_start_matches(PREFIX)), "{error}");
        }
        let error = WebhookSecret::read(&folder.path().join("none")).unwrap_err().to_string();
        assert!(error.contains("none") && error.contains("make the file readable"), "{error}");
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", WebhookSecret::parse(&of_bytes(24)).unwrap()), "WebhookSecret(…)");
    }
}
