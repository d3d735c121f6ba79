//! Enrolment against a controller on loopback.

use std::{path::Path, sync::Arc, time::Duration};

use tempfile::TempDir;

use crate::identity::{
    Identity,
    enroll::{EnrolError, EnrolOrder, enrol},
    keystore,
    trust::Fingerprint,
};
use crate::{
    VERSION,
    folder::Folder,
    platform::{Roots, fake::FakePlatform},
    testing::{Controller, County, TOKEN},
};

struct Bench {
    county: Arc<County>,
    controller: Controller,
    state: Folder,
    _temp: TempDir,
}

impl Bench {
    async fn new() -> Bench {
        let county = Arc::new(County::new());
        let controller = Controller::start_enrolment(county.clone()).await;
        let temp = tempfile::tempdir().unwrap();
        Bench { county, controller, state: Folder::at(temp.path()), _temp: temp }
    }

    async fn enrol(&self, token: &str, root: Fingerprint) -> Result<Identity, EnrolError> {
        self.enrol_waiting(token, root, |_, _| ()).await
    }

    async fn enrol_waiting(
        &self,
        token: &str,
        root: Fingerprint,
        waiting: impl FnMut(Duration, &str),
    ) -> Result<Identity, EnrolError> {
        let order = EnrolOrder {
            controller: self.controller.address.to_string().parse().unwrap(),
            token: token.to_owned(),
            root,
            evidence: Vec::new(),
            agent_version: VERSION,
            host_name: "classroom".to_owned(),
        };
        let platform = Arc::new(FakePlatform::new(Roots::under(Path::new("/nowhere")), 1));
        enrol(&self.state, platform, order, waiting).await
    }

    /// Everything under the state folder, as text.
    fn written(&self) -> String {
        std::fs::read_dir(self.state.identity())
            .unwrap()
            .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
            .collect()
    }
}

#[tokio::test]
async fn an_enrolled_device_knows_itself_and_its_county_and_not_the_token() {
    let bench = Bench::new().await;
    let device = bench.enrol(TOKEN, bench.county.root()).await.unwrap();
    assert_eq!(device.root, bench.county.root());
    assert_eq!(device.agent_addresses[0].to_string(), "county.example:7443");
    assert_eq!(keystore::load(&bench.state).unwrap().device_id, device.device_id);
    assert!(!bench.written().contains(TOKEN));
}

#[tokio::test]
async fn a_second_enrolment_says_what_is_there() {
    let bench = Bench::new().await;
    bench.enrol(TOKEN, bench.county.root()).await.unwrap();
    let error = bench.enrol(TOKEN, bench.county.root()).await.unwrap_err();
    assert!(matches!(error, EnrolError::Already { .. }), "{error}");
}

#[tokio::test]
async fn when_the_answer_was_lost_the_same_token_and_key_give_the_same_device() {
    let bench = Bench::new().await;
    bench.controller.seen().lost_answers = 1;
    bench.enrol(TOKEN, bench.county.root()).await.unwrap_err();
    assert!(!keystore::is_enrolled(&bench.state));
    bench.enrol(TOKEN, bench.county.root()).await.unwrap();
}

#[tokio::test]
async fn a_wrong_pin_is_noticed_before_the_token_is_shown() {
    let bench = Bench::new().await;
    let error = bench.enrol(TOKEN, County::new().root()).await.unwrap_err().to_string();
    assert!(error.contains("--ca-sha256"), "{error}");
    assert_eq!(bench.controller.seen().enrolled_key, None);
}

#[tokio::test]
async fn an_unknown_token_is_named_with_the_remedy() {
    let bench = Bench::new().await;
    let error = bench.enrol("other", bench.county.root()).await.unwrap_err().to_string();
    assert!(error.contains("does not know this token"), "{error}");
    assert!(error.contains("token create"), "{error}");
}

#[tokio::test]
async fn a_pending_device_waits_and_may_be_interrupted_and_run_again() {
    let bench = Bench::new().await;
    bench.controller.seen().pending = 1;
    let (told, mut waits) = tokio::sync::mpsc::unbounded_channel();
    let root = bench.county.root();
    tokio::select! {
        result = bench.enrol_waiting(TOKEN, root, |wait, why| told.send((wait.as_secs(), why.to_owned())).unwrap()) => {
            panic!("it did not wait: {result:?}");
        }
        wait = waits.recv() => assert_eq!(wait, Some((5, "known".to_owned())), "never sooner than every five seconds"),
    }
    assert!(!keystore::is_enrolled(&bench.state));
    bench.enrol(TOKEN, root).await.unwrap();
}
