//! PCs of which a person has to say which device they are (待核实设备).
//!
//! A request is asked again and again by its PC until somebody rules on it, and is carried out when the PC next
//! asks; until then the ruling can be taken back. Two requests are one when they have one `subject`: the key that
//! enrols, or the device whose identity is shown together with the evidence shown. So a PC whose disk forgets its
//! key every night stays one line.

use std::time::Duration;

use bbt_domain::{
    access::{Act, Actor},
    identity::{AdmissionKind, Evidence, Ruling, Weighed, Worth},
    ids::{AdmissionId, DeviceId, SchoolId, TokenId},
    time::UtcMicros,
};
use ring::digest::{Context, SHA256};
use serde::Serialize;
use serde_json::json;

use crate::{
    Row, StoreError, Tx, audit,
    error::permit,
    params,
    recognition::{Match, evidence_record, evidence_weigh, matches},
    scope::school_scope,
};

/// Requests of one school that wait at once: a school's whole stock, twice.
const PER_SCHOOL: i64 = 200;
/// And of all: some schools in one week.
const IN_ALL: i64 = 5_000;
/// A request that nobody repeated for so long is forgotten: its PC went elsewhere.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30 * 86_400);

/// A PC that asks, or that was seen.
#[derive(Clone, Debug)]
pub(crate) struct Asking {
    pub(crate) kind: AdmissionKind,
    /// For the record, if it is new.
    pub(crate) id: AdmissionId,
    /// Whose identity it showed.
    pub(crate) device: Option<DeviceId>,
    pub(crate) school: SchoolId,
    pub(crate) token: Option<TokenId>,
    pub(crate) key_sha256: Option<[u8; 32]>,
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) host_name: String,
    pub(crate) agent_version: String,
    pub(crate) address: String,
}

impl Asking {
    /// What makes two requests one.
    fn subject(&self, shown: &[Weighed]) -> [u8; 32] {
        let mut digest = Context::new(&SHA256);
        match self.device {
            None => digest.update(self.key_sha256.as_ref().map_or(&[], <[u8; 32]>::as_slice)),
            Some(device) => {
                digest.update(device.as_bytes());
                let mut values: Vec<_> = shown
                    .iter()
                    .filter(|one| one.worth != Worth::Junk)
                    .map(|one| format!("{}={}\n", one.evidence.kind, one.evidence.value))
                    .collect();
                values.sort();
                match &self.key_sha256 {
                    Some(key) if values.is_empty() => digest.update(key),
                    _ => digest.update(values.concat().as_bytes()),
                }
            }
        }
        let mut subject = [0; 32];
        subject.copy_from_slice(digest.finish().as_ref());
        subject
    }
}

/// What is on record of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) id: AdmissionId,
    pub(crate) ruling: Option<Ruling>,
    pub(crate) decided_device: Option<DeviceId>,
    pub(crate) key_sha256: Option<[u8; 32]>,
    pub(crate) taken: bool,
}

/// The request of a PC, if it asked before.
pub(crate) fn admission_of(tx: &mut Tx<'_>, asking: &Asking) -> Result<Option<Request>, StoreError> {
    let shown = evidence_weigh(tx, asking.evidence.clone())?;
    tx.query_first(
        "SELECT id, decision, decided_device, key, taken_us FROM admission WHERE subject = $1",
        params![&asking.subject(&shown)],
        |row| {
            Ok(Request {
                id: AdmissionId::from_bytes(row.array(0, "a request's id")?),
                ruling: ruling_of(row, 1)?,
                decided_device: row.array_opt(2, "a device's id")?.map(DeviceId::from_bytes),
                key_sha256: row.array_opt(3, "the hash of a key")?,
                taken: row.time_opt(4)?.is_some(),
            })
        },
    )
}

/// What a person said about whoever shows this evidence with a device's identity.
pub(crate) fn question_ruling(tx: &mut Tx<'_>, asking: &Asking) -> Result<Option<Ruling>, StoreError> {
    Ok(admission_of(tx, asking)?.and_then(|request| request.ruling))
}

