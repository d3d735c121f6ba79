//! The engines below the operations: transactions, parameters, rows.

pub mod backup;
mod dialect;
mod job;
mod migrate;
mod postgres;
pub(crate) mod probe;
mod sqlite;
mod store;

use std::time::Duration;

use dialect::Whole;
pub(crate) use dialect::integrity_check;
pub use job::Receipt;
pub use store::{OpenError, Store, Subject};

use crate::error::StoreError;

/// A read that takes longer is ended: it holds the log of changes from being folded back, and a page that
/// nobody waits for any more helps nobody.
pub const READ_DEADLINE: Duration = Duration::from_secs(5);

/// A parameter. Both engines know these three and NULL.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// Integers, times, booleans.
    Int(i64),
    /// Text.
    Text(String),
    /// Ids, hashes, frames.
    Bytes(Vec<u8>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Int(i64::from(value))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<&String> for Value {
    fn from(value: &String) -> Self {
        Self::Text(value.clone())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(value.to_vec())
    }
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(value: &[u8; N]) -> Self {
        Self::Bytes(value.to_vec())
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(value)
    }
}

impl From<bbt_domain::time::UtcMicros> for Value {
    fn from(value: bbt_domain::time::UtcMicros) -> Self {
        Self::Int(value.as_micros())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Parameters in order: `params![a, b]`.
#[macro_export]
macro_rules! params {
    () => { &[] as &[$crate::Value] };
    ($($value:expr),+ $(,)?) => { &[$($crate::Value::from($value)),+] as &[$crate::Value] };
}

/// A transaction that operations run on.
///
/// A statement that fails fails the operation, whatever the operation makes of the error: PostgreSQL has
/// undone the transaction by then, and SQLite shall not be kinder.
pub struct Tx<'a> {
    engine: Engine<'a>,
    failure: Option<StoreError>,
}

enum Engine<'a> {
    Sqlite(&'a rusqlite::Connection),
    Postgres(&'a mut postgres::Session),
}

impl<'a> Tx<'a> {
    fn on_sqlite(connection: &'a rusqlite::Connection) -> Self {
        Self { engine: Engine::Sqlite(connection), failure: None }
    }

    fn on_postgres(session: &'a mut postgres::Session) -> Self {
        Self { engine: Engine::Postgres(session), failure: None }
    }

    /// Of the first statement that failed.
    fn failure(&self) -> Option<&StoreError> {
        self.failure.as_ref()
    }

    /// Runs a statement; the number of rows it changed.
    pub fn execute(&mut self, sql: &str, params: &[Value]) -> Result<usize, StoreError> {
        self.unless_failed(|engine| match engine {
            Engine::Sqlite(connection) => sqlite::execute(connection, sql, params),
            Engine::Postgres(session) => session.execute(sql, params),
        })
    }

    /// All rows of a query, each made into a value.
    pub fn query<T>(
        &mut self,
        sql: &str,
        params: &[Value],
        mut take: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut taken = Vec::new();
        let mut refused = None;
        self.walk(sql, params, &mut |row| match take(row) {
            Ok(value) => {
                taken.push(value);
                true
            }
            Err(error) => {
                refused = Some(error);
                false
            }
        })?;
        refused.map_or(Ok(taken), Err)
    }

    /// The first row of a query, if there is one.
    pub fn query_first<T>(
        &mut self,
        sql: &str,
        params: &[Value],
        take: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let mut take = Some(take);
        let mut first = None;
        self.walk(sql, params, &mut |row| {
            first = take.take().map(|take| take(row));
            false
        })?;
        first.transpose()
    }

    /// Shows row after row to `visit` until it has seen enough.
    fn walk(
        &mut self,
        sql: &str,
        params: &[Value],
        visit: &mut dyn FnMut(&Row<'_>) -> bool,
    ) -> Result<(), StoreError> {
        self.unless_failed(|engine| match engine {
            Engine::Sqlite(connection) => sqlite::walk(connection, sql, params, visit),
            Engine::Postgres(session) => session.walk(sql, params, visit),
        })
    }

    fn unless_failed<T>(
        &mut self,
        statement: impl FnOnce(&mut Engine<'a>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        statement(&mut self.engine).inspect_err(|error| self.failure = Some(error.clone()))
    }
}

/// One row of a query; columns are counted from 0.
pub struct Row<'a> {
    cells: Cells<'a>,
}

enum Cells<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a ::postgres::Row),
}

impl Row<'_> {
    /// An integer.
    pub fn int(&self, column: usize) -> Result<i64, StoreError> {
        Ok(self.get::<Whole>(column)?.0)
    }

    /// An integer or NULL.
    pub fn int_opt(&self, column: usize) -> Result<Option<i64>, StoreError> {
        Ok(self.get::<Option<Whole>>(column)?.map(|whole| whole.0))
    }

    /// A boolean.
    pub fn flag(&self, column: usize) -> Result<bool, StoreError> {
        Ok(self.int(column)? != 0)
    }

    /// A text.
    pub fn text(&self, column: usize) -> Result<String, StoreError> {
        self.get(column)
    }

    /// A text or NULL.
    pub fn text_opt(&self, column: usize) -> Result<Option<String>, StoreError> {
        self.get(column)
    }

    /// Bytes.
    pub fn bytes(&self, column: usize) -> Result<Vec<u8>, StoreError> {
        self.get(column)
    }

    /// Bytes or NULL.
    pub fn bytes_opt(&self, column: usize) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(column)
    }

    /// Sixteen or thirty-two bytes: an id or a hash, named in the error when it is not.
    pub fn array<const N: usize>(&self, column: usize, what: &'static str) -> Result<[u8; N], StoreError> {
        let bytes = match &self.cells {
            Cells::Sqlite(row) => row.get_ref(column).map_err(dialect::sqlite_failure)?.as_blob().ok(),
            Cells::Postgres(row) => row.try_get(column).map_err(dialect::postgres_failure)?,
        };
        bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(StoreError::Damaged { what })
    }

    /// As [`Row::array`], or NULL.
    pub fn array_opt<const N: usize>(
        &self,
        column: usize,
        what: &'static str,
    ) -> Result<Option<[u8; N]>, StoreError> {
        let bytes = self.bytes_opt(column)?;
        bytes.map(|bytes| bytes.try_into().map_err(|_| StoreError::Damaged { what })).transpose()
    }

    /// A time.
    pub fn time(&self, column: usize) -> Result<bbt_domain::time::UtcMicros, StoreError> {
        Ok(bbt_domain::time::UtcMicros::from_micros(self.int(column)?))
    }

    /// A time or NULL.
    pub fn time_opt(&self, column: usize) -> Result<Option<bbt_domain::time::UtcMicros>, StoreError> {
        Ok(self.int_opt(column)?.map(bbt_domain::time::UtcMicros::from_micros))
    }

    fn get<T>(&self, column: usize) -> Result<T, StoreError>
    where
        T: rusqlite::types::FromSql + ::postgres::types::FromSqlOwned,
    {
        match &self.cells {
            Cells::Sqlite(row) => row.get(column).map_err(dialect::sqlite_failure),
            Cells::Postgres(row) => row.try_get(column).map_err(dialect::postgres_failure),
        }
    }
}
