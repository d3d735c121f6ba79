//! Certificates of devices: recorded before they are signed, renewed in two phases, given anew to a device that
//! proves an old key.
//!
//! The newest certificate of a device takes the place of the older ones when it is first used, not when it is made:
//! a device that lost the answer, or was switched off before it kept it, still has a good one. Which certificates
//! are older is told by when they were recorded, on the controller's own clock.

use bbt_domain::{
    access::{Act, Actor},
    identity::{Evidence, Issuance, Standing},
    ids::{AdmissionId, DeviceId, RunId},
    time::UtcMicros,
};
use serde::Serialize;
use serde_json::json;

use crate::{
    StoreError, Tx,
    admissions::admission_taken,
    audit,
    clones::{Claim, claim_of},
    enrollment::{Admitted, Enrolled, Waiting, device_add},
    error::permit,
    params,
    recognition::{canary_forget, device_row, evidence_record},
    sets::NewSet,
};

/// A certificate about to be signed: recorded first.
#[derive(Clone, Debug)]
pub struct NewCertificate {
    /// Random, 128 bits.
    pub serial: [u8; 16],
    /// Good from.
    pub not_before: UtcMicros,
    /// Good until.
    pub not_after: UtcMicros,
}

/// Why the certificate that a device shows, or whose key it proves, opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateRefusal {
    /// The device is not in the county's records.
    UnknownDevice,
    /// Its access was taken away.
    Revoked,
    /// A newer certificate of the device was used.
    Superseded,
    /// Its serial is on record for another device or another key.
    OtherRecord,
    /// A person looked at the PC that shows it and turned it away.
    Refused,
    /// Too many PCs of the school wait for a person.
    Crowded,
}

/// Whether the device may go on with the certificate of `serial` that it shows on the devices' port; notes its first
/// use, which ends the device's older ones. Repeating it changes nothing.
///
/// A serial that is not on record is no reason to refuse: its certificate leads to the county's root, which only this
/// county's controller signs with, and a county that was put back from a copy has lost its newest rows. That the
/// device is known and not revoked is asked all the same.
pub fn certificate_use(
    tx: &mut Tx<'_>,
    actor: &Actor,
    serial: Option<[u8; 16]>,
    now: UtcMicros,
) -> Result<Result<(), CertificateRefusal>, StoreError> {
    let device = asking_device(actor)?;
    if let Err(refusal) = standing_check(tx, device)? {
        return Ok(Err(refusal));
    }
    let row = match serial {
        Some(serial) => certificate_row(tx, &serial)?,
        None => None,
    };
    let Some(row) = row else { return Ok(Ok(())) };
    if row.device != device {
        return Ok(Err(CertificateRefusal::OtherRecord));
    }
    if row.superseded {
        return Ok(Err(CertificateRefusal::Superseded));
    }
    if !row.used {
        tx.execute(
            "UPDATE certificate SET used_us = $1 WHERE serial = $2",
            params![now, &serial.unwrap_or_default()],
        )?;
        tx.execute(
            "UPDATE certificate SET superseded_us = $1
             WHERE device_id = $2 AND recorded_us < $3 AND superseded_us IS NULL",
            params![now, device.as_bytes(), row.recorded_at],
        )?;
    }
    Ok(Ok(()))
}

/// What a device shows on the devices' port, and what it shall get.
#[derive(Clone, Debug)]
pub struct Renewing {
    /// Serial of the certificate that its connection uses.
    pub shown: Option<[u8; 16]>,
    /// SHA-256 of the new public key.
    pub key_sha256: [u8; 32],
    /// The certificate about to be signed.
    pub certificate: NewCertificate,
    /// The peer's address, for the audit.
    pub peer: String,
}