/// Writes down that a PC asks, or asks again. `false`: there are too many, and it is not written down.
pub(crate) fn admission_note(tx: &mut Tx<'_>, asking: &Asking, now: UtcMicros) -> Result<bool, StoreError> {
    tx.execute("DELETE FROM admission WHERE last_us < $1", params![now.minus(FORGOTTEN_AFTER)])?;
    let shown = evidence_weigh(tx, asking.evidence.clone())?;
    let subject = asking.subject(&shown);
    let again = tx.execute(
        "UPDATE admission SET last_us = $1, times = times + 1, address = $2, agent_version = $3,
             key = coalesce($4, key) WHERE subject = $5",
        params![
            now,
            &asking.address,
            &asking.agent_version,
            asking.key_sha256.map(|key| key.to_vec()),
            &subject
        ],
    )?;
    if again == 1 {
        return Ok(true);
    }
    let waiting = |tx: &mut Tx<'_>, sql: &str, params: &[crate::Value]| {
        tx.query_first(sql, params, |row| row.int(0)).map(Option::unwrap_or_default)
    };
    let school = asking.school.as_bytes();
    if waiting(tx, "SELECT count(*) FROM admission WHERE school_id = $1", params![school])? >= PER_SCHOOL
        || waiting(tx, "SELECT count(*) FROM admission", params![])? >= IN_ALL
    {
        return Ok(false);
    }
    let evidence =
        serde_json::to_string(&asking.evidence).map_err(|error| StoreError::Bug(error.to_string()))?;
    tx.execute(
        "INSERT INTO admission (id, kind, subject, key, school_id, token_id, device_id, evidence, host_name,
             agent_version, address, first_us, last_us, times)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12, 1)",
        params![
            asking.id.as_bytes(),
            asking.kind.as_str(),
            &subject,
            asking.key_sha256.map(|key| key.to_vec()),
            school,
            asking.token.map(|token| token.as_bytes().to_vec()),
            asking.device.map(|device| device.as_bytes().to_vec()),
            evidence,
            &asking.host_name,
            &asking.agent_version,
            &asking.address,
            now
        ],
    )?;
    Ok(true)
}

/// Notes that the PC took what was decided, as the device `device`.
pub(crate) fn admission_taken(
    tx: &mut Tx<'_>,
    id: AdmissionId,
    device: DeviceId,
    now: UtcMicros,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE admission SET taken_us = $1, decided_device = $2 WHERE id = $3",
        params![now, device.as_bytes(), id.as_bytes()],
    )?;
    Ok(())
}

/// Lets a request wait again, after what was decided was carried out and got lost on the PC.
pub(crate) fn admission_reopen(tx: &mut Tx<'_>, id: AdmissionId) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE admission SET decision = NULL, decided_device = NULL, decided_us = NULL, decided_by = NULL,
             taken_us = NULL WHERE id = $1",
        params![id.as_bytes()],
    )?;
    Ok(())
}

/// A request as people look at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AdmissionLine {
    /// The request.
    pub id: AdmissionId,
    /// enrollment, clone, question.
    pub kind: AdmissionKind,
    /// Code of the school it came for.
    pub school_code: String,
    /// Its name.
    pub school_name: String,
    /// Whose identity it showed.
    pub device: Option<DeviceId>,
    /// As the PC calls itself; empty where it did not say.
    pub host_name: String,
    /// Version of its agent.
    pub agent_version: String,
    /// From where it came last.
    pub address: String,
    /// When it came first.
    pub first_at: UtcMicros,
    /// When it came last.
    pub last_at: UtcMicros,
    /// How often.
    pub times: i64,
    /// Whether its key asks for a certificate; else only its stream was seen.
    pub asks: bool,
    /// What was decided, if something was.
    pub ruling: Option<Ruling>,
    /// Which device it is by that.
    pub decided_device: Option<DeviceId>,
    /// Who decided.
    pub decided_by: Option<String>,
    /// When.
    pub decided_at: Option<UtcMicros>,
    /// Whether the PC took it; until then it can be taken back.
    pub taken: bool,
    /// What it showed.
    #[serde(serialize_with = "as_shown")]
    pub shown: Vec<Weighed>,
    /// Which devices it may be, the most alike first.
    #[serde(serialize_with = "as_scores")]
    pub matches: Vec<Match>,
}

fn as_shown<S: serde::Serializer>(shown: &[Weighed], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(
        shown
            .iter()
            .map(|one| json!({"kind": one.evidence.kind, "value": one.evidence.value, "worth": one.worth})),
    )
}

fn as_scores<S: serde::Serializer>(matches: &[Match], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(
        matches
            .iter()
            .map(|one| json!({"device": one.device, "score": one.found.score, "likeness": one.likeness})),
    )
}

