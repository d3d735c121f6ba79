//! What is to be told to contractors, with the clock set by hand: retried as the contract says, given up in the
//! end, and one receiver that hangs holds up nobody else.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use bbt_controller::{
    clock::{Clock, ManualClock},
    context::Context,
    contractor::{Delivery, Door, Memory, Message, Outcome, Reason, Target},
    pki::sealing::{SealingKey, WEBHOOK_SECRET},
    tasks::{Nudge, Task, outbox_delivery::OutboxDelivery},
};
use bbt_domain::{
    access::Actor,
    fault::{FaultKind, policy::Rules},
    identity::TrustDomain,
    ids::{
        AdmissionId, ContractId, DeviceId, FaultId, Incarnation, MessageId, SchoolId, SetId, TicketId,
        TokenId,
    },
    org::SchoolCode,
    set_code::SetCode,
    time::UtcMicros,
};
use bbt_store::{
    Store, Tx,
    certificates::NewCertificate,
    contracts::{NewContract, Webhook, contract_add},
    enrollment::{Enrolling, NewToken, device_enroll, token_create},
    faults::fault_analyze,
    inquiries::{inquiry_answer, inquiry_list, inquiry_step, inquiry_steps},
    meta::{County, county_create},
    outbox::MessageState,
    schools::school_add,
    sets::NewSet,
    tickets::{TicketFilter, TicketMeans, TicketRef, ticket_list, ticket_show},
};
use tempfile::TempDir;

/// A Monday, 09:00 in the county.
const MONDAY: UtcMicros = UtcMicros::from_const(1_790_557_200_000_000);
const DECIDER: Actor = Actor::System("test");
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A county with one silent set in each of two schools, each under a contract of its own, and a ticket for each:
/// the schools said that they are broken.
struct Office {
    context: Arc<Context>,
    clock: Arc<ManualClock>,
    sealing: Arc<SealingKey>,
    _folder: TempDir,
}

impl Office {
    async fn open() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let clock = Arc::new(ManualClock::at(MONDAY));
        let store = Store::open(&folder.path().join("county.db"), MONDAY)?;
        let county = County {
            name: "测试县".into(),
            trust_domain: TrustDomain::from_random([1; 16]),
            incarnation: Incarnation::from_bytes([2; 16]),
            created_at: MONDAY,
        };
        let record = county.clone();
        store.write(move |tx| county_create(tx, &record)).await?;
        let context = Arc::new(Context {
            store,
            clock: clock.clone(),
            county,
            rules: Arc::default(),
            troubles: Arc::default(),
        });
        let sealing = Arc::new(SealingKey::open_or_create(folder.path())?);
        let office = Self { context, clock, sealing, _folder: folder };
        for number in [1, 2] {
            office.school(number).await?;
        }
        // A week without a word.
        office.clock.advance(Duration::from_secs(7 * 86_400));
        for number in [1, 2] {
            office.broken(number).await?;
        }
        Ok(office)
    }

    async fn school(&self, number: u8) -> Result<()> {
        let id = ContractId::from_bytes([number; 16]);
        let code = SchoolCode::parse(&format!("T{number}"))?;
        let contract = NewContract {
            id,
            contractor: format!("维保{number}"),
            schools: vec![code.clone()],
            webhook: Some(Webhook {
                url: format!("https://contractor-{number}.example/in"),
                sealed_secret: self.sealing.seal(WEBHOOK_SECRET, id.as_bytes(), SECRET.as_bytes())?,
                granted_by_local: false,
            }),
        };
        let token = NewToken {
            id: TokenId::from_bytes([number; 16]),
            secret_sha256: [number; 32],
            school: code.clone(),
            uses: 1,
            expires_at: MONDAY.plus(Duration::from_secs(60)),
        };
        let enrolling = Enrolling {
            secret_sha256: [number; 32],
            key_sha256: [number; 32],
            device: DeviceId::from_bytes([number; 16]),
            set: NewSet {
                id: SetId::from_bytes([number; 16]),
                codes: vec![SetCode::from_random(number.into())],
            },
            certificate: NewCertificate { serial: [number; 16], not_before: MONDAY, not_after: MONDAY },
            evidence: vec![],
            admission: AdmissionId::from_bytes([1; 16]),
            host_name: String::new(),
            agent_version: "test".into(),
            peer: "192.0.2.1".into(),
        };
        let write = move |tx: &mut Tx<'_>| {
            school_add(tx, &Actor::Local, SchoolId::from_bytes([number; 16]), &code, "测试小学", MONDAY)?;
            contract_add(tx, &Actor::Local, &contract, MONDAY)?;
            token_create(tx, &Actor::Local, &token, MONDAY)?;
            device_enroll(tx, &Actor::Anonymous, &enrolling, &|_| false, MONDAY)
        };
        ensure!(self.context.store.write(write).await?.is_ok(), "enrolled");
        Ok(())
    }

    /// The set of the school is silent, the school is asked, and says that it is broken.
    async fn broken(&self, number: u8) -> Result<()> {
        let (now, context) = (self.clock.now(), &self.context);
        let faults = [(); FaultKind::ALL.len()].map(|()| FaultId::from_bytes(context.new_id()));
        let inquiry = bbt_domain::ids::InquiryId::from_bytes(context.new_id());
        let means = TicketMeans {
            ticket: TicketId::from_bytes(context.new_id()),
            message: MessageId::from_bytes(context.new_id()),
            console: "https://county.example".into(),
        };
        let write = move |tx: &mut Tx<'_>| {
            let rules = Rules::default();
            fault_analyze(tx, &DECIDER, SetId::from_bytes([number; 16]), &rules, &faults, now)?;
            for step in inquiry_steps(tx, &DECIDER, &rules, 10, now)? {
                inquiry_step(tx, &DECIDER, step, inquiry, &rules, now)?;
            }
            let asked = inquiry_list(tx, &Actor::Local, false, None, None, 1)?;
            for line in asked {
                inquiry_answer(
                    tx,
                    &Actor::Local,
                    line.id,
                    bbt_domain::inquiry::Answer::Broken,
                    "",
                    &means,
                    now,
                )?;
            }
            Ok(())
        };
        Ok(self.context.store.write(write).await?)
    }

    fn task(&self, door: Arc<dyn Door>) -> OutboxDelivery {
        OutboxDelivery::new(Arc::clone(&self.context), door, Arc::clone(&self.sealing), Nudge::default())
    }

    /// State and number of attempts of the message of each school's ticket.
    async fn messages(&self) -> Result<Vec<(MessageState, usize)>> {
        let read = |tx: &mut Tx<'_>| {
            let filter = TicketFilter { with_closed: true, set: None };
            let mut lines = ticket_list(tx, &Actor::Local, &filter, None, 10)?;
            lines.sort_by_key(|line| line.no.clone());
            let files = lines.into_iter().map(|line| ticket_show(tx, &Actor::Local, TicketRef::Id(line.id)));
            files.collect::<Result<Vec<_>, _>>()
        };
        let files = self.context.store.read(read).await?;
        let messages = files.iter().flat_map(|file| &file.messages);
        Ok(messages.map(|message| (message.state, message.attempts.len())).collect())
    }

    /// Runs the task until so many attempts were noted.
    async fn until(&self, task: &OutboxDelivery, attempts: usize) -> Result<()> {
        let noted = async {
            loop {
                task.run().await?;
                let made: usize = self.messages().await?.iter().map(|(_, attempts)| attempts).sum();
                if made >= attempts {
                    return anyhow::Ok(());
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), noted).await.context("attempts that are noted")?
    }
}

