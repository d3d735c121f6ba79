//! What is promised of a server alone: several controllers, connections that end, commits in doubt.

use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use bbt_domain::access::Actor;
use tokio::task::JoinSet;

use super::{Exam, Place, START, count_up};
use crate::{OpenError, Store, StoreError, Tx, audit::audit_verify, params};

exams![on postgres:
    controllers_that_race_leave_no_hole_in_the_chain_and_nobody_out,
    two_writes_that_each_missed_the_other_are_not_both_kept,
    two_controllers_that_start_at_once_make_one_schema,
    a_write_refused_at_its_commit_is_run_again,
    a_key_that_stays_taken_is_told_after_a_few_runs,
    a_statement_that_fails_behind_the_row_wanted_fails_its_operation,
    a_connection_lost_before_the_commit_costs_another_run,
    a_connection_lost_in_the_commit_is_never_a_success,
    a_commit_that_the_server_warns_of_is_never_a_success,
    a_read_of_many_statements_is_ended_at_its_deadline,
    a_server_that_tells_of_commits_too_early_is_refused,
    a_county_is_one_schema,
];

async fn controllers_that_race_leave_no_hole_in_the_chain_and_nobody_out(exam: Exam) {
    const EACH: i64 = 60;
    let controllers = [(); 4].map(|()| exam.place.open().unwrap());
    let mut racing = JoinSet::new();
    for store in &controllers {
        for _ in 0..EACH {
            let store = store.clone();
            racing.spawn(async move { store.write(count_up).await });
        }
    }
    let mut counted: Vec<i64> = racing.join_all().await.into_iter().map(Result::unwrap).collect();
    counted.sort_unstable();
    let writes = EACH * controllers.len() as i64;
    assert_eq!(counted, (1..=writes).collect::<Vec<_>>());
    let lines = exam.store.read(|tx| audit_verify(tx, &Actor::Local)).await.unwrap().unwrap().rows;
    assert_eq!(lines, writes + 1, "one for the school");
}

async fn two_writes_that_each_missed_the_other_are_not_both_kept(exam: Exam) {
    let both_looked = Arc::new(Barrier::new(2));
    let first_to_come = |name: &'static str| {
        let (both_looked, runs) = (Arc::clone(&both_looked), AtomicU32::new(0));
        move |tx: &mut Tx<'_>| {
            let find = "SELECT key FROM meta WHERE key >= 'first.' AND key < 'first/'";
            let found = tx.query_first(find, params![], |row| row.text(0))?;
            if runs.fetch_add(1, Ordering::Relaxed) == 0 {
                both_looked.wait();
            }
            if found.is_none() {
                tx.execute("INSERT INTO meta (key, value) VALUES ($1, '')", params![name])?;
            }
            Ok(found.is_none())
        }
    };
    let (one, other) = tokio::join!(
        exam.store.write(first_to_come("first.one")),
        exam.store.write(first_to_come("first.other"))
    );
    assert_ne!(one.unwrap(), other.unwrap(), "one came first, and the other saw it");
}

async fn two_controllers_that_start_at_once_make_one_schema(_: Exam) {
    let Some(place) = Place::schema() else { return };
    thread::scope(|scope| {
        let starting = [(); 4].map(|()| scope.spawn(|| place.open()));
        for store in starting {
            store.join().unwrap().unwrap();
        }
    });
}

/// Lets `code` run in every commit that writes to `meta`, as the last thing before it.
async fn at_commit(exam: &Exam, code: &'static str) {
    exam.store
        .write(move |tx| {
            tx.execute("CREATE SEQUENCE commits", params![])?;
            tx.execute(
                &format!(
                    "CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql
                     AS $$ BEGIN {code} RETURN NULL; END $$"
                ),
                params![],
            )?;
            tx.execute(
                "CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON meta INITIALLY DEFERRED
                 FOR EACH ROW EXECUTE FUNCTION at_commit()",
                params![],
            )
        })
        .await
        .unwrap();
}

fn insert(tx: &mut Tx<'_>) -> Result<usize, StoreError> {
    tx.execute("INSERT INTO meta (key, value) VALUES ('new', '')", params![])
}

/// Whether what [`insert`] writes is there.
async fn is_inserted(store: &Store) -> bool {
    let find =
        |tx: &mut Tx<'_>| tx.query_first("SELECT 1 FROM meta WHERE key = 'new'", params![], |_| Ok(()));
    store.read(find).await.unwrap().is_some()
}

