//! By what devices are recognised, and who holds a device's identity.
//!
//! Evidence goes on record for a device only when it is the device's own by [`judge`]: what a clone or a doubtful
//! PC shows stays with the question about it, so that nobody grows into somebody else's place.

use std::collections::BTreeSet;

use bbt_domain::{
    access::{Act, Actor},
    identity::{
        AdmissionKind, Canary, Comparison, Evidence, EvidenceKind, FROZEN_AT, Holder, Likeness, Policy,
        Ruling, StandingKind, Verdict, Weighed, Worth, compare, judge, likeness, rolled_back, two_at_once,
        weigh,
    },
    ids::{BootId, DeviceId, RunId, SchoolId},
    time::UtcMicros,
};
use serde_json::json;

use crate::{
    StoreError, Tx, Value,
    admissions::{Asking, admission_note, question_ruling},
    audit,
    error::permit,
    params,
    reports::Opening,
    scope::device_scope,
};

const POLICY: Policy = Policy::STANDARD;
/// Values on record per device: a PC's parts of some years. Beyond it the oldest ones go.
const EVIDENCE_KEPT: i64 = 64;
/// Devices shown as possibly the same.
const MATCHES: usize = 5;
/// Runs of clones remembered per device; an older one is told apart anew by its evidence.
const CLONE_RUNS_KEPT: i64 = 1_024;

/// Puts evidence on record for a device.
pub(crate) fn evidence_record(
    tx: &mut Tx<'_>,
    device: DeviceId,
    evidence: &[Evidence],
    now: UtcMicros,
) -> Result<(), StoreError> {
    for item in evidence {
        tx.execute(
            "INSERT INTO evidence (device_id, kind, value, junk, seen_us) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (device_id, kind, value) DO UPDATE SET junk = excluded.junk, seen_us = excluded.seen_us",
            params![device.as_bytes(), item.kind.as_str(), &item.value, item.junk, now],
        )?;
    }
    tx.execute(
        "DELETE FROM evidence WHERE device_id = $1 AND (kind, value) NOT IN
            (SELECT kind, value FROM evidence WHERE device_id = $1 ORDER BY seen_us DESC, kind, value LIMIT $2)",
        params![device.as_bytes(), EVIDENCE_KEPT],
    )?;
    Ok(())
}

/// What is on record for a device.
pub(crate) fn evidence_of(tx: &mut Tx<'_>, device: DeviceId) -> Result<Vec<Evidence>, StoreError> {
    tx.query(
        "SELECT kind, value, junk FROM evidence WHERE device_id = $1 ORDER BY kind, value",
        params![device.as_bytes()],
        |row| {
            let kind = EvidenceKind::parse(&row.text(0)?);
            Ok(Evidence {
                kind: kind.ok_or(StoreError::Damaged { what: "a kind of evidence" })?,
                value: row.text(1)?,
                junk: row.flag(2)?,
            })
        },
    )
}

/// What each piece of `evidence` is worth in this county.
pub(crate) fn evidence_weigh(tx: &mut Tx<'_>, evidence: Vec<Evidence>) -> Result<Vec<Weighed>, StoreError> {
    let mut weighed = Vec::with_capacity(evidence.len());
    for item in evidence {
        let devices = tx.query_first(
            "SELECT count(*) FROM (SELECT 1 FROM evidence WHERE kind = $1 AND value = $2 LIMIT $3) AS few",
            params![item.kind.as_str(), &item.value, i64::from(POLICY.common_from)],
            |row| row.int(0),
        )?;
        weighed.push(weigh(&POLICY, item, devices.unwrap_or(0) as u32));
    }
    Ok(weighed)
}

/// A device that a PC may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The device.
    pub device: DeviceId,
    /// Its school.
    pub school: SchoolId,
    /// How alike they are.
    pub likeness: Likeness,
    /// In numbers.
    pub found: Comparison,
    /// What is on record for it.
    pub known: Vec<Weighed>,
    /// Whether it is of the frozen class.
    pub frozen: bool,
    /// Whether it may report.
    pub active: bool,
}

/// The devices that share something with `shown`, the most alike first. Retired ones are not held against anybody.
pub(crate) fn matches(
    tx: &mut Tx<'_>,
    shown: &[Weighed],
    but: Option<DeviceId>,
) -> Result<Vec<Match>, StoreError> {
    let mut sharing = BTreeSet::new();
    for one in shown.iter().filter(|one| one.worth == Worth::Counts) {
        sharing.extend(tx.query(
            "SELECT e.device_id FROM evidence e JOIN device d ON d.id = e.device_id
             WHERE e.kind = $1 AND e.value = $2 AND d.standing_kind <> $3",
            params![one.evidence.kind.as_str(), &one.evidence.value, StandingKind::Retired.as_str()],
            |row| Ok(DeviceId::from_bytes(row.array(0, "a device's id")?)),
        )?);
    }
    let mut matches = Vec::with_capacity(sharing.len());
    for device in sharing.into_iter().filter(|device| Some(*device) != but) {
        let known = evidence_of(tx, device)?;
        let known = evidence_weigh(tx, known)?;
        let found = compare(&POLICY, &known, shown);
        let row = device_row(tx, device)?;
        matches.push(Match {
            device,
            school: row.school,
            likeness: likeness(&POLICY, found.score),
            found,
            known,
            frozen: row.frozen,
            active: row.active,
        });
    }
    matches.sort_by_key(|one| (std::cmp::Reverse(one.found.score), one.device));
    matches.truncate(MATCHES);
    Ok(matches)
}

