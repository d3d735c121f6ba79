//! Lists as files for spreadsheets: RFC 4180 in UTF-8, with the mark by which office programs here know it.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};

use super::{format, language::Language};

/// Rows of one file: a year of a county's faults, and what a spreadsheet opens at once.
pub(super) const ROWS: usize = 20_000;

/// A file called `name` with these rows; the first names the columns. A file that may have been cut off at
/// [`ROWS`] says so in its last row.
pub(super) fn answer(language: Language, name: &'static str, mut rows: Vec<Vec<String>>) -> Response {
    if rows.len() > ROWS {
        let most = format::count(i64::try_from(ROWS).unwrap_or(i64::MAX));
        rows.push(vec![language.with("csv-cut", &[("most", most.into())])]);
    }
    let disposition = format!("attachment; filename=\"{name}.csv\"");
    let disposition = HeaderValue::from_str(&disposition).unwrap_or(HeaderValue::from_static("attachment"));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8")),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    (headers, text(&rows)).into_response()
}

fn text(rows: &[Vec<String>]) -> String {
    let mut text = String::from('\u{feff}');
    for row in rows {
        let cells: Vec<_> = row.iter().map(|cell| quoted(cell)).collect();
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    }
    text
}

/// Always quoted. What a spreadsheet would take for a formula is made text by an apostrophe: a device may be
/// called `=HYPERLINK(…)`.
fn quoted(cell: &str) -> String {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠']);
    format!("\"{}{}\"", if is_formula { "'" } else { "" }, cell.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_file_that_may_be_cut_off_says_so() {
        for (rows, said) in [(ROWS, false), (ROWS + 1, true)] {
            let answer = answer(Language::English, "x", vec![vec!["a".to_owned()]; rows]);
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            let last = b"This file holds the newest 20,000 lines at most\"\r\n";
            assert_eq!(body.ends_with(last), said, "{rows} rows");
        }
    }

    #[test]
    fn a_file_is_known_as_utf_8_and_no_cell_is_a_formula() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        let rows = [row(&["学校", "原因"]), row(&["a\"b,c", "=1+1"]), row(&["-2", "@x"])];
        assert_eq!(text(&rows), "\u{feff}\"学校\",\"原因\"\r\n\"a\"\"b,c\",\"'=1+1\"\r\n\"'-2\",\"'@x\"\r\n");
    }
}
