//! The list of sets, on a page and as a file.

mod export;

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Response};
use bbt_domain::{
    ids::SetId,
    org::SchoolCode,
    set_state::{SetState, StateCounts},
    text,
};
use bbt_store::{
    Tx,
    sets::{SetFilter, SetLine, set_list, set_overview},
};

use super::{Badge, Shell, devices::shown, html};
use crate::web::{
    Site,
    failure::Failure,
    format::{self, Moment},
    language::Language,
    visit::{Fields, Visit},
    words,
};

/// Sets on one page.
const PAGE: usize = 50;
/// Longest text to search for.
const WANTED_CHARS: usize = 64;

/// What a list of sets is asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Filters {
    pub(super) wanted: String,
    pub(super) school: Option<SchoolCode>,
    pub(super) state: Option<SetState>,
}

impl Filters {
    fn read(fields: &Fields) -> Self {
        Self {
            wanted: text::clean(fields.text("q"), WANTED_CHARS),
            school: SchoolCode::parse(fields.text("school")).ok(),
            state: SetState::parse(fields.text("state")),
        }
    }

    /// The list's address with these filters.
    pub(super) fn url(&self) -> String {
        self.url_with(None)
    }

    fn url_with(&self, more: Option<(&str, &str)>) -> String {
        let filters = [
            ("q", self.wanted.as_str()),
            ("school", self.school.as_ref().map_or("", SchoolCode::as_str)),
            ("state", self.state.map_or("", SetState::as_str)),
        ];
        let asked = filters.into_iter().chain(more).filter(|(_, value)| !value.is_empty());
        let pairs: Vec<_> =
            asked.map(|(name, value)| format!("{name}={}", format::query_value(value))).collect();
        if pairs.is_empty() { "/sets".to_owned() } else { format!("/sets?{}", pairs.join("&")) }
    }

    fn is_any(&self) -> bool {
        !self.wanted.is_empty() || self.school.is_some() || self.state.is_some()
    }

    fn of_store(&self) -> SetFilter {
        SetFilter { school: self.school.clone(), wanted: self.wanted.clone(), state: self.state }
    }
}

#[derive(Template)]
#[template(path = "sets.html")]
struct SetsPage {
    shell: Shell,
    /// The county has none at all.
    is_empty: bool,
    is_filtered: bool,
    wanted: String,
    state: &'static str,
    schools: Vec<Choice>,
    tabs: Vec<Tab>,
    rows: Vec<Row>,
    export_url: String,
    is_later: bool,
    first_url: String,
    next_url: Option<String>,
}

/// One of a select.
struct Choice {
    value: String,
    word: String,
    is_chosen: bool,
}

/// One state, as a filter.
struct Tab {
    badge: Option<Badge>,
    count: String,
    url: String,
    is_current: bool,
}

struct Row {
    url: String,
    school: String,
    room: Option<String>,
    code: String,
    badge: Badge,
    faults: Vec<String>,
    processor: Option<String>,
    memory: Option<String>,
    last_report: Option<Moment>,
}

/// `GET /sets`
pub(in crate::web) async fn list(
    State(site): State<Arc<Site>>,
    visit: Visit,
    fields: Fields,
) -> Result<Response, Failure> {
    let filters = Filters::read(&fields);
    if fields.text("format") == "csv" {
        return export::file(&site, &visit, &filters);
    }
    let after: Option<SetId> = fields.find("after").and_then(|id| id.parse().ok());
    let (actor, filter, now) = (visit.actor.clone(), filters.of_store(), site.context.now());
    let read = move |tx: &mut Tx<'_>| {
        let schools = set_overview(tx, &actor, now)?;
        Ok((schools, set_list(tx, &actor, &filter, after, PAGE + 1, now)?))
    };
    let (schools, mut lines) = site.context.store.read(read).await?;
    // One more than is shown tells whether there is a next page.
    let more = lines.len() > PAGE;
    lines.truncate(PAGE);
    let mut counts = StateCounts::default();
    let of_filter = |code: &SchoolCode| filters.school.as_ref().is_none_or(|school| school == code);
    schools.iter().filter(|school| of_filter(&school.code)).for_each(|school| counts.add_all(&school.sets));
    let next = lines.last().filter(|_| more).map(|line| line.id.to_string());
    let language = visit.language;
    html(&SetsPage {
        shell: Shell::new(&site, &visit, "/sets"),
        is_empty: schools.iter().all(|school| school.sets.total() == 0),
        is_filtered: filters.is_any(),
        state: filters.state.map_or("", SetState::as_str),
        schools: schools
            .iter()
            .map(|school| Choice {
                value: school.code.as_str().to_owned(),
                word: shown(&school.name),
                is_chosen: filters.school.as_ref() == Some(&school.code),
            })
            .collect(),
        tabs: tabs(language, &filters, &counts),
        rows: lines.iter().map(|line| row(language, line)).collect(),
        export_url: filters.url_with(Some(("format", "csv"))),
        is_later: after.is_some(),
        first_url: filters.url(),
        next_url: next.map(|id| filters.url_with(Some(("after", &id)))),
        wanted: filters.wanted,
    })
}

/// All, and each state that some set is in or that is asked for.
fn tabs(language: Language, filters: &Filters, counts: &StateCounts) -> Vec<Tab> {
    let tab = |state: Option<SetState>, count: i64| Tab {
        badge: state.map(|state| Badge::of_set(state, language)),
        count: format::count(count),
        url: Filters { state, ..filters.clone() }.url(),
        is_current: filters.state == state,
    };
    let states =
        SetState::ALL.into_iter().filter(|state| counts.of(*state) > 0 || filters.state == Some(*state));
    let states = states.map(|state| tab(Some(state), counts.of(state)));
    std::iter::once(tab(None, counts.total())).chain(states).collect()
}

fn row(language: Language, line: &SetLine) -> Row {
    let device = line.main_device();
    Row {
        url: format!("/sets/{}", line.code),
        school: shown(&line.school_name),
        room: line.place.as_ref().map(|place| shown(&place.room_name)),
        code: line.code.to_string(),
        badge: Badge::of_set(line.state, language),
        faults: fault_words(language, line),
        processor: device.and_then(|device| device.processor.as_deref()).map(shown),
        memory: device.and_then(|device| device.memory_bytes).map(format::binary_bytes),
        last_report: device.and_then(|device| device.last_report_at).map(|at| Moment::new(language, at)),
    }
}

fn fault_words(language: Language, line: &SetLine) -> Vec<String> {
    line.faults.iter().map(|fault| words::fault_kind(language, fault.kind)).collect()
}
