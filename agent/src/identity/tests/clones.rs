//! A disk that was copied, and one that falls back.

use super::*;

#[tokio::test]
async fn a_pc_whose_identity_is_anothers_gets_one_of_its_own_and_begins_again_with_it() {
    let pc = Pc::new().await;
    let sibling = uuid::Uuid::from_bytes([9; 16]);
    pc.device.agents.seen().sibling = Some(sibling);
    let (before, old) = (keystore::load(&pc.device.state).unwrap().device_id, pc.key_on_disk());
    reports(&pc.device, &pc.platform).await;

    let now = keystore::load(&pc.device.state).unwrap();
    assert_eq!(now.device_id, sibling);
    assert_ne!(pc.key_on_disk(), old, "the copied key is not used any more");
    let told = std::fs::read_to_string(pc.device.state.identity().join("device.json")).unwrap();
    assert!(told.contains(&sibling.to_string()), "{told}");
    let seen = pc.device.agents.seen();
    let opened: Vec<_> = seen.opens.iter().map(|open| open.device_id.clone()).collect();
    assert_eq!(opened.first().unwrap(), &before.into_bytes());
    assert_eq!(opened.last().unwrap(), &sibling.into_bytes());
    assert_ne!(seen.opens.first().unwrap().run_id, seen.opens.last().unwrap().run_id);
}

#[tokio::test]
async fn a_clone_sends_nothing_under_the_identity_of_another() {
    let pc = Pc::new().await;
    let sibling = uuid::Uuid::from_bytes([9; 16]);
    {
        let mut seen = pc.device.agents.seen();
        (seen.sibling, seen.pending) = (Some(sibling), u32::MAX);
    }
    let waits = async {
        while pc.device.agents.seen().reattachments == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let config = Config::default();
    tokio::select! {
        ended = runtime::run(&pc.device.state, &config, pc.platform.clone()) => panic!("it ended: {ended:?}"),
        waited = tokio::time::timeout(DEADLINE, waits) => waited.unwrap(),
    }
    let seen = pc.device.agents.seen();
    assert_eq!(seen.frames.len(), 0);
    assert!(!seen.opens.is_empty());
}

#[tokio::test]
async fn the_canary_is_kept_confirmed_and_shown_at_the_next_start() {
    let pc = Pc::new().await;
    pc.device.agents.seen().canary = 41;
    reports(&pc.device, &pc.platform).await;
    pc.device.agents.seen().canary = 42;
    pc.device.agents.seen().opens.clear();
    let config = Config::default();
    let confirmed = async {
        while pc.device.agents.seen().canaries_kept.last() != Some(&42) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        ended = runtime::run(&pc.device.state, &config, pc.platform.clone()) => panic!("it ended: {ended:?}"),
        confirmed = tokio::time::timeout(DEADLINE, confirmed) => confirmed.unwrap(),
    }
    let seen = pc.device.agents.seen();
    assert_eq!(seen.canaries_kept.first(), Some(&41));
    assert_eq!(seen.opens.first().unwrap().canary, 41);
}
