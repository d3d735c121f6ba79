//! A field of a form as it is shown: its words, what was typed, and what is wrong with it.

use super::language::Language;

/// See the head of the module.
#[derive(Clone, Debug)]
pub(super) struct Field {
    /// Of the field in the form, and its id on the page.
    pub(super) name: &'static str,
    pub(super) label: String,
    pub(super) hint: String,
    pub(super) value: String,
    pub(super) error: Option<String>,
}

impl Field {
    /// An empty field whose words are `field-<word>` and `field-<word>-hint`.
    pub(super) fn new(language: Language, name: &'static str, word: &str) -> Self {
        Self {
            name,
            label: language.text(&format!("field-{word}")),
            hint: language.text(&format!("field-{word}-hint")),
            value: String::new(),
            error: None,
        }
    }

    /// With what was typed.
    pub(super) fn typed(self, value: &str) -> Self {
        Self { value: value.to_owned(), ..self }
    }

    /// With what is wrong, if anything is.
    pub(super) fn wrong(self, error: Option<String>) -> Self {
        Self { error, ..self }
    }
}

/// What is wrong with `fields`, for the summary at the top of their form.
pub(super) fn problems(fields: &[Field]) -> Vec<(&'static str, &str)> {
    fields.iter().filter_map(|field| Some((field.name, field.error.as_deref()?))).collect()
}
