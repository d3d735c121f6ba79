//! Tickets as a contractor and the county work on them.

use std::time::Duration;

use bbt_domain::ticket::state::Action;
use http::StatusCode;
use serde_json::json;

use super::{
    county::{Browser, County},
    pages::{assert_all, in_both_languages},
};

/// A county with one ticket about a full disk.
async fn opened() -> County {
    let county = County::new().await;
    let device = county.device(7).await;
    county.contract().await;
    county.place(device, "3号楼201").await;
    county.tell_free(device, 1).await;
    county
}

const PATH: &str = "/tickets/20260918-001";

/// Does something from the ticket's page, and reads the page that follows.
async fn done(browser: &mut Browser<'_>, action: &str, note: &str) -> String {
    let page = browser.post(&format!("{PATH}/act"), &[("action", action), ("note", note)]).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{action}: {}", page.body);
    let next = page.header("location").to_owned();
    browser.get(&next).await.body
}

#[tokio::test]
async fn without_tickets_the_list_says_where_they_come_from() {
    let county = County::new().await;
    let mut browser = county.signed_in().await;
    let [chinese, english] = in_both_languages(&mut browser, "/tickets").await;
    assert_all(&chinese, &["没有在办的维修单", "自动开维修单"]);
    assert_all(&english, &["No ticket is open"]);
    browser.get("/tickets?show=all").await.assert_has("There are no tickets yet");
}

#[tokio::test]
async fn the_list_says_what_is_to_be_done_where_by_whom_and_for_how_long() {
    let county = opened().await;
    county.clock.advance(Duration::from_secs(5 * 3_600));
    let mut browser = county.signed_in().await;
    let [chinese, english] = in_both_languages(&mut browser, "/tickets").await;
    assert_all(
        &chinese,
        &[
            "20260918-001",
            "待接单",
            "梁河县第一中学 3号楼201",
            "磁盘空间不足",
            "/data 只剩 1 GiB（共 20 GiB，5%）",
            "德宏维保公司",
            "2026-09-18 周五 08:30",
            "5 小时",
        ],
    );
    assert_all(&english, &["Waiting to be accepted", "5 hours"]);
    let page = browser.get("/tickets?format=csv").await;
    assert_eq!(page.header("content-disposition"), "attachment; filename=\"tickets.csv\"");
    assert_all(&page.body, &["\u{feff}", "\t20260918-001\"", ",3号楼201,", ",德宏维保公司,"]);
}

#[tokio::test]
async fn a_ticket_shows_where_what_since_when_and_the_one_next_thing_to_do() {
    let county = opened().await;
    let mut browser = county.signed_in().await;
    let id = county.tickets().await[0];
    for path in [PATH.to_owned(), format!("/tickets/{id}")] {
        let [chinese, english] = in_both_languages(&mut browser, &path).await;
        assert_all(
            &chinese,
            &[
                "维修单 <span class=\"whole\">20260918-001</span>",
                "梁河县第一中学<br>3号楼201",
                "设备码",
                "/data 只剩 1 GiB",
                "1 GiB（5%）",
                "接单后由贵单位负责修好",
                "撤销维修单：20260918-001",
                "撤销后不能恢复",
                "判为误报：20260918-001",
            ],
        );
        assert_eq!(chinese.matches("class=\"primary big\"").count(), 1, "one next thing");
        assert_all(&english, &["You take the repair on", "Withdraw the ticket: 20260918-001"]);
        browser.post("/language", &[("lang", "zh-CN"), ("next", "/")]).await;
    }
}

#[tokio::test]
async fn a_ticket_is_worked_on_from_its_page_to_its_end() {
    let county = opened().await;
    let mut browser = county.signed_in().await;
    for (action, note, said) in [
        ("accept", "", "已记录：接单"),
        ("arrive", "", "已记录：到场"),
        ("fix", "清理了下载目录", "清理了下载目录"),
        ("reopen", "还是满的", "已记录：退回返修"),
        ("fix", "换了大硬盘", "换了大硬盘"),
        ("confirm", "", "已完成"),
    ] {
        assert_all(&done(&mut browser, action, note).await, &[said]);
    }
    let body = browser.get(PATH).await.body;
    assert!(!body.contains("name=\"action\""), "a closed ticket has nothing more to do");
    assert!(!body.contains("已记录："), "only right after it was done");
    assert_all(&body, &["开单", "还是满的", "admin", "系统"]);
    assert_all(&browser.get("/tickets").await.body, &["没有在办的维修单"]);
    assert_all(&browser.get("/tickets?show=all").await.body, &["20260918-001", "已完成"]);
}

