use bbt_domain::identity::Standing;
use bbt_store::certificates::CertificateRefusal;
use tonic::Code;

use super::stage::{Stage, reason, request_of};

#[tokio::test]
async fn the_old_certificate_is_honoured_until_the_new_one_was_confirmed() {
    let stage = Stage::new().await;
    let old = stage.pc().await;
    stage.later(60);
    let new = stage.renew(&old).await.unwrap();
    assert_ne!(new.chain[0], old.chain[0]);
    assert_eq!(stage.use_of(&old).await, Ok(()));
    stage.confirm(&new).await.unwrap();
    stage.confirm(&new).await.unwrap();
    assert_eq!(stage.use_of(&new).await, Ok(()));
    assert_eq!(stage.use_of(&old).await, Err(CertificateRefusal::Superseded));
    for status in [stage.renew(&old).await.map(drop).unwrap_err(), stage.confirm(&old).await.unwrap_err()] {
        assert_eq!((reason(&status), status.code()), ("certificate_superseded", Code::PermissionDenied));
    }
}

#[tokio::test]
async fn a_stream_with_the_new_certificate_is_use_enough() {
    let stage = Stage::new().await;
    let old = stage.pc().await;
    let new = stage.renew(&old).await.unwrap();
    assert_eq!(stage.use_of(&new).await, Ok(()));
    assert_eq!(stage.use_of(&old).await, Err(CertificateRefusal::Superseded));
}

#[tokio::test]
async fn an_agent_that_was_killed_in_between_asks_again() {
    let stage = Stage::new().await;
    let old = stage.pc().await;
    let _lost = stage.renew(&old).await.unwrap();
    let same_key = stage.renew_by(&old, request_of(&old.key)).await.unwrap();
    assert_eq!(same_key.len(), 3, "a request for the key it has is as good");
    let new = stage.renew(&old).await.unwrap();
    stage.confirm(&new).await.unwrap();
    assert_eq!(stage.use_of(&new).await, Ok(()));
}

#[tokio::test]
async fn a_renewed_certificate_counts_its_180_days_anew_and_never_outlives_what_signed_it() {
    let stage = Stage::new().await;
    let old = stage.pc().await;
    stage.later(100);
    let new = stage.renew(&old).await.unwrap();
    let days = |pc| stage.shown(pc).until.since(stage.context.now()).as_secs().div_ceil(86_400);
    assert_eq!((days(&old), days(&new)), (80, 180));
    stage.later(170);
    let newer = stage.renew(&new).await.unwrap();
    stage.later(170);
    let mut last = stage.renew(&newer).await.unwrap();
    for _ in 0..3 {
        stage.later(179);
        last = stage.renew(&last).await.unwrap();
    }
    assert_eq!(stage.shown(&last).until, stage.authority.load().until());
    assert!(days(&last) < 180);
}

#[tokio::test]
async fn a_revoked_device_does_not_renew() {
    let stage = Stage::new().await;
    let pc = stage.pc().await;
    // Only in the list, as after a restore: the list is right.
    stage.denylist.stand(pc.id, Standing::Revoked, stage.context.now()).unwrap();
    for status in [stage.renew(&pc).await.map(drop).unwrap_err(), stage.confirm(&pc).await.unwrap_err()] {
        assert_eq!((reason(&status), status.code()), ("revoked", Code::PermissionDenied));
    }
}

#[tokio::test]
async fn a_device_that_renews_without_end_slows_itself_down_alone() {
    let stage = Stage::new().await;
    let (busy, other) = (stage.pc().await, stage.pc().await);
    for _ in 0..6 {
        stage.renew(&busy).await.unwrap();
    }
    assert_eq!(stage.renew(&busy).await.map(drop).unwrap_err().code(), Code::ResourceExhausted);
    assert!(stage.renew(&other).await.is_ok());
}
