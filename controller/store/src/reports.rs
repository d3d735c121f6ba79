//! Sessions and the reports that arrive in them: seen once, stored once, decided only with the commit.

use bbt_domain::{
    access::{Act, Actor},
    identity::Evidence,
    ids::{AdmissionId, BootId, DeviceId, RunId, SchoolId},
    report::{Body, Contact, Decision, Report, event_time},
    seen::{Mark, Seen},
    time::UtcMicros,
};

use crate::{
    StoreError, Tx,
    devices::snapshot_of,
    error::permit,
    params,
    recognition::{canary_next, stream_judge},
    usage::usage_apply,
};

/// Largest body kept in quarantine; the rest of a larger one is cut off.
const QUARANTINE_BODY_BYTES: usize = 64 << 10;
/// Reports kept in quarantine per device; a device that sends more is broken in one way, and more of the same
/// tells a person nothing. Beyond it they are decided as quarantined and counted, their bytes are not kept.
const QUARANTINE_REPORTS: i64 = 64;

/// Why the reports of a clone are kept apart.
pub const CLONE_REASON: &str = "this PC has the identity of another device";

/// A device opening a stream.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Start of the agent.
    pub run: RunId,
    /// Start of the operating system.
    pub boot: BootId,
    /// Whether the system's start before ended in an orderly stop.
    pub clean_stop: Option<bool>,
    /// Version of the agent.
    pub agent_version: String,
    /// The peer's address.
    pub address: String,
    /// What waits in its spool.
    pub backlog_frames: u64,
    /// The same in bytes.
    pub backlog_bytes: u64,
    /// The device's wall clock less the controller's, microseconds.
    pub clock_off_micros: i64,
    /// By what it is recognised.
    pub evidence: Vec<Evidence>,
    /// The state canary that it has on disk; 0 for none.
    pub canary: u64,
    /// Id for a question to a person, if there is one.
    pub admission: AdmissionId,
}

/// What became of an opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// The device's school.
    pub school: SchoolId,
    /// Whose stream it is.
    pub whose: Whose,
}

/// Whose stream was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The device's, which shall keep this canary on its disk.
    Device(u64),
    /// Of another PC that has the device's identity: nothing of the device was touched.
    Clone,
}

/// Says whose stream it is, and makes `opening.run` the run whose reports change the device's current state, unless
/// it is a clone's.
pub fn session_start(
    tx: &mut Tx<'_>,
    actor: &Actor,
    opening: &Opening,
    now: UtcMicros,
) -> Result<Started, StoreError> {
    let device = reporting_device(actor)?;
    let school = school_of_device(tx, device)?;
    if !stream_judge(tx, device, school, opening, now)? {
        return Ok(Started { school, whose: Whose::Clone });
    }
    let canary = canary_next(tx, device, opening, now)?;
    // A run that opens a second stream goes on counting where it was; another run starts from nothing.
    tx.execute(
        "INSERT INTO device_state (device_id, school_id, run_id, boot_id, session_us, address, agent_version,
             backlog_frames, backlog_bytes, clean_stop, snapshot_seq, snapshot_us, snapshot, clock_off_us)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, NULL, NULL, $11)
         ON CONFLICT (device_id) DO UPDATE SET school_id = excluded.school_id,
             snapshot_seq = CASE WHEN device_state.run_id = excluded.run_id THEN device_state.snapshot_seq ELSE 0 END,
             run_id = excluded.run_id, boot_id = excluded.boot_id, session_us = excluded.session_us,
             address = excluded.address, agent_version = excluded.agent_version,
             backlog_frames = excluded.backlog_frames, backlog_bytes = excluded.backlog_bytes,
             clean_stop = excluded.clean_stop, clock_off_us = excluded.clock_off_us",
        params![
            device.as_bytes(),
            school.as_bytes(),
            opening.run.as_bytes(),
            opening.boot.as_bytes(),
            now,
            &opening.address,
            &opening.agent_version,
            i64::try_from(opening.backlog_frames).unwrap_or(i64::MAX),
            i64::try_from(opening.backlog_bytes).unwrap_or(i64::MAX),
            opening.clean_stop.map(i64::from),
            opening.clock_off_micros
        ],
    )?;
    Ok(Started { school, whose: Whose::Device(canary) })
}

/// Reports of one batch, for one commit.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// In the order they were sent.
    pub reports: Vec<Report>,
    /// An id for the history row of each report, in order of time.
    pub row_ids: Vec<[u8; 16]>,
    /// When and with which clocks they arrived.
    pub contact: Contact,
    /// The run that opened the stream they came on.
    pub session_run: RunId,
    /// The device's school, from [`session_start`].
    pub school: SchoolId,
}

