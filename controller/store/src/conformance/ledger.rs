//! The ledger: what is appended, what a card says, and that every hand in the file is found.

use std::sync::{Arc, Mutex};

use bbt_domain::{
    access::{Act, Actor},
    chain::{Broken, Linked},
    civil::Day,
    ids::{AssetId, DeviceId, SetId},
    ledger::{
        entry::{Change, Entry, Opening},
        fields::Specification,
    },
    money::Money,
};
use uuid::Uuid;

use super::{Exam, START};
use crate::{
    StoreError,
    audit::audit_list,
    ledger::{
        Asset, AssetFile, LedgerFault, NewAsset, Verified, asset_add, asset_bind, asset_list, asset_show,
        entry_reverse, ledger_verify,
    },
    params,
    sets::SetRef,
};

exams![
    an_asset_is_one_entry_and_is_shown_with_it,
    what_is_shown_has_the_keys_of_the_contract,
    the_same_request_again_appends_nothing,
    a_number_is_given_once,
    fields_that_no_card_can_have_are_refused_with_their_value,
    an_asset_moves_from_set_to_set_by_entries,
    a_mistake_is_answered_by_an_entry_that_names_it,
    cards_are_listed_in_order_of_their_numbers,
    every_change_is_in_the_audit_with_the_entrys_hash,
    a_hand_in_the_file_is_found_and_the_first_bad_entry_named,
    an_index_that_differs_from_the_entries_is_found_with_its_asset,
    a_device_reads_and_writes_nothing_of_the_ledger,
];

const NOUN: &str = Entry::NOUN;

fn day(text: &str) -> Day {
    text.parse().expect("a day")
}

fn set(number: u8) -> SetRef {
    SetRef::Id(SetId::from_bytes([number; 16]))
}

/// A desktop of 3,500 yuan, number `ZC-<number>`.
pub(super) fn computer(number: u8) -> NewAsset {
    let opening = Opening {
        asset_no: format!("ZC-{number}").parse().expect("a number"),
        name: "台式电脑".into(),
        class: "A02010105@2022".parse().expect("a class"),
        cost_fen: Money::from_fen(350_000),
        acquired_on: day("2024-10-31"),
        put_to_use_on: None,
        booked_on: None,
        serial: Some("PF0A1B2C".parse().expect("a serial number")),
        specification: Specification::default(),
    };
    NewAsset { id: AssetId::from_bytes([number; 16]), opening, set: None }
}

impl Exam {
    pub(super) async fn asset_add(&self, new: NewAsset) -> Result<Asset, StoreError> {
        self.store.write(move |tx| asset_add(tx, &Actor::Local, &new, START)).await
    }

    pub(super) async fn asset_bind(
        &self,
        request: u128,
        asset_no: &str,
        to: Option<SetRef>,
        on: &str,
    ) -> Result<Asset, StoreError> {
        let (asset_no, on) = (asset_no.parse().expect("a number"), day(on));
        let request = Uuid::from_u128(request);
        self.store.write(move |tx| asset_bind(tx, &Actor::Local, request, &asset_no, to, on, START)).await
    }

    async fn reverse(&self, request: u128, no: i64) -> Result<Option<Asset>, StoreError> {
        let request = Uuid::from_u128(request);
        let on = day("2026-01-05");
        self.store.write(move |tx| entry_reverse(tx, &Actor::Local, request, no, "录入错误", on, START)).await
    }

    async fn asset(&self, asset_no: &str) -> Result<AssetFile, StoreError> {
        let asset_no = asset_no.parse().expect("a number");
        self.store.read(move |tx| asset_show(tx, &Actor::Local, &asset_no)).await
    }

    async fn verify(&self) -> Result<Verified, LedgerFault> {
        self.store.read(|tx| ledger_verify(tx, &Actor::Local)).await.expect("the store works")
    }

