use bbt_domain::{
    access::Actor,
    facts::{
        Disk, FileSystem, FileSystems, Hardware, Interface, Memory, MemoryModule, Network, Peer, Problem,
        Processor, Product, Reachability, Software, StateReport, Storage, Told,
    },
    identity::{Standing, StandingKind},
    report::{Body, Class, Gap},
    time::UtcMicros,
};
use bbt_proto::report::v1 as wire;
use bbt_store::{CommitFailure, Tx, devices::device_stand};
use http::StatusCode;
use prost::Message;

use super::county::{Browser, County};
use crate::{
    desk::Desk,
    trouble::{Kind, Trouble},
};

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn problem(item: &str, code: &str, message: &str) -> Problem {
    Problem { item: item.into(), code: code.into(), message: message.into() }
}

fn told<T>(facts: T, problems: Vec<Problem>) -> Option<Told<T>> {
    Some(Told { facts, problems })
}

/// A classroom PC with something of everything, and something missing of everything.
pub(super) fn classroom_pc() -> StateReport {
    let hardware = Hardware {
        system: Product { vendor: some("LENOVO"), name: some("启天 M437"), version: None, serial: None },
        board: Product { vendor: some("LENOVO"), serial: some("PF0X1234"), ..Product::default() },
        processors: vec![Processor {
            vendor: some("GenuineIntel"),
            model: some("Intel(R) Core(TM) i5-10400 CPU @ 2.90GHz"),
            sockets: Some(1),
            cores: Some(6),
            threads: Some(12),
            max_khz: Some(4_300_000),
        }],
        memory: Memory {
            total_bytes: Some(16_667_029_504),
            swap_bytes: Some(0),
            modules: vec![
                MemoryModule {
                    slot: some("DIMM 1"),
                    size_bytes: Some(16 << 30),
                    kind: some("DDR4"),
                    speed_mts: Some(2_666),
                    ..MemoryModule::default()
                },
                MemoryModule { slot: some("DIMM 2"), ..MemoryModule::default() },
            ],
        },
        system_uuid: some("0a1b2c3d-0000-0000-0000-00d861a1b2c3"),
        chassis_type: Some(3),
        ..Hardware::default()
    };
    let unread = "Reading /sys/class/dmi/id/product_serial failed: permission denied.";
    let disks = vec![Disk {
        name: "sda".into(),
        size_bytes: Some(256_060_514_304),
        model: some("SAMSUNG MZ7LN256"),
        rotational: Some(false),
        ..Disk::default()
    }];
    let file_system = |mount_point: &str, size, free| FileSystem {
        mount_point: mount_point.into(),
        source: "/dev/sda1".into(),
        kind: "ext4".into(),
        size_bytes: Some(size),
        free_bytes: Some(free),
        read_only: false,
    };
    let file_systems = vec![file_system("/", 250 << 30, 150 << 30), file_system("/home", 100 << 30, 3 << 30)];
    let card = |name: &str, physical, state: &str| Interface {
        name: name.into(),
        physical,
        state: some(state),
        mac: some("00:d8:61:a1:b2:c3"),
        ..Interface::default()
    };
    let reached = Peer {
        address: some("192.168.1.1"),
        reachable: Some(true),
        round_trip_micros: Some(850),
        method: some("icmp"),
    };
    let lost = Peer { address: some("10.0.0.2:7443"), reachable: Some(false), ..Peer::default() };
    StateReport {
        full: true,
        hardware: told(hardware, vec![problem("system.serial", "permission_denied", unread)]),
        storage: told(Storage { disks }, vec![problem("sda", "timed_out", "Asking sda took too long.")]),
        file_systems: told(FileSystems { file_systems }, vec![]),
        network: told(
            Network { interfaces: vec![card("docker0", false, "down"), card("eno1", true, "up")] },
            vec![],
        ),
        reachability: told(Reachability { gateway: reached, controller: lost }, vec![]),
        software: told(
            Software {
                os_name: some("UnionTech OS Desktop"),
                os_version: some("20"),
                kernel: some("4.19.0-amd64-desktop"),
                architecture: some("x86_64"),
                host_name: some("JIAOSHI-0301"),
                agent_version: "0.1.0".into(),
            },
            vec![],
        ),
    }
}

