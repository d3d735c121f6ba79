//! Overview, sets, schools and rooms, and their forms.

use std::time::Duration;

use bbt_domain::{
    civil::Day,
    ids::DeviceId,
    report::Body,
    usage::slots::{Seconds, Slot, first_of},
};
use http::StatusCode;

use super::{
    county::{Browser, County, Page},
    pages::{assert_all, classroom_pc, in_both_languages},
};

/// The school of [`County::device`].
const SCHOOL: &str = "2153000123";

/// A device whose set has a fault with a ticket, and one whose set is well.
async fn one_faulty_one_well(county: &County) -> (DeviceId, DeviceId) {
    let (faulty, well) = (county.device(7).await, county.device(8).await);
    county.report_state(faulty, classroom_pc()).await;
    county.report_state(well, bbt_domain::facts::StateReport { full: true, ..Default::default() }).await;
    county.decide_faults(county.set_of(faulty).await.id).await;
    (faulty, well)
}

/// Follows a form's redirect.
async fn followed(browser: &mut Browser<'_>, page: Page) -> Page {
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.body);
    let location = page.header("location").split('#').next().unwrap().to_owned();
    let page = browser.get(&location).await;
    assert_eq!(page.status, StatusCode::OK, "{location}");
    page
}

/// How many cells or links `body` has that end in `class`.
fn rows(body: &str) -> usize {
    body.matches("class=\"row-link\"").count()
}

#[tokio::test]
async fn an_empty_county_is_told_the_first_steps() {
    let county = County::new().await;
    let mut browser = county.signed_in().await;
    assert_eq!(browser.get("/").await.header("location"), "/overview");
    for path in ["/overview", "/sets"] {
        for body in in_both_languages(&mut browser, path).await {
            assert_all(&body, &["bbt-controller token create", "bbt-agent enroll"]);
        }
    }
    let [chinese, _] = in_both_languages(&mut browser, "/schools").await;
    assert_all(&chinese, &["还没有登记学校", "添加学校"]);
}

#[tokio::test]
async fn the_overview_counts_by_state_and_puts_trouble_first() {
    let county = County::new().await;
    let mut browser = county.signed_in().await;
    // By its code this school would come first.
    browser.get("/schools").await;
    browser.post("/schools", &[("code", "1000000000"), ("name", "平安小学")]).await;
    one_faulty_one_well(&county).await;
    let [chinese, english] = in_both_languages(&mut browser, "/overview").await;
    assert_all(
        &chinese,
        &[
            "截至 2026-09-18 周五 08:30",
            r#"<a href="/sets">2</a>"#,
            r#"<a href="/sets?state=faulty">1</a>"#,
            r#"<a href="/sets?state=ok">1</a>"#,
            r#"<a href="/faults">1</a>"#,
            r#"<a href="/inquiries">0</a>"#,
            r#"<a href="/tickets">1</a>"#,
            r#"href="/sets?school=2153000123&#38;state=faulty"><span aria-hidden="true">▲</span> 1</a>"#,
        ],
    );
    assert_all(&english, &["Faulty", "Not on today", "School by school"]);
    assert!(!chinese.contains("平安小学"), "a school without sets has nothing to count");
}

#[tokio::test]
async fn the_navigation_marks_where_one_is_and_leads_everywhere() {
    let county = County::new().await;
    let mut browser = county.signed_in().await;
    for path in ["/overview", "/sets", "/usage", "/schools", "/devices", "/refusals"] {
        let body = browser.get(path).await.body;
        assert_all(&body, &[&format!("<a href=\"{path}\" aria-current=\"page\">")]);
        assert_eq!(body.matches("aria-current=\"page\"").count(), 1, "{path}");
        for word in
            ["总览", "设备", "故障", "核实单", "维修单", "使用登记", "学校与教室", "接入设备", "接入被拒"]
        {
            assert_all(&body, &[&format!(">{word}</a></li>")]);
        }
    }
}

