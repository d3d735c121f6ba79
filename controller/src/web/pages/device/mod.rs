//! A device's file: everything known of it, each unknown fact with its reason.

pub(in crate::web) mod forms;
mod parts;
mod samples;
mod sections;

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State, rejection::PathRejection},
    response::Response,
};
use bbt_domain::{
    access::{Act, may},
    identity::StandingKind,
    ids::DeviceId,
    presence::{Presence, presence},
    time::UtcMicros,
};
use bbt_store::{
    Tx,
    admissions::admission_siblings,
    devices::{DeviceFile, device_show, newest_samples},
};
use fluent_bundle::FluentValue;
pub(super) use parts::why;
use parts::{Section, Value};

use super::{
    Badge, Shell, confirmation,
    devices::{device_badge, device_name, shown},
    html,
};
use crate::web::{
    Site,
    failure::Failure,
    field::{self, Field},
    format,
    language::Language,
    visit::{Fields, Visit},
};

#[derive(Template)]
#[template(path = "device.html")]
struct DevicePage {
    shell: Shell,
    name: String,
    id: String,
    school: String,
    badge: Badge,
    /// What the state means, and what to do.
    advice: String,
    /// The four figures that tell a set at a glance; `None` is unknown.
    figures: Vec<(String, Option<String>)>,
    sections: Vec<Section>,
    done: Option<String>,
    /// Whether this person may do what the forms below say.
    may_approve: bool,
    is_stolen: bool,
    is_retired: bool,
    is_frozen: bool,
    /// What is known of its disk.
    disk: String,
    /// The reason that is asked for.
    reason: Field,
    /// Its group of PCs with one identity, where there is one.
    group_url: Option<String>,
}

/// `GET /devices/{id}`
pub(in crate::web) async fn show(
    State(site): State<Arc<Site>>,
    visit: Visit,
    id: Result<Path<String>, PathRejection>,
    fields: Fields,
) -> Result<Response, Failure> {
    let done = confirmation(visit.language, &fields);
    html(&page_with(&site, &visit, device_id(id)?, done, None).await?)
}

fn device_id(id: Result<Path<String>, PathRejection>) -> Result<DeviceId, Failure> {
    id.ok().and_then(|Path(text)| text.parse().ok()).ok_or(Failure::NotFound)
}

/// The page, with what was just done, or with what is wrong with the reason given.
async fn page_with(
    site: &Site,
    visit: &Visit,
    id: DeviceId,
    done: Option<String>,
    wrong: Option<String>,
) -> Result<DevicePage, Failure> {
    let actor = visit.actor.clone();
    let read = move |tx: &mut Tx<'_>| {
        let siblings = admission_siblings(tx, &actor, id)?;
        Ok((device_show(tx, &actor, id)?, newest_samples(tx, &actor, id)?, !siblings.is_empty()))
    };
    let (file, newest, has_siblings) = site.context.store.read(read).await?;
    let (language, now) = (visit.language, site.context.now());
    let state = presence(file.line.standing, file.line.last_report_at, now);
    let group = if has_siblings { Some(id) } else { file.sibling_of };
    Ok(DevicePage {
        shell: Shell::new(site, visit, "/devices"),
        name: device_name(&file.line, language),
        id: file.line.id.to_string(),
        school: shown(&file.line.school_name),
        badge: device_badge(&file.line, language, now),
        done,
        may_approve: may(&visit.actor, Act::DeviceApprove),
        is_stolen: file.line.standing_kind == StandingKind::Stolen,
        is_retired: file.line.standing_kind == StandingKind::Retired,
        is_frozen: file.line.frozen,
        disk: disk(language, &file),
        reason: Field::new(language, "reason", "stolen-reason").wrong(wrong),
        group_url: group.map(|id| format!("/devices/{id}/siblings")),
        advice: advice(language, state, &file),
        figures: figures(language, &file),
        sections: all_sections(language, &file, newest, now),
    })
}

/// What is known of its disk, and from whom.
fn disk(language: Language, file: &DeviceFile) -> String {
    let by = match file.frozen_by.as_deref() {
        Some("system:canary") => "found",
        Some(_) => "said",
        None => "unsaid",
    };
    let word = if file.line.frozen { "frozen" } else { "kept" };
    let count = [("count", FluentValue::from(file.rollbacks))];
    language.with(&format!("disk-{word}-{by}"), &count)
}

fn advice(language: Language, state: Presence, file: &DeviceFile) -> String {
    match state {
        Presence::Today => language.text("presence-today-do"),
        Presence::NotToday => language.text("presence-not-today-do"),
        Presence::Silent(days) => language.with("presence-silent-do", &[("days", FluentValue::from(days))]),
        Presence::Never => language.text("presence-never-do"),
        Presence::Paused => match &file.standing_reason {
            Some(reason) => {
                let word = match file.line.standing_kind {
                    StandingKind::Stolen => "device-stolen-because",
                    StandingKind::Plain | StandingKind::Retired => "presence-paused-because",
                };
                language.with(word, &[("reason", FluentValue::from(shown(reason)))])
            }
            None => language.text("presence-paused-do"),
        },
    }
}

fn figures(language: Language, file: &DeviceFile) -> Vec<(String, Option<String>)> {
    let line = &file.line;
    vec![
        (language.text("fact-processor"), line.processor.as_deref().map(shown)),
        (language.text("fact-memory"), line.memory_bytes.map(format::binary_bytes)),
        (language.text("fact-disks"), line.disk_bytes.map(format::decimal_bytes)),
        (language.text("fact-os"), line.os.as_deref().map(shown)),
    ]
}

fn all_sections(
    language: Language,
    file: &DeviceFile,
    newest: Option<(UtcMicros, i64, Vec<u8>)>,
    now: UtcMicros,
) -> Vec<Section> {
    let (access, evidence) =
        (sections::access(language, file, now), sections::evidence(language, &file.evidence));
    // A device that never reported has nothing else to show, and its advice says what to do.
    if file.line.last_report_at.is_none() {
        return vec![access, evidence];
    }
    let snapshot = &file.snapshot;
    vec![
        access,
        samples::section(language, newest, snapshot),
        sections::hardware(language, snapshot.hardware.as_ref()),
        sections::memory(language, snapshot.hardware.as_ref()),
        sections::storage(language, snapshot.storage.as_ref()),
        sections::file_systems(language, snapshot.file_systems.as_ref()),
        sections::network(language, snapshot.network.as_ref()),
        sections::reachability(language, snapshot.reachability.as_ref()),
        sections::software(language, snapshot.software.as_ref()),
        evidence,
        sections::gaps(language, &file.gaps),
    ]
}
