//! Style sheet and pictures, in the program itself. The name holds a hash of the content, so a browser may keep
//! a file for ever and still never shows an old one.

use std::sync::LazyLock;

use axum::{
    extract::{Path, rejection::PathRejection},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header};

use super::{failure::Failure, session};

/// Where they are.
pub(super) const PATH: &str = "/static/{file}";
/// A year, the longest that caches honour.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Digits of the hash in a name: 64 bits tell any two releases apart.
const HASH_DIGITS: usize = 16;

struct Asset {
    url: String,
    kind: &'static str,
    content: &'static [u8],
}

static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    asset("console", "css", "text/css; charset=utf-8", include_bytes!("../../static/console.css"))
});
static MARK: LazyLock<Asset> =
    LazyLock::new(|| asset("mark", "svg", "image/svg+xml", include_bytes!("../../static/mark.svg")));

/// Address of the style sheet.
pub(super) fn style_url() -> &'static str {
    &STYLE.url
}

/// Address of the mark: the small picture of a browser's tab.
pub(super) fn mark_url() -> &'static str {
    &MARK.url
}

/// `GET /static/{file}`
pub(super) async fn serve(file: Result<Path<String>, PathRejection>) -> Result<Response, Failure> {
    let file = file.map(|Path(file)| format!("/static/{file}")).unwrap_or_default();
    let asset = [&*STYLE, &*MARK].into_iter().find(|asset| asset.url == file).ok_or(Failure::NotFound)?;
    let headers =
        [(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind)), (header::CACHE_CONTROL, FOR_EVER)];
    Ok((headers, asset.content).into_response())
}

fn asset(name: &str, ending: &str, kind: &'static str, content: &'static [u8]) -> Asset {
    let hash: String =
        session::sha256_of(content).iter().take(HASH_DIGITS / 2).map(|b| format!("{b:02x}")).collect();
    Asset { url: format!("/static/{name}.{hash}.{ending}"), kind, content }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_sheet_closes_what_it_opens() {
        let text = String::from_utf8_lossy(STYLE.content);
        let mut depth = 0_i32;
        for (number, line) in text.lines().enumerate() {
            assert!(!line.starts_with("/* ") || depth == 0, "line {} begins inside of a block", number + 1);
            depth += line.matches('{').count() as i32 - line.matches('}').count() as i32;
        }
        assert_eq!(depth, 0);
    }
}
