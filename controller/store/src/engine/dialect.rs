//! What differs between the engines: values on their way in and out, errors, and the few statements that
//! only one of them knows.

use std::{error::Error, fmt, sync::Arc};

use bytes::BytesMut;
use postgres::{
    error::{DbError, Severity, SqlState},
    types::{Format, FromSql, IsNull, ToSql, Type, to_sql_checked},
};
use rusqlite::{
    ErrorCode,
    types::{FromSqlResult, ToSqlOutput, ValueRef},
};

use super::{Engine, Tx, Value};
use crate::{error::StoreError, params};

// ------------------------------------------------------------------ values

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(value) => ValueRef::Integer(*value),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// The server says of which type it takes a parameter. Integers go as such into BIGINT, and as digits into
/// what else it may have inferred (`1 = $1` is of type INTEGER there): it reads them for every type of number.
impl ToSql for Value {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match (self, kind) {
            (Self::Null, _) => Ok(IsNull::Yes),
            (Self::Int(value), &Type::INT8) => value.to_sql(kind, out),
            (Self::Int(value), _) => value.to_string().to_sql(&Type::TEXT, out),
            (Self::Text(text), _) if <&str as ToSql>::accepts(kind) => text.to_sql(kind, out),
            (Self::Bytes(bytes), &Type::BYTEA) => bytes.to_sql(kind, out),
            (Self::Text(_), _) => Err(format!("a text where the server expects {kind}").into()),
            (Self::Bytes(_), _) => Err(format!("bytes where the server expects {kind}").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, kind: &Type) -> Format {
        match self {
            Self::Int(_) if *kind != Type::INT8 => Format::Text,
            _ => Format::Binary,
        }
    }

    to_sql_checked!();
}

/// An integer of whatever width the engine computed it in: PostgreSQL has booleans, counts in BIGINT, and
/// sums BIGINT up as NUMERIC.
pub(super) struct Whole(pub(super) i64);

impl rusqlite::types::FromSql for Whole {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(Self)
    }
}

impl<'a> FromSql<'a> for Whole {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(match *kind {
            Type::BOOL => bool::from_sql(kind, raw)?.into(),
            Type::INT2 => i16::from_sql(kind, raw)?.into(),
            Type::INT4 => i32::from_sql(kind, raw)?.into(),
            Type::NUMERIC => whole_of_numeric(raw).ok_or("a sum that is not a whole number of 64 bits")?,
            _ => i64::from_sql(kind, raw)?,
        }))
    }

    fn accepts(kind: &Type) -> bool {
        matches!(*kind, Type::INT8 | Type::BOOL | Type::INT2 | Type::INT4 | Type::NUMERIC)
    }
}

/// NUMERIC on the wire: how many digits, the power of the first, the sign, digits shown after the point, and
/// the digits, all 16 bits wide and to base 10,000.
fn whole_of_numeric(raw: &[u8]) -> Option<i64> {
    const NEGATIVE: u16 = 0x4000;
    let mut words = raw.chunks_exact(2).map(|word| u16::from_be_bytes([word[0], word[1]]));
    let (digits, power, sign, _) = (words.next()?, words.next()? as i16, words.next()?, words.next()?);
    let has_fraction = digits > 0 && i32::from(digits) > i32::from(power) + 1;
    if has_fraction || (sign != 0 && sign != NEGATIVE) {
        return None;
    }
    // Zeros at the end are not sent.
    let places = if digits == 0 { 0 } else { usize::from(power.unsigned_abs()) + 1 };
    words.chain(std::iter::repeat(0)).take(places).try_fold(0_i64, |sum, digit| {
        // Added with its sign: the least number has no positive twin.
        let digit = if sign == NEGATIVE { -i64::from(digit) } else { digit.into() };
        sum.checked_mul(10_000)?.checked_add(digit)
    })
}

// ------------------------------------------------------------------ errors

/// SQLite's error in the terms of [`StoreError`].
pub(super) fn sqlite_failure(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::DiskFull,
        Some(ErrorCode::OperationInterrupted) => StoreError::TooSlow,
        Some(ErrorCode::ReadOnly) => StoreError::ReadOnly,
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => {
            StoreError::Io { reason: error.to_string() }
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Corrupt { reason: error.to_string() }
        }
        _ => StoreError::Engine(Arc::new(error)),
    }
}

