//! A set's page: where it stands, what is wrong with it, what was done about it, and the computers it is made of.

mod booked;
mod forms;

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State, rejection::PathRejection},
    response::Response,
};
use bbt_domain::{
    inquiry::InquiryState,
    org::{Room, SetStanding},
    presence::presence,
    time::UtcMicros,
};
use bbt_store::{
    Tx,
    faults::{FaultFilter, FaultLine, fault_list},
    inquiries::{InquiryLine, inquiry_list},
    reconciliation::{SetBooked, set_booked},
    rooms::room_list,
    sets::{Placement, Sealing, SetDevice, SetLine, SetRef, placements_of_set, set_find, set_sealing},
    tickets::{TicketFilter, TicketLine, ticket_list},
};
use booked::Booked;
pub(in crate::web) use forms::{place, settle, stand};

use super::{Badge, Shell, confirmation, devices::shown, html, hyphened, school::kind_word};
use crate::web::{
    Site,
    failure::Failure,
    field::{self, Field},
    format::{self, Moment},
    language::Language,
    visit::{Fields, Visit},
    words,
};

/// Faults, tickets, questions and moves shown, the newest: a set seldom has more in its life.
const SHOWN: usize = 50;
/// Rooms to choose from: more than the largest school has.
const ROOMS: usize = 500;

#[derive(Template)]
#[template(path = "set.html")]
struct SetPage {
    shell: Shell,
    done: Option<String>,
    school: String,
    school_url: String,
    /// Its room; `None` while it has none.
    room: Option<String>,
    code: String,
    badge: Badge,
    advice: String,
    faults: Vec<FaultRow>,
    past_faults: Vec<FaultRow>,
    past_faults_title: String,
    work: Vec<WorkRow>,
    room_kind: Option<String>,
    places: Vec<PlaceRow>,
    rooms: Vec<RoomChoice>,
    room_field: Field,
    is_sealed: bool,
    sealing: Vec<String>,
    reason_field: Field,
    devices: Vec<DeviceCard>,
    booked: Booked,
    /// How something gets into the books.
    booked_none: String,
    usage_url: String,
}

struct FaultRow {
    kind: String,
    url: String,
    state: Badge,
    since: Moment,
    reason: String,
    ticket_no: Option<String>,
}

/// A ticket or a question.
struct WorkRow {
    at: UtcMicros,
    opened: Moment,
    title: String,
    url: Option<String>,
    state: String,
    closed: Option<Moment>,
}

struct PlaceRow {
    room: String,
    from: Moment,
    to: Option<Moment>,
}

struct RoomChoice {
    id: String,
    word: String,
    is_chosen: bool,
}

struct DeviceCard {
    url: String,
    name: String,
    badge: Badge,
    processor: Option<String>,
    memory: Option<String>,
    last_report: Option<Moment>,
}

/// What the page is made of, all of one moment.
struct File {
    line: SetLine,
    places: Vec<Placement>,
    rooms: Vec<Room>,
    sealing: Option<Sealing>,
    faults: Vec<FaultLine>,
    tickets: Vec<TicketLine>,
    inquiries: Vec<InquiryLine>,
    booked: SetBooked,
}

/// The page's forms: empty, or with what was typed and what is wrong with it.
struct Forms {
    room: Field,
    reason: Field,
    settling: Option<booked::Typed>,
}

impl Forms {
    fn empty(language: Language) -> Self {
        Self {
            room: Field::new(language, "room", "set-room"),
            reason: Field::new(language, "reason", "seal-reason"),
            settling: None,
        }
    }
}

/// `GET /sets/{id}`
pub(in crate::web) async fn show(
    State(site): State<Arc<Site>>,
    visit: Visit,
    id: Result<Path<String>, PathRejection>,
    fields: Fields,
) -> Result<Response, Failure> {
    let file = read(&site, &visit, set_ref(id)?).await?;
    let done = confirmation(visit.language, &fields);
    html(&page(&site, &visit, file, done, Forms::empty(visit.language)))
}

fn set_ref(id: Result<Path<String>, PathRejection>) -> Result<SetRef, Failure> {
    id.ok().and_then(|Path(text)| SetRef::parse(&text)).ok_or(Failure::NotFound)
}

async fn read(site: &Site, visit: &Visit, set: SetRef) -> Result<File, Failure> {
    let (actor, now) = (visit.actor.clone(), site.context.now());
    let read = move |tx: &mut Tx<'_>| {
        let line = set_find(tx, &actor, set, now)?;
        let of_set = Some(line.id);
        let faults = FaultFilter { with_past: true, kind: None, set: of_set };
        let tickets = TicketFilter { with_closed: true, set: of_set };
        Ok(File {
            places: placements_of_set(tx, &actor, line.id, SHOWN)?,
            rooms: room_list(tx, &actor, Some(&line.school_code), None, ROOMS)?,
            sealing: set_sealing(tx, &actor, line.id)?,
            faults: fault_list(tx, &actor, &faults, None, SHOWN)?,
            tickets: ticket_list(tx, &actor, &tickets, None, SHOWN)?,
            inquiries: inquiry_list(tx, &actor, true, of_set, None, SHOWN)?,
            booked: set_booked(tx, &actor, line.id)?,
            line,
        })
    };
    Ok(site.context.store.read(read).await?)
}

