//! From a device's word to a fault, a ticket, a question, a message: each once, whatever is repeated.

use std::time::Duration;

use bbt_domain::{
    access::Actor,
    facts::{FileSystem, FileSystems, StateReport, Told},
    fault::{FaultKind, FaultState, policy::Rules},
    ids::{AdmissionId, BootId, ContractId, DeviceId, FaultId, InquiryId, MessageId, RunId, SetId, TicketId},
    inquiry::{Answer, InquiryState},
    org::{SchoolCode, SetStanding},
    report::{Body, Class, Contact, Report},
    set_state::SetState,
    ticket::state::{Action, TicketState},
    time::UtcMicros,
};
use serde_json::{Value as Json, json};

use super::Exam;
use crate::{
    StoreError,
    contracts::{NewContract, Webhook, contract_add, contract_list},
    faults::{
        FaultFilter, FaultLine, fault_analyze, fault_list, fault_show, fault_story, fault_would_change,
    },
    inquiries::{
        InquiryLine, InquiryStep, inquiry_answer, inquiry_escalate, inquiry_list, inquiry_step, inquiry_steps,
    },
    meta::listening_note,
    outbox::{Attempted, MessageState, message_attempted, messages_due, next_due},
    reports::{Delivery, Opening, reports_commit, session_start},
    sets::{SetRef, set_find, set_sealing},
    tickets::{
        TicketFile, TicketFilter, TicketMeans, TicketRef, TicketStep, ticket_act, ticket_list, ticket_show,
        ticket_step, ticket_steps,
    },
};

exams![
    a_sign_that_was_not_raised_is_shown_to_nobody,
    a_full_disk_is_one_fault_one_ticket_one_message,
    room_again_closes_a_ticket_that_nobody_accepted_and_says_so,
    a_ticket_that_somebody_accepted_gets_a_note_once_and_ends_by_people,
    twenty_times_is_one_flapping_fault_with_one_ticket,
    a_false_alarm_is_not_opened_again_by_the_same_fault,
    without_a_contract_there_is_a_ticket_and_nobody_to_tell,
    a_silent_set_is_a_question_and_never_a_ticket_by_itself,
    a_controller_that_was_down_for_days_asks_nobody_for_its_own_silence,
    a_question_stays_open_when_the_controller_was_down,
    a_set_that_is_heard_again_withdraws_the_question,
    broken_becomes_a_ticket_and_the_school_is_not_asked_again,
    not_used_is_asked_again_after_further_days,
    a_sealed_set_is_left_alone,
    a_set_that_was_moved_away_is_left_alone,
    a_question_without_an_answer_becomes_a_ticket_only_after_days_and_by_a_person,
    a_message_is_due_until_it_is_delivered_or_given_up,
    a_school_is_under_one_contract_at_a_time,
    people_make_no_faults_and_the_controller_answers_no_questions,
];

const GIB: u64 = 1 << 30;
/// A Monday, 09:00 in the county.
const MONDAY: UtcMicros = UtcMicros::from_const(1_790_557_200_000_000);
const DECIDER: Actor = Actor::System("test");
const SET: SetId = SetId::from_bytes([7; 16]);

/// An exam with one device, its set, and a clock.
struct County {
    exam: Exam,
    device: DeviceId,
    now: UtcMicros,
    seq: u64,
    ids: u64,
    rules: Rules,
}

/// Ids rise, as those of the program do.
fn fresh(ids: &mut u64) -> [u8; 16] {
    *ids += 1;
    let mut id = [0; 16];
    id[8..].copy_from_slice(&ids.to_be_bytes());
    id
}

