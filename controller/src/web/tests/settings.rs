//! Settings of the county and of a device, and a look at a device live.

use std::time::Duration;

use bbt_domain::{
    access::Actor,
    configuration::{Key, Level, Outcome, Values},
    ids::DeviceId,
};
use bbt_store::configuration::{configuration_set, configuration_show, outcome_note};
use http::StatusCode;

use super::{
    county::{Browser, County, Page},
    pages::{assert_all, classroom_pc, in_both_languages},
};

const PATH: &str = "/configuration";

/// The form with one value in it.
fn typed<'a>(name: &'static str, value: &'a str) -> Vec<(&'static str, &'a str)> {
    Key::ALL.map(|key| (key.as_str(), if key.as_str() == name { value } else { "" })).into()
}

async fn followed(browser: &mut Browser<'_>, page: Page) -> String {
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.body);
    let location = page.header("location").split('#').next().unwrap().to_owned();
    browser.get(&location).await.body
}

impl County {
    async fn county_values(&self) -> Values {
        let show = |tx: &mut bbt_store::Tx<'_>| configuration_show(tx, &Actor::Local, Level::County);
        self.context.store.read(show).await.unwrap().map(|file| file.values).unwrap_or_default()
    }

    async fn set(&self, level: Level, key: Key, value: u64) -> i64 {
        let (values, now) = (Values::default().with(key, Some(value)), self.context.now());
        let set = move |tx: &mut bbt_store::Tx<'_>| configuration_set(tx, &Actor::Local, level, &values, now);
        self.context.store.write(set).await.unwrap().unwrap()
    }

    async fn answer(&self, device: DeviceId, revision: i64, outcome: Outcome) {
        let (actor, now) = (Actor::Device(device), self.context.now());
        let note = move |tx: &mut bbt_store::Tx<'_>| outcome_note(tx, &actor, revision, &outcome, now);
        self.context.store.write(note).await.unwrap();
    }
}

#[tokio::test]
async fn a_change_for_the_county_is_shown_once_more_before_it_is_made() {
    let county = County::new().await;
    county.device(7).await;
    let mut browser = county.signed_in().await;
    let [chinese, english] = in_both_languages(&mut browser, PATH).await;
    assert_all(&chinese, &["采集设置", "上报间隔（分钟）", "可填 1 到 60，留空按默认 5。"]);
    assert_all(&english, &["Between reports (minutes)"]);

    let mut fields = typed("frame_interval_secs", "10");
    let asked = browser.post(PATH, &fields).await;
    assert_eq!(asked.status, StatusCode::OK);
    assert_all(&asked.body, &["Please confirm the change", "5 min (built in)", "10 min", "(1)"]);
    assert_eq!(county.county_values().await, Values::default(), "nothing was changed yet");

    fields.push(("confirmed", "yes"));
    let made = browser.post(PATH, &fields).await;
    let page = followed(&mut browser, made).await;
    assert_all(&page, &["The settings are changed", "value=\"10\"", "admin"]);
    assert_eq!(county.county_values().await.get(Key::FrameInterval), Some(600));
    let again = browser.post(PATH, &fields).await;
    assert_all(&followed(&mut browser, again).await, &["Nothing was different"]);
}

#[tokio::test]
async fn what_cannot_be_set_is_named_beside_its_field_with_what_was_typed() {
    let county = County::new().await;
    let mut browser = county.signed_in().await;
    for (name, value) in
        [("sample_interval_secs", "3"), ("spool_max_age_secs", "<b>"), ("frame_interval_secs", "1.5")]
    {
        let page = browser.post(PATH, &typed(name, value)).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{name}");
        assert!(page.body.contains(&format!("id=\"{name}-error\"")), "{name}");
        assert!(!page.body.contains("<b>"), "escaped");
    }
    let mut fields = typed("sample_interval_secs", "600");
    fields.iter_mut().filter(|(name, _)| *name == "frame_interval_secs").for_each(|field| field.1 = "5");
    let page = browser.post(PATH, &fields).await;
    assert!(page.body.contains("id=\"frame_interval_secs-error\""), "a frame shorter than a sample");
    assert_eq!(county.county_values().await, Values::default());
}

#[tokio::test]
async fn a_device_shows_what_it_is_told_by_whom_and_why_it_refused() {
    let county = County::new().await;
    let (device, other) = (county.device(7).await, county.device(8).await);
    county.report_state(device, classroom_pc()).await;
    county.report_state(other, classroom_pc()).await;
    let mut browser = county.signed_in().await;
    let path = format!("/devices/{device}");
    let [chinese, _] = in_both_languages(&mut browser, &path).await;
    assert_all(&chinese, &["县里尚未下达设置"]);

    let first = county.set(Level::County, Key::SampleInterval, 120).await;
    let [chinese, english] = in_both_languages(&mut browser, &path).await;
    assert_all(&chinese, &["已下达，等待设备接收", "120 秒", "全县"]);
    assert_all(&english, &["On its way", "120 s", "The county"]);

    county.answer(device, first, Outcome::Applied).await;
    county.answer(other, first, Outcome::Applied).await;
    let [chinese, _] = in_both_languages(&mut browser, &path).await;
    assert_all(&chinese, &["已生效", "最近生效"]);

    let second = county.set(Level::Device(device), Key::SpoolBytes, 1 << 30).await;
    let reason = "1073741824 bytes are more than half of the disk".to_owned();
    county.answer(device, second, Outcome::Rejected { key: "spool_max_bytes".to_owned(), reason }).await;
    let [chinese, english] = in_both_languages(&mut browser, &path).await;
    assert_all(
        &chinese,
        &["设备未接受，仍按上一次生效的设置运行", "断网暂存上限：", "more than half of the disk", "本设备"],
    );
    assert_all(&english, &["size kept without a line:"]);

    let [chinese, _] = in_both_languages(&mut browser, "/overview").await;
    assert_all(&chinese, &["1 台设备未接受采集设置", "/devices?show=rejecting"]);
    let list = browser.get("/devices?show=rejecting").await.body;
    assert_all(&list, &[&device.to_string()]);
    assert!(!list.contains(&other.to_string()), "only those that refused");
}

#[tokio::test]
async fn a_live_look_begins_by_a_button_looks_again_by_itself_and_is_stopped_by_another() {
    let county = County::new().await;
    let device = county.device(7).await;
    county.report_state(device, classroom_pc()).await;
    let mut browser = county.signed_in().await;
    let (page, live) = (format!("/devices/{device}"), format!("/devices/{device}/live"));
    let [chinese, _] = in_both_languages(&mut browser, &page).await;
    assert_all(&chinese, &["每 5 秒采样，持续 10 分钟"]);
    assert!(!browser.get(&live).await.headers.contains_key("refresh"), "nothing goes on");

    let begun = browser.post(&live, &[]).await;
    // 08:30 in the county, and ten minutes.
    assert_all(&followed(&mut browser, begun).await, &["A sample every 5 s", "08:40:00", "Stop now"]);
    assert_eq!(browser.get(&live).await.header("refresh"), "5");
    assert_all(&browser.get(&page).await.body, &["08:40:00"]);

    let stopped = browser.post(&format!("{live}/stop"), &[]).await;
    assert_all(&followed(&mut browser, stopped).await, &["Every 5 s for 10 minutes"]);
    let begun = browser.post(&live, &[]).await;
    followed(&mut browser, begun).await;
    county.clock.advance(Duration::from_secs(601));
    let over = browser.get(&live).await;
    assert_all(&over.body, &["Every 5 s for 10 minutes"]);
    assert!(!over.headers.contains_key("refresh"), "it ended by itself");
}
