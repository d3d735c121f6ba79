use std::time::Duration;

use bbt_domain::{
    access::Actor,
    identity::{AdmissionKind, Evidence, EvidenceKind, Likeness, Ruling, Standing, StandingKind, Worth},
    ids::{AdmissionId, BootId, DeviceId, RunId, SchoolId},
    report::{Body, Class, Contact, Decision as Decided, Report},
};

use super::{Exam, START};
use crate::{
    StoreError, Tx,
    admissions::{
        AdmissionLine, Decision, admission_count, admission_decide, admission_list, admission_undo,
    },
    audit::audit_list,
    devices::{DeviceFile, device_list, device_show, device_stand},
    enrollment::{Admitted, TokenRefusal, Waiting},
    recognition::{canary_kept, device_freeze},
    reports::{CLONE_REASON, Delivery, Opening, Started, Whose, reports_quarantine, session_start},
};

exams![
    a_new_pc_is_let_in_at_once_and_a_known_one_waits_for_a_person,
    a_pc_that_is_the_same_gets_its_own_device_again_with_a_new_key,
    a_pc_that_is_another_becomes_a_device_of_its_own_and_a_refused_one_nothing,
    a_ruling_is_taken_back_until_it_was_carried_out,
    what_waits_does_not_end_with_its_token,
    a_value_that_three_devices_have_tells_nothing,
    a_frozen_pc_comes_back_by_itself_unless_it_reports_at_the_moment,
    a_retired_device_is_held_against_nobody_and_a_stolen_one_is,
    a_restart_is_taken_and_a_clone_is_kept_apart,
    a_repaired_device_is_taken_and_remembered,
    a_changed_board_asks_and_goes_on,
    pcs_without_evidence_are_told_apart_once_both_are_seen,
    a_state_that_went_back_twice_makes_a_device_frozen,
    what_a_person_said_of_a_frozen_device_stands,
    no_more_than_so_many_wait,
];

/// A PC as `uuid disk mac`, `-` where it has nothing.
fn pc(text: &str) -> Vec<Evidence> {
    use EvidenceKind::{BoardUuid, DiskSerial, PermanentMac};
    let kinds = [BoardUuid, DiskSerial, PermanentMac];
    let shown = kinds.into_iter().zip(text.split(' ')).filter(|(_, value)| *value != "-");
    let evidence = |kind, value: &str| {
        let start = if kind == PermanentMac { "00:E0:4C:36:12:" } else { "PF0A1B2" };
        Evidence { kind, value: format!("{start}{value}"), junk: false }
    };
    shown.map(|(kind, value)| evidence(kind, value)).collect()
}

fn device(n: u8) -> DeviceId {
    DeviceId::from_bytes([n; 16])
}

impl Exam {
    async fn day_token(&self, secret: u8) {
        self.token(secret, 10, START.plus(Duration::from_secs(86_400))).await;
    }

    /// Lets a PC in as a device of its own.
    async fn known(&self, n: u8, evidence: &str) -> DeviceId {
        self.day_token(n).await;
        let admitted = self.admit(n, n, n, pc(evidence), START).await;
        assert!(matches!(admitted, Ok(Admitted::Device(_))), "{admitted:?}");
        device(n)
    }

    async fn waiting(&self) -> Vec<AdmissionLine> {
        self.store.read(|tx| admission_list(tx, &Actor::Local, None, 500)).await.expect("a list")
    }

    async fn decide(&self, id: AdmissionId, decision: Decision) -> Result<AdmissionLine, StoreError> {
        self.store.write(move |tx| admission_decide(tx, &Actor::Local, id, decision, START)).await
    }

    async fn open(&self, device: DeviceId, run: u8, boot: u8, evidence: &str) -> Whose {
        self.open_with(device, run, boot, evidence, 0).await.whose
    }

    async fn open_with(&self, device: DeviceId, run: u8, boot: u8, evidence: &str, canary: u64) -> Started {
        let opening = Opening {
            run: RunId::from_bytes([run; 16]),
            boot: BootId::from_bytes([boot; 16]),
            clean_stop: None,
            agent_version: "0.1.0".into(),
            address: "192.0.2.7".into(),
            backlog_frames: 0,
            backlog_bytes: 0,
            clock_off_micros: 0,
            evidence: pc(evidence),
            canary,
            admission: AdmissionId::from_bytes([run.wrapping_add(100); 16]),
        };
        let actor = Actor::Device(device);
        self.store.write(move |tx| session_start(tx, &actor, &opening, START)).await.expect("a session")
    }

