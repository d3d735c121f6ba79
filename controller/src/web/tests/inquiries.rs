//! Questions to schools: asked, answered with one tap, and what follows said before and after.

use std::time::Duration;

use http::StatusCode;

use super::{
    county::County,
    pages::{assert_all, in_both_languages},
};

const DAY: Duration = Duration::from_secs(86_400);

/// A county with one set that was silent from Friday to the Wednesday after.
async fn asked() -> (County, String) {
    let county = County::new().await;
    let device = county.device(7).await;
    county.contract().await;
    county.place(device, "3号楼201").await;
    county.tell_free(device, 12).await;
    county.pass(5 * DAY).await;
    let id = county.inquiries().await[0].to_string();
    (county, id)
}

#[tokio::test]
async fn without_questions_the_page_says_when_there_would_be_some() {
    let county = County::new().await;
    let mut browser = county.signed_in().await;
    let [chinese, english] = in_both_languages(&mut browser, "/inquiries").await;
    assert_all(&chinese, &["没有待答复的核实单", "重新开机后自动撤回"]);
    assert_all(&english, &["No question is open"]);
    browser.get("/inquiries?show=all").await.assert_has("There are no questions yet");
}

#[tokio::test]
async fn a_question_offers_five_answers_and_says_what_follows_of_each() {
    let (county, id) = asked().await;
    let mut browser = county.signed_in().await;
    for path in ["/inquiries".to_owned(), format!("/inquiries/{id}")] {
        let [chinese, english] = in_both_languages(&mut browser, &path).await;
        assert_all(
            &chinese,
            &[
                "该设备已连续 3 个教学日未开机，请核实原因。",
                "梁河县第一中学 3号楼201",
                "<strong>没用过</strong><span class=\"small\">3 个教学日后再问</span>",
                "<strong>坏了</strong><span class=\"small\">转为报修</span>",
                "<strong>已搬走</strong><span class=\"small\">移出教室并封存</span>",
                "<strong>停用封存</strong><span class=\"small\">封存，不再要求开机</span>",
                "<strong>停电断网</strong>",
            ],
        );
        assert_all(&english, &["This set was not switched on for 3 school days", "It is broken"]);
        browser.post("/language", &[("lang", "zh-CN"), ("next", "/")]).await;
    }
}

#[tokio::test]
async fn broken_becomes_a_ticket_and_the_page_says_so() {
    let (county, id) = asked().await;
    let mut browser = county.signed_in().await;
    let fields = [("answer", "broken"), ("note", "主机不亮")];
    let page = browser.post(&format!("/inquiries/{id}/answer"), &fields).await;
    assert_eq!(
        (page.status, page.header("location")),
        (StatusCode::SEE_OTHER, &*format!("/inquiries?done={id}"))
    );
    let next = page.header("location").to_owned();
    let [chinese, english] = in_both_languages(&mut browser, &next).await;
    assert_all(&chinese, &["已记录“坏了”。已转为报修。", "/tickets/20260923-001", "没有待答复的核实单"]);
    assert_all(&english, &["It became a ticket."]);
    let all = browser.get("/inquiries?show=all").await;
    assert_all(&all.body, &["It is broken", "主机不亮", "20260923-001", "admin"]);
    let one = browser.get(&format!("/inquiries/{id}")).await;
    assert_all(&one.body, &["Answered", "主机不亮"]);
    assert!(!one.body.contains("name=\"answer\""), "an answered question is not asked again");
}

#[tokio::test]
async fn every_answer_is_confirmed_in_words() {
    for (answer, words) in [
        ("not_used", "已记录“没用过”。不作故障处理"),
        ("moved", "已移出教室并封存"),
        ("sealed", "该设备已封存"),
        ("no_power", "已记录“停电断网”"),
    ] {
        let (county, id) = asked().await;
        let mut browser = county.signed_in().await;
        browser.post(&format!("/inquiries/{id}/answer"), &[("answer", answer)]).await;
        let page = browser.get(&format!("/inquiries?done={id}")).await;
        assert_all(&page.body, &[words]);
        assert_eq!(county.tickets().await, [], "{answer}");
    }
}

#[tokio::test]
async fn a_question_is_answered_once() {
    let (county, id) = asked().await;
    let mut browser = county.signed_in().await;
    let path = format!("/inquiries/{id}/answer");
    browser.post(&path, &[("answer", "sealed")]).await;
    let page = browser.post(&path, &[("answer", "broken")]).await;
    assert_eq!(page.status, StatusCode::CONFLICT);
    page.assert_has("没有任何内容被修改");
    assert_eq!(county.tickets().await, []);
}

#[tokio::test]
async fn a_note_that_is_too_long_comes_back_with_its_text() {
    let (county, id) = asked().await;
    let mut browser = county.signed_in().await;
    let note = "长".repeat(513);
    let fields = [("answer", "broken"), ("note", note.as_str())];
    let page = browser.post(&format!("/inquiries/{id}/answer"), &fields).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_all(&page.body, &["最多 512 个字", &note, "aria-invalid=\"true\""]);
    assert_eq!(county.tickets().await, []);
}

#[tokio::test]
async fn the_county_may_make_a_ticket_only_after_days_without_an_answer() {
    let (county, id) = asked().await;
    let mut browser = county.signed_in().await;
    let path = format!("/inquiries/{id}/escalate");
    let page = browser.get("/inquiries").await;
    assert_all(&page.body, &["最早", "2026-09-28 周一 08:30"]);
    assert!(!page.body.contains(&path));
    assert_eq!(browser.post(&path, &[]).await.status, StatusCode::CONFLICT);
    county.pass(5 * DAY).await;
    let mut browser = county.signed_in().await;
    browser.get("/inquiries").await.assert_has(&path);
    let page = browser.post(&path, &[]).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    let page = browser.get(&format!("/inquiries?done={id}")).await;
    assert_all(&page.body, &["学校未答复，已转为报修。", "/tickets/20260928-001"]);
}

#[tokio::test]
async fn a_set_that_is_switched_on_withdraws_its_question() {
    let county = County::new().await;
    let device = county.device(7).await;
    county.tell_free(device, 12).await;
    county.pass(5 * DAY).await;
    county.tell_free(device, 12).await;
    let id = county.inquiries().await[0];
    let mut browser = county.signed_in().await;
    browser.get("/inquiries").await.assert_has("没有待答复的核实单");
    let page = browser.get(&format!("/inquiries/{id}")).await;
    assert_all(&page.body, &["已开机，自动撤回", "不用再答复"]);
}

#[tokio::test]
async fn a_question_that_does_not_exist_has_no_page_and_takes_no_answer() {
    let county = County::new().await;
    let mut browser = county.signed_in().await;
    let id = "07070707-0707-0707-0707-070707070707";
    for id in [id, "7", "%ff"] {
        assert_eq!(browser.get(&format!("/inquiries/{id}")).await.status, StatusCode::NOT_FOUND, "{id}");
        let page = browser.post(&format!("/inquiries/{id}/answer"), &[("answer", "broken")]).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{id}");
        let page = browser.post(&format!("/inquiries/{id}/escalate"), &[]).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{id}");
    }
    assert_eq!(browser.get(&format!("/inquiries?done={id}")).await.status, StatusCode::OK);
    let page = browser.post(&format!("/inquiries/{id}/answer"), &[("answer", "maybe")]).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
}
