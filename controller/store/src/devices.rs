//! Devices as people look at them.

use bbt_domain::{
    access::{Act, Actor},
    identity::{Evidence, Standing, StandingKind},
    ids::{BootId, DeviceId, RunId},
    snapshot::Snapshot,
    time::UtcMicros,
};
use serde::Serialize;
use serde_json::json;

use crate::{
    Row, StoreError, Tx, Value, audit,
    certificates::{CertificateLine, certificate_newest},
    error::permit,
    params,
    recognition::evidence_of,
    scope::device_scope,
};

/// One line of a list of devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceLine {
    /// The device.
    pub id: DeviceId,
    /// Its school's code.
    pub school_code: String,
    /// Its school's name.
    pub school_name: String,
    /// active, revoked.
    pub standing: Standing,
    /// plain, stolen, retired.
    pub standing_kind: StandingKind,
    /// Whether its disk falls back at each start of its system.
    pub frozen: bool,
    /// First certificate.
    pub enrolled_at: UtcMicros,
    /// Newest contact that brought a report; `None` before the first.
    pub last_report_at: Option<UtcMicros>,
    /// As the device calls itself.
    pub host_name: Option<String>,
    /// Processor's full name.
    pub processor: Option<String>,
    /// Memory usable by the operating system.
    pub memory_bytes: Option<u64>,
    /// All disks together.
    pub disk_bytes: Option<u64>,
    /// Distribution or edition, and version.
    pub os: Option<String>,
    /// Version of the agent.
    pub agent_version: Option<String>,
}

/// Everything known of one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceFile {
    /// As in the list.
    #[serde(flatten)]
    pub line: DeviceLine,
    /// Why it stands as it does, if a person said so.
    pub standing_reason: Option<String>,
    /// Since when it stands so.
    pub standing_since: UtcMicros,
    /// Its newest session; `None` before the first.
    pub session: Option<Session>,
    /// Latest state, section by section.
    pub snapshot: Snapshot,
    /// By what it is recognised.
    pub evidence: Vec<Evidence>,
    /// What it had to drop, newest first.
    pub gaps: Vec<GapLine>,
    /// Reports that could not be read.
    pub quarantined: i64,
    /// Reports of other PCs with its identity, kept apart.
    pub quarantined_of_clones: i64,
    /// Who said last whether it is of the frozen class, as the audit names them.
    pub frozen_by: Option<String>,
    /// How often its state was seen to have gone back.
    pub rollbacks: i64,
    /// The device whose disk was copied to this one.
    pub sibling_of: Option<DeviceId>,
    /// Reports stored as history.
    pub history_frames: i64,
    /// End of its newest certificate.
    pub certificate_until: Option<UtcMicros>,
    /// Its newest certificate.
    pub certificate: Option<CertificateLine>,
}

/// The newest session of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Session {
    /// Start of the agent.
    pub run_id: RunId,
    /// Start of the operating system.
    pub boot_id: BootId,
    /// When it was opened.
    pub opened_at: UtcMicros,
    /// From where.
    pub address: String,
    /// What waited in the device's spool then.
    pub backlog_frames: i64,
    /// The same in bytes.
    pub backlog_bytes: i64,
    /// Whether the system's start before ended in an orderly stop.
    pub clean_stop: Option<bool>,
    /// The device's wall clock less the controller's, seconds.
    pub clock_off_secs: Option<i64>,
}

/// A span of dropped reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GapLine {
    /// urgent, state, history.
    pub class: String,
    /// spool_full, too_old, …
    pub reason: String,
    /// How many reports.
    pub reports: i64,
    /// First, by the device's clock as corrected.
    pub from: UtcMicros,
    /// Last, likewise.
    pub to: UtcMicros,
}

