//! What is promised of the file alone.

use super::{Exam, become_newer};

exams![on sqlite: a_newer_file_is_left_as_it_is];

async fn a_newer_file_is_left_as_it_is(exam: Exam) {
    exam.store.write(become_newer).await.unwrap();
    let Exam { store, place } = exam;
    drop(store);
    let before = std::fs::read(place.file()).unwrap();
    assert!(place.open().is_err());
    assert_eq!(std::fs::read(place.file()).unwrap(), before);
}
