//! From a card and a device's word to a case: one per difference, gone when the difference is.

use std::time::Duration;

use bbt_domain::{
    access::{Act, Actor},
    facts::{Disk, Hardware, Memory, Processor, Product, StateReport, Storage, Told},
    identity::{Standing, StandingKind},
    ids::{CaseId, DeviceId, SetId},
    ledger::fields::Specification,
    reconciliation::{Item, Measure, Outcome, Settlement, Why},
    report::Body,
    time::UtcMicros,
};

use super::{
    Exam, START,
    ledger::computer,
    reports::{report, run},
};
use crate::{
    StoreError,
    audit::audit_list,
    devices::device_stand,
    ledger::NewAsset,
    reconciliation::{
        Case, SetBooked, case_list_open, case_settle, reconcile_set, reconcile_would_change, set_booked,
        sets_to_reconcile,
    },
    sets::SetRef,
};

exams![
    a_machine_that_is_as_booked_makes_no_case,
    a_difference_is_one_case_however_often_it_is_looked_at,
    a_case_goes_by_itself_when_the_difference_is_gone_and_not_before,
    what_nobody_has_seen_is_unknown_and_no_case,
    a_settled_difference_does_not_come_back_while_it_stays_what_it_was,
    a_settlement_is_said_once_and_audited,
    what_is_gone_needs_no_settlement,
    a_case_goes_with_the_asset_that_leaves_the_set,
    differences_are_found_by_the_controller_and_settled_by_people,
];

const GIB: u64 = 1 << 30;
const SET: SetId = SetId::from_bytes([7; 16]);
const DECIDER: Actor = Actor::System("test");

/// What the machine is when nothing is amiss.
const BOOKED: (u64, &str) = (8 * GIB, "PF0A1B2C");

fn machine(memory: u64, serial: &str) -> Body {
    let hardware = Hardware {
        system: Product { serial: Some(serial.into()), ..Product::default() },
        processors: vec![Processor {
            model: Some("Intel(R) Core(TM) i5-10400 CPU @ 2.90GHz".into()),
            ..Processor::default()
        }],
        memory: Memory { total_bytes: Some(memory / 100 * 97), ..Memory::default() },
        ..Hardware::default()
    };
    let disk = Disk {
        name: "nvme0n1".into(),
        size_bytes: Some(256_060_514_304),
        removable: Some(false),
        ..Disk::default()
    };
    Body::State(Box::new(StateReport {
        full: true,
        hardware: Some(Told { facts: hardware, problems: vec![] }),
        storage: Some(Told { facts: Storage { disks: vec![disk] }, problems: vec![] }),
        ..StateReport::default()
    }))
}

/// An exam with one set that has a device and a card.
struct County {
    exam: Exam,
    device: DeviceId,
    seq: u64,
    now: UtcMicros,
}

impl County {
    async fn begin(exam: Exam) -> Self {
        let device = exam.device(7).await;
        exam.open_session(device, run(1)).await;
        let mut new = NewAsset { set: Some(SetRef::Id(SET)), ..computer(1) };
        new.opening.specification = Specification {
            processor: Some("Intel Core i5-10400".into()),
            memory_bytes: Some(BOOKED.0),
            disk_bytes: Some(256_000_000_000),
        };
        exam.asset_add(new).await.expect("an asset");
        Self { exam, device, seq: 0, now: START }
    }

    /// The device tells what it is.
    async fn tell(&mut self, (memory, serial): (u64, &str)) {
        self.seq += 1;
        let told = report(self.device, run(1), self.seq, machine(memory, serial));
        self.exam.deliver(self.device, run(1), vec![told]).await.expect("delivered");
    }

    /// The controller's task, a minute later.
    async fn reconcile(&mut self) -> usize {
        self.now = self.now.plus(Duration::from_secs(60));
        let now = self.now;
        let would = self.exam.store.read(|tx| reconcile_would_change(tx, &DECIDER, SET)).await;
        let changes = self.exam.store.write(move |tx| reconcile_set(tx, &DECIDER, SET, now)).await;
        let changes = changes.expect("reconciled");
        assert_eq!(
            would.expect("a look"),
            changes > 0,
            "the look before says whether there is something to do"
        );
        changes
    }