/// PostgreSQL's error in the terms of [`StoreError`].
pub(super) fn postgres_failure(error: postgres::Error) -> StoreError {
    match error.code() {
        Some(&SqlState::DISK_FULL) => StoreError::DiskFull,
        Some(&SqlState::QUERY_CANCELED) => StoreError::TooSlow,
        _ => StoreError::Engine(Arc::new(ServerError(error))),
    }
}

/// An error of the driver that says what the server said; the driver's own words are only "db error".
#[derive(Debug)]
pub(super) struct ServerError(postgres::Error);

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.as_db_error(), self.0.source()) {
            (Some(told), _) => write!(f, "{} (SQLSTATE {})", told.message(), told.code().code()),
            (None, Some(cause)) => write!(f, "{}: {cause}", self.0),
            (None, None) => self.0.fmt(f),
        }
    }
}

impl Error for ServerError {}

/// What an error of PostgreSQL means for the transaction it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Another transaction was quicker: the operation, run again, sees what that one did.
    Again,
    /// A row with this key exists: one that another transaction has just made, or one that was there.
    AgainIfNew,
    /// The connection is gone, and the transaction with it.
    Reconnect,
    /// None.
    Tell,
}

impl Remedy {
    pub(super) fn of(error: &StoreError) -> Self {
        let StoreError::Engine(cause) = error else { return Self::Tell };
        let Some(ServerError(error)) = cause.downcast_ref() else { return Self::Tell };
        match error.as_db_error() {
            Some(told) if !is_only_this_statement(told) => Self::Reconnect,
            Some(told) => match *told.code() {
                SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED => Self::Again,
                SqlState::UNIQUE_VIOLATION => Self::AgainIfNew,
                _ => Self::Tell,
            },
            None if is_of_the_wire(error) => Self::Reconnect,
            None => Self::Tell,
        }
    }
}

/// FATAL and PANIC end the connection.
fn is_only_this_statement(told: &DbError) -> bool {
    told.parsed_severity() == Some(Severity::Error)
}

/// Whether the connection failed, and not a value on its way in or out.
fn is_of_the_wire(error: &postgres::Error) -> bool {
    error.is_closed() || error.source().is_some_and(|cause| cause.is::<std::io::Error>())
}

// ------------------------------------------------------------------ statements

/// What the engine finds wrong with its own files. PostgreSQL tells of pages that it read and whose checksum
/// was wrong, since the database was made; to look at every page is the work of `pg_amcheck`.
pub(crate) fn integrity_check(tx: &mut Tx<'_>) -> Result<Vec<String>, StoreError> {
    let sql = match tx.engine {
        Engine::Sqlite(_) => "SELECT quick_check FROM pragma_quick_check WHERE quick_check <> 'ok'",
        Engine::Postgres(_) => {
            "SELECT 'pages whose checksum was wrong: ' || checksum_failures FROM pg_stat_database
             WHERE datname = current_database() AND checksum_failures > 0
             UNION ALL
             SELECT 'an index that was not finished: ' || relname FROM pg_index JOIN pg_class ON oid = indexrelid
             WHERE NOT indisvalid AND relnamespace = current_schema()::regnamespace"
        }
    };
    tx.query(sql, params![], |row| row.text(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numeric(head: [u16; 4], digits: &[u16]) -> Vec<u8> {
        head.iter().chain(digits).flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn a_sum_is_read_as_the_integer_that_it_is() {
        let read = |head, digits: &[u16]| whole_of_numeric(&numeric(head, digits));
        assert_eq!(read([0, 0, 0, 0], &[]), Some(0));
        assert_eq!(read([2, 1, 0, 0], &[12, 3456]), Some(123_456));
        assert_eq!(read([1, 2, 0, 0], &[7]), Some(700_000_000), "zeros at the end are not sent");
        assert_eq!(read([1, 0, 0x4000, 0], &[5]), Some(-5));
        assert_eq!(read([5, 4, 0x4000, 0], &[922, 3372, 368, 5477, 5808]), Some(i64::MIN));
        assert_eq!(
            read([5, 4, 0, 0], &[922, 3372, 368, 5477, 5808]),
            None,
            "one more than there is room for"
        );
        assert_eq!(read([1, -1_i16 as u16, 0, 1], &[5000]), None, "a half");
        assert_eq!(read([2, 0, 0, 1], &[1, 5000]), None, "one and a half");
        assert_eq!(read([0, 0, 0xc000, 0], &[]), None, "not a number");
    }
}
