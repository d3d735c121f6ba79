//! Faults, questions and tickets as the tasks of a running county would make them, at once.

use std::time::Duration;

use bbt_domain::{
    access::Actor,
    facts::{FileSystem, FileSystems, StateReport, Told},
    fault::{
        FaultKind,
        policy::{Policy, Rules},
    },
    ids::{ContractId, DeviceId, FaultId, InquiryId, MessageId, RoomId, TicketId},
    org::{RoomKind, SchoolCode},
    ticket::state::Action,
};
use bbt_store::{
    Tx,
    contracts::{NewContract, Webhook, contract_add},
    faults::{fault_analyze, set_ids},
    inquiries::{inquiry_list, inquiry_step, inquiry_steps},
    outbox::{Attempted, MessageState, message_attempted, messages_due},
    rooms::{NewRoom, RoomRef, room_add},
    sets::{SetFilter, SetLine, SetRef, set_bind, set_list},
    tickets::{TicketFilter, TicketMeans, ticket_act, ticket_list, ticket_step, ticket_steps},
};
use serde_json::{Value as Json, json};

use super::county::County;

const TASK: Actor = Actor::System("test");
const GIB: u64 = 1 << 30;

/// Without the tolerances, which `bbt-domain` tests.
fn rules() -> Rules {
    let policy = Policy { disk_raise_after_secs: 0, disk_clear_after_secs: 0, ..Policy::default() };
    Rules { policy, ..Rules::default() }
}

fn school() -> SchoolCode {
    SchoolCode::parse("2153000123").unwrap()
}

impl County {
    /// The school is under a contract, whose contractor is told by webhook.
    pub(super) async fn contract(&self) {
        let now = self.context.now();
        let contract = NewContract {
            id: ContractId::from_bytes(self.context.new_id()),
            contractor: "德宏维保公司".into(),
            schools: vec![school()],
            webhook: Some(Webhook {
                url: "https://contractor.example/hook".into(),
                sealed_secret: vec![1],
                granted_by_local: false,
            }),
        };
        let write = move |tx: &mut Tx<'_>| contract_add(tx, &Actor::Local, &contract, now).map(|_| ());
        self.context.store.write(write).await.unwrap();
    }

    /// Puts a device's set into a new room.
    pub(super) async fn place(&self, device: DeviceId, room: &str) {
        let now = self.context.now();
        let room = NewRoom {
            id: RoomId::from_bytes(self.context.new_id()),
            school: school(),
            name: room.into(),
            kind: RoomKind::Multimedia,
        };
        let write = move |tx: &mut Tx<'_>| {
            room_add(tx, &Actor::Local, &room, now)?;
            let sets = set_list(tx, &Actor::Local, &SetFilter::default(), None, 1_000, now)?;
            let has = |set: &SetLine| set.devices.iter().any(|one| one.id == device);
            let set = sets.into_iter().find(has).unwrap().id;
            set_bind(tx, &Actor::Local, SetRef::Id(set), &RoomRef::Id(room.id), now).map(|_| ())
        };
        self.context.store.write(write).await.unwrap();
    }

    /// A device tells how much of its 20 GiB is free, and the tasks run.
    pub(super) async fn tell_free(&self, device: DeviceId, gib: u64) {
        let file_system = FileSystem {
            mount_point: "/data".into(),
            source: "/dev/sda3".into(),
            kind: "ext4".into(),
            size_bytes: Some(20 * GIB),
            free_bytes: Some(gib * GIB),
            read_only: false,
        };
        let told = Told { facts: FileSystems { file_systems: vec![file_system] }, problems: vec![] };
        self.report_state(device, StateReport { file_systems: Some(told), ..StateReport::default() }).await;
        self.run_tasks().await;
    }

    /// The clock goes on, and the tasks run.
    pub(super) async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.run_tasks().await;
    }

    /// Faults are decided, and what follows of them is done.
    pub(super) async fn run_tasks(&self) {
        let (context, now) = (self.context.clone(), self.context.now());
        let write = move |tx: &mut Tx<'_>| {
            let rules = rules();
            for set in set_ids(tx, &TASK, None, 1_000)? {
                let ids = FaultKind::ALL.map(|_| FaultId::from_bytes(context.new_id()));
                fault_analyze(tx, &TASK, set, &rules, &ids, now)?;
            }
            for step in ticket_steps(tx, &TASK, 1_000)? {
                ticket_step(tx, &TASK, step, &means(&context), now)?;
            }
            for step in inquiry_steps(tx, &TASK, &rules, 1_000, now)? {
                let id = InquiryId::from_bytes(context.new_id());
                inquiry_step(tx, &TASK, step, id, &rules, now)?;
            }
            Ok(())
        };
        self.context.store.write(write).await.unwrap();
    }

    /// Ids of all tickets, the newest first.
    pub(super) async fn tickets(&self) -> Vec<TicketId> {
        let filter = TicketFilter { with_closed: true, ..TicketFilter::default() };
        let read = move |tx: &mut Tx<'_>| ticket_list(tx, &Actor::Local, &filter, None, 1_000);
        self.context.store.read(read).await.unwrap().into_iter().map(|line| line.id).collect()
    }

    /// Ids of all questions, the newest first.
    pub(super) async fn inquiries(&self) -> Vec<InquiryId> {
        let read = |tx: &mut Tx<'_>| inquiry_list(tx, &Actor::Local, true, None, None, 1_000);
        self.context.store.read(read).await.unwrap().into_iter().map(|line| line.id).collect()
    }

    /// Somebody at the command line moves a ticket on.
    pub(super) async fn act(&self, ticket: TicketId, action: Action, note: &'static str) {
        let (context, now) = (self.context.clone(), self.context.now());
        let write = move |tx: &mut Tx<'_>| {
            ticket_act(tx, &Actor::Local, ticket, action, note, &means(&context), now).map(|_| ())
        };
        self.context.store.write(write).await.unwrap();
    }

    /// Everything that is due to be delivered fails with `reason`, and is tried again in five minutes.
    pub(super) async fn deliveries_fail(&self, reason: Json) {
        let due = Some(self.context.now().plus(Duration::from_secs(300)));
        self.attempted(Attempted { state: MessageState::Waiting, reason, due }).await;
    }

    /// Everything that is due is delivered.
    pub(super) async fn deliveries_succeed(&self) {
        let delivered =
            Attempted { state: MessageState::Delivered, reason: json!({"status": 200}), due: None };
        self.attempted(delivered).await;
    }

    async fn attempted(&self, attempted: Attempted) {
        let now = self.context.now();
        let write = move |tx: &mut Tx<'_>| {
            for message in messages_due(tx, &TASK, now, 1_000)? {
                message_attempted(tx, &TASK, message.id, &attempted, now)?;
            }
            Ok(())
        };
        self.context.store.write(write).await.unwrap();
    }
}

fn means(context: &crate::context::Context) -> TicketMeans {
    TicketMeans {
        ticket: TicketId::from_bytes(context.new_id()),
        message: MessageId::from_bytes(context.new_id()),
        console: String::new(),
    }
}
