//! Sets, rooms, placements.

use std::time::Duration;

use bbt_domain::{
    access::Actor,
    ids::{RoomId, SchoolId, SetId},
    org::{RoomKind, SchoolCode, SetStanding},
    set_code::SetCode,
    set_state::{SetState, StateCounts},
};

use super::{Exam, START, new_set};
use crate::{
    StoreError,
    faults::fault_count,
    inquiries::inquiry_count,
    rooms::{NewRoom, RoomRef, room_add, room_list},
    schools::school_add,
    sets::{
        Sealing, SetFilter, SetRef, devices_without_set, placements_of_set, set_adopt, set_bind, set_find,
        set_list, set_overview, set_sealing, set_stand,
    },
    tickets::ticket_count,
};

exams![
    a_device_that_nobody_placed_has_a_set_of_its_own,
    a_code_that_is_taken_is_not_given_again,
    a_set_stands_in_one_room_and_its_moves_are_kept,
    a_room_of_another_school_is_refused_with_the_remedy,
    lists_follow_school_and_room_and_filters_find,
    a_sealed_set_is_shown_as_such,
    the_overview_counts_every_set_once_under_the_word_that_the_list_has,
];

fn set(number: u8) -> SetRef {
    SetRef::Id(SetId::from_bytes([number; 16]))
}

impl Exam {
    /// A room of the school `T1` whose id is 16 times `number`.
    pub(super) async fn room(&self, number: u8, name: &str) -> RoomId {
        let room = NewRoom {
            id: RoomId::from_bytes([number; 16]),
            school: SchoolCode::parse("T1").expect("a code"),
            name: name.to_owned(),
            kind: RoomKind::Classroom,
        };
        let id = room.id;
        self.store.write(move |tx| room_add(tx, &Actor::Local, &room, START)).await.expect("a room");
        id
    }

    async fn bind(&self, set: SetRef, room: RoomId, after: u64) -> Result<crate::sets::SetLine, StoreError> {
        let now = START.plus(Duration::from_secs(after));
        self.store.write(move |tx| set_bind(tx, &Actor::Local, set, &RoomRef::Id(room), now)).await
    }

    async fn sets(&self, filter: SetFilter) -> Vec<crate::sets::SetLine> {
        self.store
            .read(move |tx| set_list(tx, &Actor::Local, &filter, None, 50, START))
            .await
            .expect("a list")
    }
}

async fn a_device_that_nobody_placed_has_a_set_of_its_own(exam: Exam) {
    let (one, two) = (exam.device(7).await, exam.device(8).await);
    let sets = exam.sets(SetFilter::default()).await;
    let of = |device| sets.iter().find(|line| line.devices[0].id == device).map(|line| (line.id, line.code));
    assert_ne!(of(one), of(two));
    assert!(sets.iter().all(|line| line.devices.len() == 1 && line.place.is_none()));
    let code = of(one).expect("a set").1;
    let found =
        exam.store.read(move |tx| set_find(tx, &Actor::Local, SetRef::Code(code), START)).await.unwrap();
    assert_eq!(Some((found.id, found.code)), of(one), "and is found by the code on its label");
}

async fn a_code_that_is_taken_is_not_given_again(exam: Exam) {
    let device = exam.device(7).await;
    exam.store
        .write(move |tx| {
            tx.execute("UPDATE device SET set_id = NULL WHERE id = $1", crate::params![device.as_bytes()])
        })
        .await
        .unwrap();
    assert_eq!(
        exam.store.read(|tx| devices_without_set(tx, &Actor::Local)).await.unwrap(),
        [device],
        "as one of an earlier version"
    );
    let taken = new_set(7).codes[0];
    let free = SetCode::from_random(99);
    let new = crate::sets::NewSet { id: SetId::from_bytes([9; 16]), codes: vec![taken, free] };
    let adopt = {
        let new = new.clone();
        move |tx: &mut crate::Tx<'_>| set_adopt(tx, &Actor::Local, device, &new, START)
    };
    assert!(exam.store.write(adopt.clone()).await.unwrap());
    assert!(!exam.store.write(adopt).await.unwrap(), "it has one now");
    let found = exam.store.read(|tx| set_find(tx, &Actor::Local, set(9), START)).await.unwrap();
    assert_eq!((found.code, found.devices[0].id), (free, device));
}

async fn a_set_stands_in_one_room_and_its_moves_are_kept(exam: Exam) {
    exam.device(7).await;
    let (first, second) = (exam.room(1, "3号楼201").await, exam.room(2, "3号楼202").await);
    exam.bind(set(7), first, 10).await.unwrap();
    exam.bind(set(7), first, 20).await.unwrap();
    let line = exam.bind(set(7), second, 30).await.unwrap();
    assert_eq!(line.place.as_ref().map(|place| place.room_id), Some(second));
    assert_eq!(line.title(), "测试小学 3号楼202");
    let rooms = exam.store.read(|tx| room_list(tx, &Actor::Local, None, None, 10)).await.unwrap();
    let sets: Vec<_> = rooms.iter().map(|room| (room.name.as_str(), room.sets)).collect();
    assert_eq!(sets, [("3号楼201", 0), ("3号楼202", 1)]);
    let moves = move |tx: &mut crate::Tx<'_>| placements_of_set(tx, &Actor::Local, line.id, 10);
    let moves = exam.store.read(moves).await.unwrap();
    let moves: Vec<_> = moves.iter().map(|place| (place.room_name.as_str(), place.from, place.to)).collect();
    let at = |secs| START.plus(Duration::from_secs(secs));
    let expected = [("3号楼202", at(30), None), ("3号楼201", at(10), Some(at(30)))];
    assert_eq!(moves, expected, "the newest first, and binding to the same room again is nothing");
}

