//! The newest frame of samples as figures.

use bbt_domain::{snapshot::Snapshot, time::UtcMicros};
use bbt_proto::report::v1::Metric;

use super::{
    parts::{Section, Table, Value, column, number_column},
    shown,
};
use crate::{
    samples::{Point, Samples, Series, decode},
    web::{
        format::{self, Moment},
        language::Language,
    },
};

/// Shares of processor or memory from which on they are called busy, and overloaded.
const BUSY_PERCENT: u32 = 85;
const OVERLOADED_PERCENT: u32 = 97;

/// The newest frame, summed up per metric.
pub(super) fn section(
    language: Language,
    newest: Option<(UtcMicros, i64, Vec<u8>)>,
    snapshot: &Snapshot,
) -> Section {
    let mut made = Section::new(language, "samples", "section-samples");
    let Some((at, _, body)) = newest else {
        made.note = Some(language.text("samples-none"));
        return made;
    };
    made.told_at = Some(Moment::new(language, at));
    let samples = match decode(&body) {
        Ok(samples) => samples,
        Err(error) => {
            made.note = Some(language.with("samples-unreadable", &[("reason", error.to_string().into())]));
            return made;
        }
    };
    let memory_kib = snapshot.hardware.as_ref().and_then(|section| section.told.facts.memory.total_bytes);
    let memory_kib = memory_kib.map(|bytes| bytes / 1_024);
    let rows: Vec<_> = samples.series.iter().map(|series| row(language, series, memory_kib)).collect();
    if rows.is_empty() {
        made.note = Some(language.text("samples-none"));
        return made;
    }
    made.fact(language, "fact-samples-span", Value::Text(span(language, &samples)));
    made.tables.push(Table {
        caption: language.text("section-samples"),
        columns: vec![
            column(language, "column-metric"),
            column(language, "column-item"),
            number_column(language, "column-latest"),
            number_column(language, "column-min"),
            number_column(language, "column-mean"),
            number_column(language, "column-max"),
        ],
        rows,
    });
    made
}

fn span(language: Language, samples: &Samples) -> String {
    let times = &samples.mono_micros;
    let secs = match (times.first(), times.last()) {
        (Some(first), Some(last)) => last.saturating_sub(*first).max(0) / 1_000_000,
        _ => 0,
    };
    let variables = [
        ("count", format::count(i64::try_from(times.len()).unwrap_or(i64::MAX)).into()),
        ("minutes", format::count(secs / 60).into()),
    ];
    language.with("samples-span", &variables)
}

fn row(language: Language, series: &Series, memory_kib: Option<u64>) -> Vec<Value> {
    let known: Vec<Point> = series.points.iter().copied().flatten().collect();
    let mut row = vec![
        Value::Text(language.text(metric_key(series.metric))),
        if series.item.is_empty() { Value::Nothing } else { Value::Code(shown(&series.item)) },
    ];
    let show = |value: i64| Value::Text(figure(series.metric, value));
    match series.points.last().copied().flatten() {
        Some(latest) => {
            row.push(share(series.metric, latest.mean, memory_kib).unwrap_or_else(|| show(latest.mean)))
        }
        None => {
            row.push(Value::Unknown { why: language.text("reason-not-measured"), message: String::new() })
        }
    }
    if known.is_empty() {
        row.extend([Value::Nothing, Value::Nothing, Value::Nothing]);
        return row;
    }
    let sum: i128 = known.iter().map(|point| i128::from(point.mean)).sum();
    let mean = i64::try_from(sum / known.len() as i128).unwrap_or(i64::MAX);
    let min = known.iter().map(|point| point.min).min().unwrap_or_default();
    let max = known.iter().map(|point| point.max).max().unwrap_or_default();
    row.extend([min, mean, max].map(show));
    row
}

/// What has a whole, as a share of it.
fn share(metric: Metric, value: i64, memory_kib: Option<u64>) -> Option<Value> {
    let used = u64::try_from(value).unwrap_or(0);
    let (whole, text) = match metric {
        Metric::ProcessorBusyPermille => (1_000, None),
        Metric::MemoryUsedKib => (memory_kib.filter(|kib| *kib > 0)?, Some(figure(metric, value))),
        _ => return None,
    };
    let percent = u32::try_from((u128::from(used) * 100 / u128::from(whole)).min(100)).unwrap_or(100);
    let tone = match percent {
        OVERLOADED_PERCENT.. => "bad",
        BUSY_PERCENT.. => "warn",
        _ => "ok",
    };
    let text = text.map_or_else(|| figure(metric, value), |text| format!("{text} · {percent}%"));
    Some(Value::Share { percent, tone, text })
}

fn figure(metric: Metric, value: i64) -> String {
    let size = u64::try_from(value).unwrap_or(0);
    match metric {
        Metric::ProcessorBusyPermille => format!("{}.{}%", size / 10, size % 10),
        Metric::MemoryUsedKib | Metric::SwapUsedKib => format::binary_bytes(size.saturating_mul(1_024)),
        Metric::GatewayRoundTripMicros | Metric::ControllerRoundTripMicros => format::micros(size),
        _ => format!("{}/s", format::decimal_bytes(size)),
    }
}

const fn metric_key(metric: Metric) -> &'static str {
    match metric {
        Metric::Unspecified => "metric-other",
        Metric::ProcessorBusyPermille => "metric-processor",
        Metric::MemoryUsedKib => "metric-memory",
        Metric::SwapUsedKib => "metric-swap",
        Metric::NetworkReceivedBytesPerSec => "metric-received",
        Metric::NetworkSentBytesPerSec => "metric-sent",
        Metric::GatewayRoundTripMicros => "metric-gateway",
        Metric::ControllerRoundTripMicros => "metric-controller",
        Metric::DiskReadBytesPerSec => "metric-disk-read",
        Metric::DiskWrittenBytesPerSec => "metric-disk-written",
    }
}
