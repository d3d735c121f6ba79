//! What a device's page is put together from: facts and tables whose unknown values say why.

use bbt_domain::{facts::Problem, snapshot::Section as Told, time::UtcMicros};

use super::super::devices::shown;
use crate::web::{format::Moment, language::Language};

/// One part of the page.
pub(super) struct Section {
    pub(super) id: &'static str,
    pub(super) title: String,
    /// When a device told it; `None` where the county itself is the source.
    pub(super) told_at: Option<Moment>,
    pub(super) facts: Vec<Fact>,
    pub(super) tables: Vec<Table>,
    /// Said instead of facts and tables that are not there.
    pub(super) note: Option<String>,
    pub(super) problems: Vec<Trouble>,
}

/// A label and its value.
pub(super) struct Fact {
    pub(super) label: String,
    pub(super) value: Value,
}

/// Rows of the same kind.
pub(super) struct Table {
    pub(super) caption: String,
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<Value>>,
}

/// One column of a table.
pub(super) struct Column {
    pub(super) label: String,
    pub(super) is_number: bool,
}

/// Something to show.
pub(super) enum Value {
    /// As it is.
    Text(String),
    /// A name for machines: serial number, address.
    Code(String),
    /// A date.
    Moment(Moment),
    /// A share with its figures.
    Share {
        /// 0 to 100.
        percent: u32,
        /// ok, warn, bad.
        tone: &'static str,
        text: String,
    },
    /// Not known.
    Unknown {
        why: String,
        /// The device's own English sentence.
        message: String,
    },
    /// Nothing to be known: the speed of a card that is down.
    Nothing,
}

/// A problem as it was told.
pub(super) struct Trouble {
    pub(super) item: String,
    pub(super) why: String,
    pub(super) message: String,
}

impl Section {
    /// A section of what the county knows.
    pub(super) fn new(language: Language, id: &'static str, title: &str) -> Self {
        Self {
            id,
            title: language.text(title),
            told_at: None,
            facts: Vec::new(),
            tables: Vec::new(),
            note: None,
            problems: Vec::new(),
        }
    }

    /// A section of what a device told, with the means to fill it; without them it was never told.
    pub(super) fn told<'a, T>(
        language: Language,
        id: &'static str,
        title: &str,
        section: Option<&'a Told<T>>,
    ) -> (Self, Option<Reader<'a, T>>) {
        let mut made = Self::new(language, id, title);
        let Some(section) = section else {
            made.note = Some(language.text("section-never-told"));
            return (made, None);
        };
        made.told_at = Some(Moment::new(language, section.told_at));
        let reader = Reader { language, facts: &section.told.facts, problems: &section.told.problems };
        (made, Some(reader))
    }

    pub(super) fn fact(&mut self, language: Language, label: &str, value: Value) {
        self.facts.push(Fact { label: language.text(label), value });
    }
}

/// Reads one told section: its facts, and for those that are unknown the problem that says why.
pub(super) struct Reader<'a, T> {
    pub(super) language: Language,
    pub(super) facts: &'a T,
    problems: &'a [Problem],
}

impl<T> Reader<'_, T> {
    /// A fact as text; `item` is what the device calls it in its problems.
    pub(super) fn text(&self, fact: Option<&str>, item: &str) -> Value {
        fact.map_or_else(|| self.unknown(item), |text| Value::Text(shown(text)))
    }

    /// A fact that is a name for machines.
    pub(super) fn code(&self, fact: Option<&str>, item: &str) -> Value {
        fact.map_or_else(|| self.unknown(item), |text| Value::Code(shown(text)))
    }

    /// A fact put into text by `show`.
    pub(super) fn fact<F>(&self, fact: Option<F>, item: &str, show: impl FnOnce(F) -> String) -> Value {
        fact.map_or_else(|| self.unknown(item), |fact| Value::Text(show(fact)))
    }

    /// Yes or no.
    pub(super) fn flag(&self, fact: Option<bool>, item: &str) -> Value {
        self.fact(fact, item, |flag| self.language.text(if flag { "yes" } else { "no" }))
    }

    /// Unknown, because.
    pub(super) fn unknown(&self, item: &str) -> Value {
        match self.problem(item) {
            Some(problem) => {
                Value::Unknown { why: why(self.language, &problem.code), message: shown(&problem.message) }
            }
            None => Value::Unknown { why: self.language.text("reason-none"), message: String::new() },
        }
    }

    /// The problem with `item`, else the one with what it is part of: `board` for `board.serial`.
    fn problem(&self, item: &str) -> Option<&Problem> {
        let mut item = item;
        loop {
            if let Some(problem) = self.problems.iter().find(|problem| problem.item == item) {
                return Some(problem);
            }
            item = item.rsplit_once('.')?.0;
        }
    }

    /// Every problem for which `belongs` holds, in words.
    pub(super) fn troubles(&self, belongs: impl Fn(&str) -> bool) -> Vec<Trouble> {
        let trouble = |problem: &Problem| Trouble {
            item: shown(&problem.item),
            why: why(self.language, &problem.code),
            message: shown(&problem.message),
        };
        self.problems.iter().filter(|problem| belongs(&problem.item)).map(trouble).collect()
    }
}

/// A column of text.
pub(super) fn column(language: Language, label: &str) -> Column {
    Column { label: language.text(label), is_number: false }
}

/// A column of figures.
pub(super) fn number_column(language: Language, label: &str) -> Column {
    Column { label: language.text(label), is_number: true }
}

/// A moment as a value.
pub(super) fn moment(language: Language, time: UtcMicros) -> Value {
    Value::Moment(Moment::new(language, time))
}

/// A problem's code in words.
pub(in crate::web::pages) fn why(language: Language, code: &str) -> String {
    language
        .find(&format!("reason-{}", code.replace('_', "-")), &[])
        .unwrap_or_else(|| language.with("reason-other", &[("code", shown(code).into())]))
}

#[cfg(test)]
mod tests {
    use bbt_domain::facts::{Hardware, Told as Facts};

    use super::*;

    #[test]
    fn an_unknown_fact_is_explained_by_the_nearest_problem() {
        let problem = |item: &str, code: &str| Problem {
            item: item.to_owned(),
            code: code.to_owned(),
            message: format!("{item} failed"),
        };
        let told = Told {
            told_at: UtcMicros::from_secs(0),
            told: Facts {
                facts: Hardware::default(),
                problems: vec![problem("board", "not_offered"), problem("board.serial", "permission_denied")],
            },
        };
        let (_, reader) = Section::told(Language::English, "x", "section-hardware", Some(&told));
        let reader = reader.unwrap();
        let message = |item| match reader.unknown(item) {
            Value::Unknown { message, .. } => message,
            _ => unreachable!(),
        };
        assert_eq!(message("board.serial"), "board.serial failed");
        assert_eq!(message("board.vendor"), "board failed");
        assert_eq!(message("system.vendor"), "");
    }

    #[test]
    fn every_code_of_the_contract_has_words() {
        let codes = [
            "permission_denied",
            "not_offered",
            "unreadable",
            "timed_out",
            "hung",
            "panicked",
            "unreachable",
            "too_many",
        ];
        for language in Language::ALL {
            for code in codes {
                let other = language.with("reason-other", &[("code", code.into())]);
                assert_ne!(why(language, code), other);
            }
            assert!(why(language, "some_later_word").contains("some_later_word"));
        }
    }
}