async fn a_room_of_another_school_is_refused_with_the_remedy(exam: Exam) {
    exam.device(7).await;
    let other = SchoolCode::parse("T2").unwrap();
    let room = NewRoom {
        id: RoomId::from_bytes([5; 16]),
        school: other.clone(),
        name: "101".into(),
        kind: RoomKind::Classroom,
    };
    exam.store
        .write(move |tx| {
            school_add(tx, &Actor::Local, SchoolId::from_bytes([4; 16]), &other, "另一小学", START)?;
            room_add(tx, &Actor::Local, &room, START)
        })
        .await
        .unwrap();
    let error = exam.bind(set(7), RoomId::from_bytes([5; 16]), 1).await.unwrap_err().to_string();
    assert!(error.contains("T1") && error.contains("T2") && error.contains("own school"), "{error}");
}

async fn lists_follow_school_and_room_and_filters_find(exam: Exam) {
    for number in [7, 8, 9] {
        exam.device(number).await;
    }
    let (a, b) = (exam.room(1, "A101").await, exam.room(2, "B101").await);
    exam.bind(set(7), b, 1).await.unwrap();
    exam.bind(set(9), a, 1).await.unwrap();
    let order: Vec<_> = exam.sets(SetFilter::default()).await.iter().map(|line| line.id).collect();
    let expected = [8, 9, 7].map(|number| SetId::from_bytes([number; 16]));
    assert_eq!(order, expected, "without a room first");
    let after = Some(expected[1]);
    let rest = exam
        .store
        .read(move |tx| set_list(tx, &Actor::Local, &SetFilter::default(), after, 50, START))
        .await
        .unwrap();
    assert_eq!(rest.iter().map(|line| line.id).collect::<Vec<_>>(), expected[2..]);
    let found = exam.sets(SetFilter { wanted: "b10".into(), ..SetFilter::default() }).await;
    assert_eq!(found.iter().map(|line| line.id).collect::<Vec<_>>(), expected[2..]);
    let filter = SetFilter { school: Some(SchoolCode::parse("T9").unwrap()), ..SetFilter::default() };
    assert_eq!(exam.sets(filter).await, []);
}

async fn a_sealed_set_is_shown_as_such(exam: Exam) {
    exam.device(7).await;
    let SetRef::Id(id) = set(7) else { unreachable!() };
    let seal =
        move |tx: &mut crate::Tx<'_>| set_stand(tx, &Actor::Local, id, SetStanding::Sealed, "放假", START);
    assert!(exam.store.write(seal).await.unwrap());
    assert!(!exam.store.write(seal).await.unwrap());
    let sealed = exam.sets(SetFilter { state: Some(SetState::Sealed), ..SetFilter::default() }).await;
    assert_eq!(sealed.len(), 1);
    let sealing = exam.store.read(move |tx| set_sealing(tx, &Actor::Local, id)).await.unwrap();
    let reason = Sealing { at: START, actor: "local".into(), reason: "放假".into(), answer: None };
    assert_eq!(sealing, Some(reason), "with its reason");
}

async fn the_overview_counts_every_set_once_under_the_word_that_the_list_has(exam: Exam) {
    for number in [7, 8, 9, 10] {
        exam.device(number).await;
    }
    exam.room(1, "A101").await;
    let sealed = SetId::from_bytes([8; 16]);
    let now = START;
    exam.store
        .write(move |tx| {
            let other = SchoolCode::parse("T0").expect("a code");
            school_add(tx, &Actor::Local, SchoolId::from_bytes([4; 16]), &other, "无设备小学", now)?;
            set_stand(tx, &Actor::Local, sealed, SetStanding::Sealed, "", now)?;
            // A fault with its ticket not yet accepted, and a silence.
            for (set, kind) in [(7_u8, "disk_nearly_full"), (9, "silent_set")] {
                tx.execute(
                    "INSERT INTO fault (id, set_id, school_id, kind, state, since_us, raised_us, cleared_us,
                        returns, reason, closed_us) VALUES ($1, $1, $2, $3, 'faulty', $4, $4, NULL, 0,
                        '{\"code\":\"not_expected\"}', NULL)",
                    crate::params![&[set; 16], &[3; 16], kind, now],
                )?;
            }
            Ok(())
        })
        .await
        .unwrap();
    let schools = exam.store.read(move |tx| set_overview(tx, &Actor::Local, now)).await.unwrap();
    let rooms: Vec<_> = schools.iter().map(|school| (school.code.as_str(), school.rooms)).collect();
    assert_eq!(rooms, [("T0", 0), ("T1", 1)]);
    assert_eq!(schools[0].sets.total(), 0);
    let mut listed = StateCounts::default();
    exam.sets(SetFilter::default()).await.iter().for_each(|line| listed.add(line.state));
    assert_eq!(schools[1].sets, listed);
    for state in [SetState::Faulty, SetState::Silent, SetState::Sealed, SetState::NotToday] {
        assert_eq!(listed.of(state), 1, "{state:?}");
    }
    let waiting = |tx: &mut crate::Tx<'_>| {
        let local = Actor::Local;
        Ok((fault_count(tx, &local)?, inquiry_count(tx, &local)?, ticket_count(tx, &local)?))
    };
    assert_eq!(exam.store.read(waiting).await.unwrap(), (2, 0, 0), "faults, questions, tickets");
}
