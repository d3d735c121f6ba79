//! What devices are told: the nearest level wins, every change has a revision of its own, secrets have one reader.

use std::time::Duration;

use bbt_domain::{
    access::Actor,
    configuration::{Key, Level, Live, Outcome, SECRETS, SecretName, Values},
    ids::{DeviceId, SchoolId},
    time::UtcMicros,
};

use super::{Exam, START};
use crate::{
    StoreError, Tx,
    audit::audit_list,
    configuration::{
        DeviceConfiguration, SealedSecret, configuration_of_device, configuration_set, configuration_show,
        configuration_standing, configuration_take, lessons_extend, live_begin, live_show, live_stop,
        outcome_note, outcome_show, rejected_count, secret_list, secret_set, secret_withdraw,
    },
    devices::{DeviceFilter, device_search},
};

exams![
    the_nearest_level_wins_and_every_change_has_a_revision_of_its_own,
    what_is_set_as_it_was_is_no_change,
    a_value_out_of_bounds_changes_nothing,
    a_change_concerns_its_own_devices_alone,
    the_lessons_ahead_are_part_of_the_revision,
    a_live_look_begins_and_stops_and_ends_by_itself,
    a_secret_is_read_by_its_device_alone_and_the_audit_has_its_name_only,
    a_device_has_a_handful_of_secrets,
    a_refusal_is_counted_until_something_is_applied,
    who_may_not_may_not,
];

const SYSTEM: Actor = Actor::System("test");
const SCHOOL: SchoolId = SchoolId::from_bytes([3; 16]);

impl Exam {
    async fn set(&self, level: Level, key: Key, value: u64) -> Option<i64> {
        let values = Values::default().with(key, Some(value));
        self.store.write(move |tx| configuration_set(tx, &Actor::Local, level, &values, START)).await.unwrap()
    }

    async fn take(&self, device: DeviceId) -> DeviceConfiguration {
        self.store.read(move |tx| configuration_take(tx, &Actor::Device(device))).await.unwrap()
    }

    async fn revision(&self, device: DeviceId) -> i64 {
        let standing = move |tx: &mut Tx<'_>| configuration_standing(tx, &Actor::Device(device));
        self.store.read(standing).await.unwrap().revision
    }

    async fn note(&self, device: DeviceId, revision: i64, outcome: Outcome) {
        let note = move |tx: &mut Tx<'_>| outcome_note(tx, &Actor::Device(device), revision, &outcome, START);
        self.store.write(note).await.unwrap();
    }
}

fn secret(name: &str) -> SealedSecret {
    SealedSecret { name: SecretName::parse(name).unwrap(), sealed: vec![7; 40] }
}

async fn the_nearest_level_wins_and_every_change_has_a_revision_of_its_own(exam: Exam) {
    let device = exam.device(7).await;
    assert_eq!(exam.revision(device).await, 0, "nothing was ever set");
    let first = exam.set(Level::County, Key::SampleInterval, 120).await.unwrap();
    assert_eq!(first, START.as_secs());
    let second = exam.set(Level::School(SCHOOL), Key::SampleInterval, 60).await.unwrap();
    let third = exam.set(Level::Device(device), Key::FrameInterval, 600).await.unwrap();
    assert_eq!((second, third), (first + 1, first + 2));
    let exam = exam.reopen();
    let taken = exam.take(device).await;
    assert_eq!(taken.revision, third);
    assert_eq!(taken.values.get(Key::SampleInterval), Some(60));
    assert_eq!(taken.values.get(Key::FrameInterval), Some(600));
    let seen = move |tx: &mut Tx<'_>| configuration_of_device(tx, &Actor::Local, device);
    let told = exam.store.read(seen).await.unwrap();
    assert_eq!((told.revision, told.values()), (third, taken.values));
    assert_eq!(told.value(Key::SampleInterval), Some((Level::School(SCHOOL), 60)));
    assert_eq!(told.value(Key::SpoolAge), None, "as it is built in");
    let show = |tx: &mut Tx<'_>| configuration_show(tx, &Actor::Local, Level::County);
    let county = exam.store.read(show).await.unwrap().unwrap();
    assert_eq!((county.revision, county.changed_by.as_str()), (first, "local"));
}