/// Records a further certificate of the device before it is signed. The one it shows stays good.
pub fn certificate_renew(
    tx: &mut Tx<'_>,
    actor: &Actor,
    renewing: &Renewing,
    now: UtcMicros,
) -> Result<Result<(), CertificateRefusal>, StoreError> {
    let device = asking_device(actor)?;
    if let Err(refusal) = certificate_use(tx, actor, renewing.shown, now)? {
        return Ok(Err(refusal));
    }
    let certificate = &renewing.certificate;
    certificate_record(tx, device, Issuance::Renewal, &renewing.key_sha256, certificate, now)?;
    let detail = json!({"until": certificate.not_after, "peer": renewing.peer});
    audit::append(tx, actor, "device.renew", &format!("device:{device}"), &detail, now)?;
    Ok(Ok(()))
}

/// What a device proves on the enrolment port, and what it shall get.
#[derive(Clone, Debug)]
pub struct Reattaching {
    /// Serial of the certificate whose key it proved.
    pub shown: Option<[u8; 16]>,
    /// SHA-256 of that certificate's public key.
    pub shown_key_sha256: [u8; 32],
    /// SHA-256 of the new public key.
    pub key_sha256: [u8; 32],
    /// The certificate about to be signed.
    pub certificate: NewCertificate,
    /// By what it is recognised.
    pub evidence: Vec<Evidence>,
    /// The start of its agent that was told to make a key of its own, if it was.
    pub run: Option<RunId>,
    /// Id for the PC, if it becomes a device of its own.
    pub device: DeviceId,
    /// The set of its own that it gets then.
    pub set: NewSet,
    /// Id for the request, if a person has to look at it.
    pub admission: AdmissionId,
    /// Version of its agent.
    pub agent_version: String,
    /// The peer's address, for the audit.
    pub peer: String,
}

/// Records a certificate for whoever proved the key of an earlier one: the device, unless its evidence says that it is
/// another PC with the same identity ([`crate::clones`]).
///
/// A superseded certificate does for this: a disk that falls back every night brings back an old one every morning,
/// and nobody shall have to visit it. Whoever holds a copy of such a key is told apart by evidence, and thrown out by
/// revocation.
pub fn certificate_reattach(
    tx: &mut Tx<'_>,
    actor: &Actor,
    reattaching: &Reattaching,
    is_live: &dyn Fn(DeviceId) -> bool,
    now: UtcMicros,
) -> Result<Result<Admitted, CertificateRefusal>, StoreError> {
    let shown = asking_device(actor)?;
    if let Err(refusal) = standing_check(tx, shown)? {
        return Ok(Err(refusal));
    }
    let row = match reattaching.shown {
        Some(serial) => certificate_row(tx, &serial)?,
        None => None,
    };
    // As in `certificate_use`: a row that is not there was lost by a restore.
    if row.is_some_and(|row| row.device != shown || row.key_sha256 != reattaching.shown_key_sha256) {
        return Ok(Err(CertificateRefusal::OtherRecord));
    }
    let (claim, request) = claim_of(tx, shown, reattaching, is_live, now)?;
    let device = match claim {
        Claim::Device => shown,
        Claim::Known(device) => device,
        Claim::New => {
            let school = device_row(tx, shown)?.school;
            device_add(tx, reattaching.device, school, Some(shown), &reattaching.set, now)?;
            reattaching.device
        }
        Claim::Waits => return Ok(Ok(Admitted::Waiting(Waiting::Clone(shown)))),
        Claim::Refused => return Ok(Err(CertificateRefusal::Refused)),
        Claim::Crowded => return Ok(Err(CertificateRefusal::Crowded)),
    };
    let school_name = match standing_check(tx, device)? {
        Ok(school_name) => school_name,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if device != shown {
        canary_forget(tx, device)?;
        evidence_record(tx, device, &reattaching.evidence, now)?;
    }
    if let Some(request) = request {
        admission_taken(tx, request.id, device, now)?;
    }
    let certificate = &reattaching.certificate;
    certificate_record(tx, device, Issuance::Reattachment, &reattaching.key_sha256, certificate, now)?;
    let detail = json!({"until": certificate.not_after, "peer": reattaching.peer, "shown": shown});
    audit::append(tx, actor, "device.reattach", &format!("device:{device}"), &detail, now)?;
    Ok(Ok(Admitted::Device(Enrolled { device, school_name })))
}

/// Keeps the signed certificate beside its record.
pub fn certificate_signed(
    tx: &mut Tx<'_>,
    actor: &Actor,
    serial: &[u8; 16],
    der: &[u8],
) -> Result<(), StoreError> {
    permit(actor, Act::CertificateTake)?;
    let changed = tx.execute("UPDATE certificate SET der = $1 WHERE serial = $2", params![der, serial])?;
    if changed == 1 { Ok(()) } else { Err(StoreError::Damaged { what: "a certificate's record" }) }
}

/// A device's certificate as people look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CertificateLine {
    /// Good until.
    pub until: UtcMicros,
    /// When it was made.
    pub issued_at: UtcMicros,
    /// How the device came by it.
    pub issuance: Issuance,
    /// When the device first used it; `None` before.
    pub used_at: Option<UtcMicros>,
}

