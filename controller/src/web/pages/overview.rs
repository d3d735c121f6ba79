//! 总览: how the county stands, the schools with trouble first. Where signing in leads to.

use std::{cmp::Reverse, sync::Arc};

use askama::Template;
use axum::{extract::State, response::Response};
use bbt_domain::set_state::{SetState, StateCounts};
use bbt_store::{
    Tx,
    admissions::admission_count,
    configuration::rejected_count,
    faults::fault_count,
    inquiries::inquiry_count,
    sets::{SchoolSets, set_overview},
    tickets::ticket_count,
};
use fluent_bundle::FluentValue;

use super::{Badge, FRONT, Shell, configuration, html, sets::Filters};
use crate::web::{
    Site,
    failure::Failure,
    format::{self, Moment},
    language::Language,
    visit::Visit,
};

/// Schools shown. More than fit on a screen; the rest have less trouble and are a link away.
const SCHOOLS_SHOWN: usize = 100;

/// States with a column of their own. Sealed sets and those not in service are one more.
const COLUMNS: [SetState; 5] =
    [SetState::Faulty, SetState::Repairing, SetState::Silent, SetState::NotToday, SetState::Ok];

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    shell: Shell,
    as_of: String,
    is_empty: bool,
    total: String,
    states: Vec<StateFigure>,
    out_of_use: String,
    work: [Figure; 4],
    /// "12 devices did not take their settings", if any did not.
    rejecting: Option<String>,
    columns: Vec<Badge>,
    schools: Vec<Row>,
    /// "All 132 schools", when not all are shown.
    all_schools: Option<String>,
}

/// A state with the number of its sets.
struct StateFigure {
    badge: Badge,
    count: String,
    url: String,
}

/// A number that leads to its list.
struct Figure {
    label: String,
    count: String,
    url: &'static str,
}

struct Row {
    name: String,
    url: String,
    /// Of [`COLUMNS`].
    counts: Vec<Count>,
    out_of_use: i64,
    total: Count,
}

struct Count {
    number: i64,
    url: String,
}

/// `GET /overview`
pub(in crate::web) async fn show(State(site): State<Arc<Site>>, visit: Visit) -> Result<Response, Failure> {
    let now = site.context.now();
    let actor = visit.actor.clone();
    let read = move |tx: &mut Tx<'_>| {
        let waiting = [
            fault_count(tx, &actor)?,
            inquiry_count(tx, &actor)?,
            ticket_count(tx, &actor)?,
            admission_count(tx, &actor)?,
        ];
        Ok((set_overview(tx, &actor, now)?, waiting, rejected_count(tx, &actor)?))
    };
    let (mut schools, [faults, inquiries, tickets, admissions], rejecting) =
        site.context.store.read(read).await?;
    let language = visit.language;
    let mut county = StateCounts::default();
    schools.iter().for_each(|school| county.add_all(&school.sets));
    schools.retain(|school| school.sets.total() > 0);
    schools.sort_by_cached_key(|school| (Reverse(trouble(&school.sets)), school.code.clone()));
    let figure =
        |word: &str, count: i64, url| Figure { label: language.text(word), count: format::count(count), url };
    let with_sets = i64::try_from(schools.len()).unwrap_or(i64::MAX);
    html(&OverviewPage {
        shell: Shell::new(&site, &visit, FRONT),
        as_of: language.with("overview-as-of", &[("time", Moment::new(language, now).text.into())]),
        is_empty: county.total() == 0,
        total: format::count(county.total()),
        states: COLUMNS.map(|state| state_figure(language, state, &county)).into(),
        out_of_use: format::count(out_of_use(&county)),
        work: [
            figure("overview-faults", faults, "/faults"),
            figure("overview-inquiries", inquiries, "/inquiries"),
            figure("overview-tickets", tickets, "/tickets"),
            figure("admissions", admissions, "/admissions"),
        ],
        rejecting: configuration::rejecting(language, rejecting),
        columns: COLUMNS.map(|state| Badge::of_set(state, language)).into(),
        all_schools: (schools.len() > SCHOOLS_SHOWN)
            .then(|| language.with("overview-all-schools", &[("count", FluentValue::from(with_sets))])),
        schools: schools.into_iter().take(SCHOOLS_SHOWN).map(row).collect(),
    })
}

/// Faults weigh most, then questions, then sets that are only not on today.
fn trouble(sets: &StateCounts) -> [i64; 3] {
    [
        sets.of(SetState::Faulty) + sets.of(SetState::Repairing),
        sets.of(SetState::Silent),
        sets.of(SetState::NotToday),
    ]
}

fn out_of_use(sets: &StateCounts) -> i64 {
    sets.of(SetState::Sealed) + sets.of(SetState::NotConnected)
}

fn state_figure(language: Language, state: SetState, county: &StateCounts) -> StateFigure {
    StateFigure {
        badge: Badge::of_set(state, language),
        count: format::count(county.of(state)),
        url: Filters { state: Some(state), ..Filters::default() }.url(),
    }
}

fn row(school: SchoolSets) -> Row {
    let filters = |state| Filters { school: Some(school.code.clone()), state, ..Filters::default() };
    let counts =
        COLUMNS.map(|state| Count { number: school.sets.of(state), url: filters(Some(state)).url() });
    Row {
        url: format!("/schools/{}", school.code.as_str()),
        counts: counts.into(),
        out_of_use: out_of_use(&school.sets),
        total: Count { number: school.sets.total(), url: filters(None).url() },
        name: school.name,
    }
}
