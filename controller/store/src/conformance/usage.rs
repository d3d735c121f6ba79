//! From slots that devices tell to a day of a room: added up in any order, and silence never taken for "not used".

use std::time::Duration;

use bbt_domain::{
    access::{Act, Actor},
    civil::Day,
    ids::{DeviceId, RoomId, SetId},
    org::SchoolCode,
    report::{Body, Class, Gap},
    time::UtcMicros,
    usage::{
        definitions::Meaning,
        slots::{DAY_SLOTS, SLOT_SECS, Seconds, Slot, first_of},
    },
};

use super::{
    Exam,
    reports::{report, run},
};
use crate::{
    StoreError,
    rooms::RoomRef,
    sets::{SetRef, set_bind},
    usage::{SchoolUsage, SetUsage, usage_of_school, usage_of_set},
};

exams![
    slots_add_up_over_reports_runs_and_restarts_and_each_report_counts_once,
    silence_is_off_between_what_was_told_and_no_data_elsewhere,
    a_gap_of_the_same_class_leaves_no_data_behind,
    slots_of_a_wrong_clock_are_moved_or_left_out,
    a_set_that_moved_at_noon_shows_in_both_rooms_with_its_share,
    sets_without_a_room_are_shown_too,
    a_device_does_not_read_usage,
];

/// 2026-09-20, which is over when the exam's reports arrive.
const DAY: Day = Day::from_number(20_716);
const SET: SetId = SetId::from_bytes([7; 16]);

/// Slots of [`DAY`] from `first` on, each used for `active` seconds.
fn used(places: std::ops::Range<i64>, active: u32) -> Vec<Slot> {
    let seconds = Seconds::capped([300, active, 300 - active.min(300), 0, 0]);
    places.map(|place| Slot { number: first_of(DAY) + place, seconds }).collect()
}

fn told(slots: Vec<Slot>) -> Body {
    Body::Usage { corrected: true, slots }
}

/// When a place of [`DAY`] begins.
fn at(place: i64) -> UtcMicros {
    DAY.start().plus(Duration::from_secs(place as u64 * u64::from(SLOT_SECS)))
}

impl Exam {
    async fn reporting(&self, number: u8) -> DeviceId {
        let device = self.device(number).await;
        self.open_session(device, run(number)).await;
        device
    }

    async fn tell(&self, device: DeviceId, seq: u64, body: Body) {
        let run = run(device.as_bytes()[0]);
        self.deliver(device, run, vec![report(device, run, seq, body)]).await.expect("delivered");
    }

    async fn place(&self, set: SetId, room: RoomId, since: UtcMicros) {
        let place = move |tx: &mut crate::Tx<'_>| {
            set_bind(tx, &Actor::Local, SetRef::Id(set), &RoomRef::Id(room), since)
        };
        self.store.write(place).await.expect("placed");
        // Sets are recorded when a device enrols; this one has been there for long.
        let sql = "UPDATE device_set SET created_us = 0";
        self.store.write(move |tx| tx.execute(sql, crate::params![])).await.expect("aged");
    }

    async fn set_usage(&self) -> SetUsage {
        self.store.read(|tx| usage_of_set(tx, &Actor::Local, SetRef::Id(SET), DAY)).await.expect("a set")
    }

    async fn school_usage(&self) -> SchoolUsage {
        let school = SchoolCode::parse("T1").expect("a code");
        self.store.read(move |tx| usage_of_school(tx, &Actor::Local, &school, DAY)).await.expect("a school")
    }
}

/// The places of a day with a meaning.
fn places(usage: &SetUsage, wanted: Meaning) -> Vec<usize> {
    (0..usage.slots.len()).filter(|place| usage.slots[*place].meaning == wanted).collect()
}

async fn slots_add_up_over_reports_runs_and_restarts_and_each_report_counts_once(exam: Exam) {
    let device = exam.reporting(7).await;
    exam.tell(device, 2, told(used(96..98, 100))).await;
    exam.tell(device, 1, told(used(95..97, 50))).await;
    let exam = exam.reopen();
    exam.tell(device, 2, told(used(96..98, 100))).await;
    let usage = exam.set_usage().await;
    let active: Vec<_> = (95..98).map(|place: usize| usage.slots[place].seconds.active_secs).collect();
    assert_eq!(active, [50, 150, 100]);
    assert_eq!(usage.slots[96].seconds.watched_secs, SLOT_SECS, "a slot is no longer than it is");
    assert_eq!(usage.totals.used_slots, 3);
}

async fn silence_is_off_between_what_was_told_and_no_data_elsewhere(exam: Exam) {
    let device = exam.reporting(7).await;
    let nothing = exam.set_usage().await;
    assert_eq!(places(&nothing, Meaning::NoData).len(), DAY_SLOTS);
    exam.tell(device, 1, told(used(90..91, 10))).await;
    exam.tell(device, 2, told(used(120..121, 0))).await;
    let usage = exam.set_usage().await;
    assert_eq!(places(&usage, Meaning::Used), [90]);
    assert_eq!(places(&usage, Meaning::Idle), [120]);
    assert_eq!(places(&usage, Meaning::Off), (91..120).collect::<Vec<_>>());
    assert_eq!(usage.totals.no_data_slots as usize, 90 + DAY_SLOTS - 121);
}