/// Stores what is new of a delivery and says what became of each report, in order.
pub fn reports_commit(
    tx: &mut Tx<'_>,
    actor: &Actor,
    delivery: &Delivery,
) -> Result<Vec<Decision>, StoreError> {
    let device = reporting_device(actor)?;
    let mut runs: Vec<RunRow> = Vec::with_capacity(1);
    let mut decisions = Vec::with_capacity(delivery.reports.len());
    for (report, row_id) in delivery.reports.iter().zip(&delivery.row_ids) {
        if report.device != device {
            decisions.push(Decision::OtherIdentity);
            continue;
        }
        let at = match runs.iter().position(|row| row.run == report.run) {
            Some(at) => at,
            None => {
                runs.push(RunRow::load(tx, device, report.run)?);
                runs.len() - 1
            }
        };
        let run = &mut runs[at];
        decisions.push(match run.seen.mark(report.seq) {
            Mark::Duplicate => Decision::Duplicate,
            Mark::Overflow => Decision::Later,
            Mark::New => {
                run.changed = true;
                store(tx, device, delivery, report, row_id, run.offset_micros)?
            }
        });
    }
    for run in runs.iter().filter(|run| run.changed) {
        run.save(tx, device, delivery)?;
    }
    Ok(decisions)
}

/// Keeps the reports of a clone apart, for a person; nothing of the device whose identity it has is touched.
pub fn reports_quarantine(
    tx: &mut Tx<'_>,
    actor: &Actor,
    delivery: &Delivery,
) -> Result<Vec<Decision>, StoreError> {
    let device = reporting_device(actor)?;
    let mut decisions = Vec::with_capacity(delivery.reports.len());
    for report in &delivery.reports {
        if report.device != device {
            decisions.push(Decision::OtherIdentity);
            continue;
        }
        if let Body::Unreadable { bytes, .. } = &report.body {
            quarantine(tx, device, delivery, report, Origin::Clone, CLONE_REASON, bytes)?;
        }
        decisions.push(Decision::Quarantined(CLONE_REASON.to_owned()));
    }
    Ok(decisions)
}

/// Which reports of a run were seen.
struct RunRow {
    run: RunId,
    seen: Seen,
    offset_micros: Option<i64>,
    changed: bool,
}

impl RunRow {
    fn load(tx: &mut Tx<'_>, device: DeviceId, run: RunId) -> Result<Self, StoreError> {
        let found = tx.query_first(
            "SELECT below, ranges, offset_us FROM run WHERE device_id = $1 AND run_id = $2",
            params![device.as_bytes(), run.as_bytes()],
            |row| {
                let below = u64::try_from(row.int(0)?).ok();
                let seen = below.and_then(|below| Seen::from_parts(below, &row.bytes(1).ok()?));
                Ok((seen.ok_or(StoreError::Damaged { what: "a run's seen reports" })?, row.int_opt(2)?))
            },
        )?;
        let (seen, offset_micros) = found.unwrap_or_default();
        Ok(Self { run, seen, offset_micros, changed: false })
    }

    fn save(&self, tx: &mut Tx<'_>, device: DeviceId, delivery: &Delivery) -> Result<(), StoreError> {
        let contact = &delivery.contact;
        // Only the running agent's wall clock was seen beside the controller's at this contact.
        let offset = if self.run == delivery.session_run {
            Some(contact.wall_offset_micros())
        } else {
            self.offset_micros
        };
        tx.execute(
            "INSERT INTO run (device_id, run_id, school_id, below, ranges, offset_us, first_us, last_us)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
             ON CONFLICT (device_id, run_id) DO UPDATE SET below = excluded.below, ranges = excluded.ranges,
                 offset_us = excluded.offset_us, last_us = excluded.last_us",
            params![
                device.as_bytes(),
                self.run.as_bytes(),
                delivery.school.as_bytes(),
                i64::try_from(self.seen.below()).unwrap_or(i64::MAX),
                self.seen.ranges_to_bytes(),
                offset,
                contact.received
            ],
        )?;
        Ok(())
    }
}