impl DeviceLine {
    /// Whether a text by which people name a device has `wanted`, in small letters, in it.
    fn mentions(&self, wanted: &str) -> bool {
        let texts = [&self.school_code, &self.school_name];
        let told = [&self.host_name, &self.processor, &self.os];
        texts.into_iter().chain(told.into_iter().flatten()).any(|text| text.to_lowercase().contains(wanted))
            || self.id.to_string().contains(wanted)
    }
}

/// Devices looked at per query while searching.
const SEARCH_PAGE: usize = 200;
/// Gaps shown on a device's page.
const GAPS_SHOWN: i64 = 50;

const LINE: &str = "SELECT d.id, s.code, s.name, d.standing, d.enrolled_us,
    (SELECT max(r.last_us) FROM run r WHERE r.device_id = d.id), st.agent_version, st.snapshot,
    d.standing_why, d.standing_us, st.run_id, st.boot_id, st.session_us, st.address, st.backlog_frames,
    st.backlog_bytes, st.clean_stop, st.clock_off_us, d.standing_kind, d.frozen, d.frozen_by, d.rollbacks,
    d.sibling_of
    FROM device d JOIN school s ON s.id = d.school_id LEFT JOIN device_state st ON st.device_id = d.id";

/// Devices in order of their id, after `after`.
pub fn device_list(
    tx: &mut Tx<'_>,
    actor: &Actor,
    after: Option<DeviceId>,
    limit: usize,
) -> Result<Vec<DeviceLine>, StoreError> {
    permit(actor, Act::FleetRead)?;
    let scope = device_scope(actor, "d.id", 3);
    let mut params =
        vec![Value::from(after.map_or([0; 16], |id| *id.as_bytes()).as_slice()), Value::from(limit as i64)];
    params.extend(scope.value);
    let sql = format!("{LINE} WHERE d.id > $1 AND {} ORDER BY d.id LIMIT $2", scope.sql);
    tx.query(&sql, &params, |row| Ok(line_of(row)?.0))
}

/// Devices whose school, host, processor, system or id has `wanted` in it, capitals or not, in order of their id,
/// after `after`. An empty `wanted` finds all.
pub fn device_search(
    tx: &mut Tx<'_>,
    actor: &Actor,
    wanted: &str,
    only: Option<StandingKind>,
    after: Option<DeviceId>,
    limit: usize,
) -> Result<Vec<DeviceLine>, StoreError> {
    let wanted = wanted.to_lowercase();
    let mut found = Vec::new();
    let mut after = after;
    while found.len() < limit {
        let page = device_list(tx, actor, after, SEARCH_PAGE)?;
        after = page.last().map(|line| line.id);
        let last_page = page.len() < SEARCH_PAGE;
        let fits =
            |line: &DeviceLine| line.mentions(&wanted) && only.is_none_or(|kind| line.standing_kind == kind);
        found.extend(page.into_iter().filter(fits).take(limit - found.len()));
        if last_page {
            break;
        }
    }
    Ok(found)
}

/// How many devices there are, and how many of them reported since `since`.
pub fn device_count(tx: &mut Tx<'_>, actor: &Actor, since: UtcMicros) -> Result<(i64, i64), StoreError> {
    permit(actor, Act::FleetRead)?;
    let scope = device_scope(actor, "d.id", 2);
    let mut params = vec![Value::from(since)];
    params.extend(scope.value);
    let sql = format!(
        "SELECT count(*), coalesce(sum(CASE WHEN EXISTS
            (SELECT 1 FROM run r WHERE r.device_id = d.id AND r.last_us >= $1) THEN 1 ELSE 0 END), 0)
         FROM device d WHERE {}",
        scope.sql
    );
    let found = tx.query_first(&sql, &params, |row| Ok((row.int(0)?, row.int(1)?)))?;
    Ok(found.unwrap_or((0, 0)))
}

