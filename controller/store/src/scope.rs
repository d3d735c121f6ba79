//! From the asker to what it may see: the one place where a predicate is added.

use bbt_domain::access::Actor;

use crate::engine::Value;

/// A condition on a table with a `device_id`-like column, to be put into `WHERE`.
pub(crate) struct Scope {
    /// SQL that uses at most the one parameter below, at the number given to [`device_scope`].
    pub(crate) sql: String,
    /// Its parameter, if it has one.
    pub(crate) value: Option<Value>,
}

/// Which devices `actor` may see; `column` holds the device's id, `number` is the next free parameter.
/// Every account has the whole county in sight until accounts of schools and contractors exist.
pub(crate) fn device_scope(actor: &Actor, column: &str, number: usize) -> Scope {
    match actor {
        Actor::Device(id) => {
            Scope { sql: format!("{column} = ${number}"), value: Some(Value::from(id.as_bytes())) }
        }
        other => Scope { sql: school_scope(other, column).to_owned(), value: None },
    }
}

/// Which rows of schools `actor` may see, as a condition without parameters; `_column` holds the school's id and
/// is compared as soon as accounts of single schools exist.
pub(crate) fn school_scope(actor: &Actor, _column: &str) -> &'static str {
    match actor {
        Actor::Local | Actor::System(_) | Actor::User { .. } => "1 = 1",
        Actor::Device(_) | Actor::Anonymous => "1 = 0",
    }
}
