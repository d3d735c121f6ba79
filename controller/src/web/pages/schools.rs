//! 学校与教室: the list of schools, and adding one.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Response};
use bbt_domain::{
    ids::SchoolId,
    org::{SchoolCode, school_name},
    set_state::SetState,
    text,
};
use bbt_store::{
    StoreError, Tx,
    schools::school_add,
    sets::{SchoolSets, set_overview},
};

use super::{Badge, Shell, confirmation, devices::shown, done, html, sets::Filters, unprocessable};
use crate::web::{
    Site,
    failure::Failure,
    field::{self, Field},
    format,
    language::Language,
    visit::{Fields, Visit},
};

/// Schools on one page.
const PAGE: usize = 50;
/// Longest text to search for.
const WANTED_CHARS: usize = 64;

#[derive(Template)]
#[template(path = "schools.html")]
struct SchoolsPage {
    shell: Shell,
    done: Option<String>,
    /// The county has none at all.
    is_empty: bool,
    wanted: String,
    rows: Vec<Row>,
    is_later: bool,
    first_url: String,
    next_url: Option<String>,
    form: [Field; 2],
}

struct Row {
    url: String,
    name: String,
    code: String,
    rooms: i64,
    sets: String,
    states: Vec<StateCount>,
}

/// A state that some sets of a school are in.
pub(super) struct StateCount {
    badge: Badge,
    count: String,
    url: String,
}

/// `GET /schools`
pub(in crate::web) async fn list(
    State(site): State<Arc<Site>>,
    visit: Visit,
    fields: Fields,
) -> Result<Response, Failure> {
    let form = form(visit.language);
    html(&page(&site, &visit, &fields, form).await?)
}

/// `POST /schools`
pub(in crate::web) async fn add(
    State(site): State<Arc<Site>>,
    visit: Visit,
    fields: Fields,
) -> Result<Response, Failure> {
    let language = visit.language;
    let value = |name: &str| text::clean(fields.text(name), text::NAME_CHARS);
    let (typed_code, typed_name) = (value("code"), value("name"));
    let wrong = |word: &str, value: &str| language.with(word, &[("value", value.to_owned().into())]);
    let code = SchoolCode::parse(&typed_code).map_err(|_| wrong("wrong-school-code", &typed_code));
    let name = school_name(&typed_name).map_err(|_| wrong("wrong-school-name", &typed_name));
    let (code_error, name_error) = match (code, name) {
        (Ok(code), Ok(name)) => match record(&site, &visit, &code, name).await {
            Ok(()) => return Ok(done(&format!("/schools/{}", code.as_str()), "school-added")),
            Err(StoreError::Exists { .. }) => (Some(wrong("wrong-school-code-taken", code.as_str())), None),
            Err(error) => return Err(error.into()),
        },
        (code, name) => (code.err(), name.err()),
    };
    let [code, name] = form(language);
    let form = [code.typed(&typed_code).wrong(code_error), name.typed(&typed_name).wrong(name_error)];
    unprocessable(&page(&site, &visit, &Fields::default(), form).await?)
}

async fn record(site: &Site, visit: &Visit, code: &SchoolCode, name: String) -> Result<(), StoreError> {
    let id = SchoolId::from_bytes(site.context.new_id());
    let (actor, code, now) = (visit.actor.clone(), code.clone(), site.context.now());
    site.context.store.write(move |tx| school_add(tx, &actor, id, &code, &name, now)).await?;
    Ok(())
}

fn form(language: Language) -> [Field; 2] {
    [Field::new(language, "code", "school-code"), Field::new(language, "name", "school-name")]
}

async fn page(site: &Site, visit: &Visit, fields: &Fields, form: [Field; 2]) -> Result<SchoolsPage, Failure> {
    let (actor, now) = (visit.actor.clone(), site.context.now());
    let schools = site.context.store.read(move |tx: &mut Tx<'_>| set_overview(tx, &actor, now)).await?;
    let language = visit.language;
    let wanted = text::clean(fields.text("q"), WANTED_CHARS);
    let sought = wanted.to_lowercase();
    let after = fields.text("after");
    let is_empty = schools.is_empty();
    let fits = |school: &&SchoolSets| {
        school.code.as_str() > after
            && [school.code.as_str(), &school.name].iter().any(|text| text.to_lowercase().contains(&sought))
    };
    let mut found = schools.iter().filter(fits);
    let rows: Vec<Row> = found.by_ref().take(PAGE).map(|school| row(language, school)).collect();
    let last = rows.last().map(|row| row.code.clone()).filter(|_| found.next().is_some());
    let query = format::query_value(&wanted);
    Ok(SchoolsPage {
        shell: Shell::new(site, visit, "/schools"),
        done: confirmation(language, fields),
        is_empty,
        rows,
        is_later: !after.is_empty(),
        first_url: format!("/schools?q={query}"),
        next_url: last.map(|code| format!("/schools?q={query}&after={}", format::query_value(&code))),
        wanted,
        form,
    })
}

fn row(language: Language, school: &SchoolSets) -> Row {
    Row {
        url: format!("/schools/{}", school.code.as_str()),
        name: shown(&school.name),
        code: school.code.as_str().to_owned(),
        rooms: school.rooms,
        sets: format::count(school.sets.total()),
        states: state_counts(language, school),
    }
}

/// The states that sets of a school are in, each leading to its sets.
pub(super) fn state_counts(language: Language, school: &SchoolSets) -> Vec<StateCount> {
    let count = |state| StateCount {
        badge: Badge::of_set(state, language),
        count: format::count(school.sets.of(state)),
        url: Filters { school: Some(school.code.clone()), state: Some(state), ..Filters::default() }.url(),
    };
    SetState::ALL.into_iter().filter(|state| school.sets.of(*state) > 0).map(count).collect()
}
