//! Tokens, and the devices that come of them.

use bbt_domain::{
    access::{Act, Actor},
    identity::{Evidence, Issuance, Standing},
    ids::{DeviceId, SchoolId, TokenId},
    org::SchoolCode,
    time::UtcMicros,
};
use serde_json::json;

use crate::{
    StoreError, Tx, audit,
    certificates::{NewCertificate, certificate_record},
    error::permit,
    params,
    schools::school_by_code,
    sets::{NewSet, set_record},
};

/// A token to be recorded. The secret itself never comes here.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// The record.
    pub id: TokenId,
    /// SHA-256 of the secret.
    pub secret_sha256: [u8; 32],
    /// Devices enrolled with it belong to this school.
    pub school: SchoolCode,
    /// How many keys may use it.
    pub uses: u32,
    /// From then on it is refused.
    pub expires_at: UtcMicros,
}

/// Records a token.
pub fn token_create(
    tx: &mut Tx<'_>,
    actor: &Actor,
    token: &NewToken,
    now: UtcMicros,
) -> Result<(), StoreError> {
    permit(actor, Act::TokenCreate)?;
    let school = school_by_code(tx, actor, &token.school)?;
    tx.execute(
        "INSERT INTO token (id, secret, school_id, uses, used, expires_us, created_us, created_by)
         VALUES ($1, $2, $3, $4, 0, $5, $6, $7)",
        params![
            token.id.as_bytes(),
            &token.secret_sha256,
            school.id.as_bytes(),
            i64::from(token.uses),
            token.expires_at,
            now,
            actor.label()
        ],
    )?;
    let detail = json!({"school": token.school, "uses": token.uses, "expires_at": token.expires_at});
    audit::append(tx, actor, "token.create", &format!("token:{}", token.id), &detail, now)
}

/// What a device presents, and what it shall get.
#[derive(Clone, Debug)]
pub struct Enrolling {
    /// SHA-256 of the token's secret.
    pub secret_sha256: [u8; 32],
    /// SHA-256 of the device's public key (its SubjectPublicKeyInfo).
    pub key_sha256: [u8; 32],
    /// Id for the device, if it is new.
    pub device: DeviceId,
    /// The set of its own that it gets then.
    pub set: NewSet,
    /// The certificate about to be signed.
    pub certificate: NewCertificate,
    /// By what it is recognised later.
    pub evidence: Vec<Evidence>,
    /// The peer's address, for the audit.
    pub peer: String,
}

/// The device that a certificate may now be signed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolled {
    /// New, or the one that this key got before.
    pub device: DeviceId,
    /// Its school's name.
    pub school_name: String,
}

/// Why a token opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenRefusal {
    /// No such token.
    Unknown,
    /// Every use was taken by another key.
    Used,
    /// Its time is over.
    Expired(UtcMicros),
    /// The device that this key got before was revoked.
    Revoked(DeviceId),
}

impl TokenRefusal {
    /// Short stable word.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unknown => "token_unknown",
            Self::Used => "token_used",
            Self::Expired(_) => "token_expired",
            Self::Revoked(_) => "revoked",
        }
    }
}

/// Takes a use of the token for this key, records the device if it is new, and records the certificate
/// before it is signed. The same key again gets the same device and takes no use.
pub fn device_enroll(
    tx: &mut Tx<'_>,
    actor: &Actor,
    enrolling: &Enrolling,
    now: UtcMicros,
) -> Result<Result<Enrolled, TokenRefusal>, StoreError> {
    permit(actor, Act::DeviceEnroll)?;
    let token = tx.query_first(
        "SELECT t.id, t.school_id, t.uses, t.used, t.expires_us, s.name
         FROM token t JOIN school s ON s.id = t.school_id WHERE t.secret = $1",
        params![&enrolling.secret_sha256],
        |row| {
            Ok((
                TokenId::from_bytes(row.array(0, "a token's id")?),
                SchoolId::from_bytes(row.array(1, "a school's id")?),
                row.int(2)?,
                row.int(3)?,
                row.time(4)?,
                row.text(5)?,
            ))
        },
    )?;
    let Some((token, school, uses, used, expires_at, school_name)) = token else {
        return Ok(Err(TokenRefusal::Unknown));
    };
    if now >= expires_at {
        return Ok(Err(TokenRefusal::Expired(expires_at)));
    }
    let before = tx.query_first(
        "SELECT u.device_id, d.standing FROM token_use u JOIN device d ON d.id = u.device_id
         WHERE u.token_id = $1 AND u.key = $2",
        params![token.as_bytes(), &enrolling.key_sha256],
        |row| Ok((DeviceId::from_bytes(row.array(0, "a device's id")?), row.text(1)?)),
    )?;
    let device = match before {
        Some((device, standing)) if Standing::parse(&standing) == Some(Standing::Revoked) => {
            return Ok(Err(TokenRefusal::Revoked(device)));
        }
        Some((device, _)) => device,
        None if used >= uses => return Ok(Err(TokenRefusal::Used)),
        None => {
            device_record(tx, actor, enrolling, token, school, now)?;
            enrolling.device
        }
    };
    evidence_record(tx, device, &enrolling.evidence, now)?;
    let issuance = Issuance::Enrollment;
    certificate_record(tx, device, issuance, &enrolling.key_sha256, &enrolling.certificate, now)?;
    Ok(Ok(Enrolled { device, school_name }))
}

fn device_record(
    tx: &mut Tx<'_>,
    actor: &Actor,
    enrolling: &Enrolling,
    token: TokenId,
    school: SchoolId,
    now: UtcMicros,
) -> Result<(), StoreError> {
    let device = enrolling.device;
    tx.execute(
        "INSERT INTO device (id, school_id, standing, standing_us, standing_why, enrolled_us)
         VALUES ($1, $2, $3, $4, '', $4)",
        params![device.as_bytes(), school.as_bytes(), Standing::Active.as_str(), now],
    )?;
    set_record(tx, &enrolling.set, school, device, now)?;
    tx.execute("UPDATE token SET used = used + 1 WHERE id = $1", params![token.as_bytes()])?;
    tx.execute(
        "INSERT INTO token_use (token_id, key, device_id, used_us) VALUES ($1, $2, $3, $4)",
        params![token.as_bytes(), &enrolling.key_sha256, device.as_bytes(), now],
    )?;
    let set = enrolling.set.id;
    let detail = json!({"school_id": school, "set_id": set, "token": token, "peer": enrolling.peer});
    audit::append(tx, actor, "device.enroll", &format!("device:{device}"), &detail, now)
}

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
    Ok(())
}
