use std::time::Duration;

use bbt_domain::{
    access::Actor,
    identity::{Standing, StandingKind},
    ids::Incarnation,
};
use serde_json::json;

use super::{Exam, START};
use crate::{
    StoreError, Tx,
    devices::{device_list, device_stand},
    enrollment::TokenRefusal,
    meta::{county_find, county_restored},
};

exams![
    a_token_serves_its_uses_and_no_more,
    the_same_key_again_gets_the_same_device_and_takes_no_use,
    unknown_and_expired_tokens_open_nothing,
    a_revoked_device_does_not_come_back_by_its_old_token,
    a_restored_county_is_another_state_and_its_tokens_open_nothing,
];

async fn a_token_serves_its_uses_and_no_more(exam: Exam) {
    exam.token(1, 2, START.plus(Duration::from_secs(60))).await;
    assert!(exam.enroll(1, 10, 10, START).await.is_ok());
    assert!(exam.enroll(1, 11, 11, START).await.is_ok());
    assert_eq!(exam.enroll(1, 12, 12, START).await, Err(TokenRefusal::Used));
}

async fn the_same_key_again_gets_the_same_device_and_takes_no_use(exam: Exam) {
    exam.token(1, 1, START.plus(Duration::from_secs(60))).await;
    let first = exam.enroll(1, 10, 10, START).await.unwrap();
    let exam = exam.reopen();
    let again = exam.enroll(1, 10, 99, START).await.unwrap();
    assert_eq!(first, again);
    let devices = exam.store.read(|tx| device_list(tx, &Actor::Local, None, 10)).await.unwrap();
    assert_eq!(devices.len(), 1);
}

async fn unknown_and_expired_tokens_open_nothing(exam: Exam) {
    let end = START.plus(Duration::from_secs(60));
    exam.token(1, 1, end).await;
    assert_eq!(exam.enroll(2, 10, 10, START).await, Err(TokenRefusal::Unknown));
    assert_eq!(exam.enroll(1, 10, 10, end).await, Err(TokenRefusal::Expired(end)));
    let devices = exam.store.read(|tx| device_list(tx, &Actor::Local, None, 10)).await.unwrap();
    assert!(devices.is_empty());
}

async fn a_revoked_device_does_not_come_back_by_its_old_token(exam: Exam) {
    let device = exam.device(7).await;
    let stand = |standing| {
        move |tx: &mut crate::Tx<'_>| {
            device_stand(tx, &Actor::Local, device, standing, StandingKind::Plain, "", START)
        }
    };
    assert!(exam.store.write(stand(Standing::Revoked)).await.unwrap());
    assert!(!exam.store.write(stand(Standing::Revoked)).await.unwrap(), "it stood so already");
    assert_eq!(exam.enroll(7, 7, 99, START).await, Err(TokenRefusal::Revoked(device)));
    assert!(exam.store.write(stand(Standing::Active)).await.unwrap());
    assert_eq!(exam.enroll(7, 7, 99, START).await.unwrap().device, device);
}

async fn a_restored_county_is_another_state_and_its_tokens_open_nothing(exam: Exam) {
    let end = START.plus(Duration::from_secs(60));
    exam.token(1, 2, end).await;
    exam.enroll(1, 10, 10, START).await.unwrap();
    let other = Incarnation::from_bytes([77; 16]);
    let restore = move |actor: Actor| {
        move |tx: &mut Tx<'_>| county_restored(tx, &actor, other, &json!({"revocations": "own"}), START)
    };
    let refused = exam.store.write(restore(Actor::System("exam"))).await;
    assert!(matches!(refused, Err(StoreError::Forbidden { .. })), "{refused:?}");
    assert_eq!(exam.store.write(restore(Actor::Local)).await.unwrap(), 1);
    let county = exam.store.read(county_find).await.unwrap().unwrap();
    assert_eq!(county.incarnation, other);
    assert_eq!(exam.enroll(1, 11, 11, START).await, Err(TokenRefusal::Expired(START)));
}
