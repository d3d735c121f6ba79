//! One school: its rooms and what stands in them, and its contract.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State, rejection::PathRejection},
    response::Response,
};
use bbt_domain::{
    ids::RoomId,
    org::{Room, RoomKind, School, SchoolCode, room_name},
    text,
};
use bbt_store::{
    StoreError, Tx,
    contracts::{ContractLine, contract_list},
    rooms::{NewRoom, room_add, room_list},
    schools::school_by_code,
    sets::{SetFilter, SetLine, set_list},
};

use super::{Badge, Shell, confirmation, devices::shown, done, html, hyphened, sets::Filters, unprocessable};
use crate::web::{
    Site,
    failure::Failure,
    field::{self, Field},
    format,
    language::Language,
    visit::{Fields, Visit},
};

/// Rooms and sets shown. The largest county school has some 120 classes.
const SHOWN: usize = 500;

#[derive(Template)]
#[template(path = "school.html")]
struct SchoolPage {
    shell: Shell,
    done: Option<String>,
    name: String,
    code: String,
    sets_url: String,
    rooms: Vec<RoomRow>,
    unplaced: Vec<SetItem>,
    contract: Option<Contract>,
    form: [Field; 2],
    kinds: Vec<(&'static str, String)>,
}

struct RoomRow {
    name: String,
    kind: String,
    sets: Vec<SetItem>,
}

/// A set as it stands in a list of its school.
struct SetItem {
    url: String,
    code: String,
    badge: Badge,
    processor: Option<String>,
}

struct Contract {
    contractor: String,
    tickets_open: String,
}

/// What the page is made of.
struct File {
    school: School,
    rooms: Vec<Room>,
    sets: Vec<SetLine>,
    contracts: Vec<ContractLine>,
}

/// `GET /schools/{code}`
pub(in crate::web) async fn show(
    State(site): State<Arc<Site>>,
    visit: Visit,
    code: Result<Path<String>, PathRejection>,
    fields: Fields,
) -> Result<Response, Failure> {
    let file = read(&site, &visit, school_code(code)?).await?;
    html(&page(&site, &visit, file, confirmation(visit.language, &fields), form(visit.language)))
}

/// `POST /schools/{code}/rooms`
pub(in crate::web) async fn add_room(
    State(site): State<Arc<Site>>,
    visit: Visit,
    code: Result<Path<String>, PathRejection>,
    fields: Fields,
) -> Result<Response, Failure> {
    let school = school_code(code)?;
    let language = visit.language;
    let value = |name: &str| text::clean(fields.text(name), text::NAME_CHARS);
    let (typed_name, typed_kind) = (value("name"), value("kind"));
    let wrong = |word: &str, value: &str| language.with(word, &[("value", value.to_owned().into())]);
    let name = room_name(&typed_name).map_err(|_| wrong("wrong-room-name", &typed_name));
    let kind = RoomKind::parse(&typed_kind).map_err(|_| wrong("wrong-room-kind", &typed_kind));
    let (name_error, kind_error) = match (name, kind) {
        (Ok(name), Ok(kind)) => match record(&site, &visit, &school, name, kind).await {
            Ok(()) => return Ok(done(&format!("/schools/{}", school.as_str()), "room-added")),
            Err(StoreError::Exists { .. }) => (Some(wrong("wrong-room-name-taken", &typed_name)), None),
            Err(error) => return Err(error.into()),
        },
        (name, kind) => (name.err(), kind.err()),
    };
    let [name, kind] = form(language);
    let form = [name.typed(&typed_name).wrong(name_error), kind.typed(&typed_kind).wrong(kind_error)];
    let file = read(&site, &visit, school).await?;
    let mut page = page(&site, &visit, file, None, form);
    // The form's own address has no page.
    page.shell.here = format!("/schools/{}", page.code);
    unprocessable(&page)
}

fn school_code(code: Result<Path<String>, PathRejection>) -> Result<SchoolCode, Failure> {
    code.ok().and_then(|Path(text)| SchoolCode::parse(&text).ok()).ok_or(Failure::NotFound)
}

async fn record(
    site: &Site,
    visit: &Visit,
    school: &SchoolCode,
    name: String,
    kind: RoomKind,
) -> Result<(), StoreError> {
    let id = RoomId::from_bytes(site.context.new_id());
    let (actor, now) = (visit.actor.clone(), site.context.now());
    let room = NewRoom { id, school: school.clone(), name, kind };
    site.context.store.write(move |tx| room_add(tx, &actor, &room, now)).await?;
    Ok(())
}

async fn read(site: &Site, visit: &Visit, code: SchoolCode) -> Result<File, Failure> {
    let (actor, now) = (visit.actor.clone(), site.context.now());
    let read = move |tx: &mut Tx<'_>| {
        let filter = SetFilter { school: Some(code.clone()), ..SetFilter::default() };
        Ok(File {
            school: school_by_code(tx, &actor, &code)?,
            rooms: room_list(tx, &actor, Some(&code), None, SHOWN)?,
            sets: set_list(tx, &actor, &filter, None, SHOWN, now)?,
            contracts: contract_list(tx, &actor)?,
        })
    };
    Ok(site.context.store.read(read).await?)
}

fn form(language: Language) -> [Field; 2] {
    [Field::new(language, "name", "room-name"), Field::new(language, "kind", "room-kind")]
}

fn page(site: &Site, visit: &Visit, file: File, done: Option<String>, form: [Field; 2]) -> SchoolPage {
    let language = visit.language;
    let code = file.school.code;
    let stands_in =
        |set: &SetLine, room: RoomId| set.place.as_ref().is_some_and(|place| place.room_id == room);
    let of_room = |room: RoomId| file.sets.iter().filter(move |set| stands_in(set, room));
    let of_school = |contract: &ContractLine| contract.schools.iter().any(|school| school == code.as_str());
    SchoolPage {
        shell: Shell::new(site, visit, "/schools"),
        done,
        name: shown(&file.school.name),
        sets_url: Filters { school: Some(code.clone()), ..Filters::default() }.url(),
        rooms: file
            .rooms
            .iter()
            .map(|room| RoomRow {
                name: shown(&room.name),
                kind: kind_word(language, room.kind),
                sets: of_room(room.id).map(|set| item(language, set)).collect(),
            })
            .collect(),
        unplaced: file.sets.iter().filter(|set| set.place.is_none()).map(|set| item(language, set)).collect(),
        contract: file.contracts.into_iter().find(of_school).map(|contract| Contract {
            contractor: contract.contractor,
            tickets_open: format::count(contract.tickets_open),
        }),
        form,
        kinds: RoomKind::ALL.map(|kind| (kind.as_str(), kind_word(language, kind))).into(),
        code: code.as_str().to_owned(),
    }
}

/// What a room is for.
pub(super) fn kind_word(language: Language, kind: RoomKind) -> String {
    language.text(&format!("room-kind-{}", hyphened(kind.as_str())))
}

fn item(language: Language, set: &SetLine) -> SetItem {
    SetItem {
        url: format!("/sets/{}", set.code),
        code: set.code.to_string(),
        badge: Badge::of_set(set.state, language),
        processor: set.main_device().and_then(|device| device.processor.as_deref()).map(shown),
    }
}