    async fn show(&self, device: DeviceId) -> DeviceFile {
        self.store.read(move |tx| device_show(tx, &Actor::Local, device)).await.expect("a device")
    }

    async fn freeze(&self, device: DeviceId, frozen: bool) {
        self.store.write(move |tx| device_freeze(tx, &Actor::Local, device, frozen, START)).await.unwrap();
    }

    async fn kept(&self, device: DeviceId, number: u64) {
        self.store.write(move |tx| canary_kept(tx, &Actor::Device(device), number)).await.unwrap();
    }
}

fn canary(whose: Whose) -> u64 {
    match whose {
        Whose::Device(canary) => canary,
        Whose::Clone => panic!("a clone"),
    }
}

fn let_in(admitted: Result<Admitted, TokenRefusal>) -> DeviceId {
    match admitted {
        Ok(Admitted::Device(enrolled)) => enrolled.device,
        other => panic!("not let in: {other:?}"),
    }
}

async fn a_new_pc_is_let_in_at_once_and_a_known_one_waits_for_a_person(exam: Exam) {
    let known = exam.known(1, "1 1 1").await;
    exam.day_token(2).await;
    assert_eq!(let_in(exam.admit(2, 20, 20, pc("2 2 2"), START).await), device(20));
    let again = exam.admit(2, 21, 21, pc("1 1 1"), START).await;
    assert_eq!(again, Ok(Admitted::Waiting(Waiting::Known(known))));
    let nearly = exam.admit(2, 22, 22, pc("1 3 3"), START).await;
    assert_eq!(nearly, Ok(Admitted::Waiting(Waiting::Likely(known))));
    let exam = exam.reopen();
    assert_eq!(exam.admit(2, 21, 21, pc("1 1 1"), START).await, again, "it asks again with the same key");
    let waiting = exam.waiting().await;
    assert_eq!(waiting.len(), 2, "{waiting:?}");
    let line = &waiting[0];
    assert_eq!((line.kind, line.times, line.asks), (AdmissionKind::Enrollment, 2, true));
    assert_eq!((line.host_name.as_str(), line.ruling), ("bgs-01", None));
    let likely = &line.matches[0];
    assert_eq!((likely.device, likely.likeness, likely.found.score), (known, Likeness::Same, 85));
    let devices = exam.store.read(|tx| device_list(tx, &Actor::Local, None, 10)).await.unwrap();
    assert_eq!(devices.len(), 2, "who waits is no device");
}

async fn a_pc_that_is_the_same_gets_its_own_device_again_with_a_new_key(exam: Exam) {
    let known = exam.known(1, "1 1 1").await;
    exam.day_token(2).await;
    exam.admit(2, 21, 21, pc("1 1 1"), START).await.unwrap();
    let id = exam.waiting().await[0].id;
    let error = exam.decide(id, Decision::Same(device(99))).await.unwrap_err();
    assert!(error.to_string().contains("nothing in common"), "{error}");
    exam.decide(id, Decision::Same(known)).await.unwrap();
    assert_eq!(let_in(exam.admit(2, 21, 21, pc("1 1 1"), START).await), known);
    assert_eq!(let_in(exam.admit(2, 21, 88, pc("1 1 1"), START).await), known, "a power cut in between");
    assert!(exam.waiting().await.is_empty());
    let devices = exam.store.read(|tx| device_list(tx, &Actor::Local, None, 10)).await.unwrap();
    assert_eq!(devices.len(), 1);
    let said = exam.store.read(|tx| audit_list(tx, &Actor::Local, "admission.same", None, 10)).await.unwrap();
    assert_eq!(said.len(), 1);
}