const LINE: &str = "SELECT a.id, a.kind, s.code, s.name, a.device_id, a.host_name, a.agent_version, a.address,
    a.first_us, a.last_us, a.times, a.key, a.decision, a.decided_device, a.decided_by, a.decided_us, a.taken_us,
    a.evidence FROM admission a JOIN school s ON s.id = a.school_id";

/// Requests that wait, or were ruled on and not carried out; the oldest first, after `after`.
pub fn admission_list(
    tx: &mut Tx<'_>,
    actor: &Actor,
    after: Option<AdmissionId>,
    limit: usize,
) -> Result<Vec<AdmissionLine>, StoreError> {
    permit(actor, Act::FleetRead)?;
    let scope = school_scope(actor, "a.school_id");
    let sql = format!("{LINE} WHERE a.id > $1 AND a.taken_us IS NULL AND {scope} ORDER BY a.id LIMIT $2");
    let after = after.map_or([0; 16], |id| *id.as_bytes());
    let lines = tx.query(&sql, params![after.as_slice(), limit as i64], line_of)?;
    lines.into_iter().map(|line| with_matches(tx, line)).collect()
}

/// Requests of PCs that showed the identity of `device`, carried out or not, the oldest first.
pub fn admission_siblings(
    tx: &mut Tx<'_>,
    actor: &Actor,
    device: DeviceId,
) -> Result<Vec<AdmissionLine>, StoreError> {
    permit(actor, Act::FleetRead)?;
    let scope = school_scope(actor, "a.school_id");
    let sql = format!("{LINE} WHERE a.device_id = $1 AND a.kind = $2 AND {scope} ORDER BY a.id LIMIT $3");
    let kind = AdmissionKind::Clone.as_str();
    let lines = tx.query(&sql, params![device.as_bytes(), kind, PER_SCHOOL], line_of)?;
    lines.into_iter().map(|line| with_matches(tx, line)).collect()
}

/// One request.
pub fn admission_show(tx: &mut Tx<'_>, actor: &Actor, id: AdmissionId) -> Result<AdmissionLine, StoreError> {
    permit(actor, Act::FleetRead)?;
    let scope = school_scope(actor, "a.school_id");
    let found =
        tx.query_first(&format!("{LINE} WHERE a.id = $1 AND {scope}"), params![id.as_bytes()], line_of)?;
    with_matches(tx, found.ok_or_else(|| StoreError::NotFound { noun: "request", key: id.to_string() })?)
}

/// How many requests wait for a person.
pub fn admission_count(tx: &mut Tx<'_>, actor: &Actor) -> Result<i64, StoreError> {
    permit(actor, Act::FleetRead)?;
    let scope = school_scope(actor, "school_id");
    let sql = format!("SELECT count(*) FROM admission WHERE decision IS NULL AND {scope}");
    Ok(tx.query_first(&sql, params![], |row| row.int(0))?.unwrap_or(0))
}

/// What a person says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is this device.
    Same(DeviceId),
    /// It is a device of its own.
    New,
    /// It gets nothing.
    Refused,
}

impl Decision {
    const fn ruling(self) -> Ruling {
        match self {
            Self::Same(_) => Ruling::Same,
            Self::New => Ruling::New,
            Self::Refused => Ruling::Refused,
        }
    }
}

/// Rules on a request that waits.
pub fn admission_decide(
    tx: &mut Tx<'_>,
    actor: &Actor,
    id: AdmissionId,
    decision: Decision,
    now: UtcMicros,
) -> Result<AdmissionLine, StoreError> {
    permit(actor, Act::DeviceApprove)?;
    let line = admission_show(tx, actor, id)?;
    if let Some(ruling) = line.ruling {
        return Err(StoreError::Invalid(format!(
            "request {id} was ruled on already ({}): take that back first, while its PC has not taken it",
            ruling.as_str()
        )));
    }
    let device = match decision {
        Decision::Same(device) => {
            let likely = line.device.into_iter().chain(line.matches.iter().map(|one| one.device));
            if !likely.into_iter().any(|one| one == device) {
                return Err(StoreError::Invalid(format!(
                    "device {device} has nothing in common with request {id}: choose one of its likely matches"
                )));
            }
            Some(device)
        }
        Decision::New | Decision::Refused => None,
    };
    // A question is about a stream: nothing has to be taken. What it showed is the device's own from now on.
    let settled = line.kind == AdmissionKind::Question;
    if let (Some(device), true) = (device, settled) {
        let evidence: Vec<_> = line.shown.iter().map(|one| one.evidence.clone()).collect();
        evidence_record(tx, device, &evidence, now)?;
    }
    tx.execute(
        "UPDATE admission SET decision = $1, decided_device = $2, decided_us = $3, decided_by = $4, taken_us = $5
         WHERE id = $6",
        params![
            decision.ruling().as_str(),
            device.map(|device| device.as_bytes().to_vec()),
            now,
            actor.label(),
            settled.then_some(now),
            id.as_bytes()
        ],
    )?;
    let detail = json!({"device": device, "of": line.device, "school": line.school_code});
    let action = format!("admission.{}", decision.ruling().as_str());
    audit::append(tx, actor, &action, &format!("request:{id}"), &detail, now)?;
    admission_show(tx, actor, id)
}

