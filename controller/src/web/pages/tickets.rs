//! Tickets: the list, and the page from which a contractor works, phone first.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State, rejection::PathRejection},
    response::{IntoResponse, Redirect, Response},
};
use bbt_domain::{
    access::{Act, may},
    ids::TicketId,
    ticket::state::{Action, TicketState, Transition, offered},
    time::UtcMicros,
};
use bbt_store::{
    StoreError, Tx,
    outbox::{MessageLine, MessageState},
    tickets::{
        TicketEvent, TicketFile, TicketFilter, TicketLine, TicketRef, ticket_act, ticket_list, ticket_show,
    },
};
use http::StatusCode;

use super::{
    Badge, Shell,
    devices::shown,
    html,
    pieces::{Fact, Note, PAGE, Paging, Place, Tab, address, cut, evidence},
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
#[template(path = "tickets.html")]
struct TicketsPage {
    shell: Shell,
    tabs: Vec<Tab>,
    rows: Vec<Row>,
    shows_all: bool,
    paging: Paging,
}

struct Row {
    url: String,
    no: String,
    badge: Badge,
    kind: String,
    reason: String,
    place: Place,
    contractor: Option<String>,
    opened: Moment,
    closed: Option<Moment>,
    /// From opening to closing, or until now.
    age: String,
}

impl Row {
    fn new(language: Language, line: &TicketLine, now: UtcMicros) -> Self {
        let age = line.closed_at.unwrap_or(now).since(line.opened_at);
        Self {
            url: format!("/tickets/{}", line.id),
            no: line.no.clone(),
            badge: words::ticket_state(language, line.state),
            kind: words::fault_kind(language, line.kind),
            reason: words::reason(language, &line.reason),
            place: Place::new(language, &line.set),
            contractor: line.contractor.as_deref().map(shown),
            opened: Moment::new(language, line.opened_at),
            closed: line.closed_at.map(|at| Moment::new(language, at)),
            age: format::span(language, age.as_secs()),
        }
    }
}

/// `GET /tickets`
pub(in crate::web) async fn list(
    State(site): State<Arc<Site>>,
    visit: Visit,
    fields: Fields,
) -> Result<Response, Failure> {
    let (language, now) = (visit.language, site.context.now());
    let shows_all = fields.text("show") == "all";
    let is_file = fields.text("format") == "csv";
    let limit = if is_file { csv::ROWS } else { PAGE + 1 };
    let before: Option<TicketId> = fields.find("before").filter(|_| !is_file).and_then(|id| id.parse().ok());
    let (actor, filter) = (visit.actor.clone(), TicketFilter { with_closed: shows_all, set: None });
    let read = move |tx: &mut Tx<'_>| ticket_list(tx, &actor, &filter, before, limit);
    let mut lines = site.context.store.read(read).await?;
    let more = !is_file && cut(&mut lines);
    let rows: Vec<_> = lines.iter().map(|line| Row::new(language, line, now)).collect();
    if is_file {
        return Ok(csv::answer(language, "tickets", file(language, rows)));
    }
    let show = if shows_all { "all" } else { "" };
    let url = |part: (&str, &str)| address("/tickets", &[("show", show), part]);
    let next = lines.last().filter(|_| more).map(|line| line.id.to_string());
    html(&TicketsPage {
        shell: Shell::new(&site, &visit, "/tickets"),
        tabs: tabs(language, shows_all),
        shows_all,
        paging: Paging {
            first: before.map(|_| url(("", ""))),
            next: next.map(|id| url(("before", &id))),
            csv: (!rows.is_empty()).then(|| url(("format", "csv"))),
        },
        rows,
    })
}

fn tabs(language: Language, shows_all: bool) -> Vec<Tab> {
    let tab = |all, label, show| Tab {
        label: language.text(label),
        url: address("/tickets", &[("show", show)]),
        is_current: shows_all == all,
    };
    vec![tab(false, "tickets-open", ""), tab(true, "tickets-all", "all")]
}

fn file(language: Language, rows: Vec<Row>) -> Vec<Vec<String>> {
    let columns = [
        "column-ticket",
        "column-state",
        "column-fault",
        "column-reason",
        "column-school",
        "column-room",
        "column-set-code",
        "column-contractor",
        "column-opened",
        "column-closed",
        "column-age",
    ];
    let line = |row: Row| {
        vec![
            row.no,
            row.badge.word,
            row.kind,
            row.reason,
            row.place.school,
            row.place.room,
            row.place.code,
            row.contractor.unwrap_or_default(),
            row.opened.text,
            row.closed.map(|at| at.text).unwrap_or_default(),
            row.age,
        ]
    };
    let head = columns.map(|column| language.text(column)).to_vec();
    std::iter::once(head).chain(rows.into_iter().map(line)).collect()
}

#[derive(Template)]
#[template(path = "ticket.html")]
struct TicketPage {
    shell: Shell,
    row: Row,
    fault_url: Option<String>,
    facts: Vec<Fact>,
    /// What was just done.
    done: Option<String>,
    /// What was to be done and could not be: its field says why.
    refused: Option<&'static str>,
    /// The one thing to do next.
    next: Option<Step>,
    /// What else can be done.
    others: Vec<Step>,
    events: Vec<Event>,
    messages: Vec<Message>,
    /// Why nobody was told.
    told_nobody: Option<String>,
}

/// Something that can be done to the ticket, as a form.
struct Step {
    action: &'static str,
    word: String,
    follows: String,
    needs_note: bool,
    note: Note,
}

struct Event {
    badge: Badge,
    what: String,
    who: String,
    note: String,
    at: Moment,
}

/// What the contractor was told, and how that went.
struct Message {
    what: String,
    badge: Badge,
    made: Moment,
    attempts: Vec<(Moment, words::Attempt)>,
    next: Option<Moment>,
}

/// `GET /tickets/{id}`, by id or number.
pub(in crate::web) async fn show(
    State(site): State<Arc<Site>>,
    visit: Visit,
    id: Result<Path<String>, PathRejection>,
    fields: Fields,
) -> Result<Response, Failure> {
    let file = find(&site, &visit, id).await?;
    page(&site, &visit, &file, fields.text("done"), None)
}

async fn find(
    site: &Site,
    visit: &Visit,
    id: Result<Path<String>, PathRejection>,
) -> Result<TicketFile, Failure> {
    let Path(text) = id.map_err(|_| Failure::NoTicket)?;
    let (ticket, actor) = (TicketRef::parse(&text), visit.actor.clone());
    let found = site.context.store.read(move |tx: &mut Tx<'_>| ticket_show(tx, &actor, ticket)).await;
    found.map_err(|error| match error {
        StoreError::NotFound { .. } => Failure::NoTicket,
        other => other.into(),
    })
}

/// The page; `done` is what the address says was just done, `refused` what could not be.
fn page(
    site: &Site,
    visit: &Visit,
    file: &TicketFile,
    done: &str,
    refused: Option<(Action, Note)>,
) -> Result<Response, Failure> {
    let (language, line) = (visit.language, &file.line);
    let tried = refused.as_ref().map(|(action, _)| action.as_str());
    let may_work = may(&visit.actor, Act::TicketWork);
    let mut steps = steps(language, line.state, refused).filter(|_| may_work);
    let told_nobody = match (&line.contractor, file.messages.is_empty()) {
        (None, _) => Some("ticket-no-contract"),
        (Some(_), true) => Some("ticket-no-webhook"),
        (Some(_), false) => None,
    };
    html(&TicketPage {
        shell: Shell::new(site, visit, "/tickets"),
        row: Row::new(language, line, site.context.now()),
        fault_url: line.fault_id.map(|id| format!("/faults/{id}")),
        facts: evidence(language, &line.reason),
        // An address can be made by hand; only what really happened last is confirmed.
        done: file
            .events
            .last()
            .filter(|event| event.action == done)
            .map(|event| words::ticket_event(language, &event.action)),
        refused: tried,
        next: steps.next(),
        others: steps.collect(),
        events: file.events.iter().map(|event| told(language, event)).collect(),
        messages: file.messages.iter().map(|message| sent(language, message)).collect(),
        told_nobody: told_nobody.map(|key| language.text(key)),
    })
}

/// What can be done, the next thing first.
fn steps(
    language: Language,
    state: TicketState,
    refused: Option<(Action, Note)>,
) -> impl Iterator<Item = Step> {
    let (refused, mut note) = refused.map_or((None, None), |(action, note)| (Some(action), Some(note)));
    offered(state).map(move |Transition { action, needs_note, .. }| Step {
        action: action.as_str(),
        word: words::ticket_action(language, action),
        follows: words::ticket_consequence(language, action),
        needs_note,
        note: if refused == Some(action) { note.take().unwrap_or_default() } else { Note::default() },
    })
}

fn told(language: Language, event: &TicketEvent) -> Event {
    Event {
        badge: words::ticket_state(language, event.state),
        what: words::ticket_event(language, &event.action),
        who: words::actor(language, &event.actor),
        note: shown(&event.note),
        at: Moment::new(language, event.at),
    }
}

fn sent(language: Language, message: &MessageLine) -> Message {
    let attempt = |line| words::attempt(language, line);
    let due = message.due_at.filter(|_| message.state == MessageState::Waiting);
    Message {
        what: words::message(language, &message.kind),
        badge: words::message_state(language, message.state),
        made: Moment::new(language, message.made_at),
        attempts: message
            .attempts
            .iter()
            .map(|line| (Moment::new(language, line.at), attempt(line)))
            .collect(),
        next: due.map(|at| Moment::new(language, at)),
    }
}

/// `POST /tickets/{id}/act`
pub(in crate::web) async fn act(
    State(site): State<Arc<Site>>,
    visit: Visit,
    id: Result<Path<String>, PathRejection>,
    fields: Fields,
) -> Result<Response, Failure> {
    let file = find(&site, &visit, id).await?;
    let action = Action::parse(fields.text("action")).ok_or(Failure::FormUnreadable)?;
    let (ticket, state) = (file.line.id, file.line.state);
    let Some(transition) = offered(state).find(|transition| transition.action == action) else {
        return Err(Failure::Changed(format!(
            "ticket {}: {} in state {}",
            file.line.no,
            action.as_str(),
            state.as_str()
        )));
    };
    let note = Note::read(visit.language, &fields, transition.needs_note);
    if note.problem.is_some() {
        let mut response = page(&site, &visit, &file, "", Some((action, note)))?;
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
        return Ok(response);
    }
    let (means, now, actor) = (site.ticket_means(), site.context.now(), visit.actor);
    let write =
        move |tx: &mut Tx<'_>| ticket_act(tx, &actor, ticket, action, &note.text, &means, now).map(|_| ());
    site.context.store.write(write).await?;
    Ok(Redirect::to(&format!("/tickets/{ticket}?done={}", action.as_str())).into_response())
}
