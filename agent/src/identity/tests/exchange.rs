//! Renewal in two phases, cut off anywhere.

use std::fs;

use uuid::Uuid;

use super::*;
use crate::identity::{
    certificate,
    keystore::{CHAIN_FILE, KEY_FILE},
    upkeep::Need,
};

#[test]
fn a_certificate_is_due_from_its_sixtieth_day_on_spread_over_ten_that_stay_the_devices_own() {
    let county = County::new();
    let mut identity = county.device("127.0.0.1:1".parse().unwrap(), county.root());
    identity.valid_secs = (0, 180 * DAY.as_secs() as i64);
    let mut due_days = std::collections::BTreeSet::new();
    for number in 0..200 {
        identity.device_id = Uuid::from_u128(number);
        let due = renew::due_micros(&identity);
        assert_eq!(due, renew::due_micros(&identity));
        due_days.insert(due / DAY.as_micros() as i64);
    }
    assert_eq!(due_days, (60..70).collect());
}

#[tokio::test]
async fn a_certificate_is_renewed_when_it_is_due_and_never_by_an_unsigned_clock() {
    let mut pc = Pc::new().await;
    let old = pc.key_on_disk();
    pc.later(59);
    pc.clock.accept(pc.device.agents.seen().now_micros);
    assert_eq!(pc.upkeep.need(&connected()), None);
    pc.later(12);
    assert_eq!(pc.upkeep.need(&connected()), Some(Need::Renewal));
    let (unsigned, upkeep) = start(&pc.device, &pc.platform);
    assert!(!unsigned.stamp().signed);
    assert_eq!(upkeep.need(&connected()), None);

    pc.settle().await;
    assert_ne!(pc.key_on_disk(), old);
    assert_eq!(pc.device.agents.seen().in_force, Some(pc.key_on_disk()));
    assert_eq!(public_key(&pc.upkeep.credentials().borrow().identity.key), pc.key_on_disk());
    assert!(fs::read_dir(next::folder(&pc.device.state)).unwrap().next().is_none(), "nothing is left over");
    assert_eq!(pc.trouble(), None);
}

#[tokio::test]
async fn cut_off_after_any_step_the_identity_is_whole_and_the_next_start_goes_on_with_the_same_key() {
    for steps in 0..=5 {
        let mut pc = Pc::new().await;
        pc.later(75);
        let made = cut_off_after(&pc, steps).await;
        pc.restart();
        // What is on disk is a pair, and the controller takes it or the pair beside it.
        assert!(Credentials::new(keystore::load(&pc.device.state).unwrap(), &pc.clock).is_ok(), "{steps}");
        pc.settle().await;

        let now = pc.key_on_disk();
        assert_eq!(pc.device.agents.seen().in_force.as_ref(), Some(&now), "{steps}");
        assert_eq!(pc.next_key_on_disk(), None, "{steps}");
        if let Some(made) = made {
            assert_eq!(now, made, "{steps}");
            assert!(pc.device.agents.seen().asked_keys.iter().all(|asked| *asked == made), "{steps}");
        }
        reports(&pc.device, &pc.platform).await;
    }
}

/// Does the first durable steps of the order in [`next`] and returns the key made by the first.
async fn cut_off_after(pc: &Pc, steps: usize) -> Option<Vec<u8>> {
    let state = &pc.device.state;
    if steps == 0 {
        return None;
    }
    let key = next::key_or_new(state).unwrap();
    if steps >= 2 {
        let in_force = pc.upkeep.credentials().borrow().clone();
        let request = certificate::request(&key).unwrap();
        let chain = renew::renew(&in_force.identity, &in_force.tls, request, key.public_key_raw()).await;
        next::store_chain(state, &chain.unwrap()).unwrap();
    }
    if steps >= 3 {
        let (chain, key) = next::pair(state).unwrap().unwrap();
        let new = Credentials::new(keystore::load_with(state, chain, key).unwrap(), &pc.clock).unwrap();
        renew::prove(&new.identity, &new.tls).await.unwrap();
    }
    for name in [CHAIN_FILE, KEY_FILE].into_iter().take(steps.saturating_sub(3)) {
        fs::rename(next::folder(state).join(name), state.identity().join(name)).unwrap();
    }
    Some(key.public_key_raw().to_vec())
}

#[tokio::test]
async fn when_the_answer_is_lost_the_old_stays_the_failure_is_said_and_the_same_key_is_asked_for_again() {
    let mut pc = Pc::new().await;
    pc.later(75);
    pc.restart();
    let old = pc.key_on_disk();
    pc.device.agents.seen().lost_answers = 1;
    pc.upkeep.look(&connected()).await;
    assert_eq!((pc.key_on_disk(), pc.trouble()), (old, Some("stream_ended")));
    pc.settle().await;
    let asked = pc.device.agents.seen().asked_keys.clone();
    assert_eq!(asked, vec![pc.key_on_disk(); 2]);
}

#[tokio::test]
async fn when_the_proofs_answer_is_lost_the_old_is_refused_and_the_next_is_tried_before_all_else() {
    let mut pc = Pc::new().await;
    pc.later(75);
    pc.restart();
    let old = pc.key_on_disk();
    let made = cut_off_after(&pc, 3).await;
    pc.restart();
    assert_eq!(pc.key_on_disk(), old);
    assert_eq!(pc.upkeep.need(&refused("certificate_superseded")), Some(Need::Proof));
    reports(&pc.device, &pc.platform).await;
    assert_eq!(Some(pc.key_on_disk()), made);
}

#[tokio::test]
async fn a_next_certificate_that_is_not_taken_is_let_go_and_its_key_kept() {
    let mut pc = Pc::new().await;
    pc.later(75);
    pc.restart();
    let made = cut_off_after(&pc, 2).await;
    pc.restart();
    {
        // A controller that was put back to another day knows nothing of it.
        let mut seen = pc.device.agents.seen();
        seen.asked_keys.clear();
        seen.in_force = Some(vec![1]);
    }
    let pause = pc.upkeep.look(&connected()).await;
    assert!(pause < Duration::from_secs(60), "asking anew waits for no person: {pause:?}");
    assert_eq!(pc.trouble(), Some("certificate_superseded"));
    assert_eq!(pc.upkeep.need(&connected()), Some(Need::Renewal));
    assert_eq!(pc.next_key_on_disk(), made);
}

#[tokio::test]
async fn a_revoked_device_keeps_its_next_certificate() {
    let mut pc = Pc::new().await;
    pc.later(75);
    pc.restart();
    cut_off_after(&pc, 2).await;
    pc.restart();
    pc.device.agents.seen().revoked = true;
    pc.upkeep.look(&connected()).await;
    assert_eq!((pc.trouble(), pc.upkeep.need(&connected())), (Some("revoked"), Some(Need::Proof)));
}

#[tokio::test]
async fn after_a_failure_nothing_is_asked_before_its_time() {
    let mut pc = Pc::new().await;
    pc.later(75);
    pc.restart();
    pc.device.agents.seen().revoked = true;
    let pause = pc.upkeep.look(&connected()).await;
    assert!(pause >= Duration::from_secs(600), "{pause:?}");
    pc.device.agents.seen().revoked = false;
    assert!(pc.upkeep.look(&connected()).await > Duration::from_secs(590));
    assert!(pc.device.agents.seen().asked_keys.is_empty(), "it was not asked");
}