async fn what_is_set_as_it_was_is_no_change(exam: Exam) {
    assert!(exam.set(Level::County, Key::SampleInterval, 120).await.is_some());
    assert_eq!(exam.set(Level::County, Key::SampleInterval, 120).await, None);
    let audit = |tx: &mut Tx<'_>| audit_list(tx, &Actor::Local, "configuration.set", None, 10);
    assert_eq!(exam.store.read(audit).await.unwrap().len(), 1);
}

async fn a_value_out_of_bounds_changes_nothing(exam: Exam) {
    let values = Values::default().with(Key::SampleInterval, Some(1));
    let set = move |tx: &mut Tx<'_>| configuration_set(tx, &Actor::Local, Level::County, &values, START);
    let error = exam.store.write(set).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Invalid(why) if why.contains("sample_interval_secs = 1")),
        "{error}"
    );
    let show = |tx: &mut Tx<'_>| configuration_show(tx, &Actor::Local, Level::County);
    assert_eq!(exam.store.read(show).await.unwrap(), None);
}

async fn a_change_concerns_its_own_devices_alone(exam: Exam) {
    let (one, other) = (exam.device(7).await, exam.device(8).await);
    exam.set(Level::County, Key::SampleInterval, 120).await;
    let before = exam.revision(other).await;
    exam.set(Level::Device(one), Key::SampleInterval, 60).await;
    assert_eq!(exam.revision(other).await, before);
    assert_eq!(exam.revision(one).await, before + 1);
    let nobody = Level::Device(DeviceId::from_bytes([99; 16]));
    let set = move |tx: &mut Tx<'_>| configuration_set(tx, &Actor::Local, nobody, &Values::default(), START);
    assert!(matches!(exam.store.write(set).await, Err(StoreError::NotFound { noun: "device", .. })));
}

async fn the_lessons_ahead_are_part_of_the_revision(exam: Exam) {
    let device = exam.device(7).await;
    let extend = |from: UtcMicros| move |tx: &mut Tx<'_>| lessons_extend(tx, &SYSTEM, from, START);
    assert!(exam.store.write(extend(START)).await.unwrap());
    let first = exam.take(device).await;
    assert_eq!(first.lessons_from, Some(START));
    assert!(!exam.store.write(extend(START)).await.unwrap(), "as far as they were known");
    assert_eq!(exam.revision(device).await, first.revision);
    let later = START.plus(Duration::from_secs(7 * 86_400));
    assert!(exam.store.write(extend(later)).await.unwrap());
    let second = exam.take(device).await;
    assert_eq!(second.lessons_from, Some(later));
    assert!(second.revision > first.revision);
}

async fn a_live_look_begins_and_stops_and_ends_by_itself(exam: Exam) {
    let device = exam.device(7).await;
    let live = Live::begin(5, Duration::from_secs(600), START).unwrap();
    let begin = move |tx: &mut Tx<'_>| live_begin(tx, &Actor::Local, device, &live, START);
    let show = |now| move |tx: &mut Tx<'_>| live_show(tx, &Actor::Local, device, now);
    let stop = move |tx: &mut Tx<'_>| live_stop(tx, &Actor::Local, device, START);
    exam.store.write(begin).await.unwrap();
    let begun = exam.take(device).await;
    assert_eq!(begun.live, Some(live));
    assert_eq!(exam.store.read(show(START)).await.unwrap(), Some(live));
    assert_eq!(exam.store.read(show(live.until)).await.unwrap(), None, "it ended by itself");
    assert!(exam.store.write(stop).await.unwrap());
    let stopped = exam.take(device).await;
    assert_eq!(stopped.live, None);
    assert!(stopped.revision > begun.revision, "the device hears of it");
    assert!(!exam.store.write(stop).await.unwrap(), "it was over already");
}