/// The newest certificate that was signed for `device`.
pub(crate) fn certificate_newest(
    tx: &mut Tx<'_>,
    device: DeviceId,
) -> Result<Option<CertificateLine>, StoreError> {
    tx.query_first(
        "SELECT not_after_us, recorded_us, issuance, used_us FROM certificate
         WHERE device_id = $1 AND der IS NOT NULL ORDER BY recorded_us DESC LIMIT 1",
        params![device.as_bytes()],
        |row| {
            let issuance = Issuance::parse(&row.text(2)?);
            Ok(CertificateLine {
                until: row.time(0)?,
                issued_at: row.time(1)?,
                issuance: issuance.ok_or(StoreError::Damaged { what: "how a certificate came about" })?,
                used_at: row.time_opt(3)?,
            })
        },
    )
}

/// Records a certificate that is about to be signed.
pub(crate) fn certificate_record(
    tx: &mut Tx<'_>,
    device: DeviceId,
    issuance: Issuance,
    key_sha256: &[u8; 32],
    certificate: &NewCertificate,
    now: UtcMicros,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO certificate (serial, device_id, key, not_before_us, not_after_us, recorded_us, der, issuance)
         VALUES ($1, $2, $3, $4, $5, $6, NULL, $7)",
        params![
            &certificate.serial,
            device.as_bytes(),
            key_sha256,
            certificate.not_before,
            certificate.not_after,
            now,
            issuance.as_str()
        ],
    )?;
    Ok(())
}

struct CertificateRow {
    device: DeviceId,
    key_sha256: [u8; 32],
    recorded_at: UtcMicros,
    used: bool,
    superseded: bool,
}

fn certificate_row(tx: &mut Tx<'_>, serial: &[u8; 16]) -> Result<Option<CertificateRow>, StoreError> {
    tx.query_first(
        "SELECT device_id, key, recorded_us, used_us, superseded_us FROM certificate WHERE serial = $1",
        params![serial],
        |row| {
            Ok(CertificateRow {
                device: DeviceId::from_bytes(row.array(0, "a device's id")?),
                key_sha256: row.array(1, "the hash of a key")?,
                recorded_at: row.time(2)?,
                used: row.time_opt(3)?.is_some(),
                superseded: row.time_opt(4)?.is_some(),
            })
        },
    )
}

/// The school's name of a device that is known and may connect.
fn standing_check(
    tx: &mut Tx<'_>,
    device: DeviceId,
) -> Result<Result<String, CertificateRefusal>, StoreError> {
    let found = tx.query_first(
        "SELECT d.standing, s.name FROM device d JOIN school s ON s.id = d.school_id WHERE d.id = $1",
        params![device.as_bytes()],
        |row| Ok((row.text(0)?, row.text(1)?)),
    )?;
    Ok(match found {
        None => Err(CertificateRefusal::UnknownDevice),
        Some((standing, _)) if Standing::parse(&standing) == Some(Standing::Revoked) => {
            Err(CertificateRefusal::Revoked)
        }
        Some((_, school_name)) => Ok(school_name),
    })
}

fn asking_device(actor: &Actor) -> Result<DeviceId, StoreError> {
    permit(actor, Act::CertificateTake)?;
    match actor {
        Actor::Device(device) => Ok(*device),
        other => Err(StoreError::Forbidden { actor: other.label(), act: Act::CertificateTake }),
    }
}