#[tokio::test]
async fn the_list_of_sets_is_filtered_by_text_school_and_state() {
    let county = County::new().await;
    let (faulty, _) = one_faulty_one_well(&county).await;
    let set = county.set_of(faulty).await;
    let mut browser = county.signed_in().await;
    let [chinese, english] = in_both_languages(&mut browser, "/sets").await;
    assert_all(
        &chinese,
        &[
            "梁河县第一中学",
            "未安排教室",
            set.code.as_str(),
            "有故障",
            "磁盘空间不足",
            "i5-10400",
            "15.5 GiB",
        ],
    );
    assert_all(&english, &["No room yet", "Disk nearly full", "2026-09-18 Fri 08:30"]);
    assert_eq!(rows(&chinese), 2);
    let code = set.code.as_str().to_lowercase();
    for (query, found) in [
        (format!("q={code}"), 1),
        ("q=i5-10400".into(), 1),
        ("q=nothing".into(), 0),
        ("state=faulty".into(), 1),
        ("state=repairing".into(), 0),
        (format!("school={SCHOOL}"), 2),
        ("school=T9".into(), 0),
        (format!("school={SCHOOL}&state=ok"), 1),
    ] {
        let page = browser.get(&format!("/sets?{query}")).await;
        assert_eq!(page.status, StatusCode::OK, "{query}");
        assert_eq!(rows(&page.body), found, "{query}");
    }
    browser.get("/sets?q=nothing").await.assert_has("No set fits");
}

#[tokio::test]
async fn the_list_turns_pages_with_its_filters() {
    let county = County::new().await;
    for number in 1..=53 {
        county.device(number).await;
    }
    let mut browser = county.signed_in().await;
    let first = browser.get("/sets?state=not_today").await.body;
    assert_eq!(rows(&first), 50);
    let next = first.split("href=\"").find(|part| part.contains("rel=\"next\"")).unwrap();
    let next = next.split('"').next().unwrap().replace("&#38;", "&");
    assert!(next.starts_with("/sets?state=not_today&after="), "{next}");
    let second = browser.get(&next).await.body;
    assert_eq!(rows(&second), 3);
    assert!(!second.contains("rel=\"next\""));
}

