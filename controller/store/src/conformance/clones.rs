use std::time::Duration;

use bbt_domain::{
    access::Actor,
    identity::{AdmissionKind, Evidence, EvidenceKind},
    ids::{AdmissionId, BootId, DeviceId, RunId},
};

use super::{Exam, START, new_set};
use crate::{
    Tx,
    admissions::{
        AdmissionLine, Decision, admission_decide, admission_decide_siblings, admission_list,
        admission_siblings,
    },
    certificates::{CertificateRefusal, NewCertificate, Reattaching, certificate_reattach},
    devices::{DeviceFile, device_list, device_show},
    enrollment::{Admitted, Waiting},
    recognition::device_freeze,
    reports::{Opening, Whose, session_start},
};

exams![
    the_device_itself_is_taken_back_and_its_clone_waits,
    all_clones_of_an_image_become_devices_of_their_own_in_one_act,
    a_clone_that_is_the_device_after_all_is_taken_back,
    a_refused_clone_gets_nothing,
    a_sibling_that_lost_its_key_waits_again_unless_its_disk_is_known_to_fall_back,
    a_pc_without_evidence_is_believed_when_it_says_that_it_was_told_apart,
];

/// A PC of its own.
fn pc(n: u8) -> Vec<Evidence> {
    let evidence = |kind, value: String| Evidence { kind, value, junk: false };
    vec![
        evidence(EvidenceKind::BoardUuid, format!("4C4C4544-0042-3510-8052-B4C04F4E32{n:02}")),
        evidence(EvidenceKind::PermanentMac, format!("00:E0:4C:36:12:{n:02}")),
    ]
}

/// What somebody asks with who has the image of the device 1.
fn asks(key: u8, evidence: Vec<Evidence>, run: Option<u8>) -> Reattaching {
    Reattaching {
        shown: None,
        shown_key_sha256: [1; 32],
        key_sha256: [key; 32],
        certificate: NewCertificate {
            serial: uuid::Uuid::new_v4().into_bytes(),
            not_before: START,
            not_after: START,
        },
        evidence,
        run: run.map(|run| RunId::from_bytes([run; 16])),
        device: DeviceId::from_bytes([key; 16]),
        set: new_set(key),
        admission: AdmissionId::from_bytes([key; 16]),
        agent_version: "0.1.0".into(),
        peer: "192.0.2.1".into(),
    }
}

impl Exam {
    async fn original(&self) -> DeviceId {
        self.token(1, 10, START.plus(Duration::from_secs(60))).await;
        match self.admit(1, 1, 1, pc(1), START).await {
            Ok(Admitted::Device(enrolled)) => enrolled.device,
            other => panic!("{other:?}"),
        }
    }

    async fn rekey(&self, of: DeviceId, asks: Reattaching) -> Result<Admitted, CertificateRefusal> {
        let ask =
            move |tx: &mut Tx<'_>| certificate_reattach(tx, &Actor::Device(of), &asks, &|_| false, START);
        self.store.write(ask).await.expect("the store works")
    }

    async fn rekeyed(&self, of: DeviceId, asks: Reattaching) -> DeviceId {
        match self.rekey(of, asks).await {
            Ok(Admitted::Device(enrolled)) => enrolled.device,
            other => panic!("{other:?}"),
        }
    }

    async fn queue(&self) -> Vec<AdmissionLine> {
        self.store.read(|tx| admission_list(tx, &Actor::Local, None, 100)).await.expect("a list")
    }

    async fn rule(&self, decision: Decision) {
        let id = self.queue().await[0].id;
        let rule = move |tx: &mut Tx<'_>| admission_decide(tx, &Actor::Local, id, decision, START);
        self.store.write(rule).await.expect("a ruling");
    }

    async fn opens(&self, of: DeviceId, run: u8, evidence: Vec<Evidence>) -> Whose {
        let opening = Opening {
            run: RunId::from_bytes([run; 16]),
            boot: BootId::from_bytes([run; 16]),
            clean_stop: None,
            agent_version: "0.1.0".into(),
            address: "192.0.2.7".into(),
            backlog_frames: 0,
            backlog_bytes: 0,
            clock_off_micros: 0,
            evidence,
            canary: 0,
            admission: AdmissionId::from_bytes([200 + run; 16]),
        };
        let open = move |tx: &mut Tx<'_>| session_start(tx, &Actor::Device(of), &opening, START);
        self.store.write(open).await.expect("a session").whose
    }

    async fn file_of(&self, device: DeviceId) -> DeviceFile {
        self.store.read(move |tx| device_show(tx, &Actor::Local, device)).await.expect("a device")
    }

    async fn device_count(&self) -> usize {
        self.store.read(|tx| device_list(tx, &Actor::Local, None, 100)).await.expect("a list").len()
    }
}

