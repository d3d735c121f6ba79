//! 核实单: questions to schools about silent sets, answered with one tap.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State, rejection::PathRejection},
    response::{IntoResponse, Redirect, Response},
};
use bbt_domain::{
    access::{Act, may},
    fault::{Reason, policy::Rules},
    ids::InquiryId,
    inquiry::{Answer, InquiryState, escalates_from, may_escalate},
    time::UtcMicros,
};
use bbt_store::{
    StoreError, Tx,
    inquiries::{self as store, InquiryLine, inquiry_list, inquiry_show},
};
use http::StatusCode;

use super::{
    Badge, Shell,
    devices::shown,
    html,
    pieces::{Note, PAGE, Paging, Place, Tab, address, cut, question},
};
use crate::web::{
    Site,
    failure::Failure,
    format::Moment,
    language::Language,
    visit::{Fields, Visit},
    words,
};

#[derive(Template)]
#[template(path = "inquiries.html")]
struct InquiriesPage {
    shell: Shell,
    tabs: Vec<Tab>,
    /// What became of the question that was just answered.
    done: Option<Outcome>,
    /// The open ones, to be answered here.
    cards: Vec<Card>,
    /// All of them, to be looked up.
    rows: Vec<Row>,
    shows_all: bool,
    paging: Paging,
}

#[derive(Template)]
#[template(path = "inquiry.html")]
struct InquiryPage {
    shell: Shell,
    row: Row,
    card: Option<Card>,
    outcome: Option<Outcome>,
}

/// An open question.
struct Card {
    id: String,
    place: Place,
    question: String,
    last_report: Option<Moment>,
    asked: Moment,
    /// What can be answered; nothing for those who may only read.
    answers: Vec<Choice>,
    note: Note,
    /// The county's own way on.
    escalation: Escalation,
}

/// An answer as a button.
struct Choice {
    value: &'static str,
    word: String,
    /// What follows.
    effect: String,
}

/// Whether the county may make a ticket of a question.
enum Escalation {
    Now,
    /// From then on.
    From(Moment),
    /// Not for this person, or not in sight.
    No,
}

struct Row {
    url: String,
    badge: Badge,
    place: Place,
    question: String,
    asked: Moment,
    answer: Option<String>,
    note: String,
    closed: Option<Moment>,
    closed_by: Option<String>,
    ticket_no: Option<String>,
    fault_url: String,
}

/// What a closed question came to.
struct Outcome {
    place: Place,
    text: String,
    ticket_no: Option<String>,
}

/// What cards are made with.
struct Desk {
    language: Language,
    rules: Arc<Rules>,
    may_answer: bool,
    now: UtcMicros,
}

impl Desk {
    fn new(site: &Site, visit: &Visit) -> Self {
        Self {
            language: visit.language,
            rules: site.context.rules(),
            may_answer: may(&visit.actor, Act::InquiryAnswer),
            now: site.context.now(),
        }
    }

    /// The card of a question, if it is open.
    fn card(&self, line: &InquiryLine, note: Note) -> Option<Card> {
        let answers = if self.may_answer { Answer::ALL.as_slice() } else { &[] };
        let choice = |answer: &Answer| Choice {
            value: answer.as_str(),
            word: words::inquiry_answer(self.language, *answer),
            effect: words::answer_effect(self.language, *answer, self.rules.policy.silent_days),
        };
        (line.state == InquiryState::Open).then(|| Card {
            id: line.id.to_string(),
            place: Place::new(self.language, &line.set),
            question: question(self.language, &line.reason),
            last_report: last_report(&line.reason).map(|at| Moment::new(self.language, at)),
            asked: Moment::new(self.language, line.opened_at),
            answers: answers.iter().map(choice).collect(),
            note,
            escalation: self.escalation(line),
        })
    }

    fn escalation(&self, line: &InquiryLine) -> Escalation {
        if !self.may_answer {
            return Escalation::No;
        }
        if may_escalate(line.opened_at, self.now, &self.rules) {
            return Escalation::Now;
        }
        escalates_from(line.opened_at, &self.rules)
            .map_or(Escalation::No, |at| Escalation::From(Moment::new(self.language, at)))
    }

    fn row(&self, line: &InquiryLine) -> Row {
        let language = self.language;
        Row {
            url: format!("/inquiries/{}", line.id),
            badge: words::inquiry_state(language, line.state),
            place: Place::new(language, &line.set),
            question: question(language, &line.reason),
            asked: Moment::new(language, line.opened_at),
            answer: line.answer.map(|answer| words::inquiry_answer(language, answer)),
            note: shown(&line.note),
            closed: line.closed_at.map(|at| Moment::new(language, at)),
            closed_by: line.closed_by.as_deref().map(|label| words::actor(language, label)),
            ticket_no: line.ticket_no.clone(),
            fault_url: format!("/faults/{}", line.fault_id),
        }
    }

