//! Tokens, and the devices that come of them.

use bbt_domain::{
    access::{Act, Actor},
    identity::{AdmissionKind, Evidence, Issuance, Likeness, Ruling, Standing},
    ids::{AdmissionId, DeviceId, SchoolId, TokenId},
    org::SchoolCode,
    time::UtcMicros,
};
use serde_json::json;

use crate::{
    StoreError, Tx,
    admissions::{Asking, Request, admission_note, admission_of, admission_taken},
    audit,
    certificates::{NewCertificate, certificate_record},
    error::permit,
    params,
    recognition::{canary_forget, comes_back_frozen, device_row, evidence_record, evidence_weigh, matches},
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
    /// By what it is recognised.
    pub evidence: Vec<Evidence>,
    /// Id for the request, if a person has to look at it.
    pub admission: AdmissionId,
    /// As the PC calls itself.
    pub host_name: String,
    /// Version of its agent.
    pub agent_version: String,
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

/// What a valid token leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// A certificate may be signed.
    Device(Enrolled),
    /// A person has to look at it first.
    Waiting(Waiting),
}

/// Why a person has to look at a PC before it gets a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// It is a device that the county knows.
    Known(DeviceId),
    /// It may be a device that the county knows.
    Likely(DeviceId),
    /// It has the identity of a device and is another PC.
    Clone(DeviceId),
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
    /// The device that this key got before, or that this PC is, was revoked.
    Revoked(DeviceId),
    /// A person looked at this PC and turned it away.
    Refused,
    /// Too many PCs of the school wait for a person.
    Crowded,
}

impl TokenRefusal {
    /// Short stable word.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unknown => "token_unknown",
            Self::Used => "token_used",
            Self::Expired(_) => "token_expired",
            Self::Revoked(_) => "revoked",
            Self::Refused => "refused",
            Self::Crowded => "too_many_waiting",
        }
    }
}

/// What is read of a token.
struct TokenRow {
    id: TokenId,
    school: SchoolId,
    uses: i64,
    used: i64,
    expires_at: UtcMicros,
    school_name: String,
}

fn token_of(tx: &mut Tx<'_>, secret_sha256: &[u8; 32]) -> Result<Option<TokenRow>, StoreError> {
    tx.query_first(
        "SELECT t.id, t.school_id, t.uses, t.used, t.expires_us, s.name
         FROM token t JOIN school s ON s.id = t.school_id WHERE t.secret = $1",
        params![secret_sha256],
        |row| {
            Ok(TokenRow {
                id: TokenId::from_bytes(row.array(0, "a token's id")?),
                school: SchoolId::from_bytes(row.array(1, "a school's id")?),
                uses: row.int(2)?,
                used: row.int(3)?,
                expires_at: row.time(4)?,
                school_name: row.text(5)?,
            })
        },
    )
}

/// What becomes of a key that comes with a token.
enum Entry {
    /// This key got a certificate for this device before.
    Again(DeviceId),
    /// The county knows the PC.
    Known(DeviceId),
    /// A device of its own.
    New,
    /// A person has to say.
    Waits(Waiting),
    /// It gets nothing.
    Refused(TokenRefusal),
}

/// Says which device the key is for, takes a use of the token when it is the key's first, records the device if it
/// is new, and records the certificate before it is signed. The same key again gets the same device and takes no
/// use. A PC that the county may know waits for a person; what was decided about it holds whatever became of the
/// token meanwhile.
pub fn device_enroll(
    tx: &mut Tx<'_>,
    actor: &Actor,
    enrolling: &Enrolling,
    is_live: &dyn Fn(DeviceId) -> bool,
    now: UtcMicros,
) -> Result<Result<Admitted, TokenRefusal>, StoreError> {
    permit(actor, Act::DeviceEnroll)?;
    let Some(token) = token_of(tx, &enrolling.secret_sha256)? else {
        return Ok(Err(TokenRefusal::Unknown));
    };
    let asking = asking_of(enrolling, &token);
    let request = admission_of(tx, &asking)?;
    let device = match entry_of(tx, enrolling, &asking, request, &token, is_live, now)? {
        Entry::New => {
            device_record(tx, actor, enrolling, &token, now)?;
            enrolling.device
        }
        Entry::Known(device) | Entry::Again(device) if !device_row(tx, device)?.active => {
            return Ok(Err(TokenRefusal::Revoked(device)));
        }
        Entry::Known(device) => {
            device_rejoin(tx, actor, device, enrolling, &token, now)?;
            device
        }
        Entry::Again(device) => device,
        Entry::Waits(waiting) => {
            let noted = admission_note(tx, &asking, now)?;
            return Ok(if noted { Ok(Admitted::Waiting(waiting)) } else { Err(TokenRefusal::Crowded) });
        }
        Entry::Refused(refusal) => return Ok(Err(refusal)),
    };
    if let Some(request) = request {
        admission_taken(tx, request.id, device, now)?;
    }
    evidence_record(tx, device, &enrolling.evidence, now)?;
    let issuance = Issuance::Enrollment;
    certificate_record(tx, device, issuance, &enrolling.key_sha256, &enrolling.certificate, now)?;
    Ok(Ok(Admitted::Device(Enrolled { device, school_name: token.school_name })))
}

