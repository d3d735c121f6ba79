//! Numbers, sizes and dates as people read them.

use axum::response::{IntoResponse, Response};
use bbt_domain::{
    civil::{Day, county_time},
    time::UtcMicros,
};
use http::header;

use super::language::Language;

/// Content type of a page.
pub(super) const HTML: &str = "text/html; charset=utf-8";

/// A page as an answer.
pub(super) fn html(text: String) -> Response {
    ([(header::CONTENT_TYPE, HTML)], text).into_response()
}

/// A moment: for people on the county's clock, for programs as RFC 3339.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    /// 2026-09-18 周五 08:30
    pub(super) text: String,
    /// 2026-09-18T00:30:00Z
    pub(super) rfc3339: String,
}

impl Moment {
    /// To the minute.
    pub(super) fn new(language: Language, time: UtcMicros) -> Self {
        let local = county_time(time);
        let text = format!("{} {}", day(language, time), local.strftime("%H:%M"));
        Self { text, rfc3339: UtcMicros::from_secs(time.as_secs()).to_string() }
    }

    /// The clock of today, to the second, for what happens while one looks on.
    pub(super) fn clock(time: UtcMicros) -> Self {
        let text = county_time(time).strftime("%H:%M:%S").to_string();
        Self { text, rfc3339: UtcMicros::from_secs(time.as_secs()).to_string() }
    }
}

/// 2026-09-18 周五
pub(super) fn day(language: Language, time: UtcMicros) -> String {
    let weekday = Day::of(time).weekday();
    let weekday = match language {
        Language::Chinese => ["周一", "周二", "周三", "周四", "周五", "周六", "周日"][weekday],
        Language::English => ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"][weekday],
    };
    format!("{} {weekday}", county_time(time).strftime("%Y-%m-%d"))
}

/// 1,920
pub(super) fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// As memory and file systems are counted: powers of 1,024.
pub(super) fn binary_bytes(bytes: u64) -> String {
    scaled(bytes as f64, 1_024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

/// As a disk's label counts: powers of 1,000.
pub(super) fn decimal_bytes(bytes: u64) -> String {
    scaled(bytes as f64, 1_000.0, &["B", "KB", "MB", "GB", "TB", "PB", "EB"])
}

/// 12.5 ms
pub(super) fn micros(micros: u64) -> String {
    scaled(micros as f64, 1_000.0, &["µs", "ms", "s"])
}

/// Three digits are enough to compare and few enough to read.
fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    while value >= step * 0.9995 && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    let digits = if unit == 0 || value >= 99.95 { 0 } else { 1 };
    let text = format!("{value:.digits$}");
    let text = text.strip_suffix(".0").unwrap_or(&text);
    format!("{text} {}", units[unit])
}

/// 3 days: the largest unit of which there are two at least, for how old or how wrong something is.
pub(super) fn span(language: Language, secs: u64) -> String {
    let (key, number) = match secs {
        172_800.. => ("span-days", secs / 86_400),
        7_200.. => ("span-hours", secs / 3_600),
        120.. => ("span-minutes", secs / 60),
        _ => ("span-seconds", secs),
    };
    language.with(key, &[("count", count(i64::try_from(number).unwrap_or(i64::MAX)).into())])
}

/// `text` for the value of a query.
pub(super) fn query_value(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut value, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                value.push(byte.into())
            }
            other => value.push_str(&format!("%{other:02X}")),
        }
        value
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_on_the_countys_clock() {
        let moment = Moment::new(Language::Chinese, "2026-09-18T00:30:59.5Z".parse().unwrap());
        assert_eq!(moment.text, "2026-09-18 周五 08:30");
        assert_eq!(moment.rfc3339, "2026-09-18T00:30:59Z");
        assert_eq!(day(Language::English, "2026-09-20T16:00:00Z".parse().unwrap()), "2026-09-21 Mon");
    }

    #[test]
    fn sizes_have_three_digits_at_most() {
        let binary = [0, 1_023, 1_024, 16_667_029_504, 8 << 30, u64::MAX].map(binary_bytes);
        assert_eq!(binary, ["0 B", "1023 B", "1 KiB", "15.5 GiB", "8 GiB", "16 EiB"]);
        assert_eq!(
            [512_110_190_592, 999_999_999_999, 2_000_398_934_016].map(decimal_bytes),
            ["512 GB", "1 TB", "2 TB"]
        );
        assert_eq!([850, 12_340, 3_000_000].map(micros), ["850 µs", "12.3 ms", "3 s"]);
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([0, 999, 1_920, -1_234_567].map(count), ["0", "999", "1,920", "-1,234,567"]);
    }

    #[test]
    fn a_query_value_survives_the_address() {
        assert_eq!(query_value("/devices?q=一 &a"), "/devices%3Fq%3D%E4%B8%80%20%26a");
    }
}