    async fn due(&self) -> Vec<SetId> {
        self.exam.store.read(|tx| sets_to_reconcile(tx, &DECIDER, None, 50)).await.expect("a list")
    }

    async fn booked(&self) -> SetBooked {
        self.exam.store.read(|tx| set_booked(tx, &Actor::Local, SET)).await.expect("a set")
    }

    async fn open_cases(&self) -> Vec<Case> {
        self.exam.store.read(|tx| case_list_open(tx, &Actor::Local, None, 50)).await.expect("a list")
    }

    async fn settle(&self, id: CaseId, as_what: Settlement, note: &'static str) -> Result<Case, StoreError> {
        let now = self.now;
        self.exam.store.write(move |tx| case_settle(tx, &Actor::Local, id, as_what, note, now)).await
    }
}

async fn a_machine_that_is_as_booked_makes_no_case(exam: Exam) {
    let mut county = County::begin(exam).await;
    county.tell(BOOKED).await;
    assert_eq!(county.reconcile().await, 0);
    let booked = county.booked().await;
    assert_eq!(booked.cases, []);
    assert_eq!(booked.assets[0].device_id, Some(county.device));
    let outcomes: Vec<_> = booked.assets[0].comparisons.iter().map(|one| one.outcome.clone()).collect();
    assert_eq!(outcomes, [Outcome::Same, Outcome::Same, Outcome::Same, Outcome::Same]);
}

async fn a_difference_is_one_case_however_often_it_is_looked_at(exam: Exam) {
    let mut county = County::begin(exam).await;
    county.tell((4 * GIB, BOOKED.1)).await;
    assert_eq!(county.reconcile().await, 1);
    assert_eq!(county.reconcile().await, 0);
    let cases = county.open_cases().await;
    assert_eq!(cases.len(), 1);
    let case = &cases[0];
    assert_eq!((case.item, &case.booked), (Item::Memory, &Measure::SizeBytes(8 * GIB)));
    assert_eq!((case.asset_no.as_deref(), case.school_code.as_str()), (Some("ZC-1"), "T1"));
    assert_eq!(county.booked().await.cases, cases);
}

async fn a_case_goes_by_itself_when_the_difference_is_gone_and_not_before(exam: Exam) {
    let mut county = County::begin(exam).await;
    county.tell((4 * GIB, BOOKED.1)).await;
    county.reconcile().await;
    county.tell((2 * GIB, BOOKED.1)).await;
    assert_eq!(county.reconcile().await, 1, "what is seen is another value now");
    assert_eq!(county.open_cases().await.len(), 1);
    county.tell(BOOKED).await;
    county.reconcile().await;
    assert_eq!(county.open_cases().await, []);
    let past = county.booked().await.cases;
    assert_eq!((past.len(), past[0].gone_at), (1, Some(county.now)));
    county.tell((4 * GIB, BOOKED.1)).await;
    county.reconcile().await;
    assert_eq!(county.open_cases().await.len(), 1, "it came back: that is another case");
}

async fn what_nobody_has_seen_is_unknown_and_no_case(exam: Exam) {
    let mut county = County::begin(exam).await;
    assert_eq!(county.reconcile().await, 0);
    let comparisons = county.booked().await.assets.remove(0).comparisons;
    assert!(comparisons.iter().all(|one| one.outcome == Outcome::Unknown(Why::NotTold)), "{comparisons:?}");
    county.tell((4 * GIB, BOOKED.1)).await;
    county.reconcile().await;
    let device = county.device;
    county
        .exam
        .store
        .write(move |tx| {
            device_stand(tx, &Actor::Local, device, Standing::Revoked, StandingKind::Plain, "", START)
        })
        .await
        .unwrap();
    assert_eq!(county.reconcile().await, 0, "a device that may not report is no evidence");
    assert_eq!(county.open_cases().await.len(), 1);
    let comparisons = county.booked().await.assets.remove(0).comparisons;
    assert!(comparisons.iter().all(|one| one.outcome == Outcome::Unknown(Why::NoDevice)), "{comparisons:?}");
}