/// Everything known of one device.
pub fn device_show(tx: &mut Tx<'_>, actor: &Actor, id: DeviceId) -> Result<DeviceFile, StoreError> {
    permit(actor, Act::FleetRead)?;
    let scope = device_scope(actor, "d.id", 2);
    let mut params = vec![Value::from(id.as_bytes())];
    params.extend(scope.value);
    let found = tx.query_first(&format!("{LINE} WHERE d.id = $1 AND {}", scope.sql), &params, |row| {
        let (line, snapshot) = line_of(row)?;
        let standing = (row.text(8)?, row.time(9)?);
        let sibling_of = row.array_opt(22, "a device's id")?.map(DeviceId::from_bytes);
        Ok((line, snapshot, standing, session_of(row)?, (row.text_opt(20)?, row.int(21)?, sibling_of)))
    })?;
    let (line, snapshot, (standing_reason, standing_since), session, class) =
        found.ok_or_else(|| not_found(id))?;

    let evidence = evidence_of(tx, id)?;
    let gaps = tx.query(
        "SELECT class, reason, lost, from_us, to_us FROM gap WHERE device_id = $1 ORDER BY told_us DESC LIMIT $2",
        params![id.as_bytes(), GAPS_SHOWN],
        |row| {
            Ok(GapLine {
                class: row.text(0)?,
                reason: row.text(1)?,
                reports: row.int(2)?,
                from: row.time(3)?,
                to: row.time(4)?,
            })
        },
    )?;
    let count = |tx: &mut Tx<'_>, sql: &str| {
        tx.query_first(sql, params![id.as_bytes()], |row| row.int(0)).map(Option::unwrap_or_default)
    };
    let certificate = certificate_newest(tx, id)?;
    Ok(DeviceFile {
        line,
        standing_reason: (!standing_reason.is_empty()).then_some(standing_reason),
        standing_since,
        session,
        snapshot,
        evidence,
        gaps,
        quarantined: count(tx, "SELECT count(*) FROM quarantine WHERE device_id = $1 AND clone = 0")?,
        quarantined_of_clones: count(
            tx,
            "SELECT count(*) FROM quarantine WHERE device_id = $1 AND clone = 1",
        )?,
        frozen_by: class.0,
        rollbacks: class.1,
        sibling_of: class.2,
        history_frames: count(tx, "SELECT count(*) FROM history_frame WHERE device_id = $1")?,
        certificate_until: certificate.map(|certificate| certificate.until),
        certificate,
    })
}

/// Changes whether a device may report, and what for. `Ok(false)`: it stood so already.
pub fn device_stand(
    tx: &mut Tx<'_>,
    actor: &Actor,
    id: DeviceId,
    standing: Standing,
    kind: StandingKind,
    why: &str,
    now: UtcMicros,
) -> Result<bool, StoreError> {
    permit(actor, Act::DeviceRevoke)?;
    let scope = device_scope(actor, "d.id", 2);
    let mut params = vec![Value::from(id.as_bytes())];
    params.extend(scope.value);
    let found = tx.query_first(
        &format!("SELECT d.standing, d.standing_kind FROM device d WHERE d.id = $1 AND {}", scope.sql),
        &params,
        |row| Ok((row.text(0)?, row.text(1)?)),
    )?;
    let (before, kind_before) = found.ok_or_else(|| not_found(id))?;
    if before == standing.as_str() && kind_before == kind.as_str() {
        return Ok(false);
    }
    tx.execute(
        "UPDATE device SET standing = $1, standing_us = $2, standing_why = $3, standing_kind = $4 WHERE id = $5",
        params![standing.as_str(), now, why, kind.as_str(), id.as_bytes()],
    )?;
    let action = match standing {
        Standing::Revoked => "device.revoke",
        Standing::Active => "device.unrevoke",
    };
    audit::append(tx, actor, action, &format!("device:{id}"), &json!({"reason": why, "kind": kind}), now)?;
    Ok(true)
}

/// Every device that may not report.
pub fn devices_revoked(tx: &mut Tx<'_>, actor: &Actor) -> Result<Vec<DeviceId>, StoreError> {
    permit(actor, Act::FleetRead)?;
    tx.query("SELECT id FROM device WHERE standing = $1", params![Standing::Revoked.as_str()], |row| {
        Ok(DeviceId::from_bytes(row.array(0, "a device's id")?))
    })
}

