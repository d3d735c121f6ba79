//! Faults as people meet them: the list, the file, the story of one.

use std::time::Duration;

use http::StatusCode;

use super::{
    county::County,
    pages::{assert_all, in_both_languages},
};

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn without_faults_the_list_says_what_would_be_here() {
    let county = County::new().await;
    let mut browser = county.signed_in().await;
    let [chinese, english] = in_both_languages(&mut browser, "/faults").await;
    assert_all(&chinese, &["目前没有故障", "自动开维修单"]);
    assert_all(&english, &["There are no faults"]);
    assert!(!chinese.contains("format=csv"), "there is nothing to export");
}

#[tokio::test]
async fn a_full_disk_is_listed_with_its_reason_its_place_and_its_ticket() {
    let county = County::new().await;
    let device = county.device(7).await;
    county.place(device, "3号楼201").await;
    county.tell_free(device, 1).await;
    let mut browser = county.signed_in().await;
    let [chinese, english] = in_both_languages(&mut browser, "/faults").await;
    assert_all(
        &chinese,
        &[
            "磁盘空间不足",
            "有故障",
            "/data 只剩 1 GiB（共 20 GiB，5%）",
            "梁河县第一中学 3号楼201",
            "2026-09-18 周五 08:30",
            "20260918-001",
            "待接单",
            "/sets/",
        ],
    );
    assert_all(&english, &["Disk nearly full", "/data has only 1 GiB left (of 20 GiB, 5%)"]);
    assert_all(&browser.get("/faults?kind=silent_set").await.body, &["No fault fits"]);
}

#[tokio::test]
async fn a_fault_tells_its_story_and_what_it_rests_on() {
    let county = County::new().await;
    let device = county.device(7).await;
    county.place(device, "3号楼201").await;
    county.tell_free(device, 1).await;
    county.clock.advance(Duration::from_secs(3_600));
    county.tell_free(device, 12).await;
    let mut browser = county.signed_in().await;
    assert_all(&browser.get("/faults").await.body, &["目前没有故障"]);
    let list = browser.get("/faults?show=all").await.body;
    let path = list.split("class=\"row-link\" href=\"").nth(1).unwrap().split('"').next().unwrap();
    let [chinese, english] = in_both_languages(&mut browser, path).await;
    assert_all(
        &chinese,
        &[
            "已结束",
            "/data 只剩 1 GiB",
            "/data 剩余 12 GiB",
            "2026-09-18 周五 09:30",
            &format!("/devices/{device}"),
            "12 GiB（60%）",
            "20260918-001",
        ],
    );
    assert_all(&english, &["Over", "12 GiB (60%)", "Went away by itself"]);
    let (raised, over) = (chinese.find("只剩 1 GiB").unwrap(), chinese.rfind("剩余 12 GiB").unwrap());
    assert!(raised < over, "the story is told from its beginning");
}

#[tokio::test]
async fn a_silent_set_is_a_question_in_the_list() {
    let county = County::new().await;
    let device = county.device(7).await;
    county.tell_free(device, 12).await;
    county.pass(7 * DAY).await;
    let page = county.signed_in().await.get("/faults").await;
    assert_all(
        &page.body,
        &["多日未开机", "待核实", "最近上报 2026-09-18 周五 08:30", "未登记教室", "已向学校核实"],
    );
}

#[tokio::test]
async fn the_list_turns_pages_and_keeps_its_filter() {
    let county = County::new().await;
    for number in 1..=53 {
        let device = county.device(number).await;
        county.tell_free(device, 1).await;
    }
    let mut browser = county.signed_in().await;
    let first = browser.get("/faults?show=all&kind=disk_nearly_full").await.body;
    assert_eq!(first.matches("class=\"row-link\"").count(), 50);
    let next = first.split("href=\"").find(|part| part.contains("rel=\"next\"")).unwrap();
    let next = next.split('"').next().unwrap().replace("&#38;", "&");
    assert!(next.contains("show=all") && next.contains("kind=disk_nearly_full"), "{next}");
    let second = browser.get(&next).await.body;
    assert_eq!(second.matches("class=\"row-link\"").count(), 3);
    assert!(!second.contains("rel=\"next\""));
}

#[tokio::test]
async fn the_list_is_a_file_too_with_all_of_its_lines() {
    let county = County::new().await;
    for number in 1..=53 {
        let device = county.device(number).await;
        county.tell_free(device, 1).await;
    }
    let page = county.signed_in().await.get("/faults?format=csv").await;
    assert_eq!(page.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(page.header("content-disposition"), "attachment; filename=\"faults.csv\"");
    assert!(page.body.starts_with("\u{feff}状态,故障,原因,"), "{}", page.body);
    assert_eq!(page.body.lines().count(), 54);
    assert_all(&page.body, &[",梁河县第一中学,", ",/data 只剩 1 GiB（共 20 GiB，5%）,", "\t20260918-053\""]);
}

#[tokio::test]
async fn a_fault_that_does_not_exist_has_no_page() {
    let county = County::new().await;
    let mut browser = county.signed_in().await;
    for id in ["07070707-0707-0707-0707-070707070707", "7", "%ff"] {
        let page = browser.get(&format!("/faults/{id}")).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{id}");
    }
}
