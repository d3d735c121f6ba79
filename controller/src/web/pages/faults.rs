//! Faults: the list, and the story of one.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State, rejection::PathRejection},
    response::Response,
};
use bbt_domain::{
    fault::FaultKind,
    ids::{FaultId, InquiryId},
};
use bbt_store::{
    Tx,
    faults::{FaultChange, FaultFilter, FaultLine, fault_list, fault_show, fault_story},
};

use super::{
    Badge, Shell, html,
    pieces::{Fact, PAGE, Paging, Place, Tab, address, cut, evidence},
};
use crate::web::{
    Site, csv,
    failure::Failure,
    format::{self, Moment},
    language::Language,
    visit::{Fields, Visit},
    words,
};

#[derive(Template)]
#[template(path = "faults.html")]
struct FaultsPage {
    shell: Shell,
    show_tabs: Vec<Tab>,
    kind_tabs: Vec<Tab>,
    rows: Vec<Row>,
    /// Nothing is left out by the filter, and there is still nothing.
    is_empty: bool,
    paging: Paging,
}

struct Row {
    url: String,
    badge: Badge,
    kind: String,
    reason: String,
    place: Place,
    since: Moment,
    returns: String,
    ticket: Option<TicketLink>,
    inquiry_url: Option<String>,
}

/// A fault's ticket.
struct TicketLink {
    url: String,
    no: String,
    badge: Badge,
}

/// Which faults the list shows, as the address says it.
struct Wanted {
    filter: FaultFilter,
    before: Option<FaultId>,
}

impl Wanted {
    fn read(fields: &Fields) -> Self {
        let filter = FaultFilter {
            with_past: fields.text("show") == "all",
            kind: FaultKind::parse(fields.text("kind")),
            set: None,
        };
        Self { filter, before: fields.find("before").and_then(|id| id.parse().ok()) }
    }

    fn url(filter: FaultFilter, extra: (&str, &str)) -> String {
        let show = if filter.with_past { "all" } else { "" };
        address("/faults", &[("show", show), ("kind", filter.kind.map_or("", FaultKind::as_str)), extra])
    }
}

/// `GET /faults`
pub(in crate::web) async fn list(
    State(site): State<Arc<Site>>,
    visit: Visit,
    fields: Fields,
) -> Result<Response, Failure> {
    let (language, Wanted { filter, before }) = (visit.language, Wanted::read(&fields));
    let is_file = fields.text("format") == "csv";
    let limit = if is_file { csv::ROWS } else { PAGE + 1 };
    let before = before.filter(|_| !is_file);
    let actor = visit.actor.clone();
    let read = move |tx: &mut Tx<'_>| fault_list(tx, &actor, &filter, before, limit);
    let mut lines = site.context.store.read(read).await?;
    if is_file {
        return Ok(csv::answer(language, "faults", file(language, &lines)));
    }
    let more = cut(&mut lines);
    let next = lines.last().filter(|_| more).map(|line| line.id.to_string());
    html(&FaultsPage {
        shell: Shell::new(&site, &visit, "/faults"),
        show_tabs: show_tabs(language, filter),
        kind_tabs: kind_tabs(language, filter),
        is_empty: lines.is_empty() && filter.kind.is_none() && before.is_none(),
        rows: lines.iter().map(|line| row(language, line)).collect(),
        paging: Paging {
            first: before.map(|_| Wanted::url(filter, ("", ""))),
            next: next.map(|id| Wanted::url(filter, ("before", &id))),
            csv: (!lines.is_empty()).then(|| Wanted::url(filter, ("format", "csv"))),
        },
    })
}

fn show_tabs(language: Language, filter: FaultFilter) -> Vec<Tab> {
    let tab = |with_past, label| Tab {
        label: language.text(label),
        url: Wanted::url(FaultFilter { with_past, ..filter }, ("", "")),
        is_current: filter.with_past == with_past,
    };
    vec![tab(false, "faults-now"), tab(true, "faults-all")]
}

