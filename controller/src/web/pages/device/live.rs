//! A look at one device as it works: begun and ended here, and its samples as they come.
//!
//! The page asks again by itself as often as samples come; a header says so, so it needs no script. It shows what the
//! device sent and nothing else, so that asking is cheap.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State, rejection::PathRejection},
    response::{IntoResponse, Redirect, Response},
};
use bbt_domain::{
    access::{Act, may},
    configuration::Live,
    ids::DeviceId,
    time::UtcMicros,
};
use bbt_proto::report::v1::Metric;
use bbt_store::{
    Tx,
    configuration::live_show,
    devices::{DeviceLine, device_show, samples_since},
};
use http::{HeaderValue, header};

use super::{device_id, device_name, shown};
use crate::{
    configuration::{self, LIVE_SPAN},
    samples::{Samples, decode},
    web::{
        Site,
        failure::Failure,
        format::{self, Moment},
        pages::html,
        shell::Shell,
        visit::Visit,
    },
};

/// Seconds between two looks of the page, as between samples.
const REFRESH: HeaderValue = HeaderValue::from_static("5");
/// Samples shown: two minutes.
const ROWS: usize = 24;
/// How long ago a frame may have come to be shown.
const SHOWN_FOR: std::time::Duration = std::time::Duration::from_secs(5 * 60);

/// What is shown of a sample: the metrics that people ask for when they look at a PC.
const COLUMNS: [(Metric, &str); 6] = [
    (Metric::ProcessorBusyPermille, "metric-processor"),
    (Metric::MemoryUsedKib, "metric-memory"),
    (Metric::NetworkReceivedBytesPerSec, "metric-received"),
    (Metric::NetworkSentBytesPerSec, "metric-sent"),
    (Metric::DiskReadBytesPerSec, "metric-disk-read"),
    (Metric::DiskWrittenBytesPerSec, "metric-disk-written"),
];

#[derive(Template)]
#[template(path = "live.html")]
struct LivePage {
    shell: Shell,
    name: String,
    id: String,
    school: String,
    /// Until when it goes on; `None` when it is over.
    until: Option<Moment>,
    may_change: bool,
    columns: Vec<String>,
    rows: Vec<Row>,
}

struct Row {
    at: Moment,
    /// Of [`COLUMNS`]; `None` is unknown.
    values: Vec<Option<String>>,
}

/// `GET /devices/{id}/live`
pub(in crate::web) async fn show(
    State(site): State<Arc<Site>>,
    visit: Visit,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Failure> {
    let (id, now) = (device_id(id)?, site.context.now());
    let actor = visit.actor.clone();
    let read = move |tx: &mut Tx<'_>| {
        let frames = samples_since(tx, &actor, id, now.minus(SHOWN_FOR), ROWS)?;
        Ok((device_show(tx, &actor, id)?.line, live_show(tx, &actor, id, now)?, frames))
    };
    let (line, live, frames) = site.context.store.read(read).await?;
    let mut response = html(&page(&site, &visit, &line, live, &frames))?;
    if live.is_some() {
        response.headers_mut().insert(header::REFRESH, REFRESH);
    }
    Ok(response)
}

fn page(
    site: &Site,
    visit: &Visit,
    line: &DeviceLine,
    live: Option<Live>,
    frames: &[(UtcMicros, i64, Vec<u8>)],
) -> LivePage {
    let language = visit.language;
    LivePage {
        shell: Shell::new(site, visit, "/devices"),
        name: device_name(line, language),
        id: line.id.to_string(),
        school: shown(&line.school_name),
        until: live.map(|live| Moment::clock(live.until)),
        may_change: may(&visit.actor, Act::ConfigurationWrite),
        columns: COLUMNS.map(|(_, label)| language.text(label)).into(),
        rows: frames.iter().flat_map(rows).take(ROWS).collect(),
    }
}

/// The samples of a frame, newest first; one that cannot be read has none.
fn rows((at, mono_micros, body): &(UtcMicros, i64, Vec<u8>)) -> Vec<Row> {
    let Ok(samples) = decode(body) else { return Vec::new() };
    let row = |index: usize| {
        // The frame's own time, less what passed between the sample and it.
        let before = mono_micros.saturating_sub(samples.mono_micros[index]);
        let time = UtcMicros::from_micros(at.as_micros().saturating_sub(before));
        let values =
            COLUMNS.map(|(metric, _)| sum(&samples, metric, index).map(|mean| in_words(metric, mean)));
        Row { at: Moment::clock(time), values: values.into() }
    };
    (0..samples.mono_micros.len()).rev().map(row).collect()
}

/// Over all disks or interfaces; `None` when nothing was measured.
fn sum(samples: &Samples, metric: Metric, index: usize) -> Option<i64> {
    let series = samples.series.iter().filter(|series| series.metric == metric);
    series.filter_map(|series| Some(series.points.get(index)?.as_ref()?.mean)).reduce(i64::saturating_add)
}

fn in_words(metric: Metric, mean: i64) -> String {
    let mean = u64::try_from(mean).unwrap_or(0);
    match metric {
        Metric::ProcessorBusyPermille => format!("{}.{}%", mean / 10, mean % 10),
        Metric::MemoryUsedKib => format::binary_bytes(mean.saturating_mul(1_024)),
        _ => format!("{}/s", format::decimal_bytes(mean)),
    }
}

/// `POST /devices/{id}/live`
pub(in crate::web) async fn begin(
    State(site): State<Arc<Site>>,
    visit: Visit,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Failure> {
    let id = device_id(id)?;
    configuration::look_live(&site.context, visit.actor, id, LIVE_SPAN).await?;
    Ok(to_page(id))
}

/// `POST /devices/{id}/live/stop`
pub(in crate::web) async fn stop(
    State(site): State<Arc<Site>>,
    visit: Visit,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Failure> {
    let id = device_id(id)?;
    configuration::stop_live(&site.context, visit.actor, id).await?;
    Ok(to_page(id))
}

fn to_page(id: DeviceId) -> Response {
    Redirect::to(&format!("/devices/{id}/live#content")).into_response()
}