    /// What a question came to, if somebody decided it.
    fn outcome(&self, line: &InquiryLine) -> Option<Outcome> {
        let text = match (line.state, line.answer) {
            (InquiryState::Answered, Some(answer)) => {
                let effect = words::answer_outcome(self.language, answer, self.rules.policy.silent_days);
                let answer = words::inquiry_answer(self.language, answer);
                self.language.with("inquiry-noted", &[("answer", answer.into()), ("effect", effect.into())])
            }
            (InquiryState::Escalated, _) => self.language.text("inquiry-escalated-done"),
            (InquiryState::Withdrawn, _) => self.language.text("inquiry-withdrawn-done"),
            _ => return None,
        };
        let ticket_no = line.ticket_no.clone();
        Some(Outcome { place: Place::new(self.language, &line.set), text, ticket_no })
    }
}

/// When the set was heard of last, as far as the question tells.
fn last_report(reason: &Reason) -> Option<UtcMicros> {
    match reason {
        Reason::Silent { last_contact, .. } => *last_contact,
        _ => None,
    }
}

/// `GET /inquiries`
pub(in crate::web) async fn list(
    State(site): State<Arc<Site>>,
    visit: Visit,
    fields: Fields,
) -> Result<Response, Failure> {
    let shows_all = fields.text("show") == "all";
    let before: Option<InquiryId> = fields.find("before").and_then(|id| id.parse().ok());
    let done: Option<InquiryId> = fields.find("done").and_then(|id| id.parse().ok());
    let actor = visit.actor.clone();
    let read = move |tx: &mut Tx<'_>| {
        let done = match done.map(|id| inquiry_show(tx, &actor, id)).transpose() {
            Err(StoreError::NotFound { .. }) => None,
            found => found?,
        };
        Ok((inquiry_list(tx, &actor, shows_all, None, before, PAGE + 1)?, done))
    };
    let (mut lines, done) = site.context.store.read(read).await?;
    let more = cut(&mut lines);
    let desk = Desk::new(&site, &visit);
    let show = if shows_all { "all" } else { "" };
    let url = |before: &str| address("/inquiries", &[("show", show), ("before", before)]);
    let cards = lines.iter().filter_map(|line| desk.card(line, Note::default()));
    html(&InquiriesPage {
        shell: Shell::new(&site, &visit, "/inquiries"),
        tabs: tabs(visit.language, shows_all),
        done: done.and_then(|line| desk.outcome(&line)),
        cards: if shows_all { Vec::new() } else { cards.collect() },
        rows: lines.iter().map(|line| desk.row(line)).collect(),
        shows_all,
        paging: Paging {
            first: before.map(|_| url("")),
            next: lines.last().filter(|_| more).map(|line| url(&line.id.to_string())),
            csv: None,
        },
    })
}

fn tabs(language: Language, shows_all: bool) -> Vec<Tab> {
    let tab = |all, label, show| Tab {
        label: language.text(label),
        url: address("/inquiries", &[("show", show)]),
        is_current: shows_all == all,
    };
    vec![tab(false, "inquiries-open", ""), tab(true, "inquiries-all", "all")]
}

/// `GET /inquiries/{id}`
pub(in crate::web) async fn show(
    State(site): State<Arc<Site>>,
    visit: Visit,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Failure> {
    page(&site, &visit, parse(id)?, Note::default()).await
}

async fn page(site: &Site, visit: &Visit, id: InquiryId, note: Note) -> Result<Response, Failure> {
    let actor = visit.actor.clone();
    let line = site.context.store.read(move |tx: &mut Tx<'_>| inquiry_show(tx, &actor, id)).await?;
    let desk = Desk::new(site, visit);
    html(&InquiryPage {
        shell: Shell::new(site, visit, "/inquiries"),
        row: desk.row(&line),
        card: desk.card(&line, note),
        outcome: desk.outcome(&line),
    })
}

fn parse(id: Result<Path<String>, PathRejection>) -> Result<InquiryId, Failure> {
    id.ok().and_then(|Path(text)| text.parse().ok()).ok_or(Failure::NotFound)
}

/// `POST /inquiries/{id}/answer`
pub(in crate::web) async fn answer(
    State(site): State<Arc<Site>>,
    visit: Visit,
    id: Result<Path<String>, PathRejection>,
    fields: Fields,
) -> Result<Response, Failure> {
    let id = parse(id)?;
    let answer = Answer::parse(fields.text("answer")).ok_or(Failure::FormUnreadable)?;
    let note = Note::read(visit.language, &fields, false);
    if note.problem.is_some() {
        let mut response = page(&site, &visit, id, note).await?;
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
        return Ok(response);
    }
    let (means, now, actor) = (site.ticket_means(), site.context.now(), visit.actor);
    let write = move |tx: &mut Tx<'_>| {
        store::inquiry_answer(tx, &actor, id, answer, &note.text, &means, now).map(|_| ())
    };
    site.context.store.write(write).await?;
    Ok(to_next(id))
}

/// `POST /inquiries/{id}/escalate`
pub(in crate::web) async fn escalate(
    State(site): State<Arc<Site>>,
    visit: Visit,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Failure> {
    let id = parse(id)?;
    let (means, now, actor, rules) =
        (site.ticket_means(), site.context.now(), visit.actor, site.context.rules());
    let write =
        move |tx: &mut Tx<'_>| store::inquiry_escalate(tx, &actor, id, &rules, &means, now).map(|_| ());
    site.context.store.write(write).await?;
    Ok(to_next(id))
}

/// Back to the questions that wait, which say what became of this one.
fn to_next(done: InquiryId) -> Response {
    Redirect::to(&format!("/inquiries?done={done}")).into_response()
}