async fn a_pc_that_is_another_becomes_a_device_of_its_own_and_a_refused_one_nothing(exam: Exam) {
    exam.known(1, "1 1 1").await;
    exam.day_token(2).await;
    exam.admit(2, 21, 21, pc("1 1 1"), START).await.unwrap();
    exam.admit(2, 22, 22, pc("1 1 1"), START).await.unwrap();
    let waiting = exam.waiting().await;
    exam.decide(waiting[0].id, Decision::New).await.unwrap();
    exam.decide(waiting[1].id, Decision::Refused).await.unwrap();
    assert_eq!(let_in(exam.admit(2, 21, 21, pc("1 1 1"), START).await), device(21));
    assert_eq!(exam.admit(2, 22, 22, pc("1 1 1"), START).await, Err(TokenRefusal::Refused));
}

async fn a_ruling_is_taken_back_until_it_was_carried_out(exam: Exam) {
    let known = exam.known(1, "1 1 1").await;
    exam.day_token(2).await;
    exam.admit(2, 21, 21, pc("1 1 1"), START).await.unwrap();
    let id = exam.waiting().await[0].id;
    exam.decide(id, Decision::Refused).await.unwrap();
    assert!(exam.decide(id, Decision::New).await.is_err(), "it was ruled on");
    let undo = move |tx: &mut Tx<'_>| admission_undo(tx, &Actor::Local, id, START);
    assert_eq!(exam.store.write(undo).await.unwrap().ruling, None);
    exam.decide(id, Decision::Same(known)).await.unwrap();
    let_in(exam.admit(2, 21, 21, pc("1 1 1"), START).await);
    assert!(exam.store.write(undo).await.is_err(), "its PC took it");
}

async fn what_waits_does_not_end_with_its_token(exam: Exam) {
    exam.known(1, "1 1 1").await;
    let end = START.plus(Duration::from_secs(60));
    exam.token(2, 1, end).await;
    exam.admit(2, 21, 21, pc("1 1 1"), START).await.unwrap();
    let later = end.plus(Duration::from_secs(3_600));
    assert!(matches!(exam.admit(2, 21, 21, pc("1 1 1"), later).await, Ok(Admitted::Waiting(_))));
    assert_eq!(exam.admit(2, 22, 22, pc("1 1 1"), later).await, Err(TokenRefusal::Expired(end)));
    let id = exam.waiting().await[0].id;
    exam.decide(id, Decision::New).await.unwrap();
    assert_eq!(let_in(exam.admit(2, 21, 21, pc("1 1 1"), later).await), device(21));
}

async fn a_value_that_three_devices_have_tells_nothing(exam: Exam) {
    exam.day_token(9).await;
    for n in 1..=2_u8 {
        let admitted = exam.admit(9, n, n, pc("1 - 1"), START).await;
        if n == 1 {
            let_in(admitted);
        } else {
            exam.decide(exam.waiting().await[0].id, Decision::New).await.unwrap();
            let_in(exam.admit(9, n, n, pc("1 - 1"), START).await);
        }
    }
    assert!(matches!(exam.admit(9, 3, 3, pc("1 - 1"), START).await, Ok(Admitted::Waiting(_))));
    exam.decide(exam.waiting().await[0].id, Decision::New).await.unwrap();
    let_in(exam.admit(9, 3, 3, pc("1 - 1"), START).await);
    assert_eq!(let_in(exam.admit(9, 4, 4, pc("1 - 1"), START).await), device(4), "a fourth is let in");
}

async fn a_frozen_pc_comes_back_by_itself_unless_it_reports_at_the_moment(exam: Exam) {
    let known = exam.known(1, "1 1 1").await;
    exam.freeze(known, true).await;
    exam.day_token(2).await;
    for morning in 21..=23 {
        assert_eq!(let_in(exam.admit(2, morning, morning, pc("1 1 1"), START).await), known);
    }
    assert!(matches!(exam.admit(2, 24, 24, pc("1 2 2"), START).await, Ok(Admitted::Waiting(_))), "40: asks");
    exam.freeze(known, false).await;
    assert!(matches!(exam.admit(2, 25, 25, pc("1 1 1"), START).await, Ok(Admitted::Waiting(_))));
}

