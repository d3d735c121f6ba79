//! A file under an environment: unknown names refused with the nearest known one.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};
use toml::{Table, Value};

/// A configuration that cannot be used; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration {path} cannot be read: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The file is not TOML, or a value has the wrong form.
    #[error("the configuration {path} is not valid: {reason}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// A key nobody knows.
    #[error("the configuration {path} has the unknown key {key:?}: did you mean {nearest:?}?")]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key with its section.
        key: String,
        /// The most alike known key.
        nearest: String,
    },
    /// A variable nobody knows.
    #[error("the environment has the unknown variable {name}: did you mean {nearest}?")]
    UnknownVariable {
        /// Its name.
        name: String,
        /// The most alike known variable.
        nearest: String,
    },
    /// A variable with the wrong form.
    #[error("the variable {name} cannot be {value:?}: {remedy}")]
    Variable {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
        /// What to write.
        remedy: &'static str,
    },
    /// A value that makes no sense.
    #[error("the configuration {path} has {key} = {value:?}: {remedy}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The key with its section.
        key: String,
        /// Its value.
        value: String,
        /// What to write.
        remedy: String,
    },
}

/// Reads `text` of the file `path`, lays `environment` over it, and makes a `T`, whose default names every
/// key there is.
pub(super) fn read<T: Default + Serialize + DeserializeOwned>(
    path: &Path,
    text: &str,
    prefix: &str,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<T, ConfigError> {
    let syntax = |reason: String| ConfigError::Syntax { path: path.to_owned(), reason };
    let known = Table::try_from(T::default()).map_err(|error| syntax(error.to_string()))?;
    let mut table: Table = text.parse().map_err(|error: toml::de::Error| syntax(one_line(&error)))?;
    if let Some(key) = unknown(&table, &known, "") {
        let nearest = nearest(&key, keys(&known));
        return Err(ConfigError::UnknownKey { path: path.to_owned(), key, nearest });
    }
    for (name, value) in environment {
        let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) else { continue };
        if let Some(rest) = name.strip_prefix(prefix) {
            set(&mut table, &known, prefix, &name, rest, value)?;
        }
    }
    table.clone().try_into().map_err(|error: toml::de::Error| {
        let reason = one_line(&error);
        // The parser names the key and not its value; people look for what they wrote.
        let key = reason.split('`').nth(1).unwrap_or_default().to_owned();
        let value = key.split_once('.').and_then(|(section, key)| table.get(section)?.get(key));
        match value {
            Some(value) => {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                ConfigError::Value { path: path.to_owned(), key, value, remedy: reason }
            }
            None => syntax(reason),
        }
    })
}

fn set(
    table: &mut Table,
    known: &Table,
    prefix: &str,
    name: &str,
    rest: &str,
    value: String,
) -> Result<(), ConfigError> {
    let unknown = || {
        let names = keys(known).map(|key| format!("{prefix}{}", key.to_uppercase().replace('.', "__")));
        ConfigError::UnknownVariable { name: name.to_owned(), nearest: nearest(name, names) }
    };
    let lower = rest.to_lowercase();
    let (section, key) = lower.split_once("__").ok_or_else(unknown)?;
    let default = known.get(section).and_then(|section| section.get(key)).ok_or_else(unknown)?;
    let wrong = |remedy| ConfigError::Variable { name: name.to_owned(), value: value.clone(), remedy };
    let typed = match default {
        Value::Integer(_) => Value::Integer(value.parse().map_err(|_| wrong("write a whole number"))?),
        Value::Boolean(_) => Value::Boolean(value.parse().map_err(|_| wrong("write true or false"))?),
        Value::Array(_) => {
            let items = value.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
        }
        _ => Value::String(value),
    };
    let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(section) = section {
        section.insert(key.to_owned(), typed);
    }
    Ok(())
}

/// The first key of `table` that `known` does not have.
fn unknown(table: &Table, known: &Table, section: &str) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let full = if section.is_empty() { key.clone() } else { format!("{section}.{key}") };
        match (known.get(key), value) {
            (None, _) => Some(full),
            (Some(Value::Table(known)), Value::Table(table)) => unknown(table, known, &full),
            _ => None,
        }
    })
}

fn keys(known: &Table) -> impl Iterator<Item = String> + '_ {
    known.iter().flat_map(|(section, keys)| {
        let keys = keys.as_table().into_iter().flat_map(Table::keys);
        keys.map(move |key| format!("{section}.{key}"))
    })
}

fn nearest(name: &str, known: impl Iterator<Item = String>) -> String {
    known.min_by_key(|candidate| strsim::levenshtein(candidate, name)).unwrap_or_default()
}

fn one_line(error: &toml::de::Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
