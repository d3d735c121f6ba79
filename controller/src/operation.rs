//! What can be asked of the running controller: the operations behind the command line, and later the API.
//!
//! They come through the control socket, or, while the controller is not running, are done on the store
//! directly; either way by this code.

mod admissions;
mod keys;
mod ledger;
mod work;

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use bbt_domain::{
    access::Actor,
    identity::{Ruling, Standing, StandingKind},
    ids::{DeviceId, SchoolId, TokenId},
    org::{SchoolCode, school_name},
};
use bbt_store::{
    StoreError,
    audit::{audit_note, audit_verify},
    devices::{device_count, device_list, device_show},
    enrollment::{NewToken, token_create},
    ledger::ledger_verify,
    meta::integrity_check,
    schools::{school_add, school_list},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

pub use ledger::AssetFields;

use crate::{
    backup::{Backups, MakeError, describe},
    clock::guard::GuardedClock,
    config::{DataFolder, Webhooks},
    context::Context,
    desk::Desk,
    pki::{authority::SharedAuthority, hex, revoke::Denylist, sealing::SealingKey, tokens},
    standing::{StandError, stand},
    tasks::Nudge,
    trouble::Noted,
};

/// Items given at once; `next` leads to the rest.
pub const PAGE: usize = 500;
/// A token may be made for so many devices: every set of a large county, once.
const TOKEN_USES: u32 = 10_000;
/// And for so long: a term's installation.
const TOKEN_LIFE: Duration = Duration::from_secs(200 * 86_400);
/// "Today" of the overview: a set that reported within this long is counted as reporting.
const REPORTING: Duration = Duration::from_secs(15 * 60);

/// One thing asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "snake_case", deny_unknown_fields)]
pub enum Operation {
    /// How the controller is.
    Status,
    /// Whether what is stored is whole.
    Check,
    /// Adds a school.
    SchoolAdd {
        /// Unique code.
        code: String,
        /// As people say it.
        name: String,
    },
    /// Schools in order of their code.
    SchoolList {
        /// From [`Page::next`].
        after: Option<String>,
    },
    /// Makes an enrolment token.
    TokenCreate {
        /// Code of the school that its devices belong to.
        school: String,
        /// How many devices may use it.
        uses: u32,
        /// For how long.
        expires_secs: u64,
    },
    /// Devices in order of their id.
    DeviceList {
        /// From [`Page::next`].
        after: Option<String>,
    },
    /// Everything known of one device.
    DeviceShow {
        /// The device.
        id: String,
    },
    /// Takes a device's access away, or gives it back.
    DeviceStand {
        /// The device.
        id: String,
        /// active, revoked.
        standing: Standing,
        /// What for.
        #[serde(default)]
        kind: StandingKind,
        /// Why, for the audit.
        reason: String,
    },
    /// Marks a device as one whose disk falls back at each start, or takes that back.
    DeviceFreeze {
        /// The device.
        id: String,
        /// Whether it is one.
        frozen: bool,
    },
    /// PCs of which a person has to say which device they are.
    AdmissionList {
        /// From [`Page::next`].
        after: Option<String>,
    },
    /// Says which device a PC is.
    AdmissionDecide {
        /// The request.
        id: String,
        /// What it is.
        ruling: Ruling,
        /// The device that it is the same as.
        device: Option<String>,
    },
    /// Takes back what was said, before the PC took it.
    AdmissionUndo {
        /// The request.
        id: String,
    },
    /// PCs that showed the identity of a device and are others.
    SiblingsList {
        /// The device.
        id: String,
    },
    /// Makes each of them that waits a device of its own.
    SiblingsApprove {
        /// The device.
        id: String,
    },
    /// Adds a room.
    RoomAdd {
        /// Code of its school.
        school: String,
        /// Building, floor, number.
        name: String,
        /// A [`bbt_domain::org::RoomKind`].
        kind: String,
    },
    /// Rooms in order of school and name.
    RoomList {
        /// Of this school alone.
        school: Option<String>,
        /// From [`Page::next`].
        after: Option<String>,
    },
    /// Sets in order of school and room.
    SetList {
        /// Of this school alone.
        school: Option<String>,
        /// From [`Page::next`].
        after: Option<String>,
    },
    /// One set, with its faults and tickets.
    SetShow {
        /// Its id, or the code on its label.
        set: String,
    },
    /// Puts a set into a room.
    SetBind {
        /// Its id, or the code on its label.
        set: String,
        /// The room's id, or `SCHOOL/NAME`.
        room: String,
    },
    /// Adds a contract.
    ContractAdd {
        /// As people call the contractor.
        contractor: String,
        /// Codes of its schools.
        schools: Vec<String>,
        /// Where it is told, and with which secret.
        webhook: Option<(String, Secret)>,
    },
    /// All contracts.
    ContractList,
    /// Faults that were raised, newest first.
    FaultList {
        /// Those that are over, too.
        with_past: bool,
        /// From [`Page::next`].
        after: Option<String>,
    },
    /// Tickets, newest first.
    TicketList {
        /// Those that are closed, too.
        with_closed: bool,
        /// From [`Page::next`].
        after: Option<String>,
    },
    /// Everything about one ticket.
    TicketShow {
        /// Its id or number.
        ticket: String,
    },
    /// Opens a card.
    AssetAdd(Box<AssetFields>),
    /// Cards in order of their numbers.
    AssetList {
        /// From [`Page::next`].
        after: Option<String>,
    },
    /// A card and the entries that it is made of.
    AssetShow {
        /// Its number.
        no: String,
    },
    /// Whether the ledger is whole.
    LedgerVerify,
    /// Copies the county into a file.
    Backup {
        /// A whole path on the controller's machine.
        file: PathBuf,
    },
    /// How far the backup under way is.
    BackupProgress,
    /// Takes over a new issuing intermediate.
    CaAdopt {
        /// PEM.
        certificate: String,
        /// PEM.
        key: Secret,
    },
    /// Believes the system's clock as it is.
    ClockAccept,
}

/// A secret on its way to be sealed. It is not printed.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Of what was read from a secret's file.
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why an operation was not done; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// A field that cannot be taken: the sentence names field, value and remedy.
    #[error("{0}")]
    Invalid(String),
    /// The store said no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Keys or the revocation log failed.
    #[error("{0}")]
    Failed(String),
}

