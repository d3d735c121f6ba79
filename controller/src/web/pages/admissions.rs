//! 待核实设备: PCs of which somebody has to say which device they are, what they show beside what is known.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State, rejection::PathRejection},
    response::Response,
};
use bbt_domain::{
    access::{Act, may},
    identity::{AdmissionKind, EvidenceKind, Likeness, Ruling, Weighed, Worth},
    ids::{AdmissionId, DeviceId},
};
use bbt_store::{
    Tx,
    admissions::{
        AdmissionLine, Decision, admission_decide, admission_decide_siblings, admission_list,
        admission_siblings, admission_undo,
    },
    devices::device_show,
};

use super::{
    Shell, confirmation,
    devices::{device_name, shown},
    done, html,
    pieces::{PAGE, Paging, address, cut},
};
use crate::web::{
    Site,
    failure::Failure,
    format::{self, Moment},
    language::Language,
    visit::{Fields, Visit},
};

#[derive(Template)]
#[template(path = "admissions.html")]
struct AdmissionsPage {
    shell: Shell,
    done: Option<String>,
    cards: Vec<Card>,
    paging: Paging,
}

#[derive(Template)]
#[template(path = "siblings.html")]
struct SiblingsPage {
    shell: Shell,
    done: Option<String>,
    device_url: String,
    device_name: String,
    id: String,
    cards: Vec<Card>,
    /// How many of them wait, in words; `None` when none does or this person may not rule.
    waiting: Option<String>,
    quarantined: String,
}

/// One request.
struct Card {
    id: String,
    /// What it is about.
    title: String,
    lead: String,
    school: String,
    address: String,
    agent: String,
    first: Moment,
    last: Moment,
    times: String,
    /// The device whose identity it showed, and its group.
    of: Option<(String, String)>,
    matches: Vec<Likely>,
    rows: Vec<Row>,
    ruling: Option<Ruled>,
    /// What can be said: nothing once it was ruled on, or for those who may only read.
    choices: Vec<Choice>,
}

/// A device that it may be.
struct Likely {
    url: String,
    /// The first digits of its id.
    name: String,
    likeness: String,
    tone: &'static str,
}

/// One kind of evidence: what was shown, and what is on record for each device that it may be.
struct Row {
    kind: String,
    shown: Vec<Cell>,
    known: Vec<Vec<Cell>>,
}

/// A value and what it says.
struct Cell {
    value: String,
    says: String,
    tone: &'static str,
}

/// What was decided.
struct Ruled {
    text: String,
    device_url: Option<String>,
    may_undo: bool,
}

/// A way to rule, with its consequence.
struct Choice {
    ruling: &'static str,
    device: String,
    label: String,
    consequence: String,
    confirm: String,
}

/// `GET /admissions`
pub(in crate::web) async fn list(
    State(site): State<Arc<Site>>,
    visit: Visit,
    fields: Fields,
) -> Result<Response, Failure> {
    let after: Option<AdmissionId> = fields.find("after").and_then(|id| id.parse().ok());
    let actor = visit.actor.clone();
    let read = move |tx: &mut Tx<'_>| admission_list(tx, &actor, after, PAGE + 1);
    let mut lines = site.context.store.read(read).await?;
    let more = cut(&mut lines);
    let url = |after: &str| address("/admissions", &[("after", after)]);
    html(&AdmissionsPage {
        shell: Shell::new(&site, &visit, "/admissions"),
        done: confirmation(visit.language, &fields),
        cards: lines.iter().map(|line| card(line, &visit)).collect(),
        paging: Paging {
            first: after.map(|_| url("")),
            next: lines.last().filter(|_| more).map(|line| url(&line.id.to_string())),
            csv: None,
        },
    })
}

