//! What the lists and pages of faults, questions and tickets have in common.

use bbt_domain::{
    fault::{Reason, reason::Room},
    text::{SENTENCE_CHARS, clean},
};
use bbt_store::faults::SetName;

use super::devices::shown;
use crate::web::{
    format::{self, Moment},
    language::Language,
    visit::Fields,
    words,
};

/// Lines on one page of a list.
pub(super) const PAGE: usize = 50;

/// Where a set stands.
pub(super) struct Place {
    pub(super) url: String,
    /// 设备码.
    pub(super) code: String,
    pub(super) school: String,
    /// Its room, or that nobody placed it.
    pub(super) room: String,
}

impl Place {
    pub(super) fn new(language: Language, set: &SetName) -> Self {
        Self {
            url: format!("/sets/{}", set.id),
            code: set.code.as_str().to_owned(),
            school: shown(&set.school_name),
            room: set.room_name.as_deref().map_or_else(|| language.text("place-no-room"), shown),
        }
    }
}

/// One of several views of a list.
pub(super) struct Tab {
    pub(super) label: String,
    pub(super) url: String,
    pub(super) is_current: bool,
}

/// Ways on from a page of a list.
pub(super) struct Paging {
    /// Back to the first page, from a later one.
    pub(super) first: Option<String>,
    /// To the next page, if there is one.
    pub(super) next: Option<String>,
    /// The whole list as a file.
    pub(super) csv: Option<String>,
}

/// An address with those parts of a query that say anything.
pub(super) fn address(path: &str, query: &[(&str, &str)]) -> String {
    let parts: Vec<_> = query
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={}", format::query_value(value)))
        .collect();
    if parts.is_empty() { path.to_owned() } else { format!("{path}?{}", parts.join("&")) }
}

/// Whether there is a next page: one line more than is shown was asked for, and is cut off here.
pub(super) fn cut<T>(lines: &mut Vec<T>) -> bool {
    let more = lines.len() > PAGE;
    lines.truncate(PAGE);
    more
}

/// A sentence that a person adds to what they do.
#[derive(Default)]
pub(super) struct Note {
    pub(super) text: String,
    /// What is wrong with it.
    pub(super) problem: Option<String>,
}

impl Note {
    /// The form's field `note`, looked at as the store will.
    pub(super) fn read(language: Language, fields: &Fields, is_needed: bool) -> Self {
        let text = fields.text("note").to_owned();
        let is_long = text.chars().count() > SENTENCE_CHARS;
        let problem = if is_long {
            Some(language.with("note-long", &[("most", SENTENCE_CHARS.into())]))
        } else if is_needed && clean(&text, SENTENCE_CHARS).is_empty() {
            Some(language.text("note-missing"))
        } else {
            None
        };
        Self { text, problem }
    }
}

/// A label and what is known of it.
pub(super) struct Fact {
    pub(super) label: String,
    pub(super) text: String,
    /// Where more of it is.
    pub(super) url: Option<String>,
}

impl Fact {
    fn new(language: Language, label: &str, text: String) -> Self {
        Self { label: language.text(label), text, url: None }
    }
}

/// The facts that a reason rests on.
pub(super) fn evidence(language: Language, reason: &Reason) -> Vec<Fact> {
    let moment = |at| Moment::new(language, at).text;
    match reason {
        Reason::DiskLow(room) | Reason::DiskRoomy(room) => room_facts(language, room),
        Reason::Silent { last_contact, days } => {
            let last = last_contact.map_or_else(|| language.text("never"), moment);
            vec![
                Fact::new(language, "fact-last-report", last),
                Fact::new(language, "fact-silent-days", format::count(i64::from(*days))),
            ]
        }
        Reason::Heard { at } => vec![Fact::new(language, "fact-heard-at", moment(*at))],
        Reason::NotExpected | Reason::SaidBroken | Reason::Unanswered => Vec::new(),
    }
}

fn room_facts(language: Language, room: &Room) -> Vec<Fact> {
    let free = [("free", format::binary_bytes(room.free_bytes).into()), ("share", words::share(room).into())];
    let device = Fact {
        url: Some(format!("/devices/{}", room.device)),
        ..Fact::new(language, "fact-device", language.text("fact-device-open"))
    };
    vec![
        Fact::new(language, "fact-mount-point", shown(&room.mount_point)),
        Fact::new(language, "fact-free", language.with("fact-free-share", &free)),
        Fact::new(language, "fact-size", format::binary_bytes(room.size_bytes)),
        Fact::new(language, "fact-told-at", Moment::new(language, room.told_at).text),
        device,
    ]
}

/// The sentence that a school is asked about a silent set.
pub(super) fn question(language: Language, reason: &Reason) -> String {
    match reason {
        Reason::Silent { days, .. } => language.with("inquiry-question", &[("days", (*days).into())]),
        _ => words::reason(language, reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_only_what_differs_from_the_plain_list() {
        assert_eq!(address("/faults", &[("show", ""), ("kind", "")]), "/faults");
        assert_eq!(
            address("/faults", &[("show", "all"), ("kind", ""), ("q", "一 b")]),
            "/faults?show=all&q=%E4%B8%80%20b"
        );
    }
}
