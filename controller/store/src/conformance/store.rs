use bbt_domain::{
    access::{Act, Actor},
    audit::Line,
    chain::{Broken, Linked},
    ids::DeviceId,
};
use serde_json::json;

use super::{Exam, START};
use crate::{
    OpenError, Store, StoreError,
    audit::{audit_list, audit_note, audit_verify},
    devices::device_list,
    params,
};

#[tokio::test]
async fn a_write_that_fails_undoes_only_itself() {
    let exam = Exam::begin().await;
    let note = |word: &'static str, fail: bool| {
        move |tx: &mut crate::Tx<'_>| {
            audit_note(tx, &Actor::System("exam"), word, "", &json!({}), START)?;
            if fail { Err(StoreError::TooSlow) } else { Ok(()) }
        }
    };
    // Queued together, so that they share a commit.
    let good = exam.store.submit(note("first", false)).await.unwrap();
    let bad = exam.store.submit(note("second", true)).await.unwrap();
    let more = exam.store.submit(note("third", false)).await.unwrap();
    assert!(good.committed().await.is_ok());
    assert!(matches!(bad.committed().await, Err(StoreError::TooSlow)));
    assert!(more.committed().await.is_ok());
    let exam = exam.reopen();
    let lines = exam.store.read(|tx| audit_list(tx, &Actor::Local, "", None, 10)).await.unwrap();
    let words: Vec<_> = lines.iter().map(|line| line.action.as_str()).collect();
    assert_eq!(words, ["third", "first", "school.add"]);
}

#[tokio::test]
async fn an_operation_that_panics_is_told_and_the_store_goes_on() {
    let exam = Exam::begin().await;
    let result: Result<(), _> = exam.store.write(|_| panic!("a bug in the operation")).await;
    assert!(matches!(result, Err(StoreError::Bug(ref text)) if text.contains("a bug")));
    assert!(
        exam.store
            .write(|tx| audit_note(tx, &Actor::System("exam"), "x", "", &json!({}), START))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_read_cannot_write() {
    let exam = Exam::begin().await;
    let result = exam.store.read(|tx| tx.execute("DELETE FROM school", params![])).await;
    assert!(matches!(result, Err(StoreError::Engine(_))), "{result:?}");
}

#[tokio::test]
async fn nobody_gets_past_the_table() {
    let exam = Exam::begin().await;
    for actor in [Actor::Anonymous, Actor::Device(DeviceId::from_bytes([9; 16]))] {
        let result = exam.store.read(move |tx| device_list(tx, &actor, None, 10)).await;
        assert!(matches!(result, Err(StoreError::Forbidden { act: Act::FleetRead, .. })), "{result:?}");
    }
}

#[tokio::test]
async fn a_line_of_the_audit_changed_by_hand_is_named() {
    let exam = Exam::begin().await;
    for _ in 0..5 {
        let note =
            |tx: &mut crate::Tx<'_>| audit_note(tx, &Actor::System("exam"), "x", "s", &json!({}), START);
        exam.store.write(note).await.unwrap();
    }
    let verify = |tx: &mut crate::Tx<'_>| audit_verify(tx, &Actor::Local);
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

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let exam = Exam::begin().await;
    let folder = std::sync::Arc::clone(&exam.folder);
    exam.store
        .write(|tx| {
            let sql = "INSERT INTO schema_migration (version, checksum, applied_us) VALUES (99, $1, 0)";
            tx.execute(sql, params![vec![0_u8; 32]])
        })
        .await
        .unwrap();
    drop(exam);
    let path = folder.path().join("county.db");
    let before = std::fs::read(&path).unwrap();
    let error = Store::open(&path, START).err().unwrap();
    assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}