/// `GET /devices/{id}/siblings`
pub(in crate::web) async fn siblings(
    State(site): State<Arc<Site>>,
    visit: Visit,
    id: Result<Path<String>, PathRejection>,
    fields: Fields,
) -> Result<Response, Failure> {
    let id = device_id(id)?;
    let (actor, language) = (visit.actor.clone(), visit.language);
    let read = move |tx: &mut Tx<'_>| Ok((device_show(tx, &actor, id)?, admission_siblings(tx, &actor, id)?));
    let (file, lines) = site.context.store.read(read).await?;
    let waiting = lines.iter().filter(|line| line.ruling.is_none()).count();
    let may_rule = may(&visit.actor, Act::DeviceApprove) && waiting > 0;
    html(&SiblingsPage {
        shell: Shell::new(&site, &visit, "/devices"),
        done: confirmation(language, &fields),
        device_url: format!("/devices/{id}"),
        device_name: device_name(&file.line, language),
        id: id.to_string(),
        cards: lines.iter().map(|line| card(line, &visit)).collect(),
        waiting: may_rule.then(|| language.with("siblings-waiting", &[("count", waiting.into())])),
        quarantined: format::count(file.quarantined_of_clones),
    })
}

/// `POST /devices/{id}/siblings`
pub(in crate::web) async fn approve_siblings(
    State(site): State<Arc<Site>>,
    visit: Visit,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Failure> {
    let (id, now) = (device_id(id)?, site.context.now());
    let approve = move |tx: &mut Tx<'_>| admission_decide_siblings(tx, &visit.actor, id, now);
    site.context.store.write(approve).await?;
    Ok(done(&format!("/devices/{id}/siblings"), "siblings-approved"))
}

/// `POST /admissions/{id}/decide`
pub(in crate::web) async fn decide(
    State(site): State<Arc<Site>>,
    visit: Visit,
    id: Result<Path<String>, PathRejection>,
    fields: Fields,
) -> Result<Response, Failure> {
    let (id, now) = (admission_id(id)?, site.context.now());
    let decision = match Ruling::parse(fields.text("ruling")).ok_or(Failure::FormUnreadable)? {
        Ruling::Same => Decision::Same(fields.text("device").parse().map_err(|_| Failure::FormUnreadable)?),
        Ruling::New => Decision::New,
        Ruling::Refused => Decision::Refused,
    };
    let decide = move |tx: &mut Tx<'_>| admission_decide(tx, &visit.actor, id, decision, now).map(|_| ());
    site.context.store.write(decide).await?;
    Ok(done("/admissions", "admission-decided"))
}

/// `POST /admissions/{id}/undo`
pub(in crate::web) async fn undo(
    State(site): State<Arc<Site>>,
    visit: Visit,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Failure> {
    let (id, now) = (admission_id(id)?, site.context.now());
    let undo = move |tx: &mut Tx<'_>| admission_undo(tx, &visit.actor, id, now).map(|_| ());
    site.context.store.write(undo).await?;
    Ok(done("/admissions", "admission-undone"))
}

fn admission_id(id: Result<Path<String>, PathRejection>) -> Result<AdmissionId, Failure> {
    id.ok().and_then(|Path(text)| text.parse().ok()).ok_or(Failure::NotFound)
}

fn device_id(id: Result<Path<String>, PathRejection>) -> Result<DeviceId, Failure> {
    id.ok().and_then(|Path(text)| text.parse().ok()).ok_or(Failure::NotFound)
}

fn card(line: &AdmissionLine, visit: &Visit) -> Card {
    let language = visit.language;
    let may_rule = may(&visit.actor, Act::DeviceApprove);
    let word = line.kind.as_str();
    let host = shown(&line.host_name);
    Card {
        id: line.id.to_string(),
        title: if host.is_empty() { language.text("device-unnamed") } else { host },
        lead: language.text(&format!("admission-{word}")),
        school: shown(&line.school_name),
        address: shown(&line.address),
        agent: shown(&line.agent_version),
        first: Moment::new(language, line.first_at),
        last: Moment::new(language, line.last_at),
        times: format::count(line.times),
        of: line.device.map(|device| {
            let group = match line.kind {
                AdmissionKind::Clone => format!("/devices/{device}/siblings"),
                AdmissionKind::Enrollment | AdmissionKind::Question => format!("/devices/{device}"),
            };
            (group, short(device))
        }),
        matches: line.matches.iter().map(|one| likely(one, language)).collect(),
        rows: rows(line, language),
        ruling: line.ruling.map(|ruling| Ruled {
            text: language.text(&format!("ruling-{}", ruling.as_str())),
            device_url: line.decided_device.map(|device| format!("/devices/{device}")),
            may_undo: may_rule && !line.taken,
        }),
        choices: if may_rule && line.ruling.is_none() { choices(line, language) } else { Vec::new() },
    }
}

fn likely(one: &bbt_store::recognition::Match, language: Language) -> Likely {
    let (word, tone) = match one.likeness {
        Likeness::Same => ("likeness-same", "ok"),
        Likeness::Ask => ("likeness-ask", "warn"),
        Likeness::Other => ("likeness-other", "off"),
    };
    Likely {
        url: format!("/devices/{}", one.device),
        name: short(one.device),
        likeness: language.with(word, &[("score", one.found.score.into())]),
        tone,
    }
}

/// The end of an id tells devices that were enrolled together apart better than its beginning.
fn short(device: DeviceId) -> String {
    let text = device.to_string();
    format!("…{}", &text[text.len() - 8..])
}

fn rows(line: &AdmissionLine, language: Language) -> Vec<Row> {
    let of = |weighed: &[Weighed], kind: EvidenceKind, others: &[&[Weighed]]| -> Vec<Cell> {
        let values = weighed.iter().filter(|one| one.evidence.kind == kind);
        values.map(|one| cell(one, others, language)).collect()
    };
    let known: Vec<&[Weighed]> = line.matches.iter().map(|one| one.known.as_slice()).collect();
    let row = |kind: EvidenceKind| {
        let word = kind.as_str().replace('_', "-");
        Row {
            kind: language.text(&format!("evidence-{word}")),
            shown: of(&line.shown, kind, &known),
            known: known.iter().map(|known| of(known, kind, &[line.shown.as_slice()])).collect(),
        }
    };
    let has_any = |row: &Row| !row.shown.is_empty() || row.known.iter().any(|cells| !cells.is_empty());
    EvidenceKind::ALL.into_iter().map(row).filter(has_any).collect()
}

/// A value beside what the other side has.
fn cell(one: &Weighed, others: &[&[Weighed]], language: Language) -> Cell {
    let agrees = others.iter().any(|other| other.iter().any(|known| known.evidence == one.evidence));
    let (word, tone) = match one.worth {
        Worth::Junk => ("evidence-says-junk", "off"),
        Worth::Common => ("evidence-says-common", "off"),
        Worth::Counts if agrees => ("evidence-says-agrees", "ok"),
        Worth::Counts if others.is_empty() => ("evidence-says-alone", "off"),
        Worth::Counts => ("evidence-says-differs", "warn"),
    };
    Cell { value: shown(&one.evidence.value), says: language.text(word), tone }
}

fn choices(line: &AdmissionLine, language: Language) -> Vec<Choice> {
    let choice = |ruling: Ruling, device: Option<DeviceId>| {
        let word = ruling.as_str();
        let names = [("device", device.map(short).unwrap_or_default().into())];
        let text = |key: &str| language.with(&format!("choose-{word}{key}"), &names);
        Choice {
            ruling: word,
            device: device.map(|device| device.to_string()).unwrap_or_default(),
            label: text(""),
            consequence: text("-consequence"),
            confirm: text("-confirm"),
        }
    };
    let mut same: Vec<DeviceId> = line.matches.iter().map(|one| one.device).collect();
    same.extend(line.device.filter(|device| !same.contains(device)));
    let same = same.into_iter().map(|device| choice(Ruling::Same, Some(device)));
    same.chain([choice(Ruling::New, None), choice(Ruling::Refused, None)]).collect()
}