fn store(
    tx: &mut Tx<'_>,
    device: DeviceId,
    delivery: &Delivery,
    report: &Report,
    row_id: &[u8; 16],
    run_offset_micros: Option<i64>,
) -> Result<Decision, StoreError> {
    let (at, basis) = event_time(report, &delivery.contact, run_offset_micros);
    // Where nothing is known of the run's clock, it was most likely off by what it is off by now.
    let offset = run_offset_micros.unwrap_or_else(|| delivery.contact.wall_offset_micros());
    match &report.body {
        Body::Samples(body) => {
            tx.execute(
                "INSERT INTO history_frame (id, device_id, school_id, run_id, seq, at_us, time_basis, mono_us, body)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                params![
                    row_id,
                    device.as_bytes(),
                    delivery.school.as_bytes(),
                    report.run.as_bytes(),
                    seq_of(report),
                    at,
                    basis.code(),
                    report.mono_micros,
                    body.as_slice()
                ],
            )?;
        }
        Body::State(_) => snapshot_apply(tx, device, report, at)?,
        Body::Usage { corrected, slots } => {
            let behind = if *corrected { 0 } else { offset };
            let slots = slots.iter().map(|slot| slot.shifted(behind));
            usage_apply(tx, device, delivery.school, slots, delivery.contact.received)?;
        }
        Body::Gap(gap) => {
            let corrected = |wall: UtcMicros| {
                UtcMicros::from_micros(wall.as_micros().saturating_add(offset)).min(delivery.contact.received)
            };
            tx.execute(
                "INSERT INTO gap (device_id, run_id, seq, school_id, class, reason, lost_run, first_seq, last_seq,
                     lost, from_us, to_us, told_us)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
                params![
                    device.as_bytes(),
                    report.run.as_bytes(),
                    seq_of(report),
                    delivery.school.as_bytes(),
                    gap.class.as_str(),
                    &gap.reason,
                    gap.run.as_bytes(),
                    i64::try_from(gap.first_seq).unwrap_or(i64::MAX),
                    i64::try_from(gap.last_seq).unwrap_or(i64::MAX),
                    i64::try_from(gap.count).unwrap_or(i64::MAX),
                    corrected(gap.from_wall),
                    corrected(gap.to_wall),
                    delivery.contact.received
                ],
            )?;
        }
        Body::Unreadable { reason, bytes } => {
            quarantine(tx, device, delivery, report, Origin::Device, reason, bytes)?;
            return Ok(Decision::Quarantined(reason.clone()));
        }
    }
    Ok(Decision::Committed)
}

/// Changes the current state, if this report may: of the newest session's run, and newer than the last.
fn snapshot_apply(
    tx: &mut Tx<'_>,
    device: DeviceId,
    report: &Report,
    at: UtcMicros,
) -> Result<(), StoreError> {
    let Body::State(state) = &report.body else { return Ok(()) };
    let current = tx.query_first(
        "SELECT snapshot FROM device_state WHERE device_id = $1 AND run_id = $2 AND snapshot_seq < $3",
        params![device.as_bytes(), report.run.as_bytes(), seq_of(report)],
        |row| row.text_opt(0),
    )?;
    let Some(kept) = current else { return Ok(()) };
    let mut snapshot = snapshot_of(kept)?;
    snapshot.apply(state.as_ref().clone(), at);
    let text =
        serde_json::to_string(&snapshot).map_err(|_| StoreError::Damaged { what: "a device's snapshot" })?;
    tx.execute(
        "UPDATE device_state SET snapshot = $1, snapshot_seq = $2, snapshot_us = $3 WHERE device_id = $4",
        params![text, seq_of(report), at, device.as_bytes()],
    )?;
    Ok(())
}

/// Who sent what is kept apart; each has room of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Device,
    Clone,
}

fn quarantine(
    tx: &mut Tx<'_>,
    device: DeviceId,
    delivery: &Delivery,
    report: &Report,
    origin: Origin,
    reason: &str,
    bytes: &[u8],
) -> Result<(), StoreError> {
    let clone = origin == Origin::Clone;
    let kept = tx
        .query_first(
            "SELECT count(*) FROM quarantine WHERE device_id = $1 AND clone = $2",
            params![device.as_bytes(), clone],
            |row| row.int(0),
        )?
        .unwrap_or(0);
    if kept >= QUARANTINE_REPORTS {
        return Ok(());
    }
    tx.execute(
        "INSERT INTO quarantine (device_id, run_id, seq, school_id, received_us, reason, body, clone)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (device_id, run_id, seq) DO NOTHING",
        params![
            device.as_bytes(),
            report.run.as_bytes(),
            seq_of(report),
            delivery.school.as_bytes(),
            delivery.contact.received,
            reason,
            &bytes[..bytes.len().min(QUARANTINE_BODY_BYTES)],
            clone
        ],
    )?;
    Ok(())
}

fn seq_of(report: &Report) -> i64 {
    i64::try_from(report.seq).unwrap_or(i64::MAX)
}

fn reporting_device(actor: &Actor) -> Result<DeviceId, StoreError> {
    permit(actor, Act::ReportDeliver)?;
    match actor {
        Actor::Device(device) => Ok(*device),
        other => Err(StoreError::Forbidden { actor: other.label(), act: Act::ReportDeliver }),
    }
}

fn school_of_device(tx: &mut Tx<'_>, device: DeviceId) -> Result<SchoolId, StoreError> {
    tx.query_first("SELECT school_id FROM device WHERE id = $1", params![device.as_bytes()], |row| {
        Ok(SchoolId::from_bytes(row.array(0, "a school's id")?))
    })?
    .ok_or_else(|| StoreError::NotFound { noun: "device", key: device.to_string() })
}