async fn a_gap_of_the_same_class_leaves_no_data_behind(exam: Exam) {
    let device = exam.reporting(7).await;
    exam.tell(device, 1, told(used(0..1, 10))).await;
    exam.tell(device, 9, told(used(287..288, 10))).await;
    let gap = |class, from: i64, to: i64| {
        Body::Gap(Gap {
            class,
            run: run(7),
            first_seq: 2,
            last_seq: 3,
            count: 2,
            // The device's clock is off by as much as at its contact, ten seconds.
            from_wall: at(from).minus(Duration::from_secs(10)),
            to_wall: at(to).minus(Duration::from_secs(10)),
            reason: "spool_full".into(),
        })
    };
    exam.tell(device, 4, gap(Class::History, 200, 210)).await;
    exam.tell(device, 5, gap(Class::State, 100, 110)).await;
    let usage = exam.set_usage().await;
    assert_eq!(places(&usage, Meaning::NoData), (98..111).collect::<Vec<_>>());
}

async fn slots_of_a_wrong_clock_are_moved_or_left_out(exam: Exam) {
    let device = exam.reporting(7).await;
    // At the contact the device's clock was ten seconds behind: less than half a slot.
    exam.tell(device, 1, Body::Usage { corrected: false, slots: used(96..97, 30) }).await;
    let far = |number| vec![Slot { number, seconds: Seconds::capped([300, 300, 0, 0, 0]) }];
    for (seq, number) in [(2, i64::MAX), (3, i64::MIN), (4, 0), (5, first_of(DAY) + 10 * DAY_SLOTS as i64)] {
        exam.tell(device, seq, told(far(number))).await;
    }
    let usage = exam.set_usage().await;
    assert_eq!(places(&usage, Meaning::Used), [96]);
    assert_eq!(places(&usage, Meaning::Off), [0_usize; 0], "and prove nothing about the day");
}

async fn a_set_that_moved_at_noon_shows_in_both_rooms_with_its_share(exam: Exam) {
    let device = exam.reporting(7).await;
    let (east, west) = (exam.room(1, "东201").await, exam.room(2, "西101").await);
    exam.room(3, "空教室").await;
    exam.place(SET, east, DAY.start().minus(Duration::from_secs(86_400))).await;
    exam.place(SET, west, at(144).plus(Duration::from_secs(1))).await;
    exam.tell(device, 1, told(used(96..98, 300))).await;
    exam.tell(device, 2, told(used(168..170, 300))).await;
    let usage = exam.school_usage().await;
    let names: Vec<_> = usage.rooms.iter().map(|room| (room.room_name.as_str(), room.sets.len())).collect();
    assert_eq!(names, [("东201", 1), ("空教室", 0), ("西101", 1)]);
    let (before, after) = (&usage.rooms[0].sets[0], &usage.rooms[2].sets[0]);
    assert_eq!((before.first_slot, before.slots.len()), (0, 145), "a slot belongs to where it began");
    assert_eq!((after.first_slot, after.slots.len()), (145, DAY_SLOTS - 145));
    assert_eq!((before.totals.used_slots, after.totals.used_slots), (2, 2));
    assert_eq!(before.totals.on_secs + after.totals.on_secs, exam.set_usage().await.totals.on_secs);
    assert_eq!(usage.unplaced, []);
}

async fn sets_without_a_room_are_shown_too(exam: Exam) {
    exam.reporting(7).await;
    let device = exam.reporting(8).await;
    let room = exam.room(1, "东201").await;
    exam.place(SetId::from_bytes([8; 16]), room, at(100)).await;
    exam.tell(device, 1, told(used(90..110, 300))).await;
    let usage = exam.school_usage().await;
    assert_eq!(usage.rooms[0].sets[0].totals.used_slots, 10);
    let unplaced: Vec<_> =
        usage.unplaced.iter().map(|set| (set.set_id, set.slots.len(), set.totals.used_slots)).collect();
    assert_eq!(unplaced.len(), 2);
    assert!(unplaced.contains(&(SET, DAY_SLOTS, 0)), "{unplaced:?}");
    assert!(unplaced.contains(&(SetId::from_bytes([8; 16]), 100, 10)), "before it was placed: {unplaced:?}");
}

async fn a_device_does_not_read_usage(exam: Exam) {
    let device = exam.reporting(7).await;
    let actor = Actor::Device(device);
    let read = exam.store.read(move |tx| usage_of_set(tx, &actor, SetRef::Id(SET), DAY)).await;
    assert!(matches!(read, Err(StoreError::Forbidden { act: Act::UsageRead, .. })), "{read:?}");
}
