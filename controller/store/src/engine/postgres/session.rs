//! One connection to a server: the settings that the promises rest on, statements, commits.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use postgres::{
    Client, NoTls, Statement,
    error::{DbError, Severity},
    fallible_iterator::FallibleIterator,
};

use super::place::Place;
use crate::{
    engine::{
        Cells, OpenError, READ_DEADLINE, Row, Value,
        dialect::{Remedy, postgres_failure as failure},
    },
    error::StoreError,
};

/// The oldest server: Debian 12's, the oldest that the conformance suite was run on.
const SERVER_MINIMUM: i64 = 15;
/// A controller that is cut off in a transaction holds what it locked no longer than this. Operations do
/// nothing between their statements.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(10);
/// Statements kept prepared per connection: every operation has a few.
const STATEMENT_CACHE: usize = 256;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Transactions that behave as if they came one after the other.
    Write,
    /// Transactions that see one state, change nothing, and end by [`READ_DEADLINE`].
    Read,
}

/// Who else may write to the county during a transaction that writes, from whatever controller. It is settled
/// by a lock of a table that no operation touches: `LOCK TABLE` is the one lock that can be waited for before
/// the transaction's view of the county is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Company {
    /// Whoever likes.
    Others,
    /// Nobody: it begins when those under way have ended, and others wait for its end.
    Nobody,
}

/// A connection.
pub(in crate::engine) struct Session {
    client: Client,
    statements: HashMap<String, Statement>,
    /// Whether the server warned of anything since this was last looked at.
    warned: Arc<AtomicBool>,
    /// Until when statements may be sent.
    deadline: Option<Instant>,
}

impl Session {
    /// Connects, and refuses a server that does not keep the store's promises.
    pub(super) fn open(place: &Place, purpose: Purpose) -> Result<Self, OpenError> {
        let warned = Arc::new(AtomicBool::new(false));
        let mut config = place.config.clone();
        let heard = Arc::clone(&warned);
        config.notice_callback(move |notice| hear(&notice, &heard));
        let client = config.connect(NoTls).map_err(failure).map_err(unreadable(place))?;
        let mut session = Self { client, statements: HashMap::new(), warned, deadline: None };
        session.check_promises(place)?;
        session.batch(&settings(place, purpose)).map_err(unreadable(place))?;
        Ok(session)
    }

    fn check_promises(&mut self, place: &Place) -> Result<(), OpenError> {
        for Promise { setting, is_kept, remedy } in &PROMISES {
            let found = self.setting(setting).map_err(unreadable(place))?;
            if !is_kept(&found) {
                return Err(OpenError::Setting { database: place.name.clone(), setting, found, remedy });
            }
        }
        Ok(())
    }

    /// A server without checksums gives back what its disk spoilt as if it were right. It can be run so, and
    /// whoever does shall know.
    pub(super) fn warn_of_silent_damage(&mut self, place: &Place) -> Result<(), OpenError> {
        if self.setting("data_checksums").map_err(unreadable(place))? == "off" {
            tracing::warn!(
                database = place.name,
                "the database server does not notice damage on its disk: stop it and run pg_checksums --enable"
            );
        }
        Ok(())
    }

    fn setting(&mut self, name: &str) -> Result<String, StoreError> {
        let mut found = Ok(String::new());
        self.walk("SELECT current_setting($1)", &[Value::from(name)], &mut |row| {
            found = row.text(0);
            false
        })?;
        found
    }

    /// Opens a transaction, of the kind that the connection is for.
    pub(super) fn begin(&mut self, purpose: Purpose, company: Company) -> Result<(), StoreError> {
        self.deadline = (purpose == Purpose::Read).then(|| Instant::now() + READ_DEADLINE);
        self.batch(match (purpose, company) {
            (Purpose::Read, _) => "BEGIN",
            (Purpose::Write, Company::Others) => "BEGIN; LOCK TABLE schema_migration IN ROW EXCLUSIVE MODE",
            (Purpose::Write, Company::Nobody) => "BEGIN; LOCK TABLE schema_migration IN EXCLUSIVE MODE",
        })
    }

    /// Commits. Only what the server says without a doubt is a success, or a failure that left nothing.
    pub(super) fn commit(&mut self) -> Result<(), StoreError> {
        self.warned.store(false, Ordering::Relaxed);
        match self.client.batch_execute("COMMIT") {
            Ok(()) if self.warned.load(Ordering::Relaxed) => {
                // As when somebody ends the wait for the standby: kept here, and not where it was promised.
                Err(StoreError::Unknown { reason: "the server warned while it committed".to_owned() })
            }
            Ok(()) => Ok(()),
            Err(error) if error.as_db_error().is_some_and(is_refusal) => Err(failure(error)),
            Err(error) => Err(StoreError::Unknown { reason: failure(error).to_string() }),
        }
    }

    /// Undoes the transaction.
    pub(super) fn roll_back(&mut self) -> Result<(), StoreError> {
        self.batch("ROLLBACK")
    }

    /// Whether the connection is of no more use after `error`.
    pub(super) fn is_lost_by(&self, error: &StoreError) -> bool {
        self.client.is_closed() || Remedy::of(error) == Remedy::Reconnect
    }