/// A part of a list.
#[derive(Debug, Serialize, Deserialize)]
pub struct Page {
    /// In order.
    pub items: Vec<Json>,
    /// Where the rest begins; `null` at the end.
    pub next: Option<String>,
}

/// Does operations.
pub struct Operations {
    /// Store, clock, county.
    pub context: Arc<Context>,
    /// Root and issuing key.
    pub authority: SharedAuthority,
    /// The folder of their files.
    pub pki: PathBuf,
    /// The clock of `context`.
    pub guard: Arc<GuardedClock>,
    /// Poked when another intermediate signs; wakes whoever shows certificates.
    pub exchange: Nudge,
    /// Who may not connect.
    pub denylist: Arc<Denylist>,
    /// Seals secrets at rest.
    pub sealing: Arc<SealingKey>,
    /// Where messages to contractors may go.
    pub webhooks: Webhooks,
    /// For tickets.
    pub desk: Desk,
    /// Poked when something was booked; wakes whoever holds it against what is seen.
    pub booked: Nudge,
    /// Where the county's data lie.
    pub folder: DataFolder,
    /// Makes backups.
    pub backups: Arc<Backups>,
    /// HOST:PORT of the enrolment port as devices see it.
    pub enrollment: String,
    /// What only the running controller knows; an empty object while it does not run.
    pub live: Box<dyn Fn() -> Json + Send + Sync>,
}