/// The newest frame of samples: event time, the device's monotonic clock, the wire's bytes.
pub fn newest_samples(
    tx: &mut Tx<'_>,
    actor: &Actor,
    id: DeviceId,
) -> Result<Option<(UtcMicros, i64, Vec<u8>)>, StoreError> {
    permit(actor, Act::FleetRead)?;
    let scope = device_scope(actor, "device_id", 2);
    let mut params = vec![Value::from(id.as_bytes())];
    params.extend(scope.value);
    let sql = format!(
        "SELECT at_us, mono_us, body FROM history_frame WHERE device_id = $1 AND {} ORDER BY id DESC LIMIT 1",
        scope.sql
    );
    tx.query_first(&sql, &params, |row| Ok((row.time(0)?, row.int(1)?, row.bytes(2)?)))
}

fn not_found(id: DeviceId) -> StoreError {
    StoreError::NotFound { noun: "device", key: id.to_string() }
}

/// A kept snapshot; a device that told nothing yet has an empty one.
pub(crate) fn snapshot_of(kept: Option<String>) -> Result<Snapshot, StoreError> {
    let read = |text: String| {
        serde_json::from_str(&text).map_err(|_| StoreError::Damaged { what: "a device's snapshot" })
    };
    kept.map(read).transpose().map(Option::unwrap_or_default)
}

fn line_of(row: &Row<'_>) -> Result<(DeviceLine, Snapshot), StoreError> {
    let snapshot = snapshot_of(row.text_opt(7)?)?;
    let hardware = snapshot.hardware.as_ref().map(|section| &section.told.facts);
    let software = snapshot.software.as_ref().map(|section| &section.told.facts);
    let disks = snapshot.storage.as_ref().map(|section| &section.told.facts.disks);
    let line = DeviceLine {
        id: DeviceId::from_bytes(row.array(0, "a device's id")?),
        school_code: row.text(1)?,
        school_name: row.text(2)?,
        standing: Standing::parse(&row.text(3)?)
            .ok_or(StoreError::Damaged { what: "a device's standing" })?,
        standing_kind: StandingKind::parse(&row.text(18)?)
            .ok_or(StoreError::Damaged { what: "a device's standing" })?,
        frozen: row.flag(19)?,
        enrolled_at: row.time(4)?,
        last_report_at: row.time_opt(5)?,
        host_name: software.and_then(|s| s.host_name.clone()),
        processor: hardware.and_then(|h| h.processors.first()).and_then(|p| p.model.clone()),
        memory_bytes: hardware.and_then(|h| h.memory.total_bytes),
        disk_bytes: disks.and_then(|disks| disks.iter().map(|disk| disk.size_bytes).sum()),
        os: software.and_then(|s| match (&s.os_name, &s.os_version) {
            (Some(name), Some(version)) => Some(format!("{name} {version}")),
            (name, version) => name.clone().or_else(|| version.clone()),
        }),
        agent_version: row.text_opt(6)?,
    };
    Ok((line, snapshot))
}

fn session_of(row: &Row<'_>) -> Result<Option<Session>, StoreError> {
    if row.bytes_opt(10)?.is_none() {
        return Ok(None);
    }
    Ok(Some(Session {
        run_id: RunId::from_bytes(row.array(10, "a run's id")?),
        boot_id: BootId::from_bytes(row.array(11, "a boot's id")?),
        opened_at: row.time(12)?,
        address: row.text(13)?,
        backlog_frames: row.int(14)?,
        backlog_bytes: row.int(15)?,
        clean_stop: row.int_opt(16)?.map(|flag| flag != 0),
        clock_off_secs: row.int_opt(17)?.map(|micros| micros.saturating_add(500_000).div_euclid(1_000_000)),
    }))
}
