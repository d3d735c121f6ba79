//! What every answer says to the browser, errors included.

use axum::response::Response;
use http::{HeaderName, HeaderValue, header};

/// Nothing is allowed but what the pages need: our style sheet, our pictures, our forms. No script at all.
const CONTENT_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
    frame-ancestors 'none'; base-uri 'none'";

/// Set on every answer. `Strict-Transport-Security` is not: a county that later changes its private authority
/// would lock its own browsers out.
///
/// The referrer goes to this site alone, not to nobody: with `no-referrer` a browser sends its own forms with
/// `Origin: null`, and older ones have nothing else to tell them from foreign forms.
const FIXED: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Adds them.
pub(super) async fn guard(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in FIXED {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // What a page shows stays out of every store on the way; a style sheet says otherwise itself.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