/// Whether a device of the frozen class comes back, whose disk forgot its key: only a PC that is known well, reports
/// no more at this moment, and comes by its own school's door.
pub(crate) fn comes_back_frozen(found: &Match, school: SchoolId, is_live: &dyn Fn(DeviceId) -> bool) -> bool {
    found.likeness == Likeness::Same
        && found.frozen
        && found.active
        && found.school == school
        && !is_live(found.device)
}

/// How a device stands, as far as recognition asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeviceRow {
    /// Its school.
    pub(crate) school: SchoolId,
    /// Whether it is of the frozen class.
    pub(crate) frozen: bool,
    /// Whether it may report.
    pub(crate) active: bool,
}

/// How `device` stands.
pub(crate) fn device_row(tx: &mut Tx<'_>, device: DeviceId) -> Result<DeviceRow, StoreError> {
    let found = tx.query_first(
        "SELECT school_id, frozen, standing FROM device WHERE id = $1",
        params![device.as_bytes()],
        |row| {
            let school = SchoolId::from_bytes(row.array(0, "a school's id")?);
            Ok(DeviceRow { school, frozen: row.flag(1)?, active: row.text(2)? == "active" })
        },
    )?;
    found.ok_or_else(|| StoreError::NotFound { noun: "device", key: device.to_string() })
}

/// Who opened a stream: the device, or a PC that has its identity and is another. Evidence is put on record here.
pub(crate) fn stream_judge(
    tx: &mut Tx<'_>,
    device: DeviceId,
    school: SchoolId,
    opening: &Opening,
    now: UtcMicros,
) -> Result<bool, StoreError> {
    holder_returns(tx, device, opening, now)?;
    let told_apart = is_clone_run(tx, device, opening.run)?;
    let known = evidence_of(tx, device)?;
    let known = evidence_weigh(tx, known)?;
    let shown = evidence_weigh(tx, opening.evidence.clone())?;
    let verdict = judge(&POLICY, &compare(&POLICY, &known, &shown));
    let asking = Asking {
        kind: if verdict == Verdict::Ask { AdmissionKind::Question } else { AdmissionKind::Clone },
        id: opening.admission,
        device: Some(device),
        school,
        token: None,
        key_sha256: None,
        evidence: opening.evidence.clone(),
        host_name: String::new(),
        agent_version: opening.agent_version.clone(),
        address: opening.address.clone(),
    };
    let asks = told_apart || matches!(verdict, Verdict::Ask | Verdict::Clone);
    let ruling = if asks { question_ruling(tx, &asking)? } else { None };
    if !asks || ruling == Some(Ruling::Same) {
        evidence_record(tx, device, &opening.evidence, now)?;
        return Ok(true);
    }
    let is_device = verdict == Verdict::Ask && !told_apart && ruling.is_none();
    // Without evidence there is nothing to show to a person until the PC asks with a key of its own.
    if ruling.is_none() && shown.iter().any(|one| one.worth == Worth::Counts) {
        admission_note(tx, &asking, now)?;
    }
    if !is_device {
        clone_run_note(tx, device, opening.run, now)?;
    }
    Ok(is_device)
}

/// Tells two PCs apart that evidence cannot: the one that comes back was on all the time, so the one that holds the
/// stream now is the newcomer.
fn holder_returns(
    tx: &mut Tx<'_>,
    device: DeviceId,
    opening: &Opening,
    now: UtcMicros,
) -> Result<(), StoreError> {
    let holder = tx.query_first(
        "SELECT run_id, boot_id FROM device_state WHERE device_id = $1",
        params![device.as_bytes()],
        |row| {
            let run = RunId::from_bytes(row.array(0, "a run's id")?);
            Ok(Holder { run, boot: BootId::from_bytes(row.array(1, "a boot's id")?) })
        },
    )?;
    let seen_before = tx.query_first(
        "SELECT 1 FROM run WHERE device_id = $1 AND run_id = $2",
        params![device.as_bytes(), opening.run.as_bytes()],
        |row| row.int(0),
    )?;
    let comes = Holder { run: opening.run, boot: opening.boot };
    match holder {
        Some(holder)
            if two_at_once(holder, comes, seen_before.is_some())
                && !is_clone_run(tx, device, opening.run)? =>
        {
            clone_run_note(tx, device, holder.run, now)
        }
        _ => Ok(()),
    }
}

/// Whether this start of an agent was told apart from the device.
pub(crate) fn is_clone_run(tx: &mut Tx<'_>, device: DeviceId, run: RunId) -> Result<bool, StoreError> {
    let found = tx.query_first(
        "SELECT 1 FROM clone_run WHERE device_id = $1 AND run_id = $2",
        params![device.as_bytes(), run.as_bytes()],
        |row| row.int(0),
    )?;
    Ok(found.is_some())
}

