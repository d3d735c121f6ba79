//! A device of a county on loopback, with one thing wrong at a time.

use std::{fs, io, path::Path, sync::Arc, time::Duration};

use super::*;
use crate::{
    configuration::Told,
    identity::upkeep::Standing,
    platform::{Now, Roots, Seat, Space, fake::FakePlatform},
    runtime,
    status::{RunStatus, Status},
    testing::{Act, Controller, County, Enrolled, SIGNED_MICROS, enrolled_at},
    uplink::refusal::Refusal,
};

/// Far beyond what any step takes on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(30);
const PLENTY: Space = Space { size_bytes: 1 << 40, free_bytes: 1 << 39 };

/// A machine on which nothing is wrong, whose clock is the county's.
fn machine(state: &Folder) -> Arc<FakePlatform> {
    let platform = FakePlatform::new(Roots::under(Path::new("/nowhere")), 1);
    platform.set_now(Now { wall_micros: SIGNED_MICROS, mono_micros: 60_000_000 });
    platform.set_space(state.root(), Ok(PLENTY));
    platform.set_connect(Ok(Duration::from_millis(1)));
    platform.set_session(Ok(Seat::Nobody));
    Arc::new(platform)
}

async fn look(state: &Folder) -> Diagnosis {
    examine(state, Ok(Config::default()), machine(state)).await
}

/// The one line about this.
fn line<'a>(diagnosis: &'a Diagnosis, what: &str) -> &'a Check {
    let mut found = diagnosis.checks.iter().filter(|check| check.what == what);
    let line = found.next().unwrap_or_else(|| panic!("no line about {what}: {diagnosis:#?}"));
    assert!(found.next().is_none(), "two lines about {what}");
    line
}

/// It is bad, says so, and names this remedy.
fn assert_bad(diagnosis: &Diagnosis, what: &str, found: &str, remedy: &str) {
    let check = line(diagnosis, what);
    assert_eq!(check.verdict, Verdict::Bad, "{check:?}");
    assert!(check.found.contains(found), "{check:?}");
    assert!(check.remedy.as_deref().unwrap_or_default().contains(remedy), "{check:?}");
    assert_eq!(diagnosis.verdict, Verdict::Bad);
    let text = diagnosis.to_text();
    assert!(text.contains(found) && text.contains(remedy), "{text}");
}