    /// What a hand in the file is found by. It is taken back then.
    async fn fault_after(&self, sql: &'static str) -> LedgerFault {
        let found = Arc::new(Mutex::new(None));
        let kept = Arc::clone(&found);
        let look = move |tx: &mut crate::Tx<'_>| {
            tx.execute(sql, params![])?;
            *kept.lock().expect("one at a time") = ledger_verify(tx, &Actor::Local)?.err();
            // What fails is undone.
            Err::<(), _>(StoreError::Invalid("seen".into()))
        };
        let undone = self.store.write(look).await;
        assert!(matches!(&undone, Err(StoreError::Invalid(text)) if text == "seen"), "{undone:?}");
        let fault = found.lock().expect("one at a time").take();
        fault.unwrap_or_else(|| panic!("{sql} was not found"))
    }
}

/// An exam with five computers in the ledger.
async fn with_five(exam: Exam) -> Exam {
    for number in 1..=5 {
        exam.asset_add(computer(number)).await.expect("an asset");
    }
    exam
}

async fn an_asset_is_one_entry_and_is_shown_with_it(exam: Exam) {
    exam.device(7).await;
    let mut new = computer(1);
    new.set = Some(set(7));
    new.opening.specification.memory_bytes = Some(8 << 30);
    let added = exam.asset_add(new).await.unwrap();
    assert_eq!(added.card.set, Some(SetId::from_bytes([7; 16])));
    assert_eq!(
        added.card.put_to_use_on,
        day("2024-10-31"),
        "the acquisition date is the default of the others"
    );
    assert_eq!((added.class_name, added.class_verified), (Some("台式计算机"), true));
    assert_eq!(added.school_code.as_deref(), Some("T1"));
    let file = exam.asset("ZC-1").await.unwrap();
    assert_eq!(file.asset, added);
    assert_eq!(file.entries.len(), 1);
    let entry = &file.entries[0];
    assert_eq!((entry.no, entry.actor.as_str(), entry.at), (1, "local", START));
    assert!(matches!(&entry.change, Change::CardOpened { card, .. } if card.cost_fen.fen() == 350_000));
    assert_eq!(exam.verify().await.unwrap().head.hash.to_hex(), entry.hash);
}

async fn what_is_shown_has_the_keys_of_the_contract(exam: Exam) {
    let mut new = computer(1);
    new.opening.class = "A09999999@2022".parse().unwrap();
    new.opening.serial = None;
    let shown = serde_json::to_value(exam.asset_add(new).await.unwrap()).unwrap();
    assert_eq!(shown["asset_no"], "ZC-1");
    assert_eq!(shown["class_code"], "A09999999");
    assert_eq!(shown["class_edition"], "2022");
    assert_eq!(shown["cost_fen"], 350_000);
    assert_eq!(shown["acquired_on"], "2024-10-31");
    for unknown in ["serial", "memory_bytes", "disk_bytes", "processor", "set_id", "set_code", "class_name"] {
        assert!(shown.as_object().unwrap()[unknown].is_null(), "{unknown}");
    }
    assert_eq!(shown["problems"][0]["code"], "not_in_table", "and it is said why");
}

async fn the_same_request_again_appends_nothing(exam: Exam) {
    exam.device(7).await;
    let first = exam.asset_add(computer(1)).await.unwrap();
    let exam = exam.reopen();
    assert_eq!(exam.asset_add(computer(1)).await.unwrap(), first);
    for _ in 0..2 {
        exam.asset_bind(1, "ZC-1", Some(set(7)), "2025-03-10").await.unwrap();
        exam.reverse(2, 2).await.unwrap();
    }
    assert_eq!(exam.verify().await.unwrap().head.rows, 3);
    let mut other = computer(1);
    other.opening.name = "笔记本".into();
    let error = exam.asset_add(other).await.unwrap_err();
    assert!(matches!(&error, StoreError::Invalid(text) if text.contains("entry 1")), "{error}");
}