impl County {
    async fn begin(exam: Exam) -> Self {
        let device = exam.device(7).await;
        let mut county = Self { exam, device, now: MONDAY, seq: 0, ids: 0, rules: Rules::default() };
        let opening = Opening {
            run: RunId::from_bytes([1; 16]),
            boot: BootId::from_bytes([1; 16]),
            clean_stop: None,
            agent_version: "0".into(),
            address: "192.0.2.1".into(),
            backlog_frames: 0,
            backlog_bytes: 0,
            clock_off_micros: 0,
            evidence: vec![],
            canary: 0,
            admission: AdmissionId::from_bytes([9; 16]),
        };
        let now = county.now;
        let actor = Actor::Device(device);
        county.exam.store.write(move |tx| session_start(tx, &actor, &opening, now)).await.expect("a session");
        county.tell(50 * GIB).await;
        county
    }

    async fn with_contract(exam: Exam) -> Self {
        let county = Self::begin(exam).await;
        let contract = NewContract {
            id: ContractId::from_bytes([50; 16]),
            contractor: "维保公司".into(),
            schools: vec![SchoolCode::parse("T1").expect("a code")],
            webhook: Some(Webhook {
                url: "https://contractor.example/hook".into(),
                sealed_secret: vec![1],
                granted_by_local: false,
            }),
        };
        let now = county.now;
        county
            .exam
            .store
            .write(move |tx| contract_add(tx, &Actor::Local, &contract, now))
            .await
            .expect("a contract");
        county
    }

    /// The device tells how much is free of a hundred GiB, now.
    async fn tell(&mut self, free: u64) {
        self.seq += 1;
        let file_system = FileSystem {
            mount_point: "/".into(),
            source: "/dev/sda1".into(),
            kind: "ext4".into(),
            size_bytes: Some(100 * GIB),
            free_bytes: Some(free),
            read_only: false,
        };
        let told = Told { facts: FileSystems { file_systems: vec![file_system] }, problems: vec![] };
        let state = StateReport { file_systems: Some(told), ..StateReport::default() };
        let report = Report {
            run: RunId::from_bytes([1; 16]),
            seq: self.seq,
            class: Class::State,
            device: self.device,
            boot: BootId::from_bytes([1; 16]),
            clean_stop: None,
            wall: self.now,
            mono_micros: self.now.as_micros(),
            body: Body::State(Box::new(state)),
        };
        let contact = Contact {
            received: self.now,
            sent_wall: self.now,
            sent_mono_micros: self.now.as_micros(),
            boot: BootId::from_bytes([1; 16]),
        };
        let mut row_id = [0; 16];
        row_id[8..].copy_from_slice(&self.seq.to_be_bytes());
        let delivery = Delivery {
            reports: vec![report],
            row_ids: vec![row_id],
            contact,
            session_run: RunId::from_bytes([1; 16]),
            school: bbt_domain::ids::SchoolId::from_bytes([3; 16]),
        };
        let actor = Actor::Device(self.device);
        self.exam.store.write(move |tx| reports_commit(tx, &actor, &delivery)).await.expect("decided");
    }

    /// Minutes in which the device says every minute how much is free, and the tasks run.
    async fn minutes(&mut self, count: u64, free: u64) {
        self.told_every(1, count, free).await;
    }

    /// The same, said `times` times with so many minutes between.
    async fn told_every(&mut self, minutes: u64, times: u64, free: u64) {
        for _ in 0..times {
            self.now = self.now.plus(Duration::from_secs(60 * minutes));
            self.tell(free).await;
            self.run().await;
        }
    }

    /// All tasks once.
    async fn run(&mut self) {
        self.analyze().await;
        self.open_tickets().await;
        self.ask().await;
    }

    async fn analyze(&mut self) -> usize {
        let (rules, now) = (self.rules.clone(), self.now);
        let ids = [(); 2].map(|()| FaultId::from_bytes(fresh(&mut self.ids)));
        let would = {
            let rules = rules.clone();
            self.exam.store.read(move |tx| fault_would_change(tx, &DECIDER, SET, &rules, now)).await.unwrap()
        };
        let changed = self
            .exam
            .store
            .write(move |tx| fault_analyze(tx, &DECIDER, SET, &rules, &ids, now))
            .await
            .unwrap();
        assert_eq!(would, changed > 0, "a reader sees what the writer will do");
        changed
    }

