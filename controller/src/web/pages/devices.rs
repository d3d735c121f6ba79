//! The list of devices.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Response};
use bbt_domain::{civil::Day, identity::StandingKind, presence::presence, text, time::UtcMicros};
use bbt_store::{
    Tx,
    devices::{DeviceLine, device_count, device_search},
};

use super::{
    Badge, Shell, html,
    pieces::{Tab, address},
};
use crate::web::{
    Site,
    failure::Failure,
    format::{self, Moment},
    language::Language,
    visit::{Fields, Visit},
};

/// Devices on one page.
const PAGE: usize = 50;
/// The tab of stolen devices, in the address.
const STOLEN: &str = "stolen";
/// Longest text to search for.
const WANTED_CHARS: usize = 64;

#[derive(Template)]
#[template(path = "devices.html")]
struct DevicesPage {
    shell: Shell,
    wanted: String,
    total: String,
    today: String,
    not_today: String,
    is_empty: bool,
    rows: Vec<Row>,
    /// Not the first page.
    is_later: bool,
    next_url: Option<String>,
    first_url: String,
    tabs: Vec<Tab>,
    /// Which of the tabs it is, as the address has it.
    show: &'static str,
}

struct Row {
    url: String,
    name: String,
    id: String,
    badge: Badge,
    school: String,
    school_code: String,
    processor: Option<String>,
    memory: Option<String>,
    disks: Option<String>,
    os: Option<String>,
    last_report: Option<Moment>,
}

/// `GET /devices`
pub(in crate::web) async fn list(
    State(site): State<Arc<Site>>,
    visit: Visit,
    fields: Fields,
) -> Result<Response, Failure> {
    let now = site.context.now();
    let wanted = text::clean(fields.text("q"), WANTED_CHARS);
    let after = fields.find("after").and_then(|id| id.parse().ok());
    let show = fields.text("show");
    let only = (show == STOLEN).then_some(StandingKind::Stolen);
    let show = if only.is_some() { STOLEN } else { "" };
    let (actor, sought) = (visit.actor.clone(), wanted.clone());
    let read = move |tx: &mut Tx<'_>| {
        let counts = device_count(tx, &actor, Day::of(now).start())?;
        Ok((counts, device_search(tx, &actor, &sought, only, after, PAGE + 1)?))
    };
    let ((total, today), mut lines) = site.context.store.read(read).await?;
    // One more than is shown tells whether there is a next page.
    let more = lines.len() > PAGE;
    lines.truncate(PAGE);
    let url = |after: &str| address("/devices", &[("q", &wanted), ("show", show), ("after", after)]);
    let next = lines.last().filter(|_| more).map(|line| line.id);
    html(&DevicesPage {
        shell: Shell::new(&site, &visit, "/devices"),
        total: format::count(total),
        today: format::count(today),
        not_today: format::count(total - today),
        is_empty: total == 0,
        rows: lines.into_iter().map(|line| row(line, visit.language, now)).collect(),
        is_later: after.is_some(),
        next_url: next.map(|id| url(&id.to_string())),
        first_url: url(""),
        tabs: tabs(visit.language, show),
        show,
        wanted,
    })
}

fn tabs(language: Language, current: &str) -> Vec<Tab> {
    let tab = |show: &str, label| Tab {
        label: language.text(label),
        url: address("/devices", &[("show", show)]),
        is_current: current == show,
    };
    vec![tab("", "devices-all"), tab(STOLEN, "device-stolen")]
}

fn row(line: DeviceLine, language: Language, now: UtcMicros) -> Row {
    Row {
        url: format!("/devices/{}", line.id),
        badge: device_badge(&line, language, now),
        name: device_name(&line, language),
        id: line.id.to_string(),
        school: line.school_name,
        school_code: line.school_code,
        processor: line.processor.map(|text| shown(&text)),
        memory: line.memory_bytes.map(format::binary_bytes),
        disks: line.disk_bytes.map(format::decimal_bytes),
        os: line.os.map(|text| shown(&text)),
        last_report: line.last_report_at.map(|at| Moment::new(language, at)),
    }
}

/// How a device stands, in a word; a stolen one is that before all else.
pub(super) fn device_badge(line: &DeviceLine, language: Language, now: UtcMicros) -> Badge {
    match line.standing_kind {
        StandingKind::Stolen => Badge { tone: "bad", shape: "▲", word: language.text("device-stolen") },
        StandingKind::Retired => Badge { tone: "off", shape: "－", word: language.text("device-retired") },
        StandingKind::Plain => Badge::of(presence(line.standing, line.last_report_at, now), language),
    }
}

/// What a device is called: by itself, as long as no room is known.
pub(super) fn device_name(line: &DeviceLine, language: Language) -> String {
    let told = line.host_name.as_deref().map(shown).filter(|name| !name.is_empty());
    told.unwrap_or_else(|| language.text("device-unnamed"))
}

/// Text of a device made safe once more before it is shown: what was stored by an older release, or by a hand in
/// the file, must not turn a page around.
pub(in crate::web) fn shown(text: &str) -> String {
    text::clean(text, text::SENTENCE_CHARS)
}