fn asking_of(enrolling: &Enrolling, token: &TokenRow) -> Asking {
    Asking {
        kind: AdmissionKind::Enrollment,
        id: enrolling.admission,
        device: None,
        school: token.school,
        token: Some(token.id),
        key_sha256: Some(enrolling.key_sha256),
        evidence: enrolling.evidence.clone(),
        host_name: enrolling.host_name.clone(),
        agent_version: enrolling.agent_version.clone(),
        address: enrolling.peer.clone(),
    }
}

/// The device that this key got by this token.
fn key_before(
    tx: &mut Tx<'_>,
    token: &TokenRow,
    enrolling: &Enrolling,
) -> Result<Option<DeviceId>, StoreError> {
    tx.query_first(
        "SELECT device_id FROM token_use WHERE token_id = $1 AND key = $2",
        params![token.id.as_bytes(), &enrolling.key_sha256],
        |row| Ok(DeviceId::from_bytes(row.array(0, "a device's id")?)),
    )
}

/// What the token, a person or the evidence says.
fn entry_of(
    tx: &mut Tx<'_>,
    enrolling: &Enrolling,
    asking: &Asking,
    request: Option<Request>,
    token: &TokenRow,
    is_live: &dyn Fn(DeviceId) -> bool,
    now: UtcMicros,
) -> Result<Entry, StoreError> {
    let before = key_before(tx, token, enrolling)?;
    let expired = now >= token.expires_at;
    Ok(match (before, request.map(|request| (request.ruling, request.decided_device))) {
        (Some(_), _) if expired => Entry::Refused(TokenRefusal::Expired(token.expires_at)),
        (Some(device), _) => Entry::Again(device),
        (None, Some((Some(Ruling::Refused), _))) => Entry::Refused(TokenRefusal::Refused),
        (None, Some((Some(Ruling::Same), Some(device)))) => Entry::Known(device),
        (None, Some((Some(Ruling::New), _))) => Entry::New,
        // Whoever waits was let in by the token when it came.
        (None, Some(_)) => recognise(tx, asking, token.school, is_live)?,
        (None, None) if expired => Entry::Refused(TokenRefusal::Expired(token.expires_at)),
        (None, None) if token.used >= token.uses => Entry::Refused(TokenRefusal::Used),
        (None, None) => recognise(tx, asking, token.school, is_live)?,
    })
}

/// What the evidence of a newcomer says.
fn recognise(
    tx: &mut Tx<'_>,
    asking: &Asking,
    school: SchoolId,
    is_live: &dyn Fn(DeviceId) -> bool,
) -> Result<Entry, StoreError> {
    let shown = evidence_weigh(tx, asking.evidence.clone())?;
    let likely = matches(tx, &shown, None)?;
    if let Some(found) = likely.iter().find(|found| comes_back_frozen(found, school, is_live)) {
        return Ok(Entry::Known(found.device));
    }
    Ok(match likely.first() {
        Some(found) if found.likeness == Likeness::Same => Entry::Waits(Waiting::Known(found.device)),
        Some(found) if found.likeness == Likeness::Ask => Entry::Waits(Waiting::Likely(found.device)),
        _ => Entry::New,
    })
}

fn device_record(
    tx: &mut Tx<'_>,
    actor: &Actor,
    enrolling: &Enrolling,
    token: &TokenRow,
    now: UtcMicros,
) -> Result<(), StoreError> {
    let (device, school) = (enrolling.device, token.school);
    device_add(tx, device, school, None, &enrolling.set, now)?;
    token_take(tx, token, enrolling, device, now)?;
    let set = enrolling.set.id;
    let detail = json!({"school_id": school, "set_id": set, "token": token.id, "peer": enrolling.peer});
    audit::append(tx, actor, "device.enroll", &format!("device:{device}"), &detail, now)
}

/// Records a device with a set of its own.
pub(crate) fn device_add(
    tx: &mut Tx<'_>,
    device: DeviceId,
    school: SchoolId,
    sibling_of: Option<DeviceId>,
    set: &NewSet,
    now: UtcMicros,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO device (id, school_id, standing, standing_us, standing_why, enrolled_us, sibling_of)
         VALUES ($1, $2, $3, $4, '', $4, $5)",
        params![
            device.as_bytes(),
            school.as_bytes(),
            Standing::Active.as_str(),
            now,
            sibling_of.map(|device| device.as_bytes().to_vec())
        ],
    )?;
    set_record(tx, set, school, device, now)
}

/// A known device comes with a new key: row, set and history stay, and what its disk remembered is gone.
fn device_rejoin(
    tx: &mut Tx<'_>,
    actor: &Actor,
    device: DeviceId,
    enrolling: &Enrolling,
    token: &TokenRow,
    now: UtcMicros,
) -> Result<(), StoreError> {
    token_take(tx, token, enrolling, device, now)?;
    canary_forget(tx, device)?;
    let detail = json!({"token": token.id, "peer": enrolling.peer});
    audit::append(tx, actor, "device.rejoin", &format!("device:{device}"), &detail, now)
}

fn token_take(
    tx: &mut Tx<'_>,
    token: &TokenRow,
    enrolling: &Enrolling,
    device: DeviceId,
    now: UtcMicros,
) -> Result<(), StoreError> {
    tx.execute("UPDATE token SET used = used + 1 WHERE id = $1", params![token.id.as_bytes()])?;
    tx.execute(
        "INSERT INTO token_use (token_id, key, device_id, used_us) VALUES ($1, $2, $3, $4)",
        params![token.id.as_bytes(), &enrolling.key_sha256, device.as_bytes(), now],
    )?;
    Ok(())
}