#[tokio::test]
async fn a_note_that_is_needed_is_asked_for_beside_its_field() {
    let county = opened().await;
    let mut browser = county.signed_in().await;
    let act = format!("{PATH}/act");
    let page = browser.post(&act, &[("action", "withdraw"), ("note", " \u{200b} ")]).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_all(
        &page.body,
        &["请用一句话说明情况。", "open>", "aria-describedby=\"problem-withdraw\"", "待接单"],
    );
    let long = "长".repeat(513);
    let page = browser.post(&act, &[("action", "call_false"), ("note", &long)]).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_all(&page.body, &["最多 512 个字", &long, "aria-describedby=\"problem-call_false\""]);
    assert_all(&done(&mut browser, "withdraw", "学校自己修好了").await, &["撤销", "学校自己修好了"]);
}

#[tokio::test]
async fn what_the_table_does_not_allow_changes_nothing() {
    let county = opened().await;
    let mut browser = county.signed_in().await;
    let act = format!("{PATH}/act");
    for action in ["fix", "confirm", "recover", "recur"] {
        let page = browser.post(&act, &[("action", action), ("note", "x")]).await;
        assert_eq!(page.status, StatusCode::CONFLICT, "{action}");
        page.assert_has("没有任何内容被修改");
    }
    let page = browser.post(&act, &[("action", "sing")]).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    browser.get(PATH).await.assert_has("待接单");
}

#[tokio::test]
async fn what_was_told_to_the_contractor_is_shown_with_every_attempt_and_its_remedy() {
    let county = opened().await;
    county.deliveries_fail(json!({"code": "tls", "fault": "unknown_issuer"})).await;
    let mut browser = county.signed_in().await;
    let [chinese, english] = in_both_languages(&mut browser, PATH).await;
    assert_all(
        &chinese,
        &[
            "新维修单",
            "待送达",
            "对方的证书不是受信任的机构签发的",
            "请让维保单位更换证书",
            "2026-09-18 周五 08:35",
        ],
    );
    assert_all(&english, &["New ticket", "Nobody trusted issued", "Next attempt"]);
    county.clock.advance(Duration::from_secs(300));
    county.deliveries_succeed().await;
    let body = browser.get(PATH).await.body;
    assert_all(&body, &["Delivered", "The receiver took it", "Nobody trusted issued"]);
    assert!(!body.contains("Next attempt"));
}

#[tokio::test]
async fn without_a_contract_the_page_says_that_nobody_was_told() {
    let county = County::new().await;
    let device = county.device(7).await;
    county.tell_free(device, 1).await;
    let page = county.signed_in().await.get(PATH).await;
    assert_all(&page.body, &["该校没有维保合同，没有推送", "请用电话"]);
}

#[tokio::test]
async fn a_recovery_is_told_in_the_story() {
    let county = opened().await;
    let ticket = county.tickets().await[0];
    county.act(ticket, Action::Accept, "明天到").await;
    county.clock.advance(Duration::from_secs(3_600));
    let device = bbt_domain::ids::DeviceId::from_bytes([7; 16]);
    county.tell_free(device, 12).await;
    let page = county.signed_in().await.get(PATH).await;
    assert_all(&page.body, &["服务器命令行", "明天到", "故障已消失，等待维保单位处理完毕", "已接单"]);
}

#[tokio::test]
async fn a_ticket_that_does_not_exist_is_said_not_to() {
    let county = opened().await;
    let mut browser = county.signed_in().await;
    for id in ["20260918-002", "07070707-0707-0707-0707-070707070707", "%ff", "'%20or%201=1"] {
        let page = browser.get(&format!("/tickets/{id}")).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{id}");
        page.assert_has("查无此单");
        let page = browser.post(&format!("/tickets/{id}/act"), &[("action", "accept")]).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{id}");
    }
}

#[tokio::test]
async fn hostile_notes_and_names_are_only_text() {
    let county = opened().await;
    let mut browser = county.signed_in().await;
    let hostile = "<script>alert(1)</script>\u{202e}\"'>";
    done(&mut browser, "withdraw", hostile).await;
    let page = browser.get(PATH).await;
    page.assert_has("&#60;script&#62;alert(1)");
    assert!(!page.body.contains("<script") && !page.body.contains('\u{202e}'));
}