fn samples() -> Vec<u8> {
    let column = |metric: wire::Metric, item: &str, values: [i64; 3]| wire::Column {
        metric: metric.into(),
        item: item.into(),
        min: vec![values[0]],
        mean: vec![values[1]],
        max: vec![values[2]],
        missing: vec![],
    };
    let columns = vec![
        column(wire::Metric::ProcessorBusyPermille, "", [12, 253, 904]),
        column(wire::Metric::MemoryUsedKib, "", [4_194_304, 4_200_000, 4_300_000]),
        column(wire::Metric::NetworkReceivedBytesPerSec, "eno1", [0, 12_500, 250_000]),
    ];
    wire::Samples { mono_micros: vec![60_000_000], columns }.encode_to_vec()
}

pub(super) async fn in_both_languages(browser: &mut Browser<'_>, path: &str) -> [String; 2] {
    let mut bodies = [String::new(), String::new()];
    for (body, language) in bodies.iter_mut().zip(["zh-CN", "en"]) {
        browser.cookies.insert("__Host-bbt-language".into(), language.into());
        let page = browser.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path} in {language}");
        page.assert_has(&format!("<html lang=\"{language}\">"));
        *body = page.body;
    }
    bodies
}

#[track_caller]
pub(super) fn assert_all(body: &str, texts: &[&str]) {
    for text in texts {
        assert!(body.contains(text), "{text:?} is missing in {body}");
    }
}

#[tokio::test]
async fn an_empty_list_says_how_a_device_gets_here() {
    let county = County::new().await;
    let mut browser = county.signed_in().await;
    for body in in_both_languages(&mut browser, "/devices").await {
        assert_all(&body, &["bbt-controller school add", "bbt-controller token create", "bbt-agent enroll"]);
    }
}

#[tokio::test]
async fn a_device_is_shown_with_everything_known_and_why_the_rest_is_not() {
    let county = County::new().await;
    let device = county.device(7).await;
    county
        .report(
            device,
            vec![
                Body::State(Box::new(classroom_pc())),
                Body::Samples(samples()),
                Body::Gap(Gap {
                    class: Class::History,
                    run: bbt_domain::ids::RunId::from_bytes([5; 16]),
                    first_seq: 1,
                    last_seq: 9,
                    count: 9,
                    from_wall: UtcMicros::from_secs(1_789_000_000),
                    to_wall: UtcMicros::from_secs(1_789_000_600),
                    reason: "spool_full".into(),
                }),
                Body::Unreadable { reason: "not protobuf".into(), bytes: vec![1] },
            ],
        )
        .await;
    let mut browser = county.signed_in().await;
    let [chinese, english] = in_both_languages(&mut browser, &format!("/devices/{device}")).await;
    let everywhere = [
        "JIAOSHI-0301",
        "Intel(R) Core(TM) i5-10400 CPU @ 2.90GHz",
        "4.30 GHz",
        "15.5 GiB",
        "256 GB",
        "SAMSUNG MZ7LN256",
        "100 GiB · 40%",
        "00:d8:61:a1:b2:c3",
        "850 µs",
        "25.3%",
        "12.5 KB/s",
        "PF0X1234",
        "0a1b2c3d-0000-0000-0000-00d861a1b2c3",
        r#"title="Reading /sys/class/dmi/id/product_serial failed: permission denied.""#,
        r#"title="Asking sda took too long.""#,
    ];
    assert_all(&chinese, &everywhere);
    assert_all(&english, &everywhere);
    let in_chinese = [
        "今日已上报",
        "2026-09-18 周五 08:30",
        "采集程序没有读取权限",
        "读取超时",
        "系统测得",
        "慢 3 天",
        "异常断电",
        "1,234 条",
        "97 GiB · 97% 已满",
        "空插槽",
        "2027-03-17 周三",
        "设备存储已满",
        "不通",
        "多台设备相同",
    ];
    assert_all(&chinese, &in_chinese);
    assert_all(
        &english,
        &["Reported today", "2026-09-18 Fri 08:30", "the agent may not read it", "behind by 3 days"],
    );
    let (eno1, docker0) = (chinese.find("eno1").unwrap(), chinese.find("docker0").unwrap());
    assert!(eno1 < docker0, "the real card stands first");
}

#[tokio::test]
async fn a_device_that_told_nothing_yet_has_a_page() {
    let county = County::new().await;
    let device = county.device(7).await;
    let mut browser = county.signed_in().await;
    let [chinese, english] = in_both_languages(&mut browser, &format!("/devices/{device}")).await;
    assert_all(&chinese, &["从未上报", "请确认采集程序已启动", "未知", "PF0X1234", "接入时签发"]);
    assert_all(&english, &["Never reported", "See that the agent is running", "Unknown", "when it joined"]);
}