async fn a_retired_device_is_held_against_nobody_and_a_stolen_one_is(exam: Exam) {
    let known = exam.known(1, "1 1 1").await;
    let stand = |kind| {
        move |tx: &mut Tx<'_>| device_stand(tx, &Actor::Local, known, Standing::Revoked, kind, "", START)
    };
    exam.day_token(2).await;
    exam.store.write(stand(StandingKind::Stolen)).await.unwrap();
    assert_eq!(exam.admit(2, 21, 21, pc("1 1 1"), START).await, Ok(Admitted::Waiting(Waiting::Known(known))));
    let id = exam.waiting().await[0].id;
    exam.decide(id, Decision::Same(known)).await.unwrap();
    assert_eq!(exam.admit(2, 21, 21, pc("1 1 1"), START).await, Err(TokenRefusal::Revoked(known)));
    assert!(exam.store.write(stand(StandingKind::Retired)).await.unwrap(), "another kind is a change");
    assert_eq!(let_in(exam.admit(2, 22, 22, pc("1 1 1"), START).await), device(22));
}

async fn a_restart_is_taken_and_a_clone_is_kept_apart(exam: Exam) {
    let known = exam.known(1, "1 1 1").await;
    assert!(matches!(exam.open(known, 1, 1, "1 1 1").await, Whose::Device(_)));
    assert!(matches!(exam.open(known, 2, 2, "1 1 1").await, Whose::Device(_)), "a restart");
    assert_eq!(exam.open(known, 3, 3, "2 2 2").await, Whose::Clone);
    let file = exam.show(known).await;
    assert_eq!(file.session.unwrap().run_id, RunId::from_bytes([2; 16]), "the first one keeps its place");
    assert_eq!(file.evidence, pc("1 1 1"), "what a clone shows is not the device's");

    let report = Report {
        run: RunId::from_bytes([3; 16]),
        seq: 1,
        class: Class::State,
        device: known,
        boot: BootId::from_bytes([3; 16]),
        clean_stop: None,
        wall: START,
        mono_micros: 0,
        body: Body::Unreadable { reason: String::new(), bytes: vec![1, 2, 3] },
    };
    let delivery = Delivery {
        reports: vec![report.clone(), Report { device: device(9), ..report }],
        row_ids: vec![],
        contact: Contact {
            received: START,
            sent_wall: START,
            sent_mono_micros: 0,
            boot: BootId::from_bytes([3; 16]),
        },
        session_run: RunId::from_bytes([3; 16]),
        school: SchoolId::from_bytes([3; 16]),
    };
    for _ in 0..2 {
        let delivery = delivery.clone();
        let decided =
            exam.store.write(move |tx| reports_quarantine(tx, &Actor::Device(known), &delivery)).await;
        let kept_apart = Decided::Quarantined(CLONE_REASON.to_owned());
        assert_eq!(decided.unwrap(), [kept_apart, Decided::OtherIdentity]);
    }
    let file = exam.show(known).await;
    assert_eq!((file.quarantined, file.quarantined_of_clones), (0, 1));
    let waiting = exam.waiting().await;
    assert_eq!(waiting.len(), 1);
    assert_eq!(
        (waiting[0].kind, waiting[0].device, waiting[0].asks),
        (AdmissionKind::Clone, Some(known), false)
    );
}

async fn a_repaired_device_is_taken_and_remembered(exam: Exam) {
    let known = exam.known(1, "1 1 1").await;
    for (run, evidence) in [(1, "1 2 1"), (2, "1 2 2"), (3, "1 3 2")] {
        assert!(matches!(exam.open(known, run, run, evidence).await, Whose::Device(_)), "{evidence}");
    }
    assert_eq!(exam.show(known).await.evidence.len(), 1 + 3 + 2);
    assert!(exam.waiting().await.is_empty());
}