fn clone_run_note(tx: &mut Tx<'_>, device: DeviceId, run: RunId, now: UtcMicros) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO clone_run (device_id, run_id, seen_us) VALUES ($1, $2, $3)
         ON CONFLICT (device_id, run_id) DO UPDATE SET seen_us = excluded.seen_us",
        params![device.as_bytes(), run.as_bytes(), now],
    )?;
    tx.execute(
        "DELETE FROM clone_run WHERE device_id = $1 AND run_id NOT IN
            (SELECT run_id FROM clone_run WHERE device_id = $1 ORDER BY seen_us DESC, run_id LIMIT $2)",
        params![device.as_bytes(), CLONE_RUNS_KEPT],
    )?;
    Ok(())
}

/// Holds the device's canary against the one it was last known to have; gives the number that it shall keep next.
/// Called before the new session is written down.
pub(crate) fn canary_next(
    tx: &mut Tx<'_>,
    device: DeviceId,
    opening: &Opening,
    now: UtcMicros,
) -> Result<u64, StoreError> {
    let found = tx.query_first(
        "SELECT d.canary_told, d.canary_kept, d.rollbacks, d.frozen, d.frozen_by, st.boot_id
         FROM device d LEFT JOIN device_state st ON st.device_id = d.id WHERE d.id = $1",
        params![device.as_bytes()],
        |row| {
            let canary = Canary { told: row.int(0)? as u64, kept: row.int(1)? as u64 };
            Ok((canary, row.int(2)? as u32, row.flag(3)?, row.text_opt(4)?, row.bytes_opt(5)?))
        },
    )?;
    let Some((canary, rollbacks, frozen, frozen_by, boot)) = found else {
        return Err(StoreError::NotFound { noun: "device", key: device.to_string() });
    };
    let new_boot = boot.as_deref() != Some(opening.boot.as_bytes().as_slice());
    let next = canary.told + 1;
    let back = rolled_back(canary, opening.canary, new_boot);
    // What it lost cannot be lost again.
    let kept = if back { opening.canary } else { canary.kept };
    let rollbacks = rollbacks + u32::from(back);
    tx.execute(
        "UPDATE device SET canary_told = $1, canary_kept = $2, rollbacks = $3 WHERE id = $4",
        params![as_int(next), as_int(kept), i64::from(rollbacks), device.as_bytes()],
    )?;
    // Once a person said what it is, the person is believed.
    if back && rollbacks >= FROZEN_AT && !frozen && frozen_by.is_none() {
        frozen_write(tx, &Actor::System("canary"), device, true, now)?;
    }
    Ok(next)
}

/// A device that begins anew has no canary to lose.
pub(crate) fn canary_forget(tx: &mut Tx<'_>, device: DeviceId) -> Result<(), StoreError> {
    tx.execute("UPDATE device SET canary_kept = 0 WHERE id = $1", params![device.as_bytes()])?;
    Ok(())
}

/// Notes that the device has the number `kept` on its disk.
pub fn canary_kept(tx: &mut Tx<'_>, actor: &Actor, kept: u64) -> Result<(), StoreError> {
    permit(actor, Act::ReportDeliver)?;
    let Actor::Device(device) = actor else {
        return Err(StoreError::Forbidden { actor: actor.label(), act: Act::ReportDeliver });
    };
    tx.execute(
        "UPDATE device SET canary_kept = $1 WHERE id = $2 AND canary_kept < $1 AND canary_told >= $1",
        params![as_int(kept), device.as_bytes()],
    )?;
    Ok(())
}

/// Marks a device as one whose disk falls back at each start, or takes that back. `Ok(false)`: it was so already.
pub fn device_freeze(
    tx: &mut Tx<'_>,
    actor: &Actor,
    device: DeviceId,
    frozen: bool,
    now: UtcMicros,
) -> Result<bool, StoreError> {
    permit(actor, Act::DeviceApprove)?;
    let scope = device_scope(actor, "d.id", 2);
    let mut params = vec![Value::from(device.as_bytes())];
    params.extend(scope.value);
    let sql = format!("SELECT d.frozen FROM device d WHERE d.id = $1 AND {}", scope.sql);
    let before = tx.query_first(&sql, &params, |row| row.flag(0))?;
    match before {
        None => Err(StoreError::NotFound { noun: "device", key: device.to_string() }),
        Some(before) if before == frozen => Ok(false),
        Some(_) => frozen_write(tx, actor, device, frozen, now).map(|()| true),
    }
}

fn frozen_write(
    tx: &mut Tx<'_>,
    actor: &Actor,
    device: DeviceId,
    frozen: bool,
    now: UtcMicros,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE device SET frozen = $1, frozen_by = $2 WHERE id = $3",
        params![frozen, actor.label(), device.as_bytes()],
    )?;
    let action = if frozen { "device.freeze" } else { "device.thaw" };
    audit::append(tx, actor, action, &format!("device:{device}"), &json!({}), now)
}

fn as_int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
