use std::time::Instant;

use bbt_domain::{
    access::{Act, Actor},
    audit::Line,
    chain::{Broken, Linked},
    ids::DeviceId,
};
use serde_json::json;
use tokio::task::JoinSet;

use super::{Exam, START};
use crate::{
    OpenError, READ_DEADLINE, Row, StoreError, Tx,
    audit::{audit_list, audit_note, audit_verify},
    devices::device_list,
    meta::integrity_check,
    params,
};

exams![
    a_write_that_fails_undoes_only_itself,
    an_operation_that_panics_is_told_and_the_store_goes_on,
    a_read_cannot_write,
    nobody_gets_past_the_table,
    a_line_of_the_audit_changed_by_hand_is_named,
    a_newer_schema_is_refused,
    writes_that_race_are_each_done_once,
    operations_about_one_subject_are_done_in_the_order_in_which_they_were_queued,
    a_statement_that_failed_fails_its_operation_whatever_that_makes_of_it,
    a_read_is_ended_at_its_deadline,
    values_come_back_as_they_went_in,
    what_the_engine_computes_is_read_as_an_integer,
    a_store_that_is_whole_has_no_damage_to_tell_of,
];

async fn a_write_that_fails_undoes_only_itself(exam: Exam) {
    let note = |word: &'static str, fail: bool| {
        move |tx: &mut Tx<'_>| {
            audit_note(tx, &Actor::System("exam"), word, "", &json!({}), START)?;
            if fail { Err(StoreError::TooSlow) } else { Ok(()) }
        }
    };
    // Queued together: on SQLite they share a commit.
    let good = exam.store.submit([1; 16], note("first", false)).await.unwrap();
    let bad = exam.store.submit([1; 16], note("second", true)).await.unwrap();
    let more = exam.store.submit([1; 16], note("third", false)).await.unwrap();
    assert!(good.committed().await.is_ok());
    assert!(matches!(bad.committed().await, Err(StoreError::TooSlow)));
    assert!(more.committed().await.is_ok());
    let exam = exam.reopen();
    let lines = exam.store.read(|tx| audit_list(tx, &Actor::Local, "", None, 10)).await.unwrap();
    let words: Vec<_> = lines.iter().map(|line| line.action.as_str()).collect();
    assert_eq!(words, ["third", "first", "school.add"]);
}

async fn an_operation_that_panics_is_told_and_the_store_goes_on(exam: Exam) {
    let result: Result<(), _> = exam.store.write(|_| panic!("a bug in the operation")).await;
    assert!(matches!(result, Err(StoreError::Bug(ref text)) if text.contains("a bug")));
    assert!(
        exam.store
            .write(|tx| audit_note(tx, &Actor::System("exam"), "x", "", &json!({}), START))
            .await
            .is_ok()
    );
}

async fn a_read_cannot_write(exam: Exam) {
    let result = exam.store.read(|tx| tx.execute("DELETE FROM school", params![])).await;
    assert!(matches!(result, Err(StoreError::ReadOnly | StoreError::Engine(_))), "{result:?}");
}

async fn nobody_gets_past_the_table(exam: Exam) {
    for actor in [Actor::Anonymous, Actor::Device(DeviceId::from_bytes([9; 16]))] {
        let result = exam.store.read(move |tx| device_list(tx, &actor, None, 10)).await;
        assert!(matches!(result, Err(StoreError::Forbidden { act: Act::FleetRead, .. })), "{result:?}");
    }
}

async fn a_line_of_the_audit_changed_by_hand_is_named(exam: Exam) {
    for _ in 0..5 {
        let note = |tx: &mut Tx<'_>| audit_note(tx, &Actor::System("exam"), "x", "s", &json!({}), START);
        exam.store.write(note).await.unwrap();
    }
    let verify = |tx: &mut Tx<'_>| audit_verify(tx, &Actor::Local);
    assert_eq!(exam.store.read(verify).await.unwrap().map(|head| head.rows), Ok(6));
    exam.store
        .write(|tx| tx.execute("UPDATE audit SET subject = 'other' WHERE no = 4", params![]))
        .await
        .unwrap();
    assert_eq!(exam.store.read(verify).await.unwrap(), Err(Broken::Changed { noun: Line::NOUN, no: 4 }));
    exam.store.write(|tx| tx.execute("DELETE FROM audit WHERE no = 2", params![])).await.unwrap();
    let hole = Broken::Hole { noun: Line::NOUN, expected: 2, found: 3 };
    assert_eq!(exam.store.read(verify).await.unwrap(), Err(hole));
}

async fn a_newer_schema_is_refused(exam: Exam) {
    exam.store.write(super::become_newer).await.unwrap();
    let Exam { store, place } = exam;
    drop(store);
    let error = place.open().err().unwrap();
    assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error}");
}

async fn writes_that_race_are_each_done_once(exam: Exam) {
    const WRITES: i64 = 100;
    let mut racing = JoinSet::new();
    for _ in 0..WRITES {
        let store = exam.store.clone();
        racing.spawn(async move { store.write(super::count_up).await });
    }
    let mut counted: Vec<i64> = racing.join_all().await.into_iter().map(Result::unwrap).collect();
    counted.sort_unstable();
    assert_eq!(counted, (1..=WRITES).collect::<Vec<_>>());
    let lines = exam.store.read(|tx| audit_verify(tx, &Actor::Local)).await.unwrap().unwrap().rows;
    assert_eq!(lines, WRITES + 1, "one for the school");
}