    fn means(&mut self) -> TicketMeans {
        TicketMeans {
            ticket: TicketId::from_bytes(fresh(&mut self.ids)),
            message: MessageId::from_bytes(fresh(&mut self.ids)),
            console: "https://county.example:8443".into(),
        }
    }

    async fn steps(&self) -> Vec<TicketStep> {
        self.exam.store.read(|tx| ticket_steps(tx, &DECIDER, 100)).await.unwrap()
    }

    async fn open_tickets(&mut self) {
        for step in self.steps().await {
            let (means, now) = (self.means(), self.now);
            let step = move |tx: &mut crate::Tx<'_>| ticket_step(tx, &DECIDER, step, &means, now);
            assert!(self.exam.store.write(step.clone()).await.unwrap());
            assert!(!self.exam.store.write(step).await.unwrap(), "done once");
        }
    }

    async fn ask(&mut self) {
        let (rules, now) = (self.rules.clone(), self.now);
        let steps: Vec<InquiryStep> = {
            let rules = rules.clone();
            self.exam.store.read(move |tx| inquiry_steps(tx, &DECIDER, &rules, 100, now)).await.unwrap()
        };
        for step in steps {
            let id = InquiryId::from_bytes(fresh(&mut self.ids));
            let rules = rules.clone();
            let step = move |tx: &mut crate::Tx<'_>| inquiry_step(tx, &DECIDER, step, id, &rules, now);
            assert!(self.exam.store.write(step.clone()).await.unwrap());
            assert!(!self.exam.store.write(step).await.unwrap(), "done once");
        }
    }

    async fn faults(&self) -> Vec<FaultLine> {
        let filter = FaultFilter { with_past: true, ..FaultFilter::default() };
        self.exam.store.read(move |tx| fault_list(tx, &Actor::Local, &filter, None, 100)).await.unwrap()
    }

    async fn fault(&self, id: FaultId) -> Result<FaultLine, StoreError> {
        self.exam.store.read(move |tx| fault_show(tx, &Actor::Local, id)).await
    }

    async fn tickets(&self) -> Vec<TicketFile> {
        let filter = TicketFilter { with_closed: true, ..TicketFilter::default() };
        self.exam
            .store
            .read(move |tx| {
                let lines = ticket_list(tx, &Actor::Local, &filter, None, 100)?;
                lines.into_iter().map(|line| ticket_show(tx, &Actor::Local, TicketRef::Id(line.id))).collect()
            })
            .await
            .unwrap()
    }

    async fn inquiries(&self) -> Vec<InquiryLine> {
        self.exam.store.read(|tx| inquiry_list(tx, &Actor::Local, true, None, None, 100)).await.unwrap()
    }

    async fn act(&mut self, action: Action, note: &'static str) -> Result<TicketFile, StoreError> {
        let ticket = self.tickets().await[0].line.id;
        let (means, now) = (self.means(), self.now);
        self.exam
            .store
            .write(move |tx| ticket_act(tx, &Actor::Local, ticket, action, note, &means, now))
            .await
    }

    async fn state(&self) -> SetState {
        let now = self.now;
        self.exam.store.read(move |tx| set_find(tx, &Actor::Local, SetRef::Id(SET), now)).await.unwrap().state
    }

    async fn answer(&mut self, answer: Answer) -> Result<InquiryLine, StoreError> {
        let id = self.inquiries().await[0].id;
        let (means, now) = (self.means(), self.now);
        self.exam.store.write(move |tx| inquiry_answer(tx, &Actor::Local, id, answer, "", &means, now)).await
    }

    async fn escalate(&mut self) -> Result<InquiryLine, StoreError> {
        let id = self.inquiries().await[0].id;
        let (means, now, rules) = (self.means(), self.now, self.rules.clone());
        self.exam.store.write(move |tx| inquiry_escalate(tx, &Actor::Local, id, &rules, &means, now)).await
    }

