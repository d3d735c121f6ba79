use std::time::Duration;

use bbt_domain::time::UtcMicros;
use tonic::Code;

use super::stage::{START, Stage, reason, request_of};

#[tokio::test]
async fn a_controller_in_doubt_of_its_clock_issues_nothing_and_turns_nobody_away() {
    for wrong in [UtcMicros::default(), START.plus(Duration::from_secs(400 * 86_400))] {
        let stage = Stage::new().await;
        let old = stage.pc().await;
        let new = stage.renew(&old).await.unwrap();
        let (way_back, _) = stage.way_back(&old).await;
        stage.clock.set(wrong);
        let refused = [
            stage.hello().await.map(drop),
            stage.renew_by(&old, request_of(&old.key)).await.map(drop),
            stage.reattach_by(way_back).await.map(drop),
        ];
        for status in refused.map(Result::unwrap_err) {
            assert_eq!((reason(&status), status.code()), ("clock_guard", Code::Unavailable));
        }
        stage.confirm(&new).await.unwrap();
        assert_eq!(stage.use_of(&new).await, Ok(()), "who holds a certificate goes on");

        stage.clock.set(START.plus(Duration::from_secs(1)));
        assert!(stage.reattach(&old).await.is_ok(), "the clock came back by itself");
    }
}