#[tokio::test]
async fn a_section_that_was_never_told_says_so() {
    let county = County::new().await;
    let device = county.device(7).await;
    let state = StateReport { full: true, software: classroom_pc().software, ..StateReport::default() };
    county.report_state(device, state).await;
    let mut browser = county.signed_in().await;
    let [chinese, english] = in_both_languages(&mut browser, &format!("/devices/{device}")).await;
    assert_eq!(chinese.matches("设备尚未上报这一部分").count(), 6);
    assert_eq!(english.matches("The device has not told this yet").count(), 6);
}

#[tokio::test]
async fn a_paused_device_says_why() {
    let county = County::new().await;
    let device = county.device(7).await;
    let now = county.context.now();
    let revoke = move |tx: &mut Tx<'_>| {
        device_stand(tx, &Actor::Local, device, Standing::Revoked, StandingKind::Plain, "已报失", now)
            .map(|_| ())
    };
    county.context.store.write(revoke).await.unwrap();
    let page = county.signed_in().await.get(&format!("/devices/{device}")).await;
    assert_all(&page.body, &["接入已暂停", "原因：已报失"]);
}

#[tokio::test]
async fn hostile_text_of_a_device_is_only_text() {
    let county = County::new().await;
    let device = county.device(7).await;
    let hostile = "<script>alert(1)</script>\"'><img src=x>\u{202e}gnp.exe\u{1b}[31m";
    let software =
        Software { host_name: some(hostile), agent_version: hostile.into(), ..Software::default() };
    let problems = vec![problem(hostile, hostile, hostile)];
    let disks = vec![Disk { name: hostile.into(), model: some(hostile), ..Disk::default() }];
    let state = StateReport {
        full: true,
        software: told(software, problems.clone()),
        storage: told(Storage { disks }, problems),
        ..StateReport::default()
    };
    county.report_state(device, state).await;
    let mut browser = county.signed_in().await;
    for path in ["/devices".to_owned(), format!("/devices/{device}"), "/devices?q=%3Cscript%3E".into()] {
        for body in in_both_languages(&mut browser, &path).await {
            assert_all(&body, &["&#60;script&#62;alert(1)"]);
            for raw in ["<script", "<img src=x", "\u{202e}", "\u{1b}"] {
                assert!(!body.contains(raw), "{raw:?} in {path}");
            }
        }
    }
}

#[tokio::test]
async fn the_list_counts_finds_and_turns_pages() {
    let county = County::new().await;
    for number in 1..=53 {
        county.device(number).await;
    }
    let device = county.device(60).await;
    county.report_state(device, classroom_pc()).await;
    let mut browser = county.signed_in().await;
    let first = browser.get("/devices").await;
    assert_all(&first.body, &["<dd>54</dd>", "<dd>1</dd>", "<dd>53</dd>"]);
    assert_eq!(first.body.matches("class=\"row-link\"").count(), 50);
    let next = first.body.split("href=\"").find(|part| part.contains("rel=\"next\"")).unwrap();
    let next = next.split('"').next().unwrap().replace("&#38;", "&");
    let second = browser.get(&next).await;
    assert_eq!(second.body.matches("class=\"row-link\"").count(), 4);
    assert!(!second.body.contains("rel=\"next\""));
    for wanted in ["jiaoshi", "I5-10400", "uniontech"] {
        let found = browser.get(&format!("/devices?q={wanted}")).await;
        assert_eq!(found.body.matches("class=\"row-link\"").count(), 1, "{wanted}");
    }
    assert_all(&browser.get("/devices?q=nothing").await.body, &["没有符合条件的设备"]);
}

