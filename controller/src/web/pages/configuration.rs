//! 采集设置: what all devices of the county are told to do. A change is shown once more, with what it means, before it
//! is made: it reaches every classroom within seconds.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Response};
use bbt_domain::{
    configuration::{ConfigurationError, Key, Level, Values},
    text::{NAME_CHARS, clean, half_width},
};
use bbt_store::{
    Tx,
    configuration::{LevelFile, configuration_show, rejected_count},
    devices::device_count,
};

use super::{Shell, confirmation, done, html, hyphened, unprocessable};
use crate::{
    configuration,
    web::{
        Site,
        failure::Failure,
        field::{self, Field},
        format::{self, Moment},
        language::Language,
        visit::{Fields, Visit},
        words,
    },
};

const PATH: &str = "/configuration";

#[derive(Template)]
#[template(path = "configuration.html")]
struct ConfigurationPage {
    shell: Shell,
    done: Option<String>,
    /// When and by whom it was changed last.
    changed: Option<(Moment, String)>,
    /// "12 devices did not take their settings", if any did not.
    rejecting: Option<String>,
    form: Vec<Field>,
}

#[derive(Template)]
#[template(path = "configuration_confirm.html")]
struct ConfirmPage {
    shell: Shell,
    changes: Vec<Change>,
    consequence: String,
    /// Name and value of each field, as it was typed.
    typed: Vec<(&'static str, String)>,
}

/// A value that is to be another.
struct Change {
    label: String,
    before: String,
    after: String,
}

/// `GET /configuration`
pub(in crate::web) async fn show(
    State(site): State<Arc<Site>>,
    visit: Visit,
    fields: Fields,
) -> Result<Response, Failure> {
    let county = read(&site, &visit).await?;
    let values = county.values();
    let language = visit.language;
    let form = Key::ALL.map(|key| field_of(language, key).typed(&shown(key, values.get(key)))).into();
    html(&page(&site, &visit, &county, confirmation(language, &fields), form))
}

/// `POST /configuration`: asks once more, and with `confirmed` does it.
pub(in crate::web) async fn change(
    State(site): State<Arc<Site>>,
    visit: Visit,
    fields: Fields,
) -> Result<Response, Failure> {
    let (county, language) = (read(&site, &visit).await?, visit.language);
    let before = county.values();
    let values = match typed(language, &fields, before) {
        Ok(values) => values,
        Err(form) => {
            let mut page = page(&site, &visit, &county, None, form);
            page.shell.here = PATH.to_owned();
            return unprocessable(&page);
        }
    };
    if values == before {
        return Ok(done(PATH, "configuration-unchanged"));
    }
    if fields.find("confirmed").is_none() {
        return html(&confirm(&site, &visit, &county, &fields, values));
    }
    configuration::set(&site.context, visit.actor, Level::County, values).await?;
    Ok(done(PATH, "configured"))
}

/// What the page shows of the county.
struct County {
    file: Option<LevelFile>,
    devices: i64,
    rejecting: i64,
}

impl County {
    fn values(&self) -> Values {
        self.file.as_ref().map(|file| file.values).unwrap_or_default()
    }
}

async fn read(site: &Site, visit: &Visit) -> Result<County, Failure> {
    let (actor, now) = (visit.actor.clone(), site.context.now());
    let read = move |tx: &mut Tx<'_>| {
        let (devices, _) = device_count(tx, &actor, now)?;
        let file = configuration_show(tx, &actor, Level::County)?;
        Ok(County { file, devices, rejecting: rejected_count(tx, &actor)? })
    };
    Ok(site.context.store.read(read).await?)
}

fn page(
    site: &Site,
    visit: &Visit,
    county: &County,
    done: Option<String>,
    form: Vec<Field>,
) -> ConfigurationPage {
    let language = visit.language;
    ConfigurationPage {
        shell: Shell::new(site, visit, PATH),
        done,
        changed: county
            .file
            .as_ref()
            .map(|file| (Moment::new(language, file.changed_at), words::actor(language, &file.changed_by))),
        rejecting: rejecting(language, county.rejecting),
        form,
    }
}

