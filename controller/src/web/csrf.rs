//! Whether a form was sent by one of our own pages.
//!
//! Two walls. The browser says where a request was made: `Sec-Fetch-Site`, and where it is too old for that,
//! `Origin`. And every form carries a token that only a page of ours, shown to this browser, can know: of the
//! session, or before sign-in of a cookie that the browser was given (so nobody can be signed in to somebody
//! else's account unawares).

use http::{HeaderMap, Uri, header};
use ring::digest::{SHA256, digest};

/// Name of the field with the token.
pub(super) const TOKEN_FIELD: &str = "form_token";

/// Whether the browser says that one of our own pages sent this. A client that says nothing is no browser, and
/// is left to the token.
pub(super) fn sent_by_us(headers: &HeaderMap, uri: &Uri) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    // HTTP/2 has the host in the address, HTTP/1.1 in a header.
    let host = uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = host.or_else(|| headers.get(header::HOST).map(|host| host.as_bytes()));
    host.is_some() && origin.as_bytes().strip_prefix(b"https://") == host
}

/// Whether the token of a form is the one that was handed out. Hashes are compared, so the time that takes tells
/// nothing about the token.
pub(super) fn token_fits(handed_out: &str, sent: Option<&str>) -> bool {
    let sha256 = |text: &str| digest(&SHA256, text.as_bytes());
    sent.is_some_and(|sent| sha256(sent).as_ref() == sha256(handed_out).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(pairs: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        sent_by_us(&headers, &Uri::from_static("/login"))
    }

    #[test]
    fn a_new_browser_is_believed_by_its_fetch_metadata() {
        assert!(says(&[("sec-fetch-site", "same-origin")]));
        for foreign in ["cross-site", "same-site", ""] {
            assert!(
                !says(&[("sec-fetch-site", foreign), ("origin", "https://c"), ("host", "c")]),
                "{foreign}"
            );
        }
    }

    #[test]
    fn an_old_browser_is_believed_by_its_origin() {
        assert!(says(&[("origin", "https://county:8443"), ("host", "county:8443")]));
        for foreign in ["https://evil.example", "http://county:8443", "https://county:8444", "null"] {
            assert!(!says(&[("origin", foreign.to_owned().leak()), ("host", "county:8443")]), "{foreign}");
        }
        assert!(!says(&[("origin", "https://county:8443")]), "no host at all");
    }

    #[test]
    fn only_the_token_that_was_handed_out_fits() {
        assert!(token_fits("abc", Some("abc")));
        assert!(!token_fits("abc", Some("abd")));
        assert!(!token_fits("abc", None));
    }
}