async fn a_number_is_given_once(exam: Exam) {
    let exam = with_five(exam).await;
    let mut other = computer(9);
    other.opening.asset_no = "ZC-3".parse().unwrap();
    let error = exam.asset_add(other).await.unwrap_err();
    assert!(matches!(&error, StoreError::Exists { noun: "asset", key } if key == "ZC-3"), "{error}");
    assert_eq!(exam.verify().await.unwrap().head.rows, 5);
}

async fn fields_that_no_card_can_have_are_refused_with_their_value(exam: Exam) {
    let refused = async |change: fn(&mut NewAsset), words: [&str; 2]| {
        let mut new = computer(1);
        change(&mut new);
        let error = exam.asset_add(new).await.unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    refused(|new| new.opening.cost_fen = Money::from_fen(-1), ["cost", "-0.01"]).await;
    refused(|new| new.opening.acquired_on = day("2026-09-23"), ["acquisition", "2026-09-23"]).await;
    refused(|new| new.opening.booked_on = Some(day("2030-01-01")), ["booking", "2030-01-01"]).await;
    refused(|new| new.set = Some(set(9)), ["set", "09090909"]).await;
    assert_eq!(exam.verify().await.unwrap().head.rows, 0);
}

async fn an_asset_moves_from_set_to_set_by_entries(exam: Exam) {
    exam.device(7).await;
    exam.device(8).await;
    exam.asset_add(NewAsset { set: Some(set(7)), ..computer(1) }).await.unwrap();
    let moved = exam.asset_bind(1, "ZC-1", Some(set(8)), "2025-03-10").await.unwrap();
    assert_eq!(moved.card.set, Some(SetId::from_bytes([8; 16])));
    let loose = exam.asset_bind(2, "ZC-1", None, "2025-09-01").await.unwrap();
    assert_eq!((loose.card.set, loose.card.school), (None, None));
    let error = exam.asset_bind(3, "ZC-1", Some(set(7)), "2024-10-30").await.unwrap_err();
    assert!(error.to_string().contains("2024-10-31"), "{error}");
    assert!(exam.verify().await.is_ok());
}

async fn a_mistake_is_answered_by_an_entry_that_names_it(exam: Exam) {
    exam.device(7).await;
    exam.asset_add(computer(1)).await.unwrap();
    exam.asset_bind(1, "ZC-1", Some(set(7)), "2025-03-10").await.unwrap();
    let after = exam.reverse(2, 2).await.unwrap().expect("a card");
    assert_eq!(after.card.set, None);
    let again = exam.reverse(3, 2).await.unwrap_err();
    assert!(again.to_string().contains("entry 3 reversed it already"), "{again}");
    assert_eq!(exam.reverse(4, 1).await.unwrap(), None, "the card itself was wrong");
    assert!(matches!(exam.asset("ZC-1").await, Err(StoreError::NotFound { .. })));
    exam.asset_add(NewAsset { id: AssetId::from_bytes([9; 16]), ..computer(1) })
        .await
        .expect("number is free");
    assert_eq!(exam.verify().await.unwrap().head.rows, 5);
}

async fn cards_are_listed_in_order_of_their_numbers(exam: Exam) {
    let exam = with_five(exam).await;
    let page = exam.store.read(|tx| asset_list(tx, &Actor::Local, Some("ZC-2"), 2)).await.unwrap();
    let numbers: Vec<_> = page.iter().map(|asset| asset.card.asset_no.as_str()).collect();
    assert_eq!(numbers, ["ZC-3", "ZC-4"]);
}

async fn every_change_is_in_the_audit_with_the_entrys_hash(exam: Exam) {
    let exam = with_five(exam).await;
    let lines = exam.store.read(|tx| audit_list(tx, &Actor::Local, "asset.add", None, 9)).await.unwrap();
    assert_eq!((lines.len(), lines[0].subject.as_str()), (5, "asset:ZC-5"));
    let head = exam.verify().await.unwrap().head.hash.to_hex();
    assert!(lines[0].detail.contains(&head), "{}", lines[0].detail);
}

async fn a_hand_in_the_file_is_found_and_the_first_bad_entry_named(exam: Exam) {
    let changed = |no| LedgerFault::Chain(Broken::Changed { noun: NOUN, no });
    let hole = |expected, found| LedgerFault::Chain(Broken::Hole { noun: NOUN, expected, found });
    let cases = [
        ("UPDATE ledger_entry SET body = replace(body, '350000', '35000') WHERE no = 3", changed(3)),
        ("UPDATE ledger_entry SET at_us = at_us + 1 WHERE no IN (2, 4)", changed(2)),
        ("UPDATE ledger_entry SET actor = 'user:other' WHERE no = 1", changed(1)),
        ("UPDATE ledger_entry SET effective_day = effective_day - 31 WHERE no = 5", changed(5)),
        ("UPDATE ledger_entry SET school_id = request WHERE no = 2", changed(2)),
        (
            "UPDATE ledger_entry SET asset_id = (SELECT asset_id FROM ledger_entry WHERE no = 1) WHERE no = 4",
            changed(4),
        ),
        ("UPDATE ledger_entry SET hash = request WHERE no = 4", changed(4)),
        ("UPDATE ledger_entry SET kind = 'nothing' WHERE no = 2", changed(2)),
        ("DELETE FROM ledger_entry WHERE no = 2", hole(2, 3)),
        ("UPDATE ledger_entry SET no = 0 WHERE no = 1", hole(1, 0)),
        ("UPDATE ledger_entry SET no = -7 WHERE no = 4", hole(1, -7)),
        (
            "DELETE FROM ledger_entry WHERE no >= 4",
            LedgerFault::Chain(Broken::CutOff { noun: NOUN, expected: 4, last: 5 }),
        ),
        (
            "UPDATE ledger_head SET entries = 4, hash = (SELECT hash FROM ledger_entry WHERE no = 4)",
            LedgerFault::Chain(Broken::Foreign { noun: NOUN, no: 5 }),
        ),
        (
            "UPDATE ledger_head SET hash = (SELECT hash FROM ledger_entry WHERE no = 4)",
            LedgerFault::Chain(Broken::Rewritten { noun: NOUN, no: 5 }),
        ),
    ];
    let exam = with_five(exam).await;
    for (sql, found) in cases {
        assert!(exam.verify().await.is_ok());
        let fault = exam.fault_after(sql).await;
        assert_eq!(fault, found, "{sql}");
        assert!(fault.to_string().starts_with("ledger entry"), "{fault}");
    }
}

async fn an_index_that_differs_from_the_entries_is_found_with_its_asset(exam: Exam) {
    let cases = [
        ("DELETE FROM asset WHERE asset_no = 'ZC-2'", "ZC-2"),
        ("UPDATE asset SET asset_no = 'ZC-X' WHERE asset_no = 'ZC-3'", "ZC-X"),
        ("UPDATE asset SET set_id = id WHERE asset_no = 'ZC-4'", "ZC-4"),
        ("INSERT INTO asset (id, asset_no) SELECT substr(hash, 1, 16), 'ZC-0' FROM ledger_head", "ZC-0"),
    ];
    let exam = with_five(exam).await;
    for (sql, number) in cases {
        assert_eq!(exam.verify().await.unwrap().assets, 5);
        let fault = exam.fault_after(sql).await;
        assert!(matches!(&fault, LedgerFault::Index { no, .. } if no == number), "{fault}");
        assert!(fault.to_string().contains(number), "{fault}");
    }
}

async fn a_device_reads_and_writes_nothing_of_the_ledger(exam: Exam) {
    let actor = Actor::Device(DeviceId::from_bytes([7; 16]));
    let asked = actor.clone();
    let read = exam.store.read(move |tx| asset_list(tx, &asked, None, 9)).await;
    assert!(matches!(read, Err(StoreError::Forbidden { act: Act::LedgerRead, .. })), "{read:?}");
    let added = exam.store.write(move |tx| asset_add(tx, &actor, &computer(1), START)).await;
    assert!(matches!(added, Err(StoreError::Forbidden { act: Act::LedgerWrite, .. })), "{added:?}");
}