async fn a_write_refused_at_its_commit_is_run_again(exam: Exam) {
    let refuse_twice = "IF nextval('commits') < 3 THEN RAISE 'again' USING ERRCODE = '40001'; END IF;";
    at_commit(&exam, refuse_twice).await;
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let write = move |tx: &mut Tx<'_>| {
        counted.fetch_add(1, Ordering::Relaxed);
        insert(tx)
    };
    assert_eq!(exam.store.write(write).await.unwrap(), 1);
    assert_eq!(runs.load(Ordering::Relaxed), 3);
    assert!(is_inserted(&exam.store).await);
    assert_eq!(exam.store.health(), Ok(()));
}

async fn a_key_that_stays_taken_is_told_after_a_few_runs(exam: Exam) {
    exam.store.write(insert).await.unwrap();
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let write = move |tx: &mut Tx<'_>| {
        counted.fetch_add(1, Ordering::Relaxed);
        insert(tx)
    };
    let error = exam.store.write(write).await.unwrap_err();
    assert!(error.to_string().contains("SQLSTATE 23505"), "{error}");
    assert_eq!(runs.load(Ordering::Relaxed), 4);
}

async fn a_statement_that_fails_behind_the_row_wanted_fails_its_operation(exam: Exam) {
    let write = |tx: &mut Tx<'_>| {
        insert(tx)?;
        tx.query_first("SELECT 1 / (9 - i) FROM generate_series(1, 9) i", params![], |row| row.int(0))
    };
    let result = exam.store.write(write).await;
    assert!(matches!(result, Err(StoreError::Engine(_))), "{result:?}");
    assert!(!is_inserted(&exam.store).await);
}

async fn a_connection_lost_before_the_commit_costs_another_run(exam: Exam) {
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let write = move |tx: &mut Tx<'_>| {
        let changed = insert(tx)?;
        if counted.fetch_add(1, Ordering::Relaxed) == 0 {
            tx.execute("SELECT pg_terminate_backend(pg_backend_pid())", params![])?;
        }
        Ok(changed)
    };
    assert_eq!(exam.store.write(write).await.unwrap(), 1);
    assert_eq!(runs.load(Ordering::Relaxed), 2);
    assert!(is_inserted(&exam.store).await);
}

async fn a_connection_lost_in_the_commit_is_never_a_success(exam: Exam) {
    at_commit(&exam, "PERFORM pg_terminate_backend(pg_backend_pid());").await;
    let result = exam.store.write(insert).await;
    assert!(matches!(result, Err(StoreError::Unknown { .. })), "{result:?}");
    assert!(exam.store.health().is_err());
    exam.store.write(|tx| tx.execute("DELETE FROM meta WHERE key = 'none'", params![])).await.unwrap();
    assert_eq!(exam.store.health(), Ok(()), "and the store goes on");
}

async fn a_commit_that_the_server_warns_of_is_never_a_success(exam: Exam) {
    // So does one whose wait for the standby is ended by hand.
    at_commit(&exam, "RAISE WARNING 'committed locally, but not replicated';").await;
    let result = exam.store.write(insert).await;
    assert!(matches!(result, Err(StoreError::Unknown { .. })), "{result:?}");
}

async fn a_read_of_many_statements_is_ended_at_its_deadline(exam: Exam) {
    let endless = |tx: &mut Tx<'_>| -> Result<(), StoreError> {
        loop {
            tx.query("SELECT pg_sleep(0.1)", params![], |_| Ok(()))?;
        }
    };
    let result = exam.store.read(endless).await;
    assert!(matches!(result, Err(StoreError::TooSlow)), "{result:?}");
}

async fn a_server_that_tells_of_commits_too_early_is_refused(exam: Exam) {
    for value in ["off", "local"] {
        let url = format!("{}&options=-csynchronous_commit%3D{value}", exam.place.url());
        let error = Store::open_url(&url, START).err().unwrap();
        assert!(matches!(error, OpenError::Setting { setting: "synchronous_commit", .. }), "{error}");
    }
}

async fn a_county_is_one_schema(exam: Exam) {
    let Some(place) = Place::schema() else { return };
    let other = place.open().unwrap();
    exam.store.write(insert).await.unwrap();
    assert!(is_inserted(&exam.store).await);
    assert!(!is_inserted(&other).await);
}