async fn the_device_itself_is_taken_back_and_its_clone_waits(exam: Exam) {
    let original = exam.original().await;
    assert_eq!(exam.rekeyed(original, asks(10, pc(1), None)).await, original);
    assert_eq!(exam.opens(original, 2, pc(2)).await, Whose::Clone);
    for _ in 0..2 {
        let waiting = exam.rekey(original, asks(20, pc(2), Some(2))).await;
        assert_eq!(waiting, Ok(Admitted::Waiting(Waiting::Clone(original))));
    }
    let queue = exam.queue().await;
    assert_eq!(queue.len(), 1, "what its stream showed and what it asks is one");
    assert_eq!((queue[0].kind, queue[0].times, queue[0].asks), (AdmissionKind::Clone, 3, true));
    assert_eq!(exam.device_count().await, 1);
}

async fn all_clones_of_an_image_become_devices_of_their_own_in_one_act(exam: Exam) {
    let original = exam.original().await;
    for n in 2..=5 {
        exam.rekey(original, asks(n * 10, pc(n), None)).await.unwrap();
    }
    let approve = move |tx: &mut Tx<'_>| admission_decide_siblings(tx, &Actor::Local, original, START);
    assert_eq!(exam.store.write(approve).await.unwrap(), 4);
    assert_eq!(exam.store.write(approve).await.unwrap(), 0);
    for n in 2..=5 {
        let device = exam.rekeyed(original, asks(n * 10, pc(n), None)).await;
        assert_eq!(device, DeviceId::from_bytes([n * 10; 16]));
        let file = exam.file_of(device).await;
        assert_eq!((file.sibling_of, file.evidence.len()), (Some(original), 2));
        assert_eq!(
            exam.rekeyed(original, asks(n * 10, pc(n), None)).await,
            device,
            "an answer that was lost"
        );
        assert!(matches!(exam.opens(device, n, pc(n)).await, Whose::Device(_)));
    }
    assert_eq!(exam.device_count().await, 5);
    let siblings = move |tx: &mut Tx<'_>| admission_siblings(tx, &Actor::Local, original);
    assert!(exam.store.read(siblings).await.unwrap().iter().all(|line| line.taken));
    assert!(matches!(exam.opens(original, 1, pc(1)).await, Whose::Device(_)), "the original is where it was");
}

async fn a_clone_that_is_the_device_after_all_is_taken_back(exam: Exam) {
    let original = exam.original().await;
    exam.rekey(original, asks(20, pc(2), None)).await.unwrap();
    exam.rule(Decision::Same(original)).await;
    assert_eq!(exam.rekeyed(original, asks(20, pc(2), None)).await, original);
    assert!(matches!(exam.opens(original, 2, pc(2)).await, Whose::Device(_)));
    assert_eq!(exam.device_count().await, 1);
}

async fn a_refused_clone_gets_nothing(exam: Exam) {
    let original = exam.original().await;
    exam.rekey(original, asks(20, pc(2), None)).await.unwrap();
    exam.rule(Decision::Refused).await;
    assert_eq!(exam.rekey(original, asks(20, pc(2), None)).await, Err(CertificateRefusal::Refused));
    assert_eq!(exam.opens(original, 2, pc(2)).await, Whose::Clone);
    assert_eq!(exam.device_count().await, 1);
}

async fn a_sibling_that_lost_its_key_waits_again_unless_its_disk_is_known_to_fall_back(exam: Exam) {
    let original = exam.original().await;
    exam.rekey(original, asks(20, pc(2), None)).await.unwrap();
    exam.rule(Decision::New).await;
    let sibling = exam.rekeyed(original, asks(20, pc(2), None)).await;
    let again = exam.rekey(original, asks(21, pc(2), None)).await;
    assert!(matches!(again, Ok(Admitted::Waiting(_))), "{again:?}");
    assert_eq!(exam.queue().await[0].matches[0].device, sibling, "and is shown as what it was");
    exam.rule(Decision::Same(sibling)).await;
    assert_eq!(exam.rekeyed(original, asks(21, pc(2), None)).await, sibling);
    let freeze = move |tx: &mut Tx<'_>| device_freeze(tx, &Actor::Local, sibling, true, START);
    exam.store.write(freeze).await.unwrap();
    for morning in 22..=24 {
        assert_eq!(exam.rekeyed(original, asks(morning, pc(2), None)).await, sibling);
    }
    assert_eq!(exam.device_count().await, 2);
}

async fn a_pc_without_evidence_is_believed_when_it_says_that_it_was_told_apart(exam: Exam) {
    let original = exam.device(1).await;
    assert!(matches!(exam.opens(original, 1, vec![]).await, Whose::Device(_)));
    let first = RunId::from_bytes([1; 16]);
    let body = bbt_domain::report::Body::Samples(vec![1]);
    exam.deliver(original, first, vec![super::reports::report(original, first, 1, body)]).await.unwrap();
    exam.opens(original, 2, vec![]).await;
    exam.opens(original, 1, vec![]).await;
    assert_eq!(exam.opens(original, 2, vec![]).await, Whose::Clone);
    let waiting = exam.rekey(original, asks(20, vec![], Some(2))).await;
    assert_eq!(waiting, Ok(Admitted::Waiting(Waiting::Clone(original))));
    assert_eq!(exam.rekeyed(original, asks(30, vec![], Some(1))).await, original, "the first one was not");
}