fn page(site: &Site, visit: &Visit, file: File, done: Option<String>, forms: Forms) -> SetPage {
    let (language, now) = (visit.language, site.context.now());
    let line = &file.line;
    let place = line.place.as_ref();
    let (faults, past_faults): (Vec<_>, Vec<_>) =
        file.faults.iter().partition(|fault| fault.state.is_raised());
    let rows = |faults: Vec<&FaultLine>| faults.into_iter().map(|fault| fault_row(language, fault)).collect();
    let past_count = format::count(i64::try_from(past_faults.len()).unwrap_or(i64::MAX));
    SetPage {
        shell: Shell::new(site, visit, "/sets"),
        done,
        school: shown(&line.school_name),
        school_url: format!("/schools/{}", line.school_code.as_str()),
        room: place.map(|place| shown(&place.room_name)),
        code: line.code.to_string(),
        badge: Badge::of_set(line.state, language),
        advice: language.text(&format!("set-state-{}-do", hyphened(line.state.as_str()))),
        faults: rows(faults),
        past_faults: rows(past_faults),
        past_faults_title: language.with("set-faults-past", &[("count", past_count.into())]),
        work: work(language, &file),
        room_kind: place.map(|place| kind_word(language, place.room_kind)),
        places: file.places.iter().map(|place| place_row(language, place)).collect(),
        rooms: room_choices(&file, &forms.room),
        room_field: forms.room,
        is_sealed: line.standing == SetStanding::Sealed,
        sealing: file.sealing.iter().flat_map(|sealing| sealing_words(language, sealing)).collect(),
        reason_field: forms.reason,
        devices: line.devices.iter().map(|device| device_card(language, device, now)).collect(),
        booked: booked::section(language, &file.booked, forms.settling.as_ref()),
        booked_none: language.with("booked-none", &[("code", line.code.to_string().into())]),
        usage_url: format!("/usage?school={}", line.school_code.as_str()),
    }
}

fn fault_row(language: Language, fault: &FaultLine) -> FaultRow {
    FaultRow {
        kind: words::fault_kind(language, fault.kind),
        url: format!("/faults/{}", fault.id),
        state: words::fault_state(language, fault.kind, fault.state),
        since: Moment::new(language, fault.since),
        reason: words::reason(language, &fault.reason),
        ticket_no: fault.ticket.as_ref().map(|(_, no, _)| no.clone()),
    }
}

/// Tickets and questions, the newest first.
fn work(language: Language, file: &File) -> Vec<WorkRow> {
    let moment = |at| Moment::new(language, at);
    let tickets = file.tickets.iter().map(|ticket| WorkRow {
        at: ticket.opened_at,
        opened: moment(ticket.opened_at),
        title: language.with("set-ticket", &[("no", ticket.no.clone().into())]),
        url: Some(format!("/tickets/{}", ticket.no)),
        state: words::ticket_state(language, ticket.state).word,
        closed: ticket.closed_at.map(moment),
    });
    let inquiries = file.inquiries.iter().map(|inquiry| WorkRow {
        at: inquiry.opened_at,
        opened: moment(inquiry.opened_at),
        title: language.text("set-inquiry"),
        url: (inquiry.state == InquiryState::Open).then(|| "/inquiries".to_owned()),
        state: inquiry_words(language, inquiry),
        closed: inquiry.closed_at.map(moment),
    });
    let mut work: Vec<WorkRow> = tickets.chain(inquiries).collect();
    work.sort_by_key(|row| std::cmp::Reverse(row.at));
    work
}

fn inquiry_words(language: Language, inquiry: &InquiryLine) -> String {
    let state = words::inquiry_state(language, inquiry.state).word;
    match inquiry.answer {
        Some(answer) => language.with(
            "set-inquiry-answer",
            &[("state", state.into()), ("answer", words::inquiry_answer(language, answer).into())],
        ),
        None => state,
    }
}

fn place_row(language: Language, place: &Placement) -> PlaceRow {
    PlaceRow {
        room: shown(&place.room_name),
        from: Moment::new(language, place.from),
        to: place.to.map(|to| Moment::new(language, to)),
    }
}

/// The rooms of the set's school, the chosen one marked: what was chosen last, else where it stands.
fn room_choices(file: &File, field: &Field) -> Vec<RoomChoice> {
    let stands_in = file.line.place.as_ref().map(|place| place.room_id.to_string()).unwrap_or_default();
    let chosen = if field.value.is_empty() { &stands_in } else { &field.value };
    let choice = |room: &Room| {
        let id = room.id.to_string();
        RoomChoice { is_chosen: id == *chosen, id, word: shown(&room.name) }
    };
    file.rooms.iter().map(choice).collect()
}

fn sealing_words(language: Language, sealing: &Sealing) -> Vec<String> {
    let who = words::actor(language, &sealing.actor);
    let time = Moment::new(language, sealing.at).text;
    let mut words = vec![language.with("set-sealed-by", &[("time", time.into()), ("who", who.into())])];
    if !sealing.reason.is_empty() {
        words.push(language.with("set-sealed-reason", &[("reason", shown(&sealing.reason).into())]));
    }
    if let Some(answer) = sealing.answer {
        let answer = words::inquiry_answer(language, answer);
        words.push(language.with("set-sealed-answer", &[("answer", answer.into())]));
    }
    words
}

fn device_card(language: Language, device: &SetDevice, now: UtcMicros) -> DeviceCard {
    let name = device.host_name.as_deref().map(shown).filter(|name| !name.is_empty());
    DeviceCard {
        url: format!("/devices/{}", device.id),
        name: name.unwrap_or_else(|| language.text("device-unnamed")),
        badge: Badge::of(presence(device.standing, device.last_report_at, now), language),
        processor: device.processor.as_deref().map(shown),
        memory: device.memory_bytes.map(format::binary_bytes),
        last_report: device.last_report_at.map(|at| Moment::new(language, at)),
    }
}
