//! Tables for a terminal, in which a Chinese character is two columns wide.

use bbt_domain::money::Money;
use serde_json::Value as Json;
use unicode_width::UnicodeWidthStr;

/// A column: its heading and the key of the item it shows.
pub(super) type Column = (&'static str, &'static str);

/// Prints `items` under the headings of `columns`, or `empty` when there are none.
pub(super) fn print(items: &[Json], columns: &[Column], empty: &str) {
    if items.is_empty() {
        println!("{empty}");
        return;
    }
    for line in lines(items, columns) {
        println!("{line}");
    }
}

fn lines(items: &[Json], columns: &[Column]) -> Vec<String> {
    let headings = columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
    let cells = items.iter().map(|item| columns.iter().map(|(_, key)| cell(key, &item[*key])).collect());
    let rows: Vec<Vec<String>> = std::iter::once(headings).chain(cells).collect();
    let widths: Vec<usize> =
        (0..columns.len()).map(|at| rows.iter().map(|row| row[at].width()).max().unwrap_or(0)).collect();
    let pad = |(text, width): (&String, &usize)| format!("{text}{}", " ".repeat(width - text.width()));
    rows.iter()
        .map(|row| row.iter().zip(&widths).map(pad).collect::<Vec<_>>().join("  ").trim_end().to_owned())
        .collect()
}

/// A value as people read it.
pub(super) fn cell(key: &str, value: &Json) -> String {
    match value {
        Json::Null => "-".to_owned(),
        Json::String(text) => text.clone(),
        Json::Number(number) if key.ends_with("_bytes") => {
            number.as_u64().map_or_else(|| number.to_string(), size)
        }
        Json::Number(number) if key.ends_with("_fen") => {
            number.as_i64().map_or_else(|| number.to_string(), |fen| Money::from_fen(fen).to_string())
        }
        other => other.to_string(),
    }
}

/// A size with a binary unit and one decimal.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let last = UNITS.len() - 1;
    match (0..last).find(|unit| bytes >> (10 * (unit + 1)) == 0).unwrap_or(last) {
        0 => format!("{bytes} B"),
        unit => format!("{:.1} {}", bytes as f64 / 1024_f64.powi(unit as i32), UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn chinese_names_keep_the_columns_straight() {
        let items = [json!({"code": "1", "name": "梁河县第一中学"}), json!({"code": "22", "name": "ab"})];
        let lines = lines(&items, &[("NAME", "name"), ("CODE", "code")]);
        assert_eq!(lines, ["NAME            CODE", "梁河县第一中学  1", "ab              22"]);
    }

    #[test]
    fn money_is_shown_in_yuan() {
        assert_eq!(cell("cost_fen", &json!(480_000)), "4,800.00");
        assert_eq!(cell("cost_fen", &json!(null)), "-");
    }

    #[test]
    fn sizes_have_their_unit() {
        assert_eq!(cell("memory_bytes", &json!(8_589_934_592_u64)), "8.0 GiB");
        assert_eq!(cell("memory_bytes", &json!(512)), "512 B");
        assert_eq!(cell("memory_bytes", &json!(null)), "-");
    }
}
