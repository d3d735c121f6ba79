//! What the device is told to do, and what it made of it.

use bbt_domain::{
    access::Actor,
    configuration::{Key, Level, Live},
    ids::DeviceId,
    time::UtcMicros,
};
use bbt_store::{
    StoreError, Tx,
    configuration::{
        Answered, DeviceTold, Rejection, SecretLine, configuration_of_device, live_show, outcome_show,
        secret_list,
    },
};

use super::{
    parts::{Section, Table, Value, column, moment},
    shown,
};
use crate::web::{
    format::Moment,
    language::Language,
    pages::{configuration::in_words, hyphened},
    words,
};

/// Everything about a device's settings.
pub(super) struct Settings {
    told: DeviceTold,
    answered: Answered,
    secrets: Vec<SecretLine>,
    /// The look at it that goes on now.
    pub(super) live: Option<Live>,
}

impl Settings {
    pub(super) fn read(
        tx: &mut Tx<'_>,
        actor: &Actor,
        id: DeviceId,
        now: UtcMicros,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            told: configuration_of_device(tx, actor, id)?,
            answered: outcome_show(tx, actor, id)?,
            secrets: secret_list(tx, actor, id)?,
            live: live_show(tx, actor, id, now)?,
        })
    }

    pub(super) fn section(&self, language: Language) -> Section {
        let mut made = Section::new(language, "settings", "section-settings");
        made.fact(language, "fact-settings-standing", Value::Text(self.standing(language)));
        if let Some((_, at)) = self.answered.applied {
            made.fact(language, "fact-settings-applied", moment(language, at));
        }
        if let Some(rejection) = self.rejection() {
            made.fact(language, "fact-settings-rejected", moment(language, rejection.at));
            made.fact(
                language,
                "fact-settings-reason",
                Value::Text(words::rejection(language, &rejection.key, &rejection.reason)),
            );
        }
        made.tables.push(self.values(language));
        if !self.secrets.is_empty() {
            made.tables.push(self.secrets(language));
        }
        made
    }

    /// A refusal of what is told now; one of something older is past.
    fn rejection(&self) -> Option<&Rejection> {
        self.answered.rejected.as_ref().filter(|rejection| rejection.revision == self.told.revision)
    }

    fn standing(&self, language: Language) -> String {
        let applied = self.answered.applied.map(|(revision, _)| revision);
        language.text(match self.told.revision {
            0 => "settings-built-in",
            _ if self.rejection().is_some() => "settings-rejected",
            revision if applied == Some(revision) => "settings-applied",
            _ => "settings-waiting",
        })
    }

    fn values(&self, language: Language) -> Table {
        let row = |key: Key| {
            let found = self.told.value(key);
            let source = match found {
                Some((Level::Device(_), _)) => "settings-of-device",
                Some((Level::School(_), _)) => "settings-of-school",
                Some((Level::County, _)) => "settings-of-county",
                None => "settings-of-nobody",
            };
            vec![
                Value::Text(language.text(&format!("field-{}", hyphened(key.as_str())))),
                Value::Text(in_words(language, key, Some(found.map_or(key.built_in(), |(_, value)| value)))),
                Value::Text(language.text(source)),
            ]
        };
        Table {
            caption: language.text("section-settings"),
            columns: ["column-setting", "column-set-to", "column-set-by"]
                .map(|label| column(language, label))
                .into(),
            rows: Key::ALL.map(row).into(),
        }
    }

    fn secrets(&self, language: Language) -> Table {
        let row = |secret: &SecretLine| {
            vec![
                Value::Code(shown(secret.name.as_str())),
                Value::Moment(Moment::new(language, secret.set_at)),
                Value::Text(words::actor(language, &secret.set_by)),
            ]
        };
        Table {
            caption: language.text("settings-secrets"),
            columns: ["column-secret", "column-entered-at", "column-entered-by"]
                .map(|label| column(language, label))
                .into(),
            rows: self.secrets.iter().map(row).collect(),
        }
    }
}