    /// The controller is there.
    async fn listen(&self) {
        self.listen_at(self.now).await;
    }

    /// It was there for the day before, too.
    async fn listen_all_day(&self) {
        for hours in (0..24).rev() {
            self.listen_at(self.now.minus(Duration::from_secs(3_600 * hours))).await;
        }
    }

    async fn listen_at(&self, now: UtcMicros) {
        let expected = self.rules.expected;
        self.exam.store.write(move |tx| listening_note(tx, &DECIDER, &expected, now)).await.unwrap();
    }

    fn days_later(&mut self, days: u64) {
        self.now = self.now.plus(Duration::from_secs(days * 86_400));
    }
}

async fn a_full_disk_is_one_fault_one_ticket_one_message(exam: Exam) {
    let mut county = County::with_contract(exam).await;
    county.minutes(30, GIB).await;
    let faults = county.faults().await;
    assert_eq!(faults.len(), 1);
    assert_eq!((faults[0].kind, faults[0].state), (FaultKind::DiskNearlyFull, FaultState::Faulty));
    assert_eq!(faults[0].set.school_name, "测试小学");
    let tickets = county.tickets().await;
    assert_eq!(tickets.len(), 1);
    assert_eq!(
        (tickets[0].line.state, tickets[0].line.contractor.as_deref()),
        (TicketState::Opened, Some("维保公司"))
    );
    assert_eq!(tickets[0].line.no, "20260928-001");
    assert_eq!(faults[0].ticket.as_ref().map(|(_, no, _)| no.as_str()), Some("20260928-001"));
    assert_eq!(county.state().await, SetState::Faulty);
    let now = county.now;
    let due = county.exam.store.read(move |tx| messages_due(tx, &DECIDER, now, 10)).await.unwrap();
    assert_eq!(due.len(), 1);
    let body: Json = serde_json::from_str(&due[0].body).unwrap();
    assert_eq!((&body["type"], &body["version"]), (&json!("ticket.opened"), &json!(1)));
    assert_eq!(body["data"]["reason"]["code"], "disk_low");
    assert_eq!(body["data"]["reason"]["free_bytes"], GIB);
    let url = body["data"]["ticket"]["url"].as_str().unwrap();
    assert!(url.starts_with("https://county.example:8443/tickets/"), "{url}");
    let story = {
        let id = faults[0].id;
        county.exam.store.read(move |tx| fault_story(tx, &Actor::Local, id)).await.unwrap()
    };
    let states: Vec<_> = story.iter().map(|change| change.state).collect();
    assert_eq!(states, [FaultState::Suspected, FaultState::Faulty]);
    let shown = county.fault(faults[0].id).await.unwrap();
    assert_eq!(shown, faults[0]);
}

async fn a_sign_that_was_not_raised_is_shown_to_nobody(exam: Exam) {
    let mut county = County::begin(exam).await;
    county.minutes(5, GIB).await;
    assert_eq!(county.faults().await, []);
    let suspected = county.exam.store.read(|tx| {
        tx.query_first("SELECT id FROM fault", crate::params![], |row| {
            Ok(FaultId::from_bytes(row.array(0, "a fault's id")?))
        })
    });
    let id = suspected.await.unwrap().expect("a first sign");
    assert!(matches!(county.fault(id).await, Err(StoreError::NotFound { noun: "fault", .. })));
}

async fn room_again_closes_a_ticket_that_nobody_accepted_and_says_so(exam: Exam) {
    let mut county = County::with_contract(exam).await;
    county.minutes(15, GIB).await;
    county.minutes(40, 50 * GIB).await;
    let tickets = county.tickets().await;
    assert_eq!((tickets.len(), tickets[0].line.state), (1, TicketState::Recovered));
    assert!(tickets[0].line.closed_at.is_some());
    let kinds: Vec<_> = tickets[0].messages.iter().map(|message| message.kind.as_str()).collect();
    assert_eq!(kinds, ["ticket.opened", "ticket.recovered"]);
    assert_eq!(county.state().await, SetState::Ok);
}

