//! PCs of which somebody has to say which device they are, theft, and disks that fall back.

use std::time::Duration;

use bbt_domain::{
    access::Actor,
    identity::{Evidence, EvidenceKind, Standing, StandingKind},
    ids::{AdmissionId, DeviceId, TokenId},
    org::SchoolCode,
};
use bbt_store::{
    Tx,
    certificates::NewCertificate,
    devices::device_show,
    enrollment::{Admitted, Enrolling, NewToken, device_enroll, token_create},
};
use http::StatusCode;

use super::{
    county::County,
    pages::{assert_all, in_both_languages},
};

impl County {
    /// A PC with the board `board` and the disk `disk` asks with a token of its own.
    async fn asks(&self, number: u8, board: &str, disk: &str) -> Admitted {
        let now = self.context.now();
        let evidence = |kind, value: &str| Evidence { kind, value: value.into(), junk: false };
        let token = NewToken {
            id: TokenId::from_bytes([number; 16]),
            secret_sha256: [number; 32],
            school: SchoolCode::parse("2153000123").unwrap(),
            uses: 1,
            expires_at: now.plus(Duration::from_secs(60)),
        };
        let enrolling = Enrolling {
            secret_sha256: [number; 32],
            key_sha256: [number; 32],
            device: DeviceId::from_bytes([number; 16]),
            set: self.context.new_set().unwrap(),
            certificate: NewCertificate { serial: [number; 16], not_before: now, not_after: now },
            evidence: vec![
                evidence(EvidenceKind::TpmEk, board),
                evidence(EvidenceKind::DiskSerial, disk),
                evidence(EvidenceKind::BoardSerial, "123456789"),
            ],
            admission: AdmissionId::from_bytes([number; 16]),
            host_name: "<b>bgs-01".into(),
            agent_version: "0.1.0".into(),
            peer: "192.0.2.9".into(),
        };
        let write = move |tx: &mut Tx<'_>| {
            token_create(tx, &Actor::Local, &token, now)?;
            device_enroll(tx, &Actor::Anonymous, &enrolling, &|_| false, now)
        };
        self.context.store.write(write).await.unwrap().unwrap()
    }

    async fn standing_of(&self, device: DeviceId) -> (Standing, StandingKind, bool) {
        let read = move |tx: &mut Tx<'_>| device_show(tx, &Actor::Local, device);
        let line = self.context.store.read(read).await.unwrap().line;
        (line.standing, line.standing_kind, line.frozen)
    }
}

/// A county in which the PC 9 waits, whose board is that of the device 8 and whose disk is another.
async fn waiting() -> (County, String) {
    let county = County::new().await;
    county.device(7).await;
    county.asks(8, "3C1B9A6F", "S3Z8NB0K1").await;
    assert!(matches!(county.asks(9, "3C1B9A6F", "S3Z8NB0K2").await, Admitted::Waiting(_)));
    (county, AdmissionId::from_bytes([9; 16]).to_string())
}

#[tokio::test]
async fn without_requests_the_page_says_when_there_would_be_some() {
    let county = County::new().await;
    let mut browser = county.signed_in().await;
    let [chinese, english] = in_both_languages(&mut browser, "/admissions").await;
    assert_all(&chinese, &["没有待核实的设备"]);
    assert_all(&english, &["Nothing to be checked"]);
}

#[tokio::test]
async fn what_is_shown_stands_beside_what_is_known_with_what_it_says() {
    let (county, _) = waiting().await;
    let mut browser = county.signed_in().await;
    let [chinese, english] = in_both_languages(&mut browser, "/admissions").await;
    let chinese_words =
        ["有些相同，需要人来判断（60 分）", "一致", "不同", "出厂占位值", "这台就是 …08080808"];
    assert_all(&chinese, &chinese_words);
    assert_all(&english, &["S3Z8NB0K1", "S3Z8NB0K2", "agrees", "differs", "&#60;b&#62;bgs-01"]);
}

#[tokio::test]
async fn a_ruling_is_said_and_can_be_taken_back() {
    let (county, id) = waiting().await;
    let mut browser = county.signed_in().await;
    let decide = format!("/admissions/{id}/decide");
    let foreign = browser.post(&decide, &[("ruling", "same"), ("device", "x")]).await;
    assert_eq!(foreign.status, StatusCode::BAD_REQUEST);
    let page = browser.post(&decide, &[("ruling", "new"), ("device", "")]).await;
    assert_eq!(page.header("location"), "/admissions?done=admission-decided#content");
    browser.get("/admissions?done=admission-decided").await.assert_has("已确认：是另一台设备");
    let twice = browser.post(&decide, &[("ruling", "refused"), ("device", "")]).await;
    assert_eq!(twice.status, StatusCode::CONFLICT);
    browser.post(&format!("/admissions/{id}/undo"), &[]).await;
    browser.get("/admissions").await.assert_has("拒绝接入");
}

#[tokio::test]
async fn a_device_without_clones_has_a_page_that_says_so() {
    let county = County::new().await;
    let device = county.device(7).await;
    let mut browser = county.signed_in().await;
    let [chinese, english] = in_both_languages(&mut browser, &format!("/devices/{device}/siblings")).await;
    assert_all(&chinese, &["没有别的电脑带着这台设备的身份"]);
    assert_all(&english, &["No other PC has the identity"]);
}

#[tokio::test]
async fn a_stolen_device_is_said_everywhere_cut_off_and_given_back() {
    let county = County::new().await;
    let device = county.device(7).await;
    let mut browser = county.signed_in().await;
    let address = format!("/devices/{device}/standing");
    let page = browser.post(&address, &[("standing", "stolen"), ("reason", " ")]).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    page.assert_has("请写明情况");
    browser.post(&address, &[("standing", "stolen"), ("reason", "报案号 12")]).await;
    assert!(county.denylist.denies(device), "its streams hear of it at once");
    assert_eq!(county.standing_of(device).await, (Standing::Revoked, StandingKind::Stolen, false));
    browser
        .get(&format!("/devices/{device}"))
        .await
        .assert_has("该设备已登记被盗，接入已切断，不再接收它的数据。原因：报案号 12");
    browser.get("/devices?show=stolen").await.assert_has(&device.to_string());
    browser.post(&address, &[("standing", "active")]).await;
    assert!(!county.denylist.denies(device));
    assert_eq!(county.standing_of(device).await, (Standing::Active, StandingKind::Plain, false));
    browser.get("/devices?show=stolen").await.assert_has("没有符合条件的设备");
}

#[tokio::test]
async fn a_disk_that_falls_back_is_noted_and_that_is_taken_back() {
    let county = County::new().await;
    let device = county.device(7).await;
    let mut browser = county.signed_in().await;
    browser.get(&format!("/devices/{device}")).await.assert_has("没有发现这台电脑的硬盘会在重启后还原");
    for (word, frozen, said) in
        [("frozen", true, "人工登记：这台电脑的硬盘在重启后会还原"), ("kept", false, "不会在重启后还原")]
    {
        browser.post(&format!("/devices/{device}/disk"), &[("disk", word)]).await;
        assert_eq!(county.standing_of(device).await.2, frozen);
        browser.get(&format!("/devices/{device}")).await.assert_has(said);
    }
}
