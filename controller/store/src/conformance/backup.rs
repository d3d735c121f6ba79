//! Backups, and files that are not whole.

use bbt_domain::access::Actor;

use super::{Exam, START};
use crate::{
    CommitFailure, OpenError, StoreError, Tx,
    backup::{self, BackupError, Carried, Label},
    meta::county_find,
    params,
    schools::school_list,
};

exams![on sqlite:
    a_backup_shows_one_moment_and_carries_its_files,
    a_file_on_which_something_was_changed_is_no_backup,
    a_damaged_file_is_not_opened,
    what_is_found_damaged_is_written_to_no_more,
];
exams![on postgres: a_server_is_not_copied_and_the_remedy_is_named];

fn label() -> Label {
    Label::new(START, "exam".into(), "00".into(), "0".into())
}

async fn a_backup_shows_one_moment_and_carries_its_files(exam: Exam) {
    let folder = tempfile::tempdir().unwrap();
    let (to, unpacked) = (folder.path().join("backup"), folder.path().join("county.db"));
    let schools = |store: crate::Store| async move {
        store.read(|tx| school_list(tx, &Actor::Local, None, 10)).await.unwrap().len()
    };
    let before = schools(exam.store.clone()).await;
    backup::copy(&exam.store, &Actor::Local, &to, &|_, _| {}).unwrap();
    let files = [Carried { path: "pki/key".into(), bytes: vec![1, 2, 3] }];
    let made = backup::finish(&to, &label(), &files).unwrap();
    assert_eq!((made.files.as_slice(), &made.label), (files.as_slice(), &label()));
    assert_eq!(made.broken_chains, Vec::<String>::new());
    let refused = backup::copy(&exam.store, &Actor::Anonymous, &to, &|_, _| {});
    assert!(matches!(refused, Err(BackupError::Store(StoreError::Forbidden { .. }))), "{refused:?}");

    made.unpack(&unpacked).unwrap();
    assert!(
        !std::fs::read(&unpacked).unwrap().windows(7).any(|part| part == b"pki/key"),
        "no key is left in it"
    );
    let store = crate::Store::open(&unpacked, START).unwrap();
    assert_eq!(schools(store).await, before);
}

async fn a_file_on_which_something_was_changed_is_no_backup(exam: Exam) {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("backup");
    backup::copy(&exam.store, &Actor::Local, &to, &|_, _| {}).unwrap();
    let unlabelled = backup::Backup::open(&to);
    assert!(matches!(unlabelled, Err(BackupError::Foreign { .. })), "{unlabelled:?}");
    let files = [Carried { path: "pki/key".into(), bytes: b"a key that is found in the file".to_vec() }];
    backup::finish(&to, &label(), &files).unwrap();
    let mut bytes = std::fs::read(&to).unwrap();
    let at = bytes.windows(10).position(|part| part == b"a key that").unwrap();
    bytes[at] = b'b';
    std::fs::write(&to, bytes).unwrap();
    let changed = backup::Backup::open(&to);
    assert!(
        matches!(&changed, Err(BackupError::Damaged { reason, .. }) if reason.contains("pki/key")),
        "{changed:?}"
    );
}

/// Overwrites what lies behind the first pages of the exam's file, which nobody has open.
fn damage(exam: Exam) -> super::Place {
    let Exam { store, place } = exam;
    drop(store);
    let db = rusqlite::Connection::open(place.file()).unwrap();
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let root: u32 = db
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'school'", [], |row| row.get(0))
        .unwrap();
    drop(db);
    let mut bytes = std::fs::read(place.file()).unwrap();
    bytes[(root as usize - 1) * 4_096..root as usize * 4_096].fill(0xa5);
    std::fs::write(place.file(), bytes).unwrap();
    place
}

async fn a_damaged_file_is_not_opened(exam: Exam) {
    let error = damage(exam).open().err().unwrap();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("bbt-controller restore"), "{error}");
}

async fn what_is_found_damaged_is_written_to_no_more(exam: Exam) {
    // Found while it is open: the page is changed below the engine, which has not read it yet.
    let school = "SELECT rootpage FROM sqlite_schema WHERE name = 'ticket'";
    let root = exam
        .store
        .read(move |tx| tx.query_first(school, params![], |row| row.int(0)))
        .await
        .unwrap()
        .unwrap();
    exam.store.write(|tx| tx.execute("DELETE FROM meta WHERE key = 'none'", params![])).await.unwrap();
    let db = rusqlite::Connection::open(exam.place.file()).unwrap();
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(db);
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().write(true).open(exam.place.file()).unwrap();
    file.write_all_at(&[0xa5; 4_096], (root as u64 - 1) * 4_096).unwrap();

    let read = |tx: &mut Tx<'_>| tx.query("SELECT * FROM ticket", params![], |_| Ok(()));
    let found = exam.store.read(read).await;
    assert!(matches!(found, Err(StoreError::Corrupt { .. })), "{found:?}");
    let refused = exam.store.write(|tx| tx.execute("DELETE FROM meta WHERE key = 'none'", params![])).await;
    assert!(matches!(refused, Err(StoreError::Corrupt { .. })), "{refused:?}");
    assert_eq!(exam.store.health().unwrap_err().why, CommitFailure::Damaged);
    exam.store.read(county_find).await.expect("what is whole can still be read");
}

async fn a_server_is_not_copied_and_the_remedy_is_named(exam: Exam) {
    let folder = tempfile::tempdir().unwrap();
    let error =
        backup::copy(&exam.store, &Actor::Local, &folder.path().join("backup"), &|_, _| {}).unwrap_err();
    assert!(error.to_string().contains("pg_basebackup"), "{error}");
}