async fn a_ticket_that_somebody_accepted_gets_a_note_once_and_ends_by_people(exam: Exam) {
    let mut county = County::with_contract(exam).await;
    county.minutes(15, GIB).await;
    county.act(Action::Accept, "").await.unwrap();
    assert_eq!(county.state().await, SetState::Repairing);
    county.minutes(60, 50 * GIB).await;
    let ticket = county.tickets().await.remove(0);
    assert_eq!(ticket.line.state, TicketState::Accepted);
    let notes = ticket.events.iter().filter(|event| event.action == "note_recovery").count();
    assert_eq!(notes, 1);
    let error = county.act(Action::Fix, "  ").await.unwrap_err().to_string();
    assert!(error.contains("note"), "{error}");
    county.act(Action::Fix, "清理了下载目录").await.unwrap();
    let error = county.act(Action::Accept, "").await.unwrap_err().to_string();
    assert!(error.contains("20260928-001") && error.contains("fixed"), "{error}");
    let ticket = county.act(Action::Confirm, "").await.unwrap();
    assert_eq!(ticket.line.state, TicketState::Confirmed);
    assert_eq!(ticket.events.last().map(|event| event.actor.as_str()), Some("local"));
}

async fn twenty_times_is_one_flapping_fault_with_one_ticket(exam: Exam) {
    let mut county = County::with_contract(exam).await;
    for _ in 0..20 {
        // Told every six minutes: often enough for the tolerances.
        county.told_every(6, 3, GIB).await;
        county.told_every(6, 7, 50 * GIB).await;
    }
    let faults = county.faults().await;
    assert_eq!((faults.len(), faults[0].returns), (1, 19));
    let tickets = county.tickets().await;
    assert_eq!((tickets.len(), tickets[0].line.state), (1, TicketState::Recovered));
    let reopened = tickets[0].events.iter().filter(|event| event.action == "recur").count();
    assert_eq!(reopened, 19);
}

async fn a_false_alarm_is_not_opened_again_by_the_same_fault(exam: Exam) {
    let mut county = County::with_contract(exam).await;
    county.minutes(15, GIB).await;
    county.act(Action::CallFalse, "正在安装课件，已知").await.unwrap();
    county.minutes(30, GIB).await;
    county.minutes(40, 50 * GIB).await;
    county.minutes(15, GIB).await;
    let tickets = county.tickets().await;
    assert_eq!((tickets.len(), tickets[0].line.state), (1, TicketState::FalseAlarm));
    county.minutes(40, 50 * GIB).await;
    county.days_later(2);
    county.minutes(1, 50 * GIB).await;
    county.minutes(15, GIB).await;
    assert_eq!(county.tickets().await.len(), 2, "a new fault after quiet days is a new ticket");
}

async fn without_a_contract_there_is_a_ticket_and_nobody_to_tell(exam: Exam) {
    let mut county = County::begin(exam).await;
    county.minutes(15, GIB).await;
    let tickets = county.tickets().await;
    assert_eq!((tickets.len(), tickets[0].line.contractor.as_deref()), (1, None));
    assert_eq!(tickets[0].messages, []);
}

async fn a_silent_set_is_a_question_and_never_a_ticket_by_itself(exam: Exam) {
    let mut county = County::with_contract(exam).await;
    county.days_later(2);
    county.run().await;
    assert_eq!(county.inquiries().await, [], "Wednesday: not yet three days of expected hours");
    county.days_later(1);
    for _ in 0..3 {
        county.run().await;
    }
    let inquiries = county.inquiries().await;
    assert_eq!((inquiries.len(), inquiries[0].state), (1, InquiryState::Open));
    assert_eq!(county.state().await, SetState::Silent);
    county.days_later(14);
    county.run().await;
    assert_eq!((county.inquiries().await.len(), county.tickets().await.len()), (1, 0));
}