async fn a_secret_is_read_by_its_device_alone_and_the_audit_has_its_name_only(exam: Exam) {
    let (device, other) = (exam.device(7).await, exam.device(8).await);
    let password = secret("projector/1/password");
    let kept = password.clone();
    exam.store.write(move |tx| secret_set(tx, &Actor::Local, device, &kept, START)).await.unwrap();
    let taken = exam.take(device).await;
    assert!(taken.secrets == [password.clone()]);
    assert!(exam.take(other).await.secrets.is_empty());
    let refused = exam.store.read(|tx| configuration_take(tx, &Actor::Local).map(drop)).await;
    assert!(matches!(refused, Err(StoreError::Forbidden { .. })), "not even whoever entered it");
    let listed = exam.store.read(move |tx| secret_list(tx, &Actor::Local, device)).await.unwrap();
    assert_eq!((listed[0].name.as_str(), listed[0].set_by.as_str()), ("projector/1/password", "local"));
    let audit = exam.store.read(|tx| audit_list(tx, &Actor::Local, "secret.set", None, 10)).await.unwrap();
    assert_eq!(audit[0].detail, r#"{"name":"projector/1/password"}"#);
    let withdraw = move |tx: &mut Tx<'_>| secret_withdraw(tx, &Actor::Local, device, &password.name, START);
    exam.store.write(withdraw.clone()).await.unwrap();
    let withdrawn = exam.take(device).await;
    assert!(withdrawn.secrets.is_empty() && withdrawn.revision > taken.revision);
    assert!(matches!(exam.store.write(withdraw).await, Err(StoreError::NotFound { noun: "secret", .. })));
}

async fn a_device_has_a_handful_of_secrets(exam: Exam) {
    let device = exam.device(7).await;
    let set = |number: usize| {
        let secret = secret(&format!("projector/{number}/password"));
        move |tx: &mut Tx<'_>| secret_set(tx, &Actor::Local, device, &secret, START)
    };
    for number in 0..SECRETS {
        exam.store.write(set(number)).await.unwrap();
    }
    exam.store.write(set(0)).await.expect("one is put in the place of another");
    let error = exam.store.write(set(SECRETS)).await.unwrap_err().to_string();
    assert!(error.contains("withdraw one"), "{error}");
    assert_eq!(exam.take(device).await.secrets.len(), SECRETS);
}

async fn a_refusal_is_counted_until_something_is_applied(exam: Exam) {
    let (device, other) = (exam.device(7).await, exam.device(8).await);
    exam.note(device, 1, Outcome::Applied).await;
    let rejected = Outcome::Rejected { key: "spool_max_bytes".into(), reason: "no room".into() };
    exam.note(device, 2, rejected).await;
    exam.note(other, 2, Outcome::Applied).await;
    let show = move |tx: &mut Tx<'_>| outcome_show(tx, &Actor::Local, device);
    let answered = exam.store.read(show).await.unwrap();
    assert_eq!(answered.applied, Some((1, START)), "the last good is in force");
    let rejection = answered.rejected.unwrap();
    assert_eq!((rejection.revision, rejection.key.as_str()), (2, "spool_max_bytes"));
    let count = |tx: &mut Tx<'_>| rejected_count(tx, &Actor::Local);
    assert_eq!(exam.store.read(count).await.unwrap(), 1);
    let filter = DeviceFilter { rejecting: true, ..DeviceFilter::default() };
    let search = move |tx: &mut Tx<'_>| device_search(tx, &Actor::Local, &filter, None, 10);
    let found: Vec<_> = exam.store.read(search).await.unwrap().into_iter().map(|line| line.id).collect();
    assert_eq!(found, [device]);
    exam.note(device, 3, Outcome::Applied).await;
    assert_eq!(exam.store.read(count).await.unwrap(), 0);
    assert_eq!(exam.store.read(show).await.unwrap().applied, Some((3, START)));
    let standing = move |tx: &mut Tx<'_>| configuration_standing(tx, &Actor::Device(device));
    assert_eq!(exam.store.read(standing).await.unwrap().applied, Some(3));
}

async fn who_may_not_may_not(exam: Exam) {
    let device = exam.device(7).await;
    let values = Values::default();
    for actor in [Actor::Anonymous, Actor::Device(device), SYSTEM] {
        let set = move |tx: &mut Tx<'_>| configuration_set(tx, &actor, Level::County, &values, START);
        assert!(matches!(exam.store.write(set).await, Err(StoreError::Forbidden { .. })));
    }
    let extend = |tx: &mut Tx<'_>| lessons_extend(tx, &Actor::Local, START, START);
    assert!(matches!(exam.store.write(extend).await, Err(StoreError::Forbidden { .. })));
}