async fn a_settled_difference_does_not_come_back_while_it_stays_what_it_was(exam: Exam) {
    let mut county = County::begin(exam).await;
    county.tell((4 * GIB, BOOKED.1)).await;
    county.reconcile().await;
    let case = county.open_cases().await.remove(0);
    let settled = county.settle(case.id, Settlement::WrongEntry, "标书为4G").await.unwrap();
    let said = settled.settled.clone().expect("a settlement");
    assert_eq!(
        (said.by.as_str(), said.what, said.note.as_str()),
        ("local", Settlement::WrongEntry, "标书为4G")
    );
    assert_eq!(county.reconcile().await, 0);
    assert_eq!(county.open_cases().await, []);
    assert_eq!(county.booked().await.cases, [settled]);
    county.tell((2 * GIB, BOOKED.1)).await;
    county.reconcile().await;
    let again = county.open_cases().await;
    assert_eq!(again.len(), 1);
    assert_ne!(again[0].id, case.id);
}

async fn a_settlement_is_said_once_and_audited(exam: Exam) {
    let mut county = County::begin(exam).await;
    county.tell((BOOKED.0, "PF999999")).await;
    county.reconcile().await;
    let id = county.open_cases().await.remove(0).id;
    let silent = county.settle(id, Settlement::Other, "").await.unwrap_err();
    assert!(silent.to_string().contains("note"), "{silent}");
    let first = county.settle(id, Settlement::Move, "与隔壁对调").await.unwrap();
    assert_eq!(county.settle(id, Settlement::Move, "与隔壁对调").await.unwrap(), first, "the same again");
    let other = county.settle(id, Settlement::Theft, "").await.unwrap_err();
    assert!(other.to_string().contains("local settled it as move"), "{other}");
    let lines =
        county.exam.store.read(|tx| audit_list(tx, &Actor::Local, "case.settle", None, 9)).await.unwrap();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].detail.contains("PF999999") && lines[0].detail.contains("与隔壁对调"), "{lines:?}");
}

async fn what_is_gone_needs_no_settlement(exam: Exam) {
    let mut county = County::begin(exam).await;
    county.tell((4 * GIB, BOOKED.1)).await;
    county.reconcile().await;
    let id = county.open_cases().await.remove(0).id;
    county.tell(BOOKED).await;
    county.reconcile().await;
    let error = county.settle(id, Settlement::Repair, "").await.unwrap_err();
    assert!(error.to_string().contains("gone since"), "{error}");
    let absent = county.settle(CaseId::from_bytes([9; 16]), Settlement::Repair, "").await;
    assert!(matches!(absent, Err(StoreError::NotFound { noun: "case", .. })), "{absent:?}");
}

async fn a_case_goes_with_the_asset_that_leaves_the_set(exam: Exam) {
    let mut county = County::begin(exam).await;
    county.tell((4 * GIB, BOOKED.1)).await;
    county.reconcile().await;
    county.exam.asset_bind(1, "ZC-1", None, "2026-01-05").await.unwrap();
    assert_eq!(county.due().await, [SET], "for its case, though it has no card");
    assert_eq!(county.reconcile().await, 1);
    assert_eq!(county.due().await, []);
    assert_eq!(county.open_cases().await, []);
    assert_eq!(county.booked().await.assets, []);
}

async fn differences_are_found_by_the_controller_and_settled_by_people(exam: Exam) {
    let mut county = County::begin(exam).await;
    county.tell((4 * GIB, BOOKED.1)).await;
    let by_hand = county.exam.store.write(|tx| reconcile_set(tx, &Actor::Local, SET, START)).await;
    assert!(matches!(by_hand, Err(StoreError::Forbidden { act: Act::CaseDecide, .. })), "{by_hand:?}");
    county.reconcile().await;
    let id = county.open_cases().await.remove(0).id;
    let by_itself =
        county.exam.store.write(move |tx| case_settle(tx, &DECIDER, id, Settlement::Repair, "", START)).await;
    assert!(matches!(by_itself, Err(StoreError::Forbidden { act: Act::CaseSettle, .. })), "{by_itself:?}");
}
