//! The engine below the operations: transactions, parameters, rows.

mod migrate;
pub(crate) mod probe;
mod sqlite;

use std::time::Duration;

pub use sqlite::{OpenError, Receipt, Store};

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
pub struct Tx<'a> {
    connection: &'a rusqlite::Connection,
}

impl Tx<'_> {
    /// Runs a statement; the number of rows it changed.
    pub fn execute(&mut self, sql: &str, params: &[Value]) -> Result<usize, StoreError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(sqlite::failure)?;
        statement.execute(sqlite::bind(params)).map_err(sqlite::failure)
    }

    /// All rows of a query, each made into a value.
    pub fn query<T>(
        &mut self,
        sql: &str,
        params: &[Value],
        mut take: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(sqlite::failure)?;
        let mut rows = statement.query(sqlite::bind(params)).map_err(sqlite::failure)?;
        let mut taken = Vec::new();
        while let Some(row) = rows.next().map_err(sqlite::failure)? {
            taken.push(take(&Row { row })?);
        }
        Ok(taken)
    }

    /// The first row of a query, if there is one.
    pub fn query_first<T>(
        &mut self,
        sql: &str,
        params: &[Value],
        take: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(sqlite::failure)?;
        let mut rows = statement.query(sqlite::bind(params)).map_err(sqlite::failure)?;
        match rows.next().map_err(sqlite::failure)? {
            Some(row) => take(&Row { row }).map(Some),
            None => Ok(None),
        }
    }
}

/// One row of a query; columns are counted from 0.
pub struct Row<'a> {
    row: &'a rusqlite::Row<'a>,
}

impl Row<'_> {
    /// An integer.
    pub fn int(&self, column: usize) -> Result<i64, StoreError> {
        self.row.get(column).map_err(sqlite::failure)
    }

    /// An integer or NULL.
    pub fn int_opt(&self, column: usize) -> Result<Option<i64>, StoreError> {
        self.row.get(column).map_err(sqlite::failure)
    }

    /// A boolean.
    pub fn flag(&self, column: usize) -> Result<bool, StoreError> {
        Ok(self.int(column)? != 0)
    }

    /// A text.
    pub fn text(&self, column: usize) -> Result<String, StoreError> {
        self.row.get(column).map_err(sqlite::failure)
    }

    /// A text or NULL.
    pub fn text_opt(&self, column: usize) -> Result<Option<String>, StoreError> {
        self.row.get(column).map_err(sqlite::failure)
    }

    /// Bytes.
    pub fn bytes(&self, column: usize) -> Result<Vec<u8>, StoreError> {
        self.row.get(column).map_err(sqlite::failure)
    }

    /// Bytes or NULL.
    pub fn bytes_opt(&self, column: usize) -> Result<Option<Vec<u8>>, StoreError> {
        self.row.get(column).map_err(sqlite::failure)
    }

    /// Sixteen or thirty-two bytes: an id or a hash, named in the error when it is not.
    pub fn array<const N: usize>(&self, column: usize, what: &'static str) -> Result<[u8; N], StoreError> {
        let bytes = self.row.get_ref(column).map_err(sqlite::failure)?;
        bytes.as_blob().ok().and_then(|b| b.try_into().ok()).ok_or(StoreError::Damaged { what })
    }

    /// A time.
    pub fn time(&self, column: usize) -> Result<bbt_domain::time::UtcMicros, StoreError> {
        Ok(bbt_domain::time::UtcMicros::from_micros(self.int(column)?))
    }

    /// A time or NULL.
    pub fn time_opt(&self, column: usize) -> Result<Option<bbt_domain::time::UtcMicros>, StoreError> {
        Ok(self.int_opt(column)?.map(bbt_domain::time::UtcMicros::from_micros))
    }
}
