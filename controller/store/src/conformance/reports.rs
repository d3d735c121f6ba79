use std::time::Duration;

use bbt_domain::{
    access::Actor,
    facts::{Software, StateReport, Told},
    ids::{AdmissionId, BootId, DeviceId, RunId, SchoolId},
    report::{Body, Class, Contact, Decision, Gap, Report},
    time::UtcMicros,
};

use super::{Exam, START};
use crate::{
    StoreError,
    devices::{DeviceFile, device_show, newest_samples},
    reports::{Delivery, Opening, reports_commit, session_start},
};

exams![
    a_report_counts_once_however_often_it_comes_and_after_a_restart_too,
    the_same_number_of_another_run_is_another_report,
    only_the_newest_sessions_run_changes_the_current_state_and_only_forwards,
    a_second_stream_of_the_same_run_goes_on_counting,
    a_report_that_names_another_device_stores_nothing,
    an_unreadable_report_is_kept_apart_and_holds_up_nobody,
    a_gap_is_shown_with_its_span_and_reason,
    samples_are_kept_as_they_came_and_dated_by_the_monotonic_clock,
    a_device_that_was_never_recorded_opens_no_session,
];

pub(super) fn run(n: u8) -> RunId {
    RunId::from_bytes([n; 16])
}

pub(super) fn report(device: DeviceId, of: RunId, seq: u64, body: Body) -> Report {
    Report {
        run: of,
        seq,
        class: Class::State,
        device,
        boot: BootId::from_bytes([1; 16]),
        clean_stop: None,
        wall: START,
        mono_micros: 1_000_000,
        body,
    }
}

fn state(full: bool, host: &str) -> Body {
    let facts = Software { host_name: Some(host.into()), ..Software::default() };
    Body::State(Box::new(StateReport {
        full,
        software: Some(Told { facts, problems: vec![] }),
        ..Default::default()
    }))
}

fn samples(byte: u8) -> Body {
    Body::Samples(vec![byte])
}

impl Exam {
    pub(super) async fn open_session(&self, device: DeviceId, of: RunId) {
        let opening = Opening {
            run: of,
            boot: BootId::from_bytes([1; 16]),
            clean_stop: Some(true),
            agent_version: "0.1.0".into(),
            address: "192.0.2.1".into(),
            backlog_frames: 3,
            backlog_bytes: 300,
            clock_off_micros: -2_000_000,
            evidence: vec![],
            canary: 0,
            admission: AdmissionId::from_bytes([9; 16]),
        };
        let actor = Actor::Device(device);
        self.store.write(move |tx| session_start(tx, &actor, &opening, START)).await.expect("a session");
    }

    pub(super) async fn deliver(
        &self,
        device: DeviceId,
        session_run: RunId,
        reports: Vec<Report>,
    ) -> Result<Vec<Decision>, StoreError> {
        let delivery = Delivery {
            row_ids: reports.iter().map(|_| uuid::Uuid::new_v4().into_bytes()).collect(),
            reports,
            contact: Contact {
                received: START.plus(Duration::from_secs(10)),
                sent_wall: START,
                sent_mono_micros: 2_000_000,
                boot: BootId::from_bytes([1; 16]),
            },
            session_run,
            school: SchoolId::from_bytes([3; 16]),
        };
        let actor = Actor::Device(device);
        self.store.write(move |tx| reports_commit(tx, &actor, &delivery)).await
    }

    async fn file(&self, device: DeviceId) -> DeviceFile {
        self.store.read(move |tx| device_show(tx, &Actor::Local, device)).await.expect("a device")
    }
}

fn host(file: &DeviceFile) -> Option<String> {
    file.line.host_name.clone()
}

async fn a_report_counts_once_however_often_it_comes_and_after_a_restart_too(exam: Exam) {
    let device = exam.device(7).await;
    exam.open_session(device, run(1)).await;
    let batch = || (1..=3).map(|seq| report(device, run(1), seq, samples(seq as u8))).collect::<Vec<_>>();
    assert_eq!(exam.deliver(device, run(1), batch()).await.unwrap(), [const { Decision::Committed }; 3]);
    assert_eq!(exam.deliver(device, run(1), batch()).await.unwrap(), [const { Decision::Duplicate }; 3]);
    let exam = exam.reopen();
    assert_eq!(exam.deliver(device, run(1), batch()).await.unwrap(), [const { Decision::Duplicate }; 3]);
    assert_eq!(exam.file(device).await.history_frames, 3);
}

async fn the_same_number_of_another_run_is_another_report(exam: Exam) {
    let device = exam.device(7).await;
    exam.open_session(device, run(1)).await;
    for of in [run(1), run(2)] {
        let decided = exam.deliver(device, run(1), vec![report(device, of, 1, samples(1))]).await.unwrap();
        assert_eq!(decided, [Decision::Committed]);
    }
}