async fn a_changed_board_asks_and_goes_on(exam: Exam) {
    let known = exam.known(1, "1 1 1").await;
    assert!(matches!(exam.open(known, 1, 1, "2 1 1").await, Whose::Device(_)));
    assert!(matches!(exam.open(known, 2, 2, "2 1 1").await, Whose::Device(_)));
    let count = exam.store.read(|tx| admission_count(tx, &Actor::Local)).await.unwrap();
    assert_eq!(count, 1, "one question, however often it comes");
    assert_eq!(exam.show(known).await.evidence, pc("1 1 1"));
    let line = exam.waiting().await.remove(0);
    assert_eq!((line.kind, line.times), (AdmissionKind::Question, 2));
    assert!(line.shown.iter().all(|one| one.worth == Worth::Counts));
    let settled = exam.decide(line.id, Decision::Same(known)).await.unwrap();
    assert_eq!((settled.ruling, settled.taken), (Some(Ruling::Same), true));
    assert_eq!(exam.show(known).await.evidence.len(), 4);
    assert!(
        matches!(exam.open(known, 3, 3, "2 9 9").await, Whose::Device(_)),
        "the new board is its own now"
    );
    assert!(exam.waiting().await.is_empty());
}

async fn pcs_without_evidence_are_told_apart_once_both_are_seen(exam: Exam) {
    let known = exam.known(1, "- - -").await;
    let first = RunId::from_bytes([1; 16]);
    assert!(matches!(exam.open(known, 1, 1, "- - -").await, Whose::Device(_)));
    let body = Body::Unreadable { reason: "x".into(), bytes: vec![] };
    exam.deliver(known, first, vec![super::reports::report(known, first, 1, body)]).await.unwrap();
    assert!(matches!(exam.open(known, 2, 2, "- - -").await, Whose::Device(_)), "it may be a restart");
    assert!(
        matches!(exam.open(known, 1, 1, "- - -").await, Whose::Device(_)),
        "the first one was on all the time"
    );
    assert_eq!(exam.open(known, 2, 2, "- - -").await, Whose::Clone);
    assert!(matches!(exam.open(known, 1, 1, "- - -").await, Whose::Device(_)));
    assert_eq!(exam.open(known, 2, 2, "- - -").await, Whose::Clone, "and stays it");
}

async fn a_state_that_went_back_twice_makes_a_device_frozen(exam: Exam) {
    let known = exam.known(1, "1 1 1").await;
    let first = canary(exam.open(known, 1, 1, "1 1 1").await);
    exam.kept(known, first).await;
    let second = canary(exam.open_with(known, 1, 1, "1 1 1", first).await.whose);
    assert!(second > first);
    exam.kept(known, second).await;
    for (boot, frozen) in [(2, false), (3, true)] {
        let told = canary(exam.open_with(known, boot, boot, "1 1 1", 0).await.whose);
        exam.kept(known, told).await;
        let file = exam.show(known).await;
        assert_eq!((file.line.frozen, file.rollbacks), (frozen, i64::from(boot) - 1), "start {boot}");
    }
    assert_eq!(exam.show(known).await.frozen_by.as_deref(), Some("system:canary"));
    let said = exam.store.read(|tx| audit_list(tx, &Actor::Local, "device.freeze", None, 10)).await.unwrap();
    assert_eq!(said.len(), 1);
}

async fn what_a_person_said_of_a_frozen_device_stands(exam: Exam) {
    let known = exam.known(1, "1 1 1").await;
    exam.freeze(known, true).await;
    exam.freeze(known, false).await;
    for boot in 1..=4 {
        let told = canary(exam.open_with(known, boot, boot, "1 1 1", 0).await.whose);
        exam.kept(known, told).await;
    }
    let file = exam.show(known).await;
    assert_eq!((file.line.frozen, file.rollbacks), (false, 3));
}

async fn no_more_than_so_many_wait(exam: Exam) {
    exam.known(1, "1 1 1").await;
    exam.token(2, 300, START.plus(Duration::from_secs(60))).await;
    for key in 2..202 {
        assert!(
            matches!(exam.admit(2, key, key, pc("1 1 1"), START).await, Ok(Admitted::Waiting(_))),
            "{key}"
        );
    }
    assert_eq!(exam.admit(2, 202, 202, pc("1 1 1"), START).await, Err(TokenRefusal::Crowded));
    let month = START.plus(Duration::from_secs(31 * 86_400));
    exam.token(3, 300, month.plus(Duration::from_secs(60))).await;
    assert!(
        matches!(exam.admit(3, 202, 202, pc("1 1 1"), month).await, Ok(Admitted::Waiting(_))),
        "forgotten"
    );
}
