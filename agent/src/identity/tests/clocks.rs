//! Clocks that are wrong, and greetings that lie.

use super::*;
use crate::{
    VERSION,
    identity::{
        enroll::{EnrolOrder, enrol},
        hello,
        trust::Fingerprint,
        upkeep::Need,
    },
    testing::{Controller, Lie, TOKEN},
    uplink::address::Address,
};

const HOUR_MICROS: i64 = 3_600 * 1_000_000;
const DECADE_MICROS: i64 = 3_652 * 24 * HOUR_MICROS;

/// Where clocks stand whose battery is empty, who were set by hand, or who ran over.
fn positions() -> [(&'static str, i64); 8] {
    [
        ("1970", 0),
        ("2010", 1_262_304_000_000_000),
        ("ten years behind", TODAY_MICROS - DECADE_MICROS),
        ("an hour behind", TODAY_MICROS - HOUR_MICROS),
        ("an hour ahead", TODAY_MICROS + HOUR_MICROS),
        ("ten years ahead", TODAY_MICROS + DECADE_MICROS),
        ("2038-01-19", 2_147_483_648_000_000),
        ("2106", 4_294_967_296_000_000),
    ]
}

fn pc_at(wall_micros: i64) -> Arc<FakePlatform> {
    let platform = FakePlatform::new(Roots::under(Path::new("/nowhere")), 1);
    platform.set_now(Now { wall_micros, mono_micros: 60_000_000 });
    Arc::new(platform)
}

fn order(controller: &str, root: Fingerprint) -> EnrolOrder {
    EnrolOrder {
        controller: controller.parse().unwrap(),
        token: TOKEN.to_owned(),
        root,
        evidence: Vec::new(),
        agent_version: VERSION,
        host_name: "classroom".to_owned(),
    }
}

#[tokio::test]
async fn an_enrolled_pc_reports_wherever_its_clock_stands() {
    for (position, wall_micros) in positions() {
        let device = Enrolled::of(County::of_our_days()).await;
        let status = reports(&device, &pc_at(wall_micros)).await;
        let committed = status.last_run.unwrap().last_committed_at.unwrap();
        let today = crate::status::rfc3339(TODAY_MICROS);
        assert_eq!(committed[..10], today[..10], "{position}: by the county's time");
        assert_eq!(
            device.agents.seen().reattachments,
            0,
            "{position}: its certificate was good all the time"
        );
    }
}

#[tokio::test]
async fn a_pc_that_was_never_enrolled_enrols_wherever_its_clock_stands() {
    for (position, wall_micros) in positions() {
        let county = Arc::new(County::of_our_days());
        let controller = Controller::start_enrolment(county.clone()).await;
        let temp = tempfile::tempdir().unwrap();
        let state = crate::folder::Folder::at(temp.path());
        let order = order(&controller.address.to_string(), county.root());
        let enrolled = enrol(&state, pc_at(wall_micros), order, |_, _| ()).await;
        assert!(enrolled.is_ok(), "{position}: {enrolled:?}");
    }
}

#[tokio::test]
async fn a_clock_that_jumps_while_the_agent_runs_changes_nothing() {
    let device = Enrolled::of(County::of_our_days()).await;
    let platform = pc_at(TODAY_MICROS);
    let jumping = async {
        for (_, wall_micros) in positions().into_iter().cycle() {
            let mono_micros = crate::platform::Platform::now(&*platform).mono_micros;
            platform.set_now(Now { wall_micros, mono_micros });
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        status = reports(&device, &platform) => assert!(status.last_run.unwrap().problems.is_empty()),
        () = jumping => (),
    }
    let seen = device.agents.seen();
    assert_eq!((seen.opens.len(), seen.reattachments), (1, 0));
}

#[tokio::test]
async fn a_greeting_that_lies_is_not_believed() {
    for lie in [Lie::OtherKey, Lie::OldNonce, Lie::OtherDomain, Lie::NoTime] {
        let county = Arc::new(County::of_our_days());
        let controller = Controller::start_enrolment(county.clone()).await;
        controller.seen().lie = Some(lie);
        let platform = pc_at(0);
        let clock = Arc::new(Clock::new(platform.clone()));
        let address: Address = controller.address.to_string().parse().unwrap();
        let refusal = hello::ask_time(&address, county.root(), &*platform, &clock).await.unwrap_err();
        let expected = if matches!(lie, Lie::NoTime) { "clock_guard" } else { "time_unproven" };
        assert_eq!((refusal.code, clock.stamp().signed), (expected, false), "{lie:?}");
        let temp = tempfile::tempdir().unwrap();
        let state = crate::folder::Folder::at(temp.path());
        let enrolled = enrol(&state, platform, order(&address.to_string(), county.root()), |_, _| ()).await;
        assert!(enrolled.is_err(), "{lie:?}");
        assert_eq!(controller.seen().enrolled_key, None, "{lie:?}: the token was not shown");
    }
}

#[tokio::test]
async fn a_listener_whose_certificate_is_not_good_at_the_time_it_signs_is_not_believed() {
    let county = Arc::new(County::of_our_days());
    let controller = Controller::start_enrolment(county.clone()).await;
    controller.seen().now_micros += DECADE_MICROS;
    let platform = pc_at(TODAY_MICROS);
    let clock = Arc::new(Clock::new(platform.clone()));
    let address: Address = controller.address.to_string().parse().unwrap();
    let refusal = hello::ask_time(&address, county.root(), &*platform, &clock).await.unwrap_err();
    assert_eq!((refusal.code, clock.stamp().signed), ("time_unproven", false));
}

#[tokio::test]
async fn without_a_clock_name_and_root_are_judged_all_the_same() {
    let county = Arc::new(County::of_our_days());
    let controller = Controller::start_enrolment(county.clone()).await;
    let platform = pc_at(0);
    let clock = Arc::new(Clock::new(platform.clone()));
    let other_name: Address = format!("localhost:{}", controller.address.port()).parse().unwrap();
    let refusal = hello::ask_time(&other_name, county.root(), &*platform, &clock).await.unwrap_err();
    assert_eq!(refusal.code, "name_wrong");
    let address: Address = controller.address.to_string().parse().unwrap();
    let refusal = hello::ask_time(&address, County::new().root(), &*platform, &clock).await.unwrap_err();
    assert_eq!(refusal.code, "controller_foreign");
}

#[tokio::test]
async fn a_time_that_went_back_is_asked_for_and_then_believed() {
    let mut pc = Pc::new().await;
    pc.clock.accept(TODAY_MICROS + 20 * 24 * HOUR_MICROS);
    pc.clock.accept(TODAY_MICROS);
    assert_eq!(pc.upkeep.need(&connected()), Some(Need::Time));
    pc.settle().await;
    assert_eq!(pc.clock.stamp().guarded_micros, TODAY_MICROS);
}