async fn operations_about_one_subject_are_done_in_the_order_in_which_they_were_queued(exam: Exam) {
    let mut receipts = Vec::new();
    for turn in 0..30 {
        for subject in [1, 2, 3] {
            let note = move |tx: &mut Tx<'_>| {
                let action = format!("of {subject}");
                audit_note(tx, &Actor::System("exam"), &action, &format!("{turn:02}"), &json!({}), START)?;
                Ok(turn)
            };
            receipts.push((turn, exam.store.submit([subject; 16], note).await.unwrap()));
        }
    }
    for (turn, receipt) in receipts {
        assert_eq!(receipt.committed().await.unwrap(), turn, "each caller gets its own result");
    }
    for subject in [1, 2, 3] {
        let list = move |tx: &mut Tx<'_>| audit_list(tx, &Actor::Local, &format!("of {subject}"), None, 100);
        let mut order: Vec<_> =
            exam.store.read(list).await.unwrap().into_iter().map(|line| line.subject).collect();
        order.reverse();
        assert_eq!(order, (0..30).map(|turn| format!("{turn:02}")).collect::<Vec<_>>());
    }
}

async fn a_statement_that_failed_fails_its_operation_whatever_that_makes_of_it(exam: Exam) {
    let result = exam
        .store
        .write(|tx| {
            audit_note(tx, &Actor::System("exam"), "before", "", &json!({}), START)?;
            let again = tx.execute("INSERT INTO meta (key, value) VALUES ('county.name', '')", params![]);
            assert!(again.is_err(), "there is one");
            Ok(())
        })
        .await;
    assert!(matches!(result, Err(StoreError::Engine(_))), "{result:?}");
    let lines = exam.store.read(|tx| audit_list(tx, &Actor::Local, "before", None, 10)).await.unwrap();
    assert!(lines.is_empty());
}

async fn a_read_is_ended_at_its_deadline(exam: Exam) {
    let began = Instant::now();
    let result = exam
        .store
        .read(|tx| {
            let sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
                       SELECT count(*) FROM n a CROSS JOIN n b CROSS JOIN n c";
            tx.query_first(sql, params![], |row| row.int(0))
        })
        .await;
    assert!(matches!(result, Err(StoreError::TooSlow)), "{result:?}");
    assert!(began.elapsed() >= READ_DEADLINE, "and not sooner");
    assert!(exam.store.read(|tx| audit_list(tx, &Actor::Local, "", None, 1)).await.is_ok());
}

async fn values_come_back_as_they_went_in(exam: Exam) {
    let device = exam.device(7).await;
    let sql = "INSERT INTO run (device_id, run_id, school_id, below, ranges, offset_us, first_us, last_us)
               VALUES ($1, $2, $2, $3, $4, $5, $6, $6)";
    exam.store
        .write(move |tx| {
            let (empty, long) = (Vec::new(), (0..=255).collect::<Vec<u8>>());
            tx.execute(sql, params![device.as_bytes(), &[1; 16], i64::MAX, empty, None::<i64>, true])?;
            tx.execute(sql, params![device.as_bytes(), &[2; 16], i64::MIN, long, -1, false])?;
            tx.execute(
                "INSERT INTO meta (key, value) VALUES ($1, $2)",
                params!["text", "班班通 'é' \u{1F642}"],
            )
        })
        .await
        .unwrap();
    exam.store
        .read(|tx| {
            let rows = tx.query(
                "SELECT below, ranges, offset_us, first_us FROM run ORDER BY run_id",
                params![],
                |row| Ok((row.int(0)?, row.bytes(1)?, row.int_opt(2)?, row.flag(3)?)),
            )?;
            let expected =
                [(i64::MAX, vec![], None, true), (i64::MIN, (0..=255).collect::<Vec<u8>>(), Some(-1), false)];
            assert_eq!(rows, expected);
            let text = |row: &Row<'_>| row.text(0);
            let found = tx.query_first("SELECT value FROM meta WHERE key = $1", params!["text"], text)?;
            assert_eq!(found.as_deref(), Some("班班通 'é' \u{1F642}"));
            Ok(())
        })
        .await
        .unwrap();
}

async fn what_the_engine_computes_is_read_as_an_integer(exam: Exam) {
    let device = exam.device(7).await;
    let computed = exam
        .store
        .write(move |tx| {
            for run in [1, 2] {
                tx.execute(
                    "INSERT INTO run (device_id, run_id, school_id, below, ranges, first_us, last_us)
                     VALUES ($1, $2, $2, $3, $4, 0, 0)",
                    params![device.as_bytes(), &[run; 16], 1_i64 << 40, vec![0_u8]],
                )?;
            }
            tx.query_first(
                "SELECT count(*), sum(below), max(below), 1, sum(below) > $1, max(offset_us), 7 = $2 FROM run",
                params![1, 7],
                |row| {
                    let numbers = [row.int(0)?, row.int(1)?, row.int(2)?, row.int(3)?];
                    Ok((numbers, row.flag(4)?, row.int_opt(5)?, row.flag(6)?))
                },
            )
        })
        .await
        .unwrap();
    assert_eq!(computed, Some(([2, 1 << 41, 1 << 40, 1], true, None, true)));
}

async fn a_store_that_is_whole_has_no_damage_to_tell_of(exam: Exam) {
    let found = exam.store.read(|tx| integrity_check(tx, &Actor::Local)).await.unwrap();
    assert_eq!(found, Vec::<String>::new());
}