fn confirm(site: &Site, visit: &Visit, county: &County, fields: &Fields, values: Values) -> ConfirmPage {
    let (language, before) = (visit.language, county.values());
    let changed = Key::ALL.into_iter().filter(|key| before.get(*key) != values.get(*key));
    let mut shell = Shell::new(site, visit, PATH);
    shell.here = PATH.to_owned();
    ConfirmPage {
        shell,
        changes: changed
            .map(|key| Change {
                label: language.text(&format!("field-{}", hyphened(key.as_str()))),
                before: in_words(language, key, before.get(key)),
                after: in_words(language, key, values.get(key)),
            })
            .collect(),
        consequence: language
            .with("configuration-confirm", &[("count", format::count(county.devices).into())]),
        typed: Key::ALL.map(|key| (key.as_str(), clean(fields.text(key.as_str()), NAME_CHARS))).into(),
    }
}

/// The sentence about devices that did not take their settings.
pub(super) fn rejecting(language: Language, count: i64) -> Option<String> {
    (count > 0).then(|| language.with("configuration-rejecting", &[("count", format::count(count).into())]))
}

/// How much one of what people type is: minutes, hours, MiB, days.
const fn unit(key: Key) -> u64 {
    match key {
        Key::SampleInterval => 1,
        Key::FrameInterval => 60,
        Key::InventoryInterval => 3_600,
        Key::SpoolBytes => 1 << 20,
        Key::SpoolAge => 86_400,
    }
}

/// A value in its unit, rounded; empty when it is not set.
fn shown(key: Key, value: Option<u64>) -> String {
    value.map(|value| (value / unit(key)).to_string()).unwrap_or_default()
}

/// A value with its unit, and what holds where nothing is set.
pub(super) fn in_words(language: Language, key: Key, value: Option<u64>) -> String {
    let with_unit = |value: u64| {
        let count = format::count(i64::try_from(value / unit(key)).unwrap_or(i64::MAX));
        language.with(&format!("value-{}", hyphened(key.as_str())), &[("count", count.into())])
    };
    match value {
        Some(value) => with_unit(value),
        None => language.with("value-built-in", &[("value", with_unit(key.built_in()).into())]),
    }
}

fn field_of(language: Language, key: Key) -> Field {
    let mut made = Field::new(language, key.as_str(), &hyphened(key.as_str()));
    let bounds = key.bounds();
    let [min, max, built_in] = [*bounds.start(), *bounds.end(), key.built_in()]
        .map(|value| format::count(i64::try_from(value / unit(key)).unwrap_or(i64::MAX)));
    let variables = [("min", min.into()), ("max", max.into()), ("builtin", built_in.into())];
    made.hint = format!("{} {}", made.hint, language.with("configuration-bounds", &variables));
    made
}

/// The values that were typed, or the form with what is wrong.
fn typed(language: Language, fields: &Fields, before: Values) -> Result<Values, Vec<Field>> {
    let mut values = Values::default();
    let mut form = Vec::new();
    for key in Key::ALL {
        let text = clean(&half_width(fields.text(key.as_str())), NAME_CHARS);
        let read = read_value(key, &text, before.get(key));
        values = values.with(key, read.unwrap_or_default());
        let error =
            read.err().map(|()| language.with("wrong-configuration", &[("value", text.clone().into())]));
        form.push(field_of(language, key).typed(&text).wrong(error));
    }
    if field::problems(&form).is_empty()
        && let Err(ConfigurationError::FrameBelowSample { .. }) = values.check()
    {
        let frame = Key::FrameInterval as usize;
        form[frame].error = Some(language.text("wrong-frame-below-sample"));
    }
    if field::problems(&form).is_empty() { Ok(values) } else { Err(form) }
}

/// Empty is not set. What stands there as it was shown is what it was, also where it was shown rounded.
fn read_value(key: Key, text: &str, before: Option<u64>) -> Result<Option<u64>, ()> {
    if text == shown(key, before) {
        return Ok(before);
    }
    if text.is_empty() {
        return Ok(None);
    }
    let value = text.parse::<u64>().ok().and_then(|number| number.checked_mul(unit(key)));
    value.filter(|value| key.bounds().contains(value)).map(Some).ok_or(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_in_the_units_of_the_form() {
        assert_eq!(read_value(Key::FrameInterval, "10", None), Ok(Some(600)));
        assert_eq!(read_value(Key::SpoolBytes, "64", None), Ok(Some(64 << 20)));
        assert_eq!(read_value(Key::SpoolAge, "", Some(86_400)), Ok(None), "taken back");
        assert_eq!(read_value(Key::FrameInterval, "1", Some(90)), Ok(Some(90)), "left as it was shown");
        for wrong in ["0", "61", "-1", "1.5", "zehn", "99999999999999999999"] {
            assert_eq!(read_value(Key::FrameInterval, wrong, None), Err(()), "{wrong}");
        }
    }
}