fn kind_tabs(language: Language, filter: FaultFilter) -> Vec<Tab> {
    let tab = |kind: Option<FaultKind>| Tab {
        label: kind
            .map_or_else(|| language.text("faults-every-kind"), |kind| words::fault_kind(language, kind)),
        url: Wanted::url(FaultFilter { kind, ..filter }, ("", "")),
        is_current: filter.kind == kind,
    };
    std::iter::once(None).chain(FaultKind::ALL.map(Some)).map(tab).collect()
}

fn row(language: Language, line: &FaultLine) -> Row {
    Row {
        url: format!("/faults/{}", line.id),
        badge: words::fault_state(language, line.kind, line.state),
        kind: words::fault_kind(language, line.kind),
        reason: words::reason(language, &line.reason),
        place: Place::new(language, &line.set),
        since: Moment::new(language, line.raised_at.unwrap_or(line.since)),
        returns: format::count(line.returns),
        ticket: ticket_link(language, line),
        inquiry_url: line.inquiry.map(inquiry_url),
    }
}

fn ticket_link(language: Language, line: &FaultLine) -> Option<TicketLink> {
    let (id, no, state) = line.ticket.as_ref()?;
    Some(TicketLink {
        url: format!("/tickets/{id}"),
        no: no.clone(),
        badge: words::ticket_state(language, *state),
    })
}

fn inquiry_url(id: InquiryId) -> String {
    format!("/inquiries/{id}")
}

fn file(language: Language, lines: &[FaultLine]) -> Vec<Vec<String>> {
    let columns = [
        "column-state",
        "column-fault",
        "column-reason",
        "column-school",
        "column-room",
        "column-set-code",
        "column-raised",
        "column-since",
        "column-returns",
        "column-ticket",
    ];
    let mut rows = vec![columns.map(|column| language.text(column)).to_vec()];
    rows.extend(lines.iter().map(|line| {
        let row = row(language, line);
        vec![
            row.badge.word,
            row.kind,
            row.reason,
            row.place.school,
            row.place.room,
            row.place.code,
            row.since.text,
            Moment::new(language, line.since).text,
            line.returns.to_string(),
            row.ticket.map(|ticket| ticket.no).unwrap_or_default(),
        ]
    }));
    rows
}

#[derive(Template)]
#[template(path = "fault.html")]
struct FaultPage {
    shell: Shell,
    kind: String,
    badge: Badge,
    place: Place,
    reason: String,
    /// Since when it stands so, and how often it came back.
    since: Moment,
    raised: Moment,
    returns: String,
    facts: Vec<Fact>,
    ticket: Option<TicketLink>,
    inquiry_url: Option<String>,
    story: Vec<Change>,
}

/// One line of a fault's story.
struct Change {
    badge: Badge,
    reason: String,
    at: Moment,
}

/// `GET /faults/{id}`
pub(in crate::web) async fn show(
    State(site): State<Arc<Site>>,
    visit: Visit,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Failure> {
    let id: FaultId = id.ok().and_then(|Path(text)| text.parse().ok()).ok_or(Failure::NotFound)?;
    let actor = visit.actor.clone();
    let read = move |tx: &mut Tx<'_>| Ok((fault_show(tx, &actor, id)?, fault_story(tx, &actor, id)?));
    let (line, story) = site.context.store.read(read).await?;
    let language = visit.language;
    html(&FaultPage {
        shell: Shell::new(&site, &visit, "/faults"),
        kind: words::fault_kind(language, line.kind),
        badge: words::fault_state(language, line.kind, line.state),
        place: Place::new(language, &line.set),
        reason: words::reason(language, &line.reason),
        since: Moment::new(language, line.since),
        raised: Moment::new(language, line.raised_at.unwrap_or(line.since)),
        returns: format::count(line.returns),
        facts: evidence(language, &line.reason),
        ticket: ticket_link(language, &line),
        inquiry_url: line.inquiry.map(inquiry_url),
        story: story.iter().map(|change| told(language, line.kind, change)).collect(),
    })
}

fn told(language: Language, kind: FaultKind, change: &FaultChange) -> Change {
    Change {
        badge: words::fault_state(language, kind, change.state),
        reason: words::reason(language, &change.reason),
        at: Moment::new(language, change.at),
    }
}