async fn a_controller_that_was_down_for_days_asks_nobody_for_its_own_silence(exam: Exam) {
    let mut county = County::begin(exam).await;
    county.listen().await;
    county.days_later(7);
    county.listen().await;
    county.run().await;
    assert_eq!(county.inquiries().await, []);
    for _ in 0..2 {
        county.days_later(1);
        county.listen_all_day().await;
        county.run().await;
    }
    assert_eq!(county.inquiries().await, []);
    county.days_later(1);
    county.listen_all_day().await;
    county.run().await;
    assert_eq!(county.inquiries().await.len(), 1, "three days of listening later");
}

async fn a_question_stays_open_when_the_controller_was_down(exam: Exam) {
    let mut county = County::begin(exam).await;
    county.days_later(7);
    county.run().await;
    county.days_later(7);
    county.listen().await;
    county.run().await;
    assert_eq!(county.inquiries().await[0].state, InquiryState::Open, "nobody was heard");
}

async fn a_set_that_is_heard_again_withdraws_the_question(exam: Exam) {
    let mut county = County::begin(exam).await;
    county.days_later(7);
    county.run().await;
    county.minutes(1, 50 * GIB).await;
    let inquiries = county.inquiries().await;
    assert_eq!((inquiries.len(), inquiries[0].state), (1, InquiryState::Withdrawn));
    assert_eq!(county.state().await, SetState::Ok);
}

async fn broken_becomes_a_ticket_and_the_school_is_not_asked_again(exam: Exam) {
    let mut county = County::with_contract(exam).await;
    county.days_later(7);
    county.run().await;
    let answered = county.answer(Answer::Broken).await.unwrap();
    assert_eq!(
        (answered.state, answered.ticket_no.as_deref()),
        (InquiryState::Answered, Some("20261005-001"))
    );
    county.days_later(14);
    county.run().await;
    assert_eq!((county.inquiries().await.len(), county.tickets().await.len()), (1, 1));
    let error = county.answer(Answer::NotUsed).await.unwrap_err().to_string();
    assert!(error.contains("answered already"), "{error}");
}

async fn not_used_is_asked_again_after_further_days(exam: Exam) {
    let mut county = County::begin(exam).await;
    county.days_later(7);
    county.run().await;
    county.answer(Answer::NotUsed).await.unwrap();
    county.days_later(2);
    county.run().await;
    assert_eq!(county.inquiries().await.len(), 1);
    county.days_later(3);
    county.run().await;
    let states: Vec<_> = county.inquiries().await.iter().map(|inquiry| inquiry.state).collect();
    assert_eq!(states, [InquiryState::Answered], "a Saturday");
    county.days_later(2);
    county.run().await;
    let states: Vec<_> = county.inquiries().await.iter().map(|inquiry| inquiry.state).collect();
    assert_eq!(states, [InquiryState::Open, InquiryState::Answered]);
}

async fn a_sealed_set_is_left_alone(exam: Exam) {
    left_alone_after(exam, Answer::Sealed).await;
}

async fn a_set_that_was_moved_away_is_left_alone(exam: Exam) {
    left_alone_after(exam, Answer::Moved).await;
}

async fn left_alone_after(exam: Exam, answer: Answer) {
    let mut county = County::begin(exam).await;
    county.days_later(7);
    county.run().await;
    county.answer(answer).await.unwrap();
    county.days_later(30);
    county.run().await;
    assert_eq!((county.inquiries().await.len(), county.tickets().await.len()), (1, 0));
    assert_eq!(county.state().await, SetState::Sealed);
    let now = county.now;
    let line =
        county.exam.store.read(move |tx| set_find(tx, &Actor::Local, SetRef::Id(SET), now)).await.unwrap();
    assert_eq!((line.standing, line.place), (SetStanding::Sealed, None));
    let sealing = county.exam.store.read(|tx| set_sealing(tx, &Actor::Local, SET)).await.unwrap();
    assert_eq!(sealing.and_then(|sealing| sealing.answer), Some(answer), "it is known why");
}

