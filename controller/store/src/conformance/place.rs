//! Where an exam's store is: a folder, or a schema on the server.

use std::{io::Write as _, path::PathBuf, sync::Once, thread};

use crate::{OpenError, Store, conformance::START};

/// The address of a database in which exams may make schemas.
const SERVER: &str = "BBT_TEST_POSTGRES";
/// Set where exams on PostgreSQL have to be sat.
const REQUIRED: &str = "BBT_TEST_POSTGRES_REQUIRED";

/// A place of its own for an exam, removed with all that is in it when the exam is over.
pub(super) enum Place {
    Folder(tempfile::TempDir),
    Schema(Schema),
}

/// A schema on the server.
pub(super) struct Schema {
    server: String,
    name: String,
}

impl Place {
    /// An empty folder.
    pub(super) fn folder() -> Self {
        Self::Folder(tempfile::tempdir().expect("a folder"))
    }

    /// A schema that is not there yet; `None`, and a line that says so, when there is no server.
    pub(super) fn schema() -> Option<Self> {
        let Ok(server) = std::env::var(SERVER) else {
            let required = std::env::var_os(REQUIRED).is_some();
            assert!(
                !required,
                "{REQUIRED} is set and {SERVER} is not: there is no server to sit this exam on"
            );
            // Past what the test harness catches of tests that pass, and once for all of them.
            static SAID: Once = Once::new();
            SAID.call_once(|| {
                let _ = writeln!(
                    std::io::stderr(),
                    "not run: exams on PostgreSQL, {SERVER} is not set; tests/run.sh sets it"
                );
            });
            return None;
        };
        Some(Self::Schema(Schema { server, name: format!("exam_{}", uuid::Uuid::new_v4().simple()) }))
    }

    /// Opens the store that is here.
    pub(super) fn open(&self) -> Result<Store, OpenError> {
        match self {
            Self::Folder(_) => Store::open(&self.file(), START),
            Self::Schema(_) => Store::open_url(&self.url(), START),
        }
    }

    /// The database file.
    pub(super) fn file(&self) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.path().join("county.db"),
            Self::Schema(_) => panic!("a schema is no file"),
        }
    }

    /// The county's address.
    pub(super) fn url(&self) -> String {
        match self {
            Self::Folder(_) => panic!("a folder has no address"),
            Self::Schema(Schema { server, name }) => {
                let sign = if server.contains('?') { '&' } else { '?' };
                format!("{server}{sign}schema={name}")
            }
        }
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // On a thread of its own: the driver must not wait inside of the exam's runtime.
        let dropped = thread::spawn(move || {
            let mut client = postgres::Client::connect(&server, postgres::NoTls)?;
            client.batch_execute(&format!("DROP SCHEMA IF EXISTS {name} CASCADE"))
        });
        if let Ok(Err(error)) = dropped.join() {
            eprintln!("the schema {} was left behind: {error:?}", self.name);
        }
    }
}