impl Operations {
    /// Does `operation` for `actor`; the answer as JSON.
    pub async fn run(&self, actor: &Actor, operation: Operation) -> Result<Json, OperationError> {
        let actor = actor.clone();
        let now = self.context.now();
        let store = &self.context.store;
        match operation {
            Operation::Status => self.status(actor).await,
            Operation::Check => self.check(actor).await,
            Operation::SchoolAdd { code, name } => {
                let code = SchoolCode::parse(&code).map_err(invalid)?;
                let name = school_name(&name).map_err(invalid)?;
                let id = SchoolId::from_bytes(self.context.new_id());
                let school = store.write(move |tx| school_add(tx, &actor, id, &code, &name, now)).await?;
                Ok(json!(school))
            }
            Operation::SchoolList { after } => {
                let schools =
                    store.read(move |tx| school_list(tx, &actor, after.as_deref(), PAGE + 1)).await?;
                Ok(page(schools, |school| school.code.as_str().to_owned()))
            }
            Operation::TokenCreate { school, uses, expires_secs } => {
                self.token_create(actor, &school, uses, expires_secs).await
            }
            Operation::DeviceList { after } => {
                let after = after.map(|after| device_id(&after)).transpose()?;
                let devices = store.read(move |tx| device_list(tx, &actor, after, PAGE + 1)).await?;
                Ok(page(devices, |device| device.id.to_string()))
            }
            Operation::DeviceShow { id } => {
                let id = device_id(&id)?;
                Ok(json!(store.read(move |tx| device_show(tx, &actor, id)).await?))
            }
            Operation::DeviceStand { id, standing, kind, reason } => {
                self.device_stand(actor, device_id(&id)?, (standing, kind), &reason).await
            }
            Operation::DeviceFreeze { id, frozen } => {
                self.device_freeze(actor, device_id(&id)?, frozen).await
            }
            Operation::AdmissionList { after } => self.admission_list(actor, after).await,
            Operation::AdmissionDecide { id, ruling, device } => {
                self.admission_decide(actor, &id, ruling, device.as_deref()).await
            }
            Operation::AdmissionUndo { id } => self.admission_undo(actor, &id).await,
            Operation::SiblingsList { id } => self.siblings_list(actor, device_id(&id)?).await,
            Operation::SiblingsApprove { id } => self.siblings_approve(actor, device_id(&id)?).await,
            Operation::RoomAdd { school, name, kind } => self.room_add(actor, &school, &name, &kind).await,
            Operation::RoomList { school, after } => self.room_list(actor, school, after).await,
            Operation::SetList { school, after } => self.set_list(actor, school, after).await,
            Operation::SetShow { set } => self.set_show(actor, &set).await,
            Operation::SetBind { set, room } => self.set_bind(actor, &set, &room).await,
            Operation::ContractAdd { contractor, schools, webhook } => {
                self.contract_add(actor, &contractor, &schools, webhook).await
            }
            Operation::ContractList => self.contract_list(actor).await,
            Operation::FaultList { with_past, after } => self.fault_list(actor, with_past, after).await,
            Operation::TicketList { with_closed, after } => self.ticket_list(actor, with_closed, after).await,
            Operation::TicketShow { ticket } => self.ticket_show(actor, &ticket).await,
            Operation::AssetAdd(fields) => self.asset_add(actor, &fields).await,
            Operation::AssetList { after } => self.asset_list(actor, after).await,
            Operation::AssetShow { no } => self.asset_show(actor, &no).await,
            Operation::LedgerVerify => self.ledger_verify(actor).await,
            Operation::Backup { file } => self.backup(actor, file).await,
            Operation::BackupProgress => {
                let (done, total) = self.backups.progress();
                Ok(json!({"done_bytes": done, "total_bytes": total}))
            }
            Operation::CaAdopt { certificate, key } => self.ca_adopt(actor, certificate, key).await,
            Operation::ClockAccept => self.clock_accept(actor).await,
        }
    }