async fn a_question_without_an_answer_becomes_a_ticket_only_after_days_and_by_a_person(exam: Exam) {
    let mut county = County::with_contract(exam).await;
    county.days_later(7);
    county.run().await;
    let error = county.escalate().await.unwrap_err().to_string();
    assert!(error.contains("3 school days"), "{error}");
    county.days_later(7);
    let line = county.escalate().await.unwrap();
    assert_eq!((line.state, county.tickets().await.len()), (InquiryState::Escalated, 1));
}

async fn a_message_is_due_until_it_is_delivered_or_given_up(exam: Exam) {
    let mut county = County::with_contract(exam).await;
    county.minutes(15, GIB).await;
    let now = county.now;
    let due = county.exam.store.read(move |tx| messages_due(tx, &DECIDER, now, 10)).await.unwrap();
    let id = due[0].id;
    let later = now.plus(Duration::from_secs(60));
    let attempt = |state, due| Attempted { state, reason: json!({"code": "status", "status": 500}), due };
    let failed = attempt(MessageState::Waiting, Some(later));
    county.exam.store.write(move |tx| message_attempted(tx, &DECIDER, id, &failed, now)).await.unwrap();
    assert_eq!(county.exam.store.read(move |tx| messages_due(tx, &DECIDER, now, 10)).await.unwrap().len(), 0);
    assert_eq!(county.exam.store.read(move |tx| next_due(tx, &DECIDER, now)).await.unwrap(), Some(later));
    let due = county.exam.store.read(move |tx| messages_due(tx, &DECIDER, later, 10)).await.unwrap();
    assert_eq!((due[0].id, due[0].attempts, due[0].first_attempt_at), (id, 1, Some(now)), "the same id");
    let done = attempt(MessageState::Delivered, None);
    county.exam.store.write(move |tx| message_attempted(tx, &DECIDER, id, &done, later)).await.unwrap();
    assert_eq!(county.exam.store.read(move |tx| next_due(tx, &DECIDER, now)).await.unwrap(), None);
    let messages = county.tickets().await.remove(0).messages;
    let outcomes: Vec<_> = messages[0].attempts.iter().map(|attempt| attempt.outcome).collect();
    assert_eq!(outcomes, [MessageState::Waiting, MessageState::Delivered]);
    assert_eq!(messages[0].state, MessageState::Delivered);
}

async fn a_school_is_under_one_contract_at_a_time(exam: Exam) {
    let county = County::with_contract(exam).await;
    let second = NewContract {
        id: ContractId::from_bytes([51; 16]),
        contractor: "另一公司".into(),
        schools: vec![SchoolCode::parse("T1").unwrap()],
        webhook: None,
    };
    let now = county.now;
    let error = county
        .exam
        .store
        .write(move |tx| contract_add(tx, &Actor::Local, &second, now))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("T1") && error.contains("维保公司"), "{error}");
    let contracts = county.exam.store.read(|tx| contract_list(tx, &Actor::Local)).await.unwrap();
    assert_eq!(
        (contracts.len(), contracts[0].schools.as_slice()),
        (1, &["T1".to_owned()][..]),
        "nothing half done"
    );
}

async fn people_make_no_faults_and_the_controller_answers_no_questions(exam: Exam) {
    let mut county = County::with_contract(exam).await;
    county.minutes(15, GIB).await;
    let (rules, now) = (county.rules.clone(), county.now);
    let ids = [(); 2].map(|()| FaultId::from_bytes([1; 16]));
    let made =
        county.exam.store.write(move |tx| fault_analyze(tx, &Actor::Local, SET, &rules, &ids, now)).await;
    assert!(matches!(made, Err(StoreError::Forbidden { .. })), "{made:?}");
    let error = county.act(Action::Recover, "").await.unwrap_err();
    assert!(matches!(error, StoreError::Forbidden { .. }), "{error}");
}