#[tokio::test]
async fn what_does_not_exist_and_what_never_could_read_the_same() {
    let county = County::new().await;
    let mut browser = county.signed_in().await;
    let mut bodies = Vec::new();
    for id in ["07070707-0707-0707-0707-070707070707", "7", "%ff", "..%2f..%2fetc", "' or 1=1"] {
        let path = format!("/devices/{}", id.replace(' ', "%20"));
        let page = browser.get(&path).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{path}");
        page.assert_has("您不能查看该内容，或该内容不存在。");
        let (start, rest) = page.body.split_once("name=\"next\" value=\"").unwrap();
        bodies.push(format!("{start}{}", rest.split_once('"').unwrap().1));
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    assert_eq!(browser.get("/nowhere").await.status, StatusCode::NOT_FOUND);
    assert_eq!(browser.get("/logout").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn refused_connections_say_who_why_and_what_to_do() {
    let county = County::new().await;
    let device = county.device(7).await;
    let mut browser = county.signed_in().await;
    for body in in_both_languages(&mut browser, "/refusals").await {
        assert!(!body.contains("<table"));
    }
    let refused = |action, peer: &str, detail| county.context.note("test", action, peer.to_owned(), detail);
    let peer = "192.0.2.44";
    let expired = serde_json::json!({"cause": "token_expired", "about": null});
    refused("enrollment.refused", peer, expired).await.unwrap();
    let revoked = serde_json::json!({"cause": "revoked", "about": format!("device:{device}")});
    refused("connection.refused", peer, revoked).await.unwrap();
    let later = serde_json::json!({"cause": "<b>some_later_cause"});
    refused("reports.refused", "many addresses", later).await.unwrap();
    let [chinese, english] = in_both_languages(&mut browser, "/refusals").await;
    assert_all(
        &chinese,
        &["192.0.2.44", "安装码已过期", "该设备的接入已暂停", "&#60;b&#62;some_later_cause", "多个地址"],
    );
    assert_all(
        &english,
        &["The installation code is over", &format!("/devices/{device}"), "2026-09-18 Fri 08:30"],
    );
}

#[tokio::test]
async fn every_failure_has_its_page_in_both_languages() {
    use crate::web::{failure::Failure, visit::Visit};
    let county = County::new().await;
    let site = crate::web::Site::of(
        county.context.clone(),
        Desk::new("county.example:8443"),
        county.denylist.clone(),
    );
    for language in crate::web::language::Language::ALL {
        let visit = Visit {
            actor: Actor::Anonymous,
            session: None,
            form_token: String::new(),
            language,
            here: "/".into(),
            address: String::new(),
        };
        for failure in [
            Failure::NotFound,
            Failure::Forbidden,
            Failure::ForeignForm,
            Failure::FormTooOld,
            Failure::FormUnreadable,
            Failure::Later("busy".into()),
            Failure::DiskFull,
            Failure::Broken("secret detail".into()),
            Failure::Bug("secret detail"),
        ] {
            let page = failure.page(&site, &visit);
            assert!(page.status().is_client_error() || page.status().is_server_error());
            let body = http_body_util::BodyExt::collect(page.into_body()).await.unwrap().to_bytes();
            let body = String::from_utf8(body.to_vec()).unwrap();
            assert!(body.contains("<h1>") && !body.contains("secret detail"), "{failure:?}");
        }
    }
}

#[tokio::test]
async fn refusals_of_every_kind_stand_in_one_order_over_all_pages() {
    let county = County::new().await;
    let mut browser = county.signed_in().await;
    for number in 0..60 {
        let action = bbt_domain::audit::REFUSALS[number % 3];
        let peer = format!("192.0.2.{number}");
        county.context.note("test", action, peer, serde_json::json!({"cause": "revoked"})).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut path = "/refusals".to_owned();
    loop {
        let body = browser.get(&path).await.body;
        let peers = body.split("192.0.2.").skip(1).map(|rest| rest.split('<').next().unwrap());
        seen.extend(peers.map(|last| last.parse::<u8>().unwrap()));
        let Some(next) = body.split("href=\"").find(|part| part.contains("rel=\"next\"")) else { break };
        path = next.split('"').next().unwrap().to_owned();
    }
    assert_eq!(seen, (0..60).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_wrong_with_the_controller_stands_on_every_page_of_those_who_can_mend_it() {
    let county = County::new().await;
    let trouble = Trouble::StoreCannotCommit { why: CommitFailure::NoSpace, reason: "full".into() };
    county.context.troubles.raise(trouble, county.context.now());
    let mut browser = county.signed_in().await;
    for address in ["/overview", "/devices", "/tickets"] {
        let page = browser.get(address).await;
        page.assert_has("服务器磁盘已满");
        page.assert_has("2026-09-18 周五 08:30");
    }
    assert!(!county.browser().get("/login").await.body.contains("磁盘"), "a stranger learns nothing");
    county.context.troubles.clear(Kind::StoreCannotCommit);
    assert!(!browser.get("/overview").await.body.contains("磁盘已满"));
}