#[tokio::test]
async fn a_message_is_tried_again_by_the_contract_and_given_up_after_three_days() -> Result<()> {
    let office = Office::open().await?;
    let door = Arc::new(Memory::default());
    let failed = Outcome::Retry { reason: Reason::Status { status: 500 } };
    (0..40).for_each(|_| door.then(failed.clone()));
    let task = office.task(door.clone());
    let minutes = [0, 1, 5, 30, 120, 360, 360];
    for (round, minutes) in minutes.into_iter().enumerate() {
        office.clock.advance(Duration::from_secs(minutes * 60));
        office.until(&task, 2 * (round + 1)).await?;
        // Nothing more is due before the next pause is over.
        let due = task.run().await?.context("the next attempt is known")?;
        ensure!(due > Duration::from_secs(50), "{due:?}");
        ensure!(door.sent().len() == 2 * (round + 1), "{} attempts in round {round}", door.sent().len());
    }
    for _ in 0..12 {
        office.clock.advance(Duration::from_secs(6 * 3_600));
        for _ in 0..50 {
            task.run().await?;
            tokio::task::yield_now().await;
        }
        let made = door.sent().len();
        office.until(&task, made).await?;
    }
    let messages = office.messages().await?;
    ensure!(messages.iter().all(|(state, _)| *state == MessageState::GivenUp), "{messages:?}");
    ensure!(task.run().await?.is_none(), "nothing is due any more");
    let ids: std::collections::BTreeSet<_> = door.sent().into_iter().map(|sent| sent.message.id).collect();
    ensure!(ids.len() == 2, "the same id at every attempt");
    Ok(())
}

/// Hangs at one address and delivers at every other.
struct Hanging {
    at: &'static str,
    delivered: Mutex<Vec<String>>,
}

impl Door for Hanging {
    fn deliver<'a>(&'a self, target: &'a Target, message: &'a Message, _now: UtcMicros) -> Delivery<'a> {
        Box::pin(async move {
            if target.url.as_str().contains(self.at) {
                std::future::pending::<()>().await;
            }
            self.delivered.lock().expect("one at a time").push(message.id.clone());
            Outcome::Delivered { status: 200 }
        })
    }
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_nobody_else() -> Result<()> {
    let office = Office::open().await?;
    let door = Arc::new(Hanging { at: "contractor-1", delivered: Mutex::default() });
    let task = office.task(door.clone());
    office.until(&task, 1).await?;
    let messages = office.messages().await?;
    ensure!(messages == [(MessageState::Waiting, 0), (MessageState::Delivered, 1)], "{messages:?}");
    ensure!(door.delivered.lock().expect("one at a time").len() == 1);
    Ok(())
}
