//! 使用登记: a school's log of a day, room by room and hour by hour, as the paper form has it.

mod hour;

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Response};
use bbt_domain::{
    civil::Day,
    org::{School, SchoolCode},
    time::UtcMicros,
    usage::{
        definitions::{Meaning, SlotUsage},
        slots::{DAY_SLOTS, SLOT_SECS, first_of},
    },
};
use bbt_store::{
    Tx,
    schools::{school_by_code, school_list},
    usage::{SchoolUsage, SetUsage, usage_of_school},
};
use hour::{Hour, Word, active_secs, minutes};

use super::{Shell, devices::shown, html};
use crate::web::{
    Site,
    failure::Failure,
    format,
    language::Language,
    visit::{Fields, Visit},
};

/// Hours with a column of their own, as the paper form has them; the totals are those of the whole day.
const HOURS: std::ops::RangeInclusive<usize> = 7..=18;
/// Slots of an hour.
const HOUR_SLOTS: usize = DAY_SLOTS / 24;
/// Schools to choose from: more than any county has.
const SCHOOLS: usize = 1_000;

#[derive(Template)]
#[template(path = "usage.html")]
struct UsagePage {
    shell: Shell,
    schools: Vec<Choice>,
    /// `None` while the county has no school.
    log: Option<Log>,
    /// YYYY-MM-DD, for the field.
    day: String,
    latest_day: String,
}

/// A school's day.
struct Log {
    school: String,
    day: String,
    previous_url: String,
    /// `None` on the latest day.
    next_url: Option<String>,
    hours: Vec<String>,
    rows: Vec<Row>,
    /// How many sets were used in each hour.
    used_sets: Vec<String>,
    used: String,
    has_no_data: bool,
}

struct Choice {
    code: String,
    name: String,
    is_chosen: bool,
}

/// One set in one room; a room without a set is one row, too.
struct Row {
    room: String,
    set: Option<SetRow>,
}

struct SetRow {
    url: String,
    code: String,
    cells: Vec<Cell>,
    used: String,
    on: String,
    no_data: Option<String>,
}

/// One hour.
enum Cell {
    /// Told.
    Told { tone: &'static str, shape: &'static str, word: String, short: String, has_gap: bool },
    /// It stood elsewhere, or the hour is still to come.
    Nothing,
}

/// `GET /usage`
pub(in crate::web) async fn show(
    State(site): State<Arc<Site>>,
    visit: Visit,
    fields: Fields,
) -> Result<Response, Failure> {
    let now = site.context.now();
    let today = Day::of(now);
    let day = fields.text("day").parse::<Day>().map_or(today, |day| day.min(today));
    let asked = SchoolCode::parse(fields.text("school")).ok();
    let actor = visit.actor.clone();
    let read = move |tx: &mut Tx<'_>| {
        let schools = school_list(tx, &actor, None, SCHOOLS)?;
        let school = match asked {
            Some(code) => Some(school_by_code(tx, &actor, &code)?.code),
            None => schools.first().map(|school| school.code.clone()),
        };
        let usage = school.map(|code| usage_of_school(tx, &actor, &code, day)).transpose()?;
        Ok((schools, usage))
    };
    let (schools, usage) = site.context.store.read(read).await?;
    let chosen = usage.as_ref().map(|usage| usage.school_code.clone());
    html(&UsagePage {
        shell: Shell::new(&site, &visit, "/usage"),
        schools: schools.into_iter().map(|school| choice(school, chosen.as_ref())).collect(),
        log: usage.map(|usage| log(visit.language, &usage, now)),
        day: day.to_string(),
        latest_day: today.to_string(),
    })
}

fn choice(school: School, chosen: Option<&SchoolCode>) -> Choice {
    Choice {
        is_chosen: chosen == Some(&school.code),
        code: school.code.as_str().to_owned(),
        name: shown(&school.name),
    }
}