/// Makes every PC that waits with the identity of `device` a device of its own; gives how many.
pub fn admission_decide_siblings(
    tx: &mut Tx<'_>,
    actor: &Actor,
    device: DeviceId,
    now: UtcMicros,
) -> Result<usize, StoreError> {
    let waiting = admission_siblings(tx, actor, device)?;
    let waiting: Vec<_> = waiting.into_iter().filter(|line| line.ruling.is_none()).collect();
    for line in &waiting {
        admission_decide(tx, actor, line.id, Decision::New, now)?;
    }
    Ok(waiting.len())
}

/// Takes a ruling back that its PC has not taken yet; it waits again.
pub fn admission_undo(
    tx: &mut Tx<'_>,
    actor: &Actor,
    id: AdmissionId,
    now: UtcMicros,
) -> Result<AdmissionLine, StoreError> {
    permit(actor, Act::DeviceApprove)?;
    let line = admission_show(tx, actor, id)?;
    if line.ruling.is_none() || line.taken {
        return Err(StoreError::Invalid(format!(
            "request {id} has no ruling that can be taken back: what its PC has taken is ended by revoking the device"
        )));
    }
    admission_reopen(tx, id)?;
    let detail = json!({"was": line.ruling, "device": line.decided_device});
    audit::append(tx, actor, "admission.undo", &format!("request:{id}"), &detail, now)?;
    admission_show(tx, actor, id)
}

fn ruling_of(row: &Row<'_>, column: usize) -> Result<Option<Ruling>, StoreError> {
    let word = row.text_opt(column)?;
    word.map(|word| Ruling::parse(&word).ok_or(StoreError::Damaged { what: "a ruling" })).transpose()
}

fn line_of(row: &Row<'_>) -> Result<AdmissionLine, StoreError> {
    let device =
        |column| Ok::<_, StoreError>(row.array_opt(column, "a device's id")?.map(DeviceId::from_bytes));
    let evidence: Vec<Evidence> = serde_json::from_str(&row.text(17)?)
        .map_err(|_| StoreError::Damaged { what: "the evidence of a request" })?;
    let kind = AdmissionKind::parse(&row.text(1)?);
    Ok(AdmissionLine {
        id: AdmissionId::from_bytes(row.array(0, "a request's id")?),
        kind: kind.ok_or(StoreError::Damaged { what: "a kind of request" })?,
        school_code: row.text(2)?,
        school_name: row.text(3)?,
        device: device(4)?,
        host_name: row.text(5)?,
        agent_version: row.text(6)?,
        address: row.text(7)?,
        first_at: row.time(8)?,
        last_at: row.time(9)?,
        times: row.int(10)?,
        asks: row.bytes_opt(11)?.is_some(),
        ruling: ruling_of(row, 12)?,
        decided_device: device(13)?,
        decided_by: row.text_opt(14)?,
        decided_at: row.time_opt(15)?,
        taken: row.time_opt(16)?.is_some(),
        // Weighed against the county as it is now, in `with_matches`.
        shown: evidence.into_iter().map(|evidence| Weighed { evidence, worth: Worth::Counts }).collect(),
        matches: Vec::new(),
    })
}

fn with_matches(tx: &mut Tx<'_>, mut line: AdmissionLine) -> Result<AdmissionLine, StoreError> {
    line.shown = evidence_weigh(tx, line.shown.into_iter().map(|one| one.evidence).collect())?;
    line.matches = matches(tx, &line.shown, None)?;
    Ok(line)
}
