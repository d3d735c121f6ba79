//! Lists as files for a spreadsheet: RFC 4180, UTF-8 with the mark that Excel needs to see it.
//!
//! A spreadsheet takes a text for a formula, a number or a date when it looks like one. A formula in the name of
//! a room would run on the desk of whoever opens the file; the 设备码 12E345 would become a huge number, room 3-12
//! a day in March, and a school's code would lose its leading zeros. So texts that look so are marked as texts.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};

use super::{format, language::Language};

/// Rows of a file that is made at once: a year of a county's faults, and what a spreadsheet opens at once.
pub(super) const ROWS: usize = 20_000;
/// At the beginning of the file.
pub(super) const MARK: &str = "\u{feff}";
/// Content type.
pub(super) const KIND: &str = "text/csv; charset=utf-8";

/// What stands in one place of a line.
pub(super) enum Cell<'a> {
    /// Stays a text, whatever it looks like.
    Text(&'a str),
    /// A number or a time of ours, to be reckoned with.
    Plain(&'a str),
}

/// One line.
pub(super) fn line<'a>(cells: impl IntoIterator<Item = Cell<'a>>) -> String {
    let cells: Vec<String> = cells.into_iter().map(written).collect();
    format!("{}\r\n", cells.join(","))
}

/// A file called `name` with these rows of texts; the first names the columns. A file that may have been cut off
/// at [`ROWS`] says so in its last row.
pub(super) fn answer(language: Language, name: &'static str, mut rows: Vec<Vec<String>>) -> Response {
    if rows.len() > ROWS {
        let most = format::count(i64::try_from(ROWS).unwrap_or(i64::MAX));
        rows.push(vec![language.with("csv-cut", &[("most", most.into())])]);
    }
    let disposition = format!("attachment; filename=\"{name}.csv\"");
    let disposition = HeaderValue::from_str(&disposition).unwrap_or(HeaderValue::from_static("attachment"));
    let headers =
        [(header::CONTENT_TYPE, HeaderValue::from_static(KIND)), (header::CONTENT_DISPOSITION, disposition)];
    let lines = rows.iter().map(|row| line(row.iter().map(|cell| Cell::Text(cell))));
    (headers, std::iter::once(MARK.to_owned()).chain(lines).collect::<String>()).into_response()
}

fn written(cell: Cell<'_>) -> String {
    let text = match cell {
        Cell::Plain(text) => text.to_owned(),
        Cell::Text(text) => match text.chars().next() {
            Some('=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠') => format!("'{text}"),
            // A tab keeps it a text and is not seen.
            Some('0'..='9') if looks_like_a_figure(text) => format!("\t{text}"),
            _ => text.to_owned(),
        },
    };
    if text.contains(['"', ',', '\r', '\n', '\t']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

fn looks_like_a_figure(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || b"eE+-/.:, ".contains(&byte))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::{
        Cell::{Plain, Text},
        *,
    };

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
    fn a_text_is_never_a_formula_nor_a_figure() {
        let cells = ["=1+1", "@x", "-2", "12E345", "012345", "3-12", "3号楼201", "A1B2C3", ""];
        let expected = "'=1+1,'@x,'-2,\"\t12E345\",\"\t012345\",\"\t3-12\",3号楼201,A1B2C3,\r\n";
        assert_eq!(line(cells.map(Text)), expected);
    }

    #[test]
    fn our_own_figures_can_be_reckoned_with() {
        assert_eq!(line(["15.5", "2026-09-18 08:30"].map(Plain)), "15.5,2026-09-18 08:30\r\n");
    }

    #[test]
    fn what_would_end_a_cell_is_quoted() {
        let cells = ["a,b", "say \"x\"", "two\nlines"];
        assert_eq!(line(cells.map(Text)), "\"a,b\",\"say \"\"x\"\"\",\"two\nlines\"\r\n");
    }
}