fn log(language: Language, usage: &SchoolUsage, now: UtcMicros) -> Log {
    let (day, passed) = (usage.day, passed(usage.day, now));
    let url = |number: i64| {
        let code = usage.school_code.as_str();
        format!("/usage?school={code}&day={}", Day::from_number(number))
    };
    let mut rows = Vec::new();
    for room in &usage.rooms {
        let name = shown(&room.room_name);
        if room.sets.is_empty() {
            rows.push(Row { room: name.clone(), set: None });
        }
        rows.extend(room.sets.iter().map(|set| row(language, name.clone(), set, passed)));
    }
    let nowhere = language.text("room-none");
    rows.extend(usage.unplaced.iter().map(|set| row(language, nowhere.clone(), set, passed)));
    let sets = || usage.rooms.iter().flat_map(|room| &room.sets).chain(&usage.unplaced);
    let used_in = |hour| {
        sets()
            .filter(|set| slots_of(set, hour, passed).iter().any(|slot| slot.meaning == Meaning::Used))
            .count()
    };
    let used_secs = sets().map(|set| active_secs(&set.slots)).sum();
    Log {
        school: shown(&usage.school_name),
        day: format::day(language, day.start()),
        previous_url: url(day.number() - 1),
        next_url: (day < Day::of(now)).then(|| url(day.number() + 1)),
        hours: HOURS.map(|hour| format!("{hour:02}")).collect(),
        used_sets: HOURS.map(|hour| used_in(hour).to_string()).collect(),
        used: in_minutes(language, minutes(used_secs)),
        has_no_data: rows.iter().filter_map(|row| row.set.as_ref()).any(|set| set.no_data.is_some()),
        rows,
    }
}

/// How many slots of `day` have passed at `now`; of those to come nothing is missing.
fn passed(day: Day, now: UtcMicros) -> usize {
    let since = now.as_secs().div_euclid(i64::from(SLOT_SECS)) - first_of(day);
    usize::try_from(since).unwrap_or(0).min(DAY_SLOTS)
}

/// The slots of an hour that have passed, as far as the set stood in this place.
fn slots_of(set: &SetUsage, hour: usize, passed: usize) -> &[SlotUsage] {
    let until = (set.first_slot + set.slots.len()).min(passed);
    let from = (hour * HOUR_SLOTS).max(set.first_slot).min(until);
    let to = ((hour + 1) * HOUR_SLOTS).clamp(from, until.max(from));
    set.slots.get(from.saturating_sub(set.first_slot)..to.saturating_sub(set.first_slot)).unwrap_or_default()
}

fn row(language: Language, room: String, set: &SetUsage, passed: usize) -> Row {
    let told = &set.slots[..passed.saturating_sub(set.first_slot).min(set.slots.len())];
    let missing = told.iter().filter(|slot| slot.meaning == Meaning::NoData).count();
    let missing = u32::try_from(missing).unwrap_or(0) * u32::from(SLOT_SECS);
    Row {
        room,
        set: Some(SetRow {
            url: format!("/sets/{}", set.set_code),
            code: set.set_code.clone(),
            cells: HOURS.map(|hour| cell(language, slots_of(set, hour, passed))).collect(),
            used: in_minutes(language, minutes(set.totals.active_secs)),
            on: in_minutes(language, minutes(set.totals.on_secs)),
            no_data: (missing > 0).then(|| in_minutes(language, minutes(missing))),
        }),
    }
}

fn cell(language: Language, slots: &[SlotUsage]) -> Cell {
    let Some(Hour { word, has_gap }) = Hour::of(slots) else { return Cell::Nothing };
    let (tone, shape, key, minutes) = match word {
        Word::Used(minutes) => ("ok", "●", "usage-used", Some(minutes)),
        Word::Idle(minutes) => ("busy", "◐", "usage-idle", Some(minutes)),
        Word::On(minutes) => ("unknown", "？", "usage-on", Some(minutes)),
        Word::Off => ("off", "○", "usage-off", None),
        Word::NoData => ("unknown", "◌", "usage-no-data", None),
    };
    let short = minutes.map(|minutes| minutes.to_string()).unwrap_or_default();
    let mut word = language.text(key);
    if let Some(minutes) = minutes {
        word = format!("{word} {}", in_minutes(language, minutes));
    }
    Cell::Told { tone, shape, word, short, has_gap }
}

fn in_minutes(language: Language, minutes: u32) -> String {
    language.with("usage-minutes", &[("minutes", format::count(minutes.into()).into())])
}