#[tokio::test]
async fn beside_a_running_agent_all_is_well_and_its_stream_goes_on() {
    let device = Enrolled::new().await;
    let (state, platform) = (&device.state, machine(&device.state));
    let config = Config::default();
    let looked = async {
        let stored = |status: Status| status.last_run.is_some_and(|run| run.last_committed_at.is_some());
        while !stored(Status::gather(state)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        examine(state, Ok(config.clone()), platform.clone()).await
    };
    let diagnosis = tokio::select! {
        ended = runtime::run(state, &config, platform.clone()) => panic!("it ended: {ended:?}"),
        diagnosis = tokio::time::timeout(DEADLINE, looked) => diagnosis.unwrap(),
    };
    assert_eq!(diagnosis.count(Verdict::Ok), diagnosis.checks.len(), "{}", diagnosis.to_text());
    assert_eq!(line(&diagnosis, "agent").found, "running");
    assert_eq!(device.agents.seen().opens.len(), 1, "the doctor opened no stream of its own");
}

#[tokio::test]
async fn a_device_that_is_not_enrolled_is_told_how() {
    let temp = tempfile::tempdir().unwrap();
    let state = Folder::at(&temp.path().join("state"));
    let diagnosis = look(&state).await;
    assert_bad(&diagnosis, "identity", "not enrolled", "run `bbt-agent enroll`");
    assert_eq!(diagnosis.count(Verdict::Bad), 1, "{}", diagnosis.to_text());
    assert!(!state.root().exists(), "looking makes nothing");
}

#[tokio::test]
async fn an_agent_that_does_not_run_is_bad_once_the_device_is_enrolled() {
    let device = Enrolled::new().await;
    assert_bad(&look(&device.state).await, "agent", "not running", "bbt-agent run");
}

#[tokio::test]
async fn a_revoked_device_is_told_who_can_take_that_back() {
    let device = Enrolled::new().await;
    device.agents.will([Act::Refuse("revoked")]);
    assert_bad(&look(&device.state).await, "controller", "is revoked", "device unrevoke");
}

#[tokio::test]
async fn a_controller_that_is_not_reached_is_named() {
    let county = Arc::new(County::new());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = listener.local_addr().unwrap();
    drop(listener);
    let (state, _temp) = enrolled_at(county, silent).await;
    assert_bad(&look(&state).await, "controller", &silent.to_string(), "lets this port through");
}

#[tokio::test]
async fn a_controller_that_does_not_lead_to_the_pinned_root_is_told_from_one_that_is_away() {
    let foreign = Controller::start(Arc::new(County::new())).await;
    let (state, _temp) = enrolled_at(Arc::new(County::new()), foreign.address).await;
    assert_bad(&look(&state).await, "controller", "root certificate that was pinned", "--ca-sha256");
}

#[tokio::test]
async fn a_damaged_key_and_a_foreign_one_are_told() {
    let device = Enrolled::new().await;
    let key = device.state.identity().join("key.pem");
    fs::write(&key, rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let diagnosis = look(&device.state).await;
    assert_bad(&diagnosis, "identity", "do not make a pair", "enrol this device again");
    fs::write(&key, "-----BEGIN PRIVATE KEY-----\n").unwrap();
    assert_bad(&look(&device.state).await, "identity", "key.pem is not usable", "enrol this device again");
}

#[tokio::test]
async fn a_damaged_spool_is_told_and_the_rest_is_looked_at_all_the_same() {
    let device = Enrolled::new().await;
    fs::write(device.state.spool().join("spool.db"), vec![7; 8_192]).unwrap();
    let diagnosis = look(&device.state).await;
    assert_bad(&diagnosis, "spool", "spool.db", "check the disk");
    assert_eq!(line(&diagnosis, "controller").verdict, Verdict::Ok);
}

#[tokio::test]
async fn a_full_disk_is_bad_and_a_small_one_is_told() {
    let device = Enrolled::new().await;
    let config = || Ok(Config::default());
    let platform = machine(&device.state);
    let with_free = |free_bytes| platform.set_space(device.state.root(), Ok(Space { free_bytes, ..PLENTY }));
    with_free(1 << 20);
    let full = examine(&device.state, config(), platform.clone()).await;
    assert_bad(&full, "room", "1 MiB free", "make room");
    with_free(32 << 20);
    let small = examine(&device.state, config(), platform.clone()).await;
    assert_eq!(line(&small, "room").verdict, Verdict::Warn);
}

#[tokio::test]
async fn a_clock_that_says_2010_is_told_beside_the_countys() {
    let device = Enrolled::new().await;
    let platform = machine(&device.state);
    platform.set_now(Now { wall_micros: 1_262_304_000_000_000, mono_micros: 60_000_000 });
    let diagnosis = examine(&device.state, Ok(Config::default()), platform).await;
    let clock = line(&diagnosis, "clock");
    assert_eq!(clock.verdict, Verdict::Warn);
    assert_eq!(clock.found, "2010-01-01T00:00:00Z here, 2026-03-02T12:00:00Z at the county");
    assert_eq!(line(&diagnosis, "controller").verdict, Verdict::Ok, "the county's time judges certificates");
}

#[cfg(unix)]
#[tokio::test]
async fn a_folder_that_others_may_read_is_bad() {
    use std::os::unix::fs::PermissionsExt;
    let device = Enrolled::new().await;
    let key = device.state.identity().join("key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    assert_bad(&look(&device.state).await, "state folder", "key.pem is open to other users", "chmod");
}

#[tokio::test]
async fn a_wrong_setting_is_told_and_the_rest_is_looked_at_all_the_same() {
    let device = Enrolled::new().await;
    let file = device.state.run().join("agent.toml");
    fs::write(&file, "[report]\nsample_secs = 1\n").unwrap();
    let diagnosis = examine(&device.state, Config::load(Some(&file)), machine(&device.state)).await;
    assert_bad(&diagnosis, "configuration", "sample_secs", "correct it");
    assert_eq!(line(&diagnosis, "controller").verdict, Verdict::Ok);
}

#[test]
fn facts_that_only_root_may_read_are_summed_up_with_that_remedy() {
    let problem = |item: &str, code: &str| bbt_proto::report::v1::Problem {
        item: item.to_owned(),
        code: code.to_owned(),
        message: String::new(),
    };
    let problems = [problem("board.serial", "permission_denied"), problem("memory.modules", "not_offered")];
    let check = local::facts("hardware", &problems);
    assert_eq!(
        (check.verdict, check.found.as_str()),
        (Verdict::Warn, "unknown for want of rights: board.serial")
    );
    assert_eq!(check.remedy.as_deref(), Some("run the agent as root"));
    assert_eq!(local::facts("hardware", &problems[1..]).verdict, Verdict::Ok, "nothing can be done about it");
}

#[test]
fn a_certificate_is_warned_of_a_month_before_it_ends() {
    let county = County::new();
    let root = county.root();
    let at = |days_left: i64| {
        let mut identity = county.device("127.0.0.1:1".parse().unwrap(), root);
        identity.valid_secs = (0, 1_000 * 86_400);
        let guarded_micros = (1_000 - days_left) * 86_400 * 1_000_000;
        let now =
            crate::identity::clock::Stamp { wall_micros: 0, mono_micros: 0, guarded_micros, signed: true };
        local::certificate(&identity, &now).verdict
    };
    assert_eq!([at(31), at(29), at(-1)], [Verdict::Ok, Verdict::Warn, Verdict::Bad]);
}

#[tokio::test]
async fn why_a_renewal_failed_is_told_as_the_agent_found_it() {
    let device = Enrolled::new().await;
    assert!(look(&device.state).await.checks.iter().all(|check| check.what != "renewal"));
    let pending = Refusal::passing("approval_pending", "a person decides", "approve it in the console");
    let standing = Standing { valid_until_micros: 0, renewal_due_micros: 0, refusal: Some(pending) };
    let (link, spool, contact) = Default::default();
    RunStatus::new(VERSION, 0, &link, &standing, &spool, &contact, Told::default())
        .write(&device.state)
        .unwrap();
    assert_bad(&look(&device.state).await, "renewal", "a person decides", "approve it in the console");
}

#[test]
fn a_folder_of_another_user_is_told_as_such() {
    let denied = crate::identity::IdentityError::File {
        doing: "read",
        path: "/state/identity/key.pem".into(),
        source: io::ErrorKind::PermissionDenied.into(),
    };
    let clock = Arc::new(Clock::new(machine(&Folder::at(Path::new("/nowhere")))));
    let check = local::enrolment(&Err(denied), &clock);
    assert!(check.remedy.as_deref().unwrap_or_default().contains("same user"), "{check:?}");
}