async fn only_the_newest_sessions_run_changes_the_current_state_and_only_forwards(exam: Exam) {
    let device = exam.device(7).await;
    exam.open_session(device, run(1)).await;
    exam.deliver(device, run(1), vec![report(device, run(1), 5, state(true, "five"))]).await.unwrap();
    exam.deliver(device, run(1), vec![report(device, run(1), 4, state(true, "four"))]).await.unwrap();
    assert_eq!(host(&exam.file(device).await).as_deref(), Some("five"), "an overtaken state is history");

    exam.open_session(device, run(2)).await;
    let reports = vec![
        report(device, run(1), 6, state(true, "backlog")),
        report(device, run(2), 1, state(true, "now")),
    ];
    exam.deliver(device, run(2), reports).await.unwrap();
    exam.deliver(device, run(2), vec![report(device, run(1), 7, state(true, "late"))]).await.unwrap();
    assert_eq!(host(&exam.file(device).await).as_deref(), Some("now"));
}

async fn a_second_stream_of_the_same_run_goes_on_counting(exam: Exam) {
    let device = exam.device(7).await;
    exam.open_session(device, run(1)).await;
    exam.deliver(device, run(1), vec![report(device, run(1), 9, state(true, "nine"))]).await.unwrap();
    exam.open_session(device, run(1)).await;
    exam.deliver(device, run(1), vec![report(device, run(1), 8, state(true, "eight"))]).await.unwrap();
    assert_eq!(host(&exam.file(device).await).as_deref(), Some("nine"));
}

async fn a_report_that_names_another_device_stores_nothing(exam: Exam) {
    let (device, other) = (exam.device(7).await, exam.device(8).await);
    exam.open_session(device, run(1)).await;
    let decided = exam.deliver(device, run(1), vec![report(other, run(1), 1, samples(1))]).await.unwrap();
    assert_eq!(decided, [Decision::OtherIdentity]);
    assert_eq!(exam.file(device).await.history_frames, 0);
    assert_eq!(exam.file(other).await.history_frames, 0);
    let decided = exam.deliver(device, run(1), vec![report(device, run(1), 1, samples(1))]).await.unwrap();
    assert_eq!(decided, [Decision::Committed], "and its number was not taken");
}

async fn an_unreadable_report_is_kept_apart_and_holds_up_nobody(exam: Exam) {
    let device = exam.device(7).await;
    exam.open_session(device, run(1)).await;
    let bad = Body::Unreadable { reason: "it is noise".into(), bytes: vec![0xff; 10] };
    let decided = exam
        .deliver(device, run(1), vec![report(device, run(1), 1, bad), report(device, run(1), 2, samples(2))])
        .await
        .unwrap();
    assert_eq!(decided, [Decision::Quarantined("it is noise".into()), Decision::Committed]);
    let file = exam.file(device).await;
    assert_eq!((file.quarantined, file.history_frames), (1, 1));
}

async fn a_gap_is_shown_with_its_span_and_reason(exam: Exam) {
    let device = exam.device(7).await;
    exam.open_session(device, run(1)).await;
    let gap = Gap {
        class: Class::History,
        run: run(9),
        first_seq: 3,
        last_seq: 12,
        count: 10,
        from_wall: UtcMicros::from_secs(START.as_secs() - 600),
        to_wall: UtcMicros::from_secs(START.as_secs() - 60),
        reason: "spool_full".into(),
    };
    exam.deliver(device, run(1), vec![report(device, run(1), 1, Body::Gap(gap))]).await.unwrap();
    let gaps = exam.file(device).await.gaps;
    assert_eq!(gaps.len(), 1);
    assert_eq!(
        (gaps[0].class.as_str(), gaps[0].reason.as_str(), gaps[0].reports),
        ("history", "spool_full", 10)
    );
    assert_eq!(gaps[0].to.since(gaps[0].from), Duration::from_secs(540));
}

async fn samples_are_kept_as_they_came_and_dated_by_the_monotonic_clock(exam: Exam) {
    let device = exam.device(7).await;
    exam.open_session(device, run(1)).await;
    exam.deliver(device, run(1), vec![report(device, run(1), 1, samples(42))]).await.unwrap();
    let (at, mono, body) =
        exam.store.read(move |tx| newest_samples(tx, &Actor::Local, device)).await.unwrap().unwrap();
    assert_eq!((at, mono, body), (START.plus(Duration::from_secs(9)), 1_000_000, vec![42]));
}

async fn a_device_that_was_never_recorded_opens_no_session(exam: Exam) {
    let stranger = Actor::Device(DeviceId::from_bytes([0xee; 16]));
    let opening = Opening {
        run: run(1),
        boot: BootId::from_bytes([1; 16]),
        clean_stop: None,
        agent_version: String::new(),
        address: String::new(),
        backlog_frames: 0,
        backlog_bytes: 0,
        clock_off_micros: 0,
        evidence: vec![],
        canary: 0,
        admission: AdmissionId::from_bytes([9; 16]),
    };
    let result = exam.store.write(move |tx| session_start(tx, &stranger, &opening, START)).await;
    assert!(matches!(result, Err(StoreError::NotFound { noun: "device", .. })), "{result:?}");
}