    async fn check(&self, actor: Actor) -> Result<Json, OperationError> {
        let look = move |tx: &mut bbt_store::Tx<'_>| {
            let damage = integrity_check(tx, &actor)?;
            Ok((damage, audit_verify(tx, &actor)?, ledger_verify(tx, &actor)?))
        };
        let (damage, audit, ledger) = self.context.store.read(look).await?;
        let (audit_lines, audit_head, audit_broken) = match audit {
            Ok(head) => (Some(head.rows), Some(head.hash.to_hex()), None),
            Err(broken) => (None, None, Some(broken.to_string())),
        };
        let (ledger_entries, ledger_head, ledger_broken) = match ledger {
            Ok(whole) => (Some(whole.head.rows), Some(whole.head.hash.to_hex()), None),
            Err(fault) => (None, None, Some(fault.to_string())),
        };
        Ok(json!({"store_damage": damage,
            "audit_lines": audit_lines, "audit_head": audit_head, "audit_broken": audit_broken,
            "ledger_entries": ledger_entries, "ledger_head": ledger_head, "ledger_broken": ledger_broken}))
    }

    async fn backup(&self, actor: Actor, file: PathBuf) -> Result<Json, OperationError> {
        let failed = |error: &dyn std::fmt::Display| OperationError::Failed(error.to_string());
        let (backups, context) = (Arc::clone(&self.backups), Arc::clone(&self.context));
        let (authority, folder) = (self.authority.load_full(), self.folder.clone());
        let make = move || {
            let made = backups.make(&context, &authority, &folder, &actor, &file);
            made.map(|made| (describe(&made, &file), actor))
        };
        let made = tokio::task::spawn_blocking(make).await.map_err(|error| failed(&error))?;
        let (made, actor) = made.map_err(|error| failed(&error))?;
        let (now, detail) = (self.context.now(), made.clone());
        let note = move |tx: &mut bbt_store::Tx<'_>| {
            audit_note(tx, &actor, "backup.make", detail["file"].as_str().unwrap_or_default(), &detail, now)
        };
        self.context.store.write(note).await.map_err(|error| failed(&MakeError::Audit(error)))?;
        Ok(made)
    }

    async fn status(&self, actor: Actor) -> Result<Json, OperationError> {
        let since = self.context.now().minus(REPORTING);
        let (devices, reporting) = self.context.store.read(move |tx| device_count(tx, &actor, since)).await?;
        let county = &self.context.county;
        Ok(json!({
            "county": county.name,
            "version": env!("CARGO_PKG_VERSION"),
            "time": self.context.now(),
            "trust_domain": county.trust_domain,
            "ca_sha256": hex(&self.authority.load().root_sha256()),
            "issuing_until": self.authority.load().until(),
            "clock": self.context.clock.doubt().map_or_else(|| "ok".to_owned(), |doubt| doubt.to_string()),
            "devices": devices,
            "devices_reporting": reporting,
            "devices_revoked": self.denylist.all().len(),
            "store": self.context.store.health().err().map_or_else(|| "ok".to_owned(), |failing| failing.reason),
            "troubles": self.context.troubles.all().iter().map(Noted::to_json).collect::<Vec<_>>(),
            "live": (self.live)(),
        }))
    }

    async fn token_create(
        &self,
        actor: Actor,
        school: &str,
        uses: u32,
        expires_secs: u64,
    ) -> Result<Json, OperationError> {
        let refuse = |sentence: String| Err(OperationError::Invalid(sentence));
        if uses == 0 || uses > TOKEN_USES {
            return refuse(format!("uses = {uses} is not possible: take 1 to {TOKEN_USES}"));
        }
        if expires_secs == 0 || expires_secs > TOKEN_LIFE.as_secs() {
            let days = TOKEN_LIFE.as_secs() / 86_400;
            return refuse(format!(
                "expires = {expires_secs} s is not possible: take up to {days} days, such as 72h"
            ));
        }
        let school = SchoolCode::parse(school).map_err(invalid)?;
        let secret = tokens::generate().map_err(|error| OperationError::Failed(error.to_string()))?;
        let now = self.context.now();
        let token = NewToken {
            id: TokenId::from_bytes(self.context.new_id()),
            secret_sha256: tokens::secret_sha256(&secret),
            school,
            uses,
            expires_at: now.plus(Duration::from_secs(expires_secs)),
        };
        let kept = token.clone();
        self.context.store.write(move |tx| token_create(tx, &actor, &kept, now)).await?;
        Ok(json!({
            "id": token.id,
            "token": secret,
            "school": token.school,
            "uses": uses,
            "expires_at": token.expires_at,
            "enrollment": self.enrollment,
            "ca_sha256": hex(&self.authority.load().root_sha256()),
        }))
    }

    async fn device_stand(
        &self,
        actor: Actor,
        id: DeviceId,
        (standing, kind): (Standing, StandingKind),
        reason: &str,
    ) -> Result<Json, OperationError> {
        let stood = stand(&self.context, &self.denylist, actor, id, (standing, kind), reason).await;
        let changed = stood.map_err(|error| match error {
            StandError::Store(error) => OperationError::Store(error),
            StandError::Log(reason) => OperationError::Failed(reason),
        })?;
        Ok(json!({"id": id, "standing": standing, "kind": kind, "changed": changed}))
    }
}

fn device_id(text: &str) -> Result<DeviceId, OperationError> {
    text.parse().map_err(invalid)
}

/// A value that cannot be taken, in the words of whoever parsed it.
fn invalid(error: impl fmt::Display) -> OperationError {
    OperationError::Invalid(error.to_string())
}

/// At most [`PAGE`] of `items`, of which one more was asked for to see whether there are more.
fn page<T: Serialize>(mut items: Vec<T>, key: impl Fn(&T) -> String) -> Json {
    let more = items.len() > PAGE;
    items.truncate(PAGE);
    let next = if more { items.last().map(key) } else { None };
    json!({"items": items, "next": next})
}
