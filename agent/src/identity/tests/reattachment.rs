//! Coming back after the certificate's end.

use super::*;
use crate::{identity::upkeep::Need, testing::Act};

#[tokio::test]
async fn a_certificate_that_ended_a_day_a_month_or_four_hundred_days_ago_comes_back_unaided() {
    for days in [1, 30, 400] {
        let pc = Pc::new().await;
        let old = pc.key_on_disk();
        pc.later(180 + days);
        let status = reports(&pc.device, &pc.platform).await;
        assert_ne!(pc.key_on_disk(), old);
        let seen = pc.device.agents.seen();
        assert_eq!((seen.reattachments, seen.in_force.clone()), (1, Some(pc.key_on_disk())), "{days}");
        assert!(status.last_run.unwrap().problems.is_empty());
    }
}

#[tokio::test]
async fn after_four_hundred_days_with_an_empty_clock_battery_too() {
    let pc = Pc::new().await;
    pc.later(400);
    pc.platform.set_now(Now { wall_micros: 0, ..crate::platform::Platform::now(&*pc.platform) });
    reports(&pc.device, &pc.platform).await;
    assert_eq!(pc.device.agents.seen().reattachments, 1);
}

#[tokio::test]
async fn an_old_certificate_that_a_restore_card_brought_back_is_exchanged() {
    let mut pc = Pc::new().await;
    pc.device.agents.seen().in_force = Some(vec![1]);
    pc.restart();
    assert_eq!(pc.upkeep.need(&refused("certificate_superseded")), Some(Need::Reattachment));
    reports(&pc.device, &pc.platform).await;
    assert_eq!(pc.device.agents.seen().reattachments, 1);
}

#[tokio::test]
async fn one_who_has_to_wait_for_a_person_asks_again_when_told_with_the_same_key() {
    let mut pc = Pc::new().await;
    pc.later(181);
    pc.restart();
    pc.device.agents.seen().pending = 1;
    let pause = pc.upkeep.look(&connected()).await;
    assert_eq!(pause, Duration::from_secs(5), "as told, but never sooner than every five seconds");
    assert_eq!(pc.trouble(), Some("approval_pending"));
    let made = pc.next_key_on_disk();
    pc.restart();
    pc.settle().await;
    assert_eq!(Some(pc.key_on_disk()), made);
    assert_eq!(pc.device.agents.seen().reattachments, 2);
}

#[tokio::test]
async fn the_place_to_report_to_may_have_moved_meanwhile() {
    let mut pc = Pc::new().await;
    let mut file = pc.device.state.identity();
    file.push("device.json");
    let told = std::fs::read_to_string(&file).unwrap();
    let here = pc.device.agents.address.to_string();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    std::fs::write(&file, told.replace(&format!("[\n    \"{here}\""), &format!("[\n    \"{closed}\"")))
        .unwrap();
    pc.later(181);
    pc.restart();
    assert_eq!(pc.upkeep.credentials().borrow().identity.agent_addresses[0].to_string(), closed);
    pc.settle().await;
    assert_eq!(keystore::load(&pc.device.state).unwrap().agent_addresses[0].to_string(), here);
}

#[tokio::test]
async fn a_revoked_device_is_not_taken_for_one_whose_certificate_ended() {
    let mut pc = Pc::new().await;
    pc.device.agents.will([Act::Refuse("revoked")]);
    assert_eq!(pc.upkeep.need(&refused("revoked")), None);
    pc.upkeep.look(&refused("revoked")).await;
    assert_eq!(pc.device.agents.seen().reattachments, 0);
}