#[tokio::test]
async fn the_file_has_what_the_list_has_and_no_formula() {
    let county = County::new().await;
    let (faulty, well) = one_faulty_one_well(&county).await;
    let mut browser = county.signed_in().await;
    let room = county.room(SCHOOL, "=HYPERLINK(1)").await.to_string();
    let code = county.set_of(well).await.code;
    browser.get(&format!("/sets/{code}")).await;
    browser.post(&format!("/sets/{code}/place"), &[("room", &room)]).await;
    let page = browser.get("/sets?format=csv").await;
    assert_eq!(page.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(page.header("content-disposition"), "attachment; filename=\"sets-2026-09-18.csv\"");
    let lines: Vec<&str> = page.body.split("\r\n").collect();
    assert!(lines[0].starts_with("\u{feff}学校,学校代码,教室,设备码,状态,故障,处理器,"), "{}", lines[0]);
    assert_eq!((lines.len(), lines[3]), (4, ""), "a head, two sets, and the end of the last line");
    assert!(page.body.contains(",'=HYPERLINK(1),"), "{}", page.body);
    assert!(page.body.contains("\"\t2153000123\""), "the code keeps its digits: {}", page.body);
    let faulty = county.set_of(faulty).await.code;
    let line = lines.iter().find(|line| line.contains(faulty.as_str())).unwrap();
    assert!(
        line.contains(",有故障,磁盘空间不足,") && line.ends_with(",15.5,JIAOSHI-0301,2026-09-18 08:30"),
        "{line}"
    );
    let filtered = browser.get("/sets?format=csv&state=faulty").await.body;
    assert_eq!(filtered.matches("\r\n").count(), 2);
}

#[tokio::test]
async fn a_sets_page_tells_its_fault_its_ticket_and_its_computer() {
    let county = County::new().await;
    let (device, _) = one_faulty_one_well(&county).await;
    let set = county.set_of(device).await;
    let mut browser = county.signed_in().await;
    let [chinese, english] = in_both_languages(&mut browser, &format!("/sets/{}", set.code)).await;
    let ticket = format!("/tickets/{}", set.tickets[0].no);
    let everywhere = [set.code.as_str(), &ticket, &format!("/devices/{device}"), "JIAOSHI-0301", "15.5 GiB"];
    assert_all(&chinese, &everywhere);
    assert_all(&english, &everywhere);
    assert_all(
        &chinese,
        &["有故障", "磁盘空间不足", "/home 只剩 3 GiB（共 100 GiB，3%）", "待接单", "未安排教室"],
    );
    assert_all(&english, &["Disk nearly full", "/home has only 3 GiB left", "Waiting to be accepted"]);
    let by_id = browser.get(&format!("/sets/{}", set.id)).await;
    assert_eq!(by_id.status, StatusCode::OK, "found by its id, too");
    let lower = set.code.as_str().to_lowercase();
    assert_eq!(browser.get(&format!("/sets/{lower}")).await.status, StatusCode::OK, "and as people type it");
    assert_eq!(browser.get("/sets/AAAAAA").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_set_is_put_into_a_room_and_moved() {
    let county = County::new().await;
    let code = county.set_of(county.device(7).await).await.code;
    let (first, second) = (county.room(SCHOOL, "3号楼201").await, county.room(SCHOOL, "3号楼202").await);
    let mut browser = county.signed_in().await;
    let path = format!("/sets/{code}");
    browser.get(&path).await.assert_has("放入教室");
    let page = browser.post(&format!("{path}/place"), &[("room", &first.to_string())]).await;
    followed(&mut browser, page).await.assert_has("已放入教室。");
    county.clock.advance(Duration::from_secs(60));
    let page = browser.post(&format!("{path}/place"), &[("room", &second.to_string())]).await;
    let page = followed(&mut browser, page).await;
    assert_all(&page.body, &["<h1>梁河县第一中学 3号楼202</h1>", "换教室", "2026-09-18 周五 08:31"]);
    assert_eq!(page.body.matches("<th scope=\"row\">3号楼201</th>").count(), 1, "where it stood is kept");
    let school = browser.get(&format!("/schools/{SCHOOL}")).await;
    assert!(!school.body.contains("未安排教室的设备"), "{}", school.body);
    school.assert_has(code.as_str());
}

#[tokio::test]
async fn a_room_that_is_none_of_the_school_is_refused_beside_the_field() {
    let county = County::new().await;
    let code = county.set_of(county.device(7).await).await.code;
    county.room(SCHOOL, "3号楼201").await;
    let mut browser = county.signed_in().await;
    browser.get("/schools").await;
    browser.post("/schools", &[("code", "T2"), ("name", "另一小学")]).await;
    let foreign = county.room("T2", "101").await.to_string();
    for room in ["", "201", &foreign, "07070707-0707-0707-0707-070707070707"] {
        let page = browser.post(&format!("/sets/{code}/place"), &[("room", room)]).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{room:?}");
        assert_all(
            &page.body,
            &["role=\"alert\"", "没有选中本校的教室", "aria-invalid=\"true\"", "3号楼201"],
        );
        page.assert_has(&format!("name=\"next\" value=\"/sets/{code}\""));
    }
    let page = browser.post("/sets/AAAAAA/place", &[("room", &foreign)]).await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn sealing_asks_why_and_can_be_taken_back() {
    let county = County::new().await;
    let code = county.set_of(county.device(7).await).await.code;
    let mut browser = county.signed_in().await;
    let path = format!("/sets/{code}/standing");
    let page = browser.post(&path, &[("standing", "sealed"), ("reason", " \u{200b} ")]).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_all(&page.body, &["请写明停用原因", "<details open>", "封存后仍计入台数"]);
    let page = browser.post(&path, &[("standing", "sealed"), ("reason", "楼顶漏水<b>")]).await;
    let page = followed(&mut browser, page).await;
    let sealed = ["已停用封存。", "由 admin 封存", "原因：楼顶漏水&#60;b&#62;", "启用", "－"];
    assert_all(&page.body, &sealed);
    let page = browser.post(&path, &[("standing", "in_use")]).await;
    let page = followed(&mut browser, page).await;
    assert_all(&page.body, &["已启用", "停用封存"]);
    assert!(!page.body.contains("楼顶漏水"));
    let page = browser.post(&path, &[("standing", "gone")]).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn schools_are_added_and_mistakes_are_named_with_their_remedy() {
    let county = County::new().await;
    let mut browser = county.signed_in().await;
    let page = browser.post("/schools", &[("code", "代码"), ("name", "\u{202e}")]).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_all(&page.body, &["学校代码“代码”不符合要求", "十位学校标识码", "没有可见的字", "value=\"代码\""]);
    let page =
        browser.post("/schools", &[("code", "２１５３０００１２３"), ("name", "梁河县第一中学")]).await;
    assert!(page.header("location").starts_with("/schools/2153000123?done=school-added"), "{page:?}");
    let page = followed(&mut browser, page).await;
    assert_all(&page.body, &["已添加学校", "还没有登记教室", "该校不在任何维保合同内"]);
    let page = browser.post("/schools", &[("code", "2153000123"), ("name", "又一所<i>")]).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_all(&page.body, &["已经登记过", "value=\"又一所&#60;i&#62;\""]);
    let [chinese, english] = in_both_languages(&mut browser, "/schools?q=一中学").await;
    assert_eq!((rows(&chinese), rows(&english)), (1, 1));
    browser.get("/schools?q=nothing").await.assert_has("No school fits");
}

#[tokio::test]
async fn rooms_are_added_and_mistakes_are_named_with_their_remedy() {
    let county = County::new().await;
    county.device(7).await;
    let mut browser = county.signed_in().await;
    let path = format!("/schools/{SCHOOL}/rooms");
    let page = browser.post(&path, &[("name", "3/201"), ("kind", "palace")]).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_all(&page.body, &["教室名称“3/201”不能用", "教室类型“palace”不在列表中", "value=\"3/201\""]);
    page.assert_has(&format!("name=\"next\" value=\"/schools/{SCHOOL}\""));
    let room = [("name", "3号楼201"), ("kind", "laboratory")];
    let page = browser.post(&path, &room).await;
    let page = followed(&mut browser, page).await;
    assert_all(&page.body, &["已添加教室。", "3号楼201", "实验室", "没有设备", "未安排教室的设备"]);
    let page = browser.post(&path, &room).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    page.assert_has("教室“3号楼201”在本校已经登记过");
    assert_eq!(browser.post("/schools/T9/rooms", &room).await.status, StatusCode::NOT_FOUND);
    assert_eq!(browser.get("/schools/T9").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_confirmation_is_one_of_our_own_sentences_or_nothing() {
    let county = County::new().await;
    let code = county.set_of(county.device(7).await).await.code;
    let mut browser = county.signed_in().await;
    browser.get(&format!("/sets/{code}?done=sealed")).await.assert_has("role=\"status\"");
    for foreign in ["unknown", "<b>", "login-wrong", ""] {
        let page =
            browser.get(&format!("/sets/{code}?done={}", crate::web::format::query_value(foreign))).await;
        assert!(!page.body.contains("role=\"status\""), "{foreign}");
    }
}

#[tokio::test]
async fn a_set_that_was_silent_for_days_is_a_question_everywhere() {
    let county = County::new().await;
    let device = county.device(7).await;
    county.report_state(device, classroom_pc()).await;
    county.clock.advance(Duration::from_secs(9 * 86_400));
    let code = county.set_of(device).await.code;
    let mut browser = county.signed_in().await;
    for path in ["/overview", "/sets", &format!("/sets/{code}"), "/schools", &format!("/schools/{SCHOOL}")] {
        assert_all(&browser.get(path).await.body, &["多日未开机（待核实）", "？"]);
    }
}

#[tokio::test]
async fn names_that_are_markup_stay_text() {
    let county = County::new().await;
    let device = county.device(7).await;
    let hostile = "<script>alert(1)</script>";
    let room = county.room(SCHOOL, &hostile.replace('/', "")).await.to_string();
    let mut browser = county.signed_in().await;
    browser.get("/schools").await;
    browser.post("/schools", &[("code", "T2"), ("name", hostile)]).await;
    let code = county.set_of(device).await.code;
    browser.post(&format!("/sets/{code}/place"), &[("room", &room)]).await;
    let pages = [
        "/sets".to_owned(),
        format!("/sets/{code}"),
        "/schools".into(),
        format!("/schools/{SCHOOL}"),
        "/schools/T2".into(),
    ];
    for path in pages {
        let body = browser.get(&path).await.body;
        assert!(body.contains("&#60;script&#62;alert(1)") && !body.contains("<script"), "{path}");
    }
}

#[tokio::test]
async fn what_is_booked_stands_beside_what_was_measured() {
    let county = County::new().await;
    let device = county.device(7).await;
    county.report_state(device, classroom_pc()).await;
    let set = county.set_of(device).await;
    let path = format!("/sets/{}", set.code);
    let mut browser = county.signed_in().await;
    browser.get(&path).await.assert_has(&format!("bbt-controller asset add --set {}", set.code));
    county.book(set.id).await;
    let [chinese, english] = in_both_languages(&mut browser, &path).await;
    assert_all(
        &chinese,
        &[
            "触控一体机主机",
            "JX-2024-0042",
            "原值 4,800.00 元",
            "入账日期 2024-09-30 周一",
            "相符",
            "不符",
            "无法判断：账面没有登记",
            "内存与账面不符，请核实原因",
            "账面 4 GiB，实测 16 GiB",
            "维修更换",
        ],
    );
    assert_all(&english, &["As booked", "Differs", "Cannot be said: not booked", "4,800.00 yuan"]);
}

#[tokio::test]
async fn a_difference_is_settled_once_with_a_reason() {
    let county = County::new().await;
    let device = county.device(7).await;
    county.report_state(device, classroom_pc()).await;
    let set = county.set_of(device).await;
    county.book(set.id).await;
    let path = format!("/sets/{}/cases", set.code);
    let mut browser = county.signed_in().await;
    let body = browser.get(&format!("/sets/{}", set.code)).await.body;
    let case = body.split("name=\"case\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let settle = |what: &'static str, note: &'static str| {
        [("case", case.as_str()), ("settlement", what), ("note", note)]
    };
    for (what, sentence) in [("", "请从列表中选择差异原因"), ("lost", "请从列表中选择"), ("other", "请写明")]
    {
        let page = browser.post(&path, &settle(what, "")).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{what:?}");
        assert_all(&page.body, &["role=\"alert\"", sentence]);
    }
    let page = browser.post(&path, &settle("repair", "加装内存<b>")).await;
    let page = followed(&mut browser, page).await;
    assert_all(
        &page.body,
        &["已记录差异的处理结果", "已处理的差异（1）", "由 admin 确认：维修更换 · 加装内存&#60;b&#62;"],
    );
    assert!(!page.body.contains("name=\"case\""), "nothing is left to settle");
    let page = browser.post(&path, &settle("theft", "")).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    page.assert_has("该差异已被处理或已消失");
    let other = county.set_of(county.device(8).await).await;
    let page = browser.post(&format!("/sets/{}/cases", other.code), &settle("theft", "")).await;
    assert_eq!(page.status, StatusCode::NOT_FOUND, "a case of another set");
}

/// A device whose set stands in a room since before today, and which told of today until 08:30: off until seven,
/// used for two minutes of each five until eight, then signed in and left alone.
async fn told_of_this_morning(county: &County) -> DeviceId {
    let device = county.device(7).await;
    let room = county.room(SCHOOL, "3号楼201").await.to_string();
    let code = county.set_of(device).await.code;
    let mut browser = county.signed_in().await;
    browser.get("/sets").await;
    browser.post(&format!("/sets/{code}/place"), &[("room", &room)]).await;
    county.clock.advance(Duration::from_secs(86_400));
    let first = first_of(Day::of(county.context.now()));
    let slot = |place: i64, parts| Slot { number: first + place, seconds: Seconds::capped(parts) };
    let mut slots = vec![slot(0, [60, 0, 60, 0, 0])];
    slots.extend((84..96).map(|place| slot(place, [300, 120, 180, 0, 0])));
    slots.extend((96..102).map(|place| slot(place, [300, 0, 300, 0, 0])));
    county.report(device, vec![Body::Usage { corrected: true, slots }]).await;
    device
}

#[tokio::test]
async fn the_usage_log_shows_a_schools_day_hour_by_hour() {
    let county = County::new().await;
    let device = told_of_this_morning(&county).await;
    county.room(SCHOOL, "3号楼202").await;
    let code = county.set_of(device).await.code;
    let mut browser = county.signed_in().await;
    let [chinese, english] =
        in_both_languages(&mut browser, &format!("/usage?school={SCHOOL}&day=2026-09-19")).await;
    assert_all(
        &chinese,
        &[
            "梁河县第一中学 · 2026-09-19 周六",
            "3号楼201",
            code.as_str(),
            "title=\"使用 24 分\"",
            "title=\"开机未操作 30 分\"",
            "没有设备",
            ">24 分<",
            "day=2026-09-18\" rel=\"prev\"",
        ],
    );
    assert!(!chinese.contains("rel=\"next\""), "tomorrow is not told of");
    assert_all(&english, &["title=\"Used 24 min\"", "title=\"On, not touched 30 min\"", "No set"]);
    assert!(!chinese.contains("title=\"暂无数据\""), "all that has passed is known, and the rest is to come");
    let later = browser.get(&format!("/usage?school={SCHOOL}&day=2026-12-24")).await;
    later.assert_has("2026-09-19");
}

#[tokio::test]
async fn what_nobody_told_of_is_never_called_unused() {
    let county = County::new().await;
    told_of_this_morning(&county).await;
    county.clock.advance(Duration::from_secs(4 * 3_600));
    let mut browser = county.signed_in().await;
    let page = browser.get("/usage").await;
    assert_all(&page.body, &["title=\"暂无数据\"", "不计入“未使用”", "◌"]);
    assert_eq!(page.body.matches("未使用").count(), 1, "in the sentence that denies it");
    assert_all(&page.body, &["其中部分时间暂无数据"]);
}

#[tokio::test]
async fn usage_asks_for_a_school_that_exists_and_a_day_that_was() {
    let county = County::new().await;
    let mut browser = county.signed_in().await;
    browser.get("/usage").await.assert_has("还没有登记学校");
    county.device(7).await;
    assert_eq!(browser.get("/usage?school=T9").await.status, StatusCode::NOT_FOUND);
    for day in ["", "2026-13-40", "yesterday", "9999-01-01"] {
        let page = browser.get(&format!("/usage?school={SCHOOL}&day={day}")).await;
        assert_all(&page.body, &["2026-09-18 周五"]);
    }
}
