//! One request as a handler sees it: who asks, in which language, and what they sent.

use axum::extract::FromRequestParts;
use bbt_domain::access::Actor;
use http::request::Parts;

use super::{failure::Failure, language::Language};

/// Who asks. Put beside the request by the gate, so a handler that takes one is behind a gate.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    /// Who it is.
    pub(super) actor: Actor,
    /// Their session, if they signed in: the SHA-256 of its cookie.
    pub(super) session: Option<[u8; 32]>,
    /// Goes into every form.
    pub(super) form_token: String,
    /// In which language they read.
    pub(super) language: Language,
    /// Address of this page, with its query: where a change of language comes back to.
    pub(super) here: String,
    /// The peer's IP address.
    pub(super) address: String,
}

/// The fields of the form, or of the query where there is no form.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(pub(super) Vec<(String, String)>);

impl Fields {
    /// The first field called `name`.
    pub(super) fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Its text, empty when there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        self.find(name).unwrap_or_default()
    }
}

impl<S: Sync> FromRequestParts<S> for Visit {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        parts.extensions.get().cloned().ok_or(Failure::Bug("a handler without a gate"))
    }
}

impl<S: Sync> FromRequestParts<S> for Fields {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        parts.extensions.get().cloned().ok_or(Failure::Bug("a handler without a gate"))
    }
}

/// `path` if it is an address on this site, to be gone to after a form; else the front page. `//host` and
/// `/\host` are other sites to a browser.
pub(super) fn own_path(path: &str) -> &str {
    let own = path.starts_with('/')
        && !path.starts_with("//")
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if own { path } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_site_are_gone_to() {
        assert_eq!(own_path("/devices?q=a%20b"), "/devices?q=a%20b");
        for foreign in
            ["", "devices", "//evil.example", "/\\evil.example", "https://evil.example", "/a\r\nb: c"]
        {
            assert_eq!(own_path(foreign), "/", "{foreign:?}");
        }
    }
}