    /// Runs statements without parameters.
    pub(in crate::engine) fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        self.client.batch_execute(sql).map_err(failure)
    }

    /// Runs a statement; the number of rows it changed.
    pub(in crate::engine) fn execute(&mut self, sql: &str, params: &[Value]) -> Result<usize, StoreError> {
        self.in_time()?;
        let statement = self.prepared(sql)?;
        let mut rows = self.client.query_raw(&statement, params).map_err(failure)?;
        while rows.next().map_err(failure)?.is_some() {}
        Ok(rows.rows_affected().and_then(|changed| usize::try_from(changed).ok()).unwrap_or_default())
    }

    /// Shows row after row to `visit` until it has seen enough.
    pub(in crate::engine) fn walk(
        &mut self,
        sql: &str,
        params: &[Value],
        visit: &mut dyn FnMut(&Row<'_>) -> bool,
    ) -> Result<(), StoreError> {
        self.in_time()?;
        let statement = self.prepared(sql)?;
        let mut rows = self.client.query_raw(&statement, params).map_err(failure)?;
        let mut goes_on = true;
        // To the end, though nobody looks any more: the statement can still fail there, and a commit after a
        // failure that nobody saw is a rollback that looks like a success.
        while let Some(row) = rows.next().map_err(failure)? {
            goes_on = goes_on && visit(&Row { cells: Cells::Postgres(&row) });
        }
        Ok(())
    }

    fn prepared(&mut self, sql: &str) -> Result<Statement, StoreError> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).map_err(failure)?;
        if self.statements.len() >= STATEMENT_CACHE {
            self.statements.clear();
        }
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// The server ends each statement of a read at the deadline; here it ends what consists of many.
    fn in_time(&self) -> Result<(), StoreError> {
        match self.deadline {
            Some(deadline) if Instant::now() > deadline => Err(StoreError::TooSlow),
            _ => Ok(()),
        }
    }
}

fn unreadable(place: &Place) -> impl Fn(StoreError) -> OpenError {
    |error| OpenError::Unreadable { database: place.name.clone(), reason: error.to_string() }
}

/// A setting of the server that a promise of the store rests on.
struct Promise {
    setting: &'static str,
    is_kept: fn(&str) -> bool,
    remedy: &'static str,
}

const PROMISES: [Promise; 5] = [
    Promise {
        setting: "server_version_num",
        is_kept: |number| number.parse().is_ok_and(|number: i64| number / 10_000 >= SERVER_MINIMUM),
        remedy: "PostgreSQL 15 or newer is needed",
    },
    Promise {
        setting: "synchronous_commit",
        is_kept: |value| !matches!(value, "off" | "local"),
        remedy: "a commit must be on disk before it is told of; set it to on",
    },
    Promise {
        setting: "fsync",
        is_kept: |value| value == "on",
        remedy: "a commit must be on disk before it is told of; set it to on",
    },
    Promise {
        setting: "full_page_writes",
        is_kept: |value| value == "on",
        remedy: "a page that was half written when the power went must be found again; set it to on",
    },
    Promise {
        setting: "server_encoding",
        is_kept: |value| value == "UTF8",
        remedy: "make the database with ENCODING 'UTF8'",
    },
];

/// The settings of a connection.
///
/// A write has no `statement_timeout`: one that ends a COMMIT while it waits for the standby would make it
/// look like a success.
fn settings(place: &Place, purpose: Purpose) -> String {
    let (isolation, read_only, timeout) = match purpose {
        Purpose::Write => ("serializable", "off", Duration::ZERO),
        Purpose::Read => ("repeatable read", "on", READ_DEADLINE),
    };
    format!(
        "SET search_path = {}; SET default_transaction_isolation = '{isolation}';
         SET default_transaction_read_only = {read_only}; SET statement_timeout = {};
         SET idle_in_transaction_session_timeout = {}",
        place.schema,
        timeout.as_millis(),
        IDLE_IN_TRANSACTION.as_millis()
    )
}

fn hear(notice: &DbError, warned: &AtomicBool) {
    if notice.parsed_severity() == Some(Severity::Warning) {
        tracing::warn!(message = notice.message(), "the database server warns");
        warned.store(true, Ordering::Relaxed);
    }
}

/// An ERROR at a COMMIT undid the transaction; a FATAL may have come after it was kept.
fn is_refusal(told: &DbError) -> bool {
    told.parsed_severity() == Some(Severity::Error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_promises_less_is_refused_and_one_that_promises_more_is_not() {
        let is_kept = |setting, found| {
            let promise = PROMISES.iter().find(|promise| promise.setting == setting).unwrap();
            (promise.is_kept)(found)
        };
        for (setting, kept, broken) in [
            ("server_version_num", &["150000", "180004"][..], &["149999", "90624", ""][..]),
            ("synchronous_commit", &["on", "remote_write", "remote_apply"], &["off", "local"]),
            ("fsync", &["on"], &["off"]),
            ("full_page_writes", &["on"], &["off"]),
            ("server_encoding", &["UTF8"], &["SQL_ASCII", "LATIN1"]),
        ] {
            assert!(kept.iter().all(|found| is_kept(setting, found)), "{setting}");
            assert!(!broken.iter().any(|found| is_kept(setting, found)), "{setting}");
        }
    }
}
